/**
 * An upstream: an MCP server that Troupe fronts. It may be a child process speaking over stdio, an HTTP endpoint, or a
 * module loaded into the worker.
 *
 * Two layers. A `Channel` moves JSON-RPC messages and knows nothing of their meaning; there is one implementation per
 * transport. An `UpstreamClient` is what a session holds: it speaks the handshake, gives each call an id of its own
 * (containing the epoch, so that a stale answer can never be taken for a fresh one), maps progress tokens, and routes
 * what the upstream sends back to the call it belongs to.
 *
 * `related` is how the two directions are tied together: a number the session chose for one of its client's calls.
 * Whatever the upstream sends in the course of that call comes back with it.
 */
import type { AbortReason, Started } from "../../runtime/actor/errors.ts";

/** A JSON-RPC id as MCP allows it. */
export type RpcId = string | number;

export interface RpcRequest {
  jsonrpc: "2.0";
  id: RpcId;
  method: string;
  params?: Record<string, unknown>;
}
export interface RpcNotification {
  jsonrpc: "2.0";
  method: string;
  params?: Record<string, unknown>;
}
export interface RpcErrorObject {
  code: number;
  message: string;
  data?: unknown;
}
export interface RpcResponse {
  jsonrpc: "2.0";
  id: RpcId | null;
  result?: unknown;
  error?: RpcErrorObject;
}
export type RpcMessage = RpcRequest | RpcNotification | RpcResponse;

/** An upstream's JSON-RPC error, to be passed on to the client as it is. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: number;
  readonly data: unknown;
  constructor(error: RpcErrorObject) {
    super(error.message);
    this.code = error.code;
    this.data = error.data;
  }
}

/** How the processes or connections of an upstream are shared. */
export type Isolation = "session" | "principal" | "shared";

/** The upstream is started again and the client told, or the session ends. */
export type OwnerLossPolicy = "reinitialize" | "terminate";

/** One entry of `mcpServers`, checked and with defaults filled in. */
export interface UpstreamConfig {
  name: string;
  transport:
    | { kind: "stdio"; command: string; args: readonly string[]; env: Readonly<Record<string, string>>; cwd: string }
    | { kind: "http"; url: string; headers: Readonly<Record<string, string>> }
    /** `module` is an absolute file URL; its default export is a factory of an SDK server. */
    | { kind: "module"; module: string };
  isolation: Isolation;
  /** An upstream nobody used for this long is stopped; it starts again when needed. Milliseconds; 0 never. */
  idleStopMs: number;
  /** Most processes or connections of this upstream on one node at once. */
  maxProcesses: number;
  /** Longest wait for the handshake, milliseconds. */
  startTimeoutMs: number;
  /** When the owner of a session died and took the upstream's memory along. Default `reinitialize`. */
  onOwnerLoss?: OwnerLossPolicy;
}

/** Why a channel ended. One sentence in `detail`, fit for a log and an error message; never a secret. */
export interface ChannelClosed {
  reason: "closed" | "exited" | "crashed" | "protocol" | "network";
  detail: string;
  /** The upstream runs, but what it knew of this session is gone (HTTP 404). */
  forgotten?: true;
}

/** Ties messages to the request in whose course they were sent, where the transport can tell. */
export interface ChannelMessageInfo {
  /** Id of the upstream request whose stream or handler this message came from. */
  relatedRequestId?: RpcId;
}

/** Why one request will not be answered. */
export interface RequestLost {
  started: Started;
  detail: string;
}

/**
 * What the next owner needs to go on with a connection that outlives its owner (HTTP): plain data, stored with whoever
 * owns the connection.
 */
export interface UpstreamSession {
  sessionId: string;
  greeting: InitializeResult;
  /** Id of the last event of its standalone stream. */
  cursor?: string;
}

/** Where a module's memory is kept between its lives, and for its session's next owner. */
export interface ModuleMemory {
  /** What was saved last: JSON text. */
  readonly saved: string | undefined;
  /** Resolves when a next owner would have it; undefined: nothing it could have. Never rejects. */
  save(text: string | undefined): Promise<void>;
  /** What was saved could not be given back: the module begins empty. */
  lost(error: unknown): void;
}

/** A request on its way: under which id it was sent, and the id of the last event of its answer's stream. */
export interface SentRequest {
  id: RpcId;
  cursor: string | undefined;
}

