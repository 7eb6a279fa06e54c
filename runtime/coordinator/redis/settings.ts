/**
 * The Redis part of the `cluster` block of the configuration, checked. Nothing here opens a connection, and no message
 * repeats a password.
 */
import { TroupeError } from "../../actor/errors.ts";
import { DEFAULT_PREFIX, prefixProblem } from "./keys.ts";

export interface RedisConfig {
  kind: "redis";
  /** `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS. */
  url: string;
  /** Before every key. Default `troupe:`. No braces. One per deployment on a shared Redis. */
  key_prefix?: string;
  /** How long a store command may take before its outcome counts as unknown. Default 2,000; 50 to 60,000. */
  operation_timeout_ms?: number;
  /** With `node_lease_grace_ms`: how long first claims and declarations are refused after a reset. Default 6,000. */
  node_lease_ttl_ms?: number;
  /** Default 600. */
  node_lease_grace_ms?: number;
}

export interface RedisSettings {
  host: string;
  port: number;
  username: string | undefined;
  password: string | undefined;
  database: number;
  tls: boolean;
  prefix: string;
  timeoutMs: number;
  settleMs: number;
  /** For messages: without user and password. */
  address: string;
}

const DEFAULT_PORT = 6379;

/** Reads the configuration. Throws `invalid_argument` with the key, what is wrong and what would be right. */
export function readRedisConfig(config: RedisConfig): RedisSettings {
  const url = readUrl(config.url);
  const prefix = config.key_prefix ?? DEFAULT_PREFIX;
  const problem = prefixProblem(prefix);
  if (problem !== null) throw wrong(`cluster.key_prefix ${JSON.stringify(prefix)} ${problem}`);
  const ttlMs = duration("node_lease_ttl_ms", config.node_lease_ttl_ms ?? 6_000, 1, 3_600_000);
  const graceMs = duration("node_lease_grace_ms", config.node_lease_grace_ms ?? 600, 0, 3_600_000);
  return {
    ...url,
    prefix,
    timeoutMs: duration("operation_timeout_ms", config.operation_timeout_ms ?? 2_000, 50, 60_000),
    settleMs: ttlMs + graceMs,
  };
}

function readUrl(given: unknown): Omit<RedisSettings, "prefix" | "timeoutMs" | "settleMs"> {
  const right = "it must look like redis://host:6379 or rediss://user:password@host:6379/0";
  if (typeof given !== "string" || given === "") {
    throw wrong(`cluster.url is missing for cluster.kind "redis": ${right}`);
  }
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw wrong(`cluster.url is not a URL: ${right}`);
  }
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") {
    throw wrong(`cluster.url has scheme "${url.protocol.slice(0, -1)}": ${right}`);
  }
  if (url.hostname === "") throw wrong(`cluster.url names no host: ${right}`);
  if (url.search !== "" || url.hash !== "") throw wrong(`cluster.url must not have a query or fragment: ${right}`);
  const path = url.pathname.replace(/^\//, "");
  if (!/^\d{0,4}$/.test(path))
    throw wrong(`cluster.url has path "/${path}", which must be a database number: ${right}`);
  const port = url.port === "" ? DEFAULT_PORT : Number(url.port);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port,
    username: url.username === "" ? undefined : decode(url.username, right),
    password: url.password === "" ? undefined : decode(url.password, right),
    database: path === "" ? 0 : Number(path),
    tls: url.protocol === "rediss:",
    address: `${url.hostname}:${port}`,
  };
}

function decode(part: string, right: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw wrong(`cluster.url has a broken %-escape in its user or password: ${right}`);
  }
}

function duration(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw wrong(`cluster.${name} must be a whole number of milliseconds from ${least} to ${most}, got ${String(value)}`);
}

function wrong(message: string): TroupeError {
  return new TroupeError("invalid_argument", message, { started: "no" });
}
