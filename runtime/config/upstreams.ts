/** `mcpServers` in the shape that upstream clients take (`UpstreamConfig` in transports/upstream/contract.ts). */
import type { Config } from "./schema.ts";

type Transport =
  | { kind: "stdio"; command: string; args: readonly string[]; env: Readonly<Record<string, string>>; cwd: string }
  | { kind: "http"; url: string; headers: Readonly<Record<string, string>> }
  | { kind: "module"; module: string };

export interface UpstreamEntry {
  name: string;
  transport: Transport;
  isolation: "session" | "principal" | "shared";
  idleStopMs: number;
  maxProcesses: number;
  startTimeoutMs: number;
}

/** One entry per server, in the order of the configuration. */
export function upstreamEntries(config: Config): UpstreamEntry[] {
  return Object.entries(config.mcpServers).map(([name, server]) => ({
    name,
    transport: transportOf(server),
    isolation: server.isolation,
    idleStopMs: server.idle_stop_ms,
    maxProcesses: server.max_processes,
    startTimeoutMs: server.start_timeout_ms,
  }));
}

/** How names at `/mcp` are made; all servers say the same. */
export function namingOf(config: Config): "prefix" | "none" {
  return Object.values(config.mcpServers)[0]?.naming ?? "prefix";
}

function transportOf(server: Config["mcpServers"][string]): Transport {
  const { command, args = [], env = {}, cwd = process.cwd(), url, headers = {}, module } = server;
  if (command !== undefined) return { kind: "stdio", command, args, env, cwd };
  if (url !== undefined) return { kind: "http", url, headers };
  // The rules let exactly one of the three through.
  return { kind: "module", module: module ?? "" };
}