/** One live connection to one MCP server: JSON-RPC messages in both directions, in order. */
export interface Channel {
  /** Never throws; a failure closes the channel. */
  send(message: RpcMessage, info?: ChannelMessageInfo): void;
  onmessage: ((message: RpcMessage, info: ChannelMessageInfo) => void) | undefined;
  /** Called once, also after `close`. */
  onclose: ((closed: ChannelClosed) => void) | undefined;
  /** The answer to this one request can no longer come, while the channel goes on (HTTP: its POST failed). */
  onlost?: ((id: RpcId, lost: RequestLost) => void) | undefined;
  /** The upstream asks that the client's stream of this request be closed, so that the client comes back for the rest. */
  onclosestream?: ((id: RpcId) => void) | undefined;
  /** Whether what was sent waits unread beyond the channel's bound: send no further requests now. */
  readonly congested?: boolean;
  /** Stops taking messages from the upstream until `resume`; what it sends meanwhile stays with it. */
  pause?(): void;
  resume?(): void;
  /** Tells an HTTP transport which version was negotiated. */
  setProtocolVersion?(version: string): void;
  /** Module: saves its memory as it is now. */
  save?(): Promise<void>;
  /** HTTP: what names the upstream's session, for whoever goes on with it. */
  readonly session?: { sessionId: string; cursor: string | undefined } | undefined;
  /** HTTP: the id of the last event of the stream that answers request `id`. */
  cursorOf?(id: RpcId): string | undefined;
  /** HTTP: goes on reading the stream that answers request `id`, from the event after `cursor`. */
  resumeRequest?(id: RpcId, cursor: string): void;
  /**
   * Ends it: stdin closed, then SIGTERM, then SIGKILL to the process group; or the HTTP session deleted unless `reason`
   * says that ownership moved (`fenced`, `drain`).
   */
  close(reason: AbortReason | "idle" | "ended"): Promise<void>;
}

/** What the client of the upstream says about itself in `initialize`. */
export interface Handshake {
  protocolVersion: string;
  capabilities: Record<string, unknown>;
  clientInfo: Record<string, unknown>;
}

/** What the upstream answered. */
export interface InitializeResult {
  protocolVersion: string;
  capabilities: Record<string, unknown>;
  serverInfo: Record<string, unknown>;
  instructions?: string;
}

/** What a session gives to its upstream clients. */
export interface UpstreamOwner {
  /**
   * A request from the upstream (sampling, elicitation, roots, ping). Rejecting with `RpcError` answers that error. `id`
   * is the upstream's own, where the connection outlives its owner: with it a successor may answer (`resumeQuestion`).
   */
  onRequest(
    upstream: string,
    method: string,
    params: Record<string, unknown> | undefined,
    related: number | undefined,
    signal: AbortSignal,
    id?: RpcId,
  ): Promise<unknown>;
  /**
   * A notification. For progress, `params.progressToken` is absent: the session puts its client's own token back.
   * An owner that cannot keep up returns a promise: nothing more is read from the upstream until it settles.
   */
  onNotification(
    upstream: string,
    method: string,
    params: Record<string, unknown> | undefined,
    related: number | undefined,
  ): void | Promise<void>;
  /**
   * The handshake is done; nothing is sent before the promise settles. `session`: what a successor needs to go on with
   * this connection, undefined where none can. Must not reject.
   */
  onConnected?(upstream: string, session: UpstreamSession | undefined): void | Promise<void>;
  /** Where the memory of `upstream` is kept, for a module that can save it; undefined: nowhere. */
  memory?(upstream: string): ModuleMemory | undefined;
  /** The upstream no longer knows the session that a former owner had there: a new one is begun. */
  onForgotten?(upstream: string): void;
  /**
   * A new connection is up, for the first time or again; called before requests that waited for it are sent. Requests
   * made here (log level, subscriptions) go out first. Not called where a former owner's connection goes on.
   */
  onStarted?(upstream: string, result: InitializeResult): void;
  /** The upstream wants the client's stream of that call closed, so that the client polls (SEP-1699). */
  closeStream?(upstream: string, related: number): void;
  /** The connection went away; calls in flight have been rejected. It starts again with the next request. */
  onClosed(upstream: string, closed: ChannelClosed): void;
}

/** A session's way to one upstream. Starts lazily with the first request. */
export interface UpstreamClient {
  readonly name: string;
  /** Whether a connection is up now. */
  readonly running: boolean;
  /** The answer to the handshake, once started. */
  start(): Promise<InitializeResult>;
  /**
   * One request. `related` must be unique among this client's calls in flight. `progress`: the caller asked for it.
   * Rejects with `RpcError` for an error answer, `TroupeError` for everything else (`unavailable`, with `started`).
   */
  request(
    method: string,
    params: Record<string, unknown> | undefined,
    options: { related: number; progress: boolean; timeoutMs?: number },
  ): Promise<unknown>;
  /** What a successor needs to go on with this connection as it is now; undefined where none can, or none is up. */
  readonly session?: UpstreamSession | undefined;
  /** Saves what the upstream has in memory, where it can (`ModuleMemory`). */
  save?(): Promise<void>;
  /** How a call in flight was sent; undefined where nobody else could fetch its answer. */
  sent?(related: number): SentRequest | undefined;
  /** Goes on with a request that a former owner sent: settles as `request` does. Rejects if the session is forgotten. */
  resumeRequest?(sent: SentRequest, options: { related: number }): Promise<unknown>;
  /** Answers a question that a former owner took; the signal says that the upstream no longer wants the answer. */
  resumeQuestion?(id: RpcId, answer: Promise<unknown>): AbortSignal;
  /** Sends `notifications/cancelled` for that call; its `request` promise rejects with `cancelled`. Unknown: ignored. */
  cancel(related: number, reason: string | undefined): void;
  notify(method: string, params: Record<string, unknown> | undefined): void;
  close(reason: AbortReason | "idle" | "ended"): Promise<void>;
}

/** What an upstream offers, probed once and cached, so that `initialize` need not start it. */
export interface Catalogue extends InitializeResult {
  name: string;
}
