/**
 * The few settings that also exist as flags and environment variables, because they differ between nodes that share a
 * configuration file: addresses, the node's id, the store, the number of workers.
 */
import type { Layers, Source } from "./layers.ts";
import type { KeyPath } from "./problem.ts";
import { hostOf, portOf } from "./rules.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The flags of `runtime start`, as text. */
export interface ConfigFlags {
  /** Each may name several files, separated by `:`. */
  config?: readonly string[];
  host?: string;
  port?: string;
  "mesh-port"?: string;
  advertise?: string;
  "node-id"?: string;
  redis?: string;
  workers?: string;
}

/** Environment variables, then flags. */
export function applySettings(layers: Layers, flags: ConfigFlags, env: Environment): void {
  const given = (name: string, value: string | undefined, apply: (value: string, source: Source) => void): void => {
    if (value === undefined || value === "") return;
    apply(value, { name, folder: process.cwd(), kind: "setting" });
  };
  const replacePart = (path: KeyPath, fallback: string, part: "host" | "port") => (value: string, source: Source) => {
    const present = layers.at(path);
    const address = typeof present === "string" ? present : fallback;
    if (part === "port" && !(/^\d{1,5}$/.test(value) && Number(value) <= 65_535)) {
      layers.reportSource(source.name, "", `expected a port from 0 to 65535, got "${value}"`);
      return;
    }
    if (part === "host" && !/^(\[[0-9A-Fa-f:.]+\]|[^\s/[\]]+)$/.test(value)) {
      layers.reportSource(source.name, "", `expected a host name or address, got "${value}"`);
      return;
    }
    const host = part === "host" ? value : hostOf(address);
    const bracketed = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    layers.set(path, `${bracketed}:${part === "port" ? value : portOf(address)}`, source);
  };
  const set = (path: KeyPath) => (value: string, source: Source) => layers.set(path, value, source);
  const redis = (value: string, source: Source): void => {
    layers.set(["cluster", "kind"], "redis", source);
    layers.set(["cluster", "url"], value, source);
  };
  const settings: [flag: string, variable: string, value: string | undefined, (v: string, s: Source) => void][] = [
    ["--host", "RUNTIME_HOST", flags.host, replacePart(CLIENT_ADDRESS, "127.0.0.1:8787", "host")],
    ["--port", "RUNTIME_PORT", flags.port, replacePart(CLIENT_ADDRESS, "127.0.0.1:8787", "port")],
    ["--mesh-port", "RUNTIME_MESH_PORT", flags["mesh-port"], replacePart(MESH_ADDRESS, "127.0.0.1:0", "port")],
    ["--advertise", "RUNTIME_ADVERTISE", flags.advertise, set(["mesh", "advertise_address"])],
    ["--node-id", "RUNTIME_NODE_ID", flags["node-id"], set(["node", "id"])],
    ["--redis", "RUNTIME_REDIS", flags.redis, redis],
    ["--workers", "RUNTIME_WORKERS", flags.workers, set(["workers"])],
  ];
  for (const [, variable, , apply] of settings) given(variable, env[variable], apply);
  for (const [flag, , value, apply] of settings) given(flag, value, apply);
}

const CLIENT_ADDRESS = ["gateway", "server", "bind_address"];
const MESH_ADDRESS = ["mesh", "bind_address"];
