/**
 * From the configuration to what the parts of a node are told: one function per part, no decisions elsewhere.
 */
import type { SessionSettings } from "../actors/session/settings.ts";
import type { UpstreamConfig } from "../transports/upstream/contract.ts";
import type { Config, UpstreamSettings } from "./config/config.ts";
import { VERSION } from "./config/version.ts";

/** `mcpServers`, in the order of the file. */
function upstreamsOf(config: Config): UpstreamConfig[] {
  return Object.entries(config.mcpServers).map(([name, upstream]) => ({
    name,
    transport: transportOf(upstream),
    isolation: upstream.isolation,
    idleStopMs: upstream.idle_stop_ms,
    maxProcesses: upstream.max_processes,
    startTimeoutMs: upstream.start_timeout_ms,
    onOwnerLoss: upstream.on_owner_loss ?? upstream.onOwnerLoss ?? "reinitialize",
  }));
}

function transportOf(upstream: UpstreamSettings): UpstreamConfig["transport"] {
  const { command, args = [], env = {}, cwd = process.cwd(), url, headers = {}, module } = upstream;
  if (command !== undefined) return { kind: "stdio", command, args, env, cwd };
  if (url !== undefined) return { kind: "http", url, headers };
  if (module !== undefined) return { kind: "module", module };
  throw new TypeError("an upstream without command, url or module passed the configuration's checks");
}

/** How names at `/mcp` are made; the configuration's rules make all servers say the same. */
function namingOf(config: Config): "prefix" | "none" {
  return Object.values(config.mcpServers)[0]?.naming ?? "prefix";
}

/** What actors find in `ctx.worker.settings`, by name. */
export function actorSettingsOf(config: Config): Readonly<Record<string, unknown>> {
  const upstreams = upstreamsOf(config);
  const { response, sessions } = config.mcp.configurations;
  const session: Partial<SessionSettings> = {
    upstreams,
    naming: namingOf(config),
    streamAfterMs: response.stream_after_ms,
    idleTimeoutMs: sessions.idle_timeout_ms,
    maxCalls: sessions.max_calls,
    serverVersion: VERSION,
  };
  return { upstreams, session };
}

/** The modules that are upstreams, as file URLs. */
export function moduleUpstreamsOf(config: Config): string[] {
  return Object.values(config.mcpServers).flatMap(({ module }) => module ?? []);
}

/** What `/mcp` (null) and `/mcp/{server}` show; null when there is no such server. */
export function scopesOf(config: Config): (server: string | null) => { upstreams: string[]; prefixed: boolean } | null {
  const all = Object.keys(config.mcpServers);
  const prefixed = namingOf(config) === "prefix";
  return (server) => {
    if (server === null) return { upstreams: all, prefixed };
    return Object.hasOwn(config.mcpServers, server) ? { upstreams: [server], prefixed: false } : null;
  };
}

/** `node 20.20.2` or `deno 2.9.6`. */
export function runtimeName(): string {
  const { deno, node } = process.versions;
  return deno === undefined ? `node ${node}` : `deno ${deno}`;
}
