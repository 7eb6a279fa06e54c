/** What passes between a session and a shared upstream's actor: plain data, for they may be on different threads. */
import type { ChannelClosed, InitializeResult, RpcErrorObject } from "../../transports/upstream/contract.ts";

type Params = Record<string, unknown> | undefined;

/** From the actor to an attached session, in order. `related` is the session's own number of its call. */
export type SharedEvent =
  /** The first one: the upstream is up. */
  | { kind: "attached"; result: InitializeResult }
  /** To be answered with `respond`, unless `abort` comes for the same id. */
  | { kind: "request"; id: number; method: string; params: Params; related: number | undefined }
  | { kind: "abort"; id: number; reason: string }
  | { kind: "notification"; method: string; params: Params; related: number | undefined }
  | { kind: "closeStream"; related: number }
  /** The last one: the connection is gone. */
  | { kind: "closed"; closed: ChannelClosed };

/** A JSON-RPC answer, in either direction. An error of the upstream is an answer, not a failed call. */
export type Answer = { result: unknown } | { error: RpcErrorObject };

/** For `/servers/{name}/replicas`. */
export interface ReplicaStats {
  node: string;
  /** Whether any connection to the upstream is up or starting on this node. */
  running: boolean;
  /** Connections on this node, of all sessions together. */
  processes: number;
  /** Sessions attached to the shared connection; for other isolations, sessions with a connection. */
  sessions: number;
  /** Connections that failed since the node started. */
  restarts: number;
  lastError: string | null;
}
