/**
 * The checks that look at more than one key: which keys of an upstream go together, whether leases can be renewed in
 * time, whether a cluster's links are protected. Pure functions of the parsed configuration, used alike by
 * `runtime check` and by the start, so a file that was checked is never refused at start for its shape.
 */

import type * as z from "zod";
import type { Layers } from "./layers.ts";
import { type KeyPath, keyText } from "./problem.ts";
import type { Config, configSchema, UpstreamSettings } from "./schema.ts";

type Parsed = z.output<typeof configSchema>;
type Report = (path: KeyPath, what: string) => void;

/** A node's share of its lease after which it parks when no renewal was acknowledged (see membership). */
const PARK_SHARE = 0.85;

/** The lease of a node, with aliases and defaults resolved: a third to renew, a tenth of grace. */
export function leaseOf(
  cluster: Parsed["cluster"],
): Pick<Config["cluster"], "node_lease_ttl_ms" | "node_lease_renew_ms" | "node_lease_grace_ms"> {
  const ttl = cluster.node_lease_ttl_ms ?? cluster.peer_ttl_ms ?? 6_000;
  return {
    node_lease_ttl_ms: ttl,
    node_lease_renew_ms: cluster.node_lease_renew_ms ?? cluster.peer_refresh_interval_ms ?? Math.floor(ttl / 3),
    node_lease_grace_ms: cluster.node_lease_grace_ms ?? Math.floor(ttl / 10),
  };
}

/** Reports everything wrong with `parsed` that no single key shows. */
export function reportBrokenRules(parsed: Parsed, layers: Layers): void {
  const report: Report = (path, what) => layers.report(path, what);
  for (const [name, upstream] of Object.entries(parsed.mcpServers)) upstreamRules(name, upstream, report);
  namingRules(parsed, report);
  clusterRules(parsed, report);
  meshRules(parsed, report);
}

/** Kinds that the design names and this version has no coordinator for. */
export function unavailableKind(kind: unknown): string | undefined {
  if (kind !== "nats" && kind !== "etcd" && kind !== "consul") return undefined;
  return `"${kind}" is not available yet; use "single_node" or "redis"`;
}

function upstreamRules(name: string, upstream: UpstreamSettings, report: Report): void {
  const at = ["mcpServers", name];
  const given = (["command", "url", "module"] as const).filter((key) => upstream[key] !== undefined);
  if (given.length === 0) {
    report(at, "needs one of command (a program), url (a server over HTTP) or module (a server in this process)");
    return;
  }
  if (given.length > 1) {
    report(at, `has ${given.join(" and ")}; keep one of them`);
    return;
  }
  if (upstream.on_owner_loss !== undefined && upstream.onOwnerLoss !== undefined) {
    report([...at, "onOwnerLoss"], "means the same as on_owner_loss, which is given too; remove one");
  }
  const belongs = { args: "command", env: "command", cwd: "command", headers: "url" } as const;
  for (const key of ["args", "env", "cwd", "headers"] as const) {
    if (upstream[key] !== undefined && given[0] !== belongs[key]) {
      report([...at, key], `goes with ${belongs[key]}, and this server has ${given[0]}; remove it`);
    }
  }
}

/** Names at `/mcp` are made in one way for all servers. */
function namingRules({ mcpServers }: Parsed, report: Report): void {
  const [first, ...others] = Object.entries(mcpServers);
  if (first === undefined) return;
  for (const [name, { naming }] of others) {
    if (naming === first[1].naming) continue;
    report(
      ["mcpServers", name, "naming"],
      `is "${naming}" and that of ${first[0]} is "${first[1].naming}"; all servers must say the same`,
    );
  }
}

function clusterRules({ cluster, node }: Parsed, report: Report): void {
  if (cluster.kind === "single_node") return;
  if (cluster.kind === "redis" && cluster.url === undefined) {
    report(["cluster"], 'kind "redis" needs url, for example redis://127.0.0.1:6379');
  }
  const aliases = [
    ["peer_ttl_ms", "node_lease_ttl_ms"],
    ["peer_refresh_interval_ms", "node_lease_renew_ms"],
  ] as const;
  for (const [alias, key] of aliases) {
    if (cluster[alias] !== undefined && cluster[key] !== undefined) {
      report(["cluster", alias], `means the same as cluster.${key}, which is given too; remove one`);
    }
  }
  if (cluster.node_id !== undefined && node.id !== undefined && cluster.node_id !== node.id) {
    report(["cluster", "node_id"], "means the same as node.id, which says something else; remove one");
  }
  const lease = leaseOf(cluster);
  const longestRenew = Math.floor((lease.node_lease_ttl_ms * PARK_SHARE) / 2);
  if (lease.node_lease_renew_ms > longestRenew) {
    const key = cluster.node_lease_renew_ms === undefined ? "peer_refresh_interval_ms" : "node_lease_renew_ms";
    report(
      ["cluster", key],
      `${lease.node_lease_renew_ms} is too long for a lease of ${lease.node_lease_ttl_ms} ms, in which two renewals must fit: at most ${longestRenew}`,
    );
  }
  if (lease.node_lease_grace_ms > lease.node_lease_ttl_ms) {
    report(
      ["cluster", "node_lease_grace_ms"],
      `${lease.node_lease_grace_ms} is longer than the lease of ${lease.node_lease_ttl_ms} ms; at most that`,
    );
  }
}

function meshRules({ cluster, mesh, gateway }: Parsed, report: Report): void {
  if (cluster.kind === "single_node") return;
  const exposed = (
    [
      [["mesh", "bind_address"], mesh.bind_address],
      [["mesh", "advertise_address"], mesh.advertise_address],
      [["gateway", "server", "bind_address"], gateway.server.bind_address],
    ] as const
  ).find(([, address]) => address !== undefined && !isLoopback(hostOf(address)));
  if (exposed !== undefined && mesh.secret === undefined && mesh.tls === undefined) {
    report(
      ["mesh"],
      `a cluster of several nodes needs mesh.secret or mesh.tls unless everything binds to loopback, and ${keyText(exposed[0])} is ${exposed[1]}`,
    );
  }
}

/** What is allowed and yet likely to surprise. */
export function warningsOf(config: Config): string[] {
  const warnings: string[] = [];
  const { bind_address } = config.gateway.server;
  if (!isLoopback(hostOf(bind_address))) {
    warnings.push(
      `gateway.server.bind_address: ${bind_address} is reachable from other machines and this version has no access control; let only trusted clients reach it`,
    );
  }
  if (config.cluster.kind !== "single_node" && config.mesh.advertise_address === undefined) {
    if (isWildcard(hostOf(config.mesh.bind_address))) {
      warnings.push(
        "mesh.advertise_address: not set, so other nodes are told this machine's first outside address; set it if they cannot dial that",
      );
    }
  }
  if (config.cluster.kind !== "single_node" && config.cluster.dir !== undefined) {
    warnings.push(
      `cluster.dir: has no effect with kind "${config.cluster.kind}", which keeps the state itself; remove it`,
    );
  }
  if (Object.keys(config.mcpServers).length === 0) {
    warnings.push("mcpServers: no MCP server is configured, so sessions will have nothing to call");
  }
  return warnings;
}

/** The host of `host:port`, without the brackets of a v6 address. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
}

export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

/** Whether only this machine can reach `host`. Names other than `localhost` count as reachable. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
