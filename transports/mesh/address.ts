/**
 * `host:port` texts, and which hosts never leave this machine.
 */
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";

export interface Address {
  host: string;
  port: number;
}

/** Reads `host:port`, `[v6]:port` or a bare host (port 0). Null when it is none of these. */
export function parseAddress(text: string): Address | null {
  if (isIP(text) === 6) return { host: text, port: 0 };
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s/]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return null;
  const port = Number(match[3] ?? 0);
  const host = match[1] ?? match[2];
  return host === undefined || port > 65_535 ? null : { host, port };
}

export function formatAddress({ host, port }: Address): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether `host` (a name or an IP, as configured or as a socket reports it) is this machine and nothing else. */
export function isLoopback(host: string | undefined): boolean {
  if (host === undefined) return false;
  const bare = host.replace(/^\[|\]$/g, "").replace(/^::ffff:/i, "");
  return bare === "localhost" || bare === "::1" || (isIP(bare) === 4 && bare.startsWith("127."));
}

/**
 * What peers are told to dial: `advertise` where given, else the bound address. A wildcard is not an address, so then it
 * is this machine's first outside IPv4 address, else its host name.
 */
export function advertisedAddress(bound: Address, advertise: string | undefined): string {
  if (advertise !== undefined && advertise !== "") {
    const wanted = parseAddress(advertise);
    if (wanted === null) throw new Error(`mesh.advertise_address must be host:port, got "${advertise}"`);
    return formatAddress({ host: wanted.host, port: wanted.port === 0 ? bound.port : wanted.port });
  }
  if (bound.host !== "0.0.0.0" && bound.host !== "::") return formatAddress(bound);
  for (const addresses of Object.values(networkInterfaces())) {
    const outside = addresses?.find((entry) => entry.family === "IPv4" && !entry.internal);
    if (outside !== undefined) return formatAddress({ host: outside.address, port: bound.port });
  }
  return formatAddress({ host: hostname(), port: bound.port });
}
