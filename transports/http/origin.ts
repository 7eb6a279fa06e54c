/**
 * Which web pages and which host names may reach the endpoint: the guard against DNS rebinding (MCP, Streamable HTTP,
 * "Security warning"; every revision).
 *
 * A browser sends `Origin`; a program does not. An origin that is present must be allowed. A page that rebinds its own
 * name to our address shows its name in `Host`, so a node bound to loopback takes only local names there. A node bound
 * elsewhere knows its public names only from `allowed_hosts`; with none configured it takes every name, and `Origin`
 * remains the guard.
 */
import type { IncomingHttpHeaders } from "node:http";

export interface SiteOptions {
  /** Origins as browsers send them (`https://app.example.com`), or `*`. Default none beyond local ones. */
  allowedOrigins?: readonly string[];
  /** `name` (any port) or `name:port`, or `*`. */
  allowedHosts?: readonly string[];
  /** Whether the server is bound to a loopback address. */
  loopback: boolean;
}

export class SitePolicy {
  readonly #origins: ReadonlySet<string>;
  readonly #hosts: ReadonlySet<string>;
  readonly #loopback: boolean;
  /** The last `Host` that passed; nearly all requests of a node carry the same. */
  #goodHost = "";

  constructor(options: SiteOptions) {
    this.#origins = new Set((options.allowedOrigins ?? []).map((origin) => origin.toLowerCase().replace(/\/$/, "")));
    this.#hosts = new Set((options.allowedHosts ?? []).map((host) => host.toLowerCase()));
    this.#loopback = options.loopback;
  }

  /** Null when the request may pass, else one sentence that says what was refused and which setting allows it. */
  refusal(headers: IncomingHttpHeaders): string | null {
    const { origin, host } = headers;
    if (origin !== undefined && !this.allowsOrigin(origin)) {
      return `Forbidden: origin ${shown(origin)} is not allowed; gateway.server.allowed_origins lists those that are`;
    }
    if (host === undefined || (host !== this.#goodHost && !this.allowsHost(host))) {
      return `Forbidden: host ${shown(host ?? "")} is not allowed; gateway.server.allowed_hosts lists those that are`;
    }
    this.#goodHost = host;
    return null;
  }

  allowsOrigin(origin: string): boolean {
    if (this.#origins.has("*") || this.#origins.has(origin.toLowerCase())) return true;
    return this.#loopback && isLocalOrigin(origin);
  }

  allowsHost(host: string): boolean {
    const name = hostName(host);
    if (name === null) return false;
    if (isLocalName(name)) return true;
    if (this.#hosts.size === 0) return !this.#loopback;
    return this.#hosts.has("*") || this.#hosts.has(name) || this.#hosts.has(host.toLowerCase());
  }
}

/** Whether `origin` is a page served from this machine, on whatever port. */
export function isLocalOrigin(origin: string): boolean {
  const match = /^https?:\/\/([^/]+)$/i.exec(origin);
  const name = match?.[1] === undefined ? null : hostName(match[1]);
  return name !== null && isLocalName(name);
}

/** Whether the value of a `Host` header names this machine. */
export function isLocalHost(host: string | undefined): boolean {
  const name = host === undefined ? null : hostName(host);
  return name !== null && isLocalName(name);
}

/** Whether a socket's address is a loopback address. */
export function isLoopbackAddress(address: string | undefined): boolean {
  if (address === undefined) return false;
  return address === "::1" || /^(::ffff:)?127\.\d+\.\d+\.\d+$/i.test(address);
}

function isLocalName(name: string): boolean {
  return name === "localhost" || name === "[::1]" || name === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

/** The name in `name:port`, lower case, with IPv6 brackets kept; null when it is not of that form. */
function hostName(host: string): string | null {
  const match = /^(\[[0-9a-f:.]+\]|[^\s:/?#@[\]\\]+)(:\d{1,5})?$/i.exec(host);
  return match?.[1]?.toLowerCase() ?? null;
}

/** What a stranger sent, fit for an error message. */
function shown(value: string): string {
  return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value);
}
