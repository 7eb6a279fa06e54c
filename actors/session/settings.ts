/** What the node's configuration says to every session of a worker, as plain data: `settings.session`. */
import type { WorkerServices } from "../../runtime/actor/define.ts";
import type { UpstreamConfig } from "../../transports/upstream/contract.ts";

export interface SessionSettings {
  /** All of `mcpServers`; a session sees those its state names, in the order of its state. */
  upstreams: UpstreamConfig[];
  /** Names at the aggregated endpoint: `server__tool`, or as they are. */
  naming: "prefix" | "none";
  /** A POST not answered within this time becomes a stream, milliseconds. */
  streamAfterMs: number;
  /** A session without posts, calls and open streams for this long ends, milliseconds; 0 never. */
  idleTimeoutMs: number;
  /** Calls in flight per session; more are refused with 429. */
  maxCalls: number;
  /** Version in `serverInfo` where several upstreams answer as one. */
  serverVersion: string;
  /** Server-to-client requests waiting for the client, per session; more are refused to the upstream. */
  maxClientRequests: number;
  /** Resource subscriptions per session. */
  maxSubscriptions: number;
  /** Durable events kept per session for `Last-Event-ID`. */
  eventLog: EventLogBounds;
  tasks: TaskBounds;
}

export interface TaskBounds {
  /** Per session, working or kept for their results; more are refused. */
  most: number;
  /** How long a task is kept from its creation where the client names no time, and at most, milliseconds. */
  ttlMs: number;
  maxTtlMs: number;
  /** Of the JSON text of all results kept, in UTF-16 units. */
  bytes: number;
}

/** Whichever bound is reached first trims the log, oldest delivered event first. */
export interface EventLogBounds {
  events: number;
  /** Of JSON text, in UTF-16 units. */
  bytes: number;
  ageMs: number;
}

export const DEFAULT_SESSION_SETTINGS: SessionSettings = {
  upstreams: [],
  naming: "prefix",
  streamAfterMs: 1_000,
  idleTimeoutMs: 15 * 60_000,
  maxCalls: 64,
  serverVersion: "0.0.0",
  maxClientRequests: 64,
  maxSubscriptions: 1_000,
  // It is written whole with each commit.
  eventLog: { events: 64, bytes: 128 * 1024, ageMs: 10 * 60_000 },
  tasks: { most: 32, ttlMs: 30 * 60_000, maxTtlMs: 24 * 60 * 60_000, bytes: 256 * 1024 },
};

const resolved = new WeakMap<WorkerServices, SessionSettings>();

/** The session settings of a worker, defaults filled in. */
export function sessionSettings(worker: WorkerServices): SessionSettings {
  let settings = resolved.get(worker);
  if (settings === undefined) {
    settings = { ...DEFAULT_SESSION_SETTINGS, ...(worker.settings.session as Partial<SessionSettings> | undefined) };
    resolved.set(worker, settings);
  }
  return settings;
}
