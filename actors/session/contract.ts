/**
 * Between the HTTP edge and the session actor, which may be on another thread or another node.
 *
 * The edge knows HTTP: sockets, headers, media types, origins. The session knows MCP: versions, ids, streams, who may
 * ask for what. A POST is one unary call, `post`. Its answer is either complete (a body for `application/json`, an empty
 * 202, an error) or the name of a stream, which the edge then opens with `events`, exactly as a client's GET with
 * `Last-Event-ID` does. So there is one way to read a stream, and resuming is not a special case.
 */
import type { RpcId, UpstreamSession } from "../../transports/upstream/contract.ts";

/** Who the caller is: the subject of a verified token, else the hash of the presented credential, else `anonymous`. */
export type Principal = string;

export interface PostCall {
  principal: Principal;
  /** Value of the `MCP-Protocol-Version` header, or null. */
  version: string | null;
  /** The body: one JSON-RPC message or a batch, as it came; the session is the first to read it. */
  text: string;
  /** An owner that died or moved was given this body before, and may have acted on it. */
  again?: true;
}

/**
 * What a POST is answered. The usual answer is a bare text: it crosses threads and nodes with every call, and an object
 * around it would cost more than its bytes.
 */
export type PostAnswer =
  /** 200 with this `application/json` body. */
  | string
  /** 202 with an empty body. */
  | { kind: "accepted" }
  /** 200 with `text/event-stream`: open `events` with this stream, from its beginning. */
  | { kind: "stream"; stream: string }
  /** A refusal: HTTP status and a JSON-RPC error body. */
  | { kind: "refused"; status: number; body: string };

export interface EventsCall {
  principal: Principal;
  version: string | null;
  /** A stream that `post` named; null for the session's standalone GET stream, or with `lastEventId`. */
  stream: string | null;
  /** The client's `Last-Event-ID`; the stream is the one that id belongs to. */
  lastEventId: string | null;
}

/**
 * One server-sent event, or the wish to close the connection while the stream goes on (`retryMs`, then the end).
 *
 * The first item of every `events` call has `opened`: the session has accepted it, so the edge can answer 200 before
 * there is anything to say (a refusal is an error instead). With an `id` it is a priming event and is written; without
 * one it is only that sign, and nothing is written for it.
 */
export interface SessionEvent {
  opened?: true;
  /** Absent for ephemeral messages (progress, logging). */
  id?: string;
  /** JSON text without line breaks; `""` for a priming event. */
  data: string;
  retryMs?: number;
}

/** What a client asked for with `initialize`, and what never changes for a session. */
export interface SessionState {
  principal: Principal;
  /** Upstream names this session sees: all of `/mcp`, one of `/mcp/{server}`. */
  upstreams: string[];
  /** Whether names carry the upstream's prefix. */
  prefixed: boolean;
  protocolVersion: string;
  clientInfo: Record<string, unknown>;
  capabilities: Record<string, unknown>;
  /** Wall clock milliseconds. */
  createdAt: number;
  /** Set by `notifications/initialized`. */
  initialized: boolean;
  logLevel: string | null;
  /** Resource URIs the client subscribed to, as the client names them. */
  subscriptions: string[];
  /** The event log; absent while there is nothing to resume. */
  log?: StoredLog;
  /** Upstreams in this session's name whose memory lives in a process or module of the owner, while they hold some. */
  ran?: string[];
  /** Upstreams that lost what they kept for this session, until the client is told. */
  lost?: string[];
  /** By name, what modules have in memory for this session, as far as they tell: JSON text. */
  memory?: Record<string, string>;
  /** Tasks, oldest first, until their time is over; absent where there never was one. */
  tasks?: StoredTask[];
  /** By name, the HTTP upstreams that keep a session in this session's name: what the next owner goes on with. */
  connections?: Record<string, UpstreamSession>;
}

/** The bounded tail of a session's event log, and what its streams are for. See streams.ts. */
export interface StoredLog {
  streams: StoredStream[];
  /** Oldest first. */
  events: StoredEvent[];
  /** Requests of upstreams that wait for the client: id, the stream they were sent on, and who waits for the answer. */
  asked: [id: string, stream: string, question?: StoredQuestion][];
  /** Of requests that streams are to answer still: what the next owner needs to go on with them. */
  calls?: StoredCall[];
}

/** A request of an upstream whose connection outlives the owner. */
export interface StoredQuestion {
  upstream: string;
  /** The upstream's own id of it. */
  id: RpcId;
  /** The client's request in whose course it was asked. */
  call?: RpcId;
  /** The upstream's own progress token. */
  token?: RpcId;
}

/** A request of the client in flight. See handover.ts. */
export interface StoredCall {
  id: RpcId;
  method: string;
  /** Of its params, the JSON text: where it might be run again. */
  params?: string;
  /** The client's progress token, and the last progress that was passed on. */
  token?: RpcId;
  progress?: number;
  upstream?: string;
  /** Its id at the upstream, and the last event of the stream that brings its answer. */
  sent?: RpcId;
  cursor?: string;
}

/** Whether a session must stay for what it was promised of its tasks, whoever uses it. `wallNow`: wall clock milliseconds. */
export function keepsTasks({ tasks }: Pick<SessionState, "tasks">, wallNow: number): boolean {
  return tasks?.some(({ createdAt, ttl }) => wallNow < createdAt + ttl) === true;
}

/** A task. See tasks.ts. */
export interface StoredTask {
  id: string;
  upstream: string;
  /** Its id there. */
  remote: string;
  /** Wall clock milliseconds. */
  createdAt: number;
  updatedAt: number;
  /** From `createdAt`, milliseconds. */
  ttl: number;
  pollInterval?: number;
  /** The client's progress token. */
  token?: RpcId;
  /** The cancellation scope that its call named. */
  scope?: string;
  /** Of the request for its result: its id at the upstream, and the last event of the stream that brings the answer. */
  sent?: RpcId;
  cursor?: string;
  status: "working" | "completed" | "failed" | "cancelled";
  message?: string;
  /** Unless it works: JSON text of `{ result }` or `{ error }`. */
  outcome?: string;
}

/** One SSE stream: `waiting` are the client's requests it has not answered yet; without any a POST's stream is complete. */
export type StoredStream = [id: string, seq: number, position: number, trimmed: number, waiting: RpcId[]];

/** `wallMs`: when it was added. `data` is empty for an event that went to another stream instead. */
export type StoredEvent = [stream: string, seq: number, wallMs: number, data: string];

/** What the management API tells of a session. */
export interface SessionDescription {
  id: string;
  owner: string;
  era: "legacy";
  protocolVersion: string;
  client: { name: string; version: string };
  upstreams: { name: string; running: boolean }[];
  state: "initializing" | "operational";
  createdAt: number;
  idleMs: number;
  calls: number;
  streams: number;
}

/** Versions of the legacy era this endpoint serves, newest first. */
export const LEGACY_VERSIONS = ["2025-11-25", "2025-06-18", "2025-03-26"] as const;
