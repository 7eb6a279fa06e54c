/**
 * What happened in a chaos run, as those who saw it wrote it down: clients each their own requests and events, the
 * upstream what it executed, the proxy which node had each request, the run its faults. Times are milliseconds of one
 * monotonic clock, that of the run's process; the checker (checker.ts) reads nothing else.
 */

export type Started = "no" | "yes" | "unknown";

/** How a call ended for its client. */
export type End =
  /** A response; `correct`: the one that belongs to the call. `task`: what it was given instead of a result. */
  | { how: "answered"; correct: boolean; task?: string }
  /** A JSON-RPC error of Troupe that says whether the call was started. */
  | { how: "refused"; started: Started }
  /** The client cancelled, and the stream ended without a response. */
  | { how: "cancelled" }
  /** The connection broke, and there was nothing to resume by. */
  | { how: "broken" }
  /** `status` says that the stream cannot be resumed, or the session is not there. */
  | { how: "denied"; status: number }
  /** The client gave up. */
  | { how: "timeout" };

export interface CallRecord {
  kind: "call";
  session: string;
  /** Unique in the run; the upstream records it when it executes. */
  call: string;
  /** Whether the tool says that it may be executed again. */
  idempotent: boolean;
  /** Whether the upstream records its executions. */
  recorded: boolean;
  /** Milliseconds that the tool itself takes. */
  takesMs: number;
  at: number;
  endedAt: number | undefined;
  end: End | undefined;
  /** Names of its HTTP requests, as the proxy logged them; also resumes, a cancel, answers to what it asked. */
  requests: string[];
}

/** One event that a client read, or a connection's beginning. */
export type StreamRecord =
  /** A connection that continues after `after`, or a new stream (`""`). */
  | { kind: "connected"; session: string; connection: string; after: string; at: number }
  | { kind: "event"; session: string; connection: string; id: string; data: string; at: number };

/** A status that a request for a session was answered with. */
export interface StatusRecord {
  kind: "status";
  session: string;
  at: number;
  status: number;
  /** Of a DELETE, its name: the proxy repeats one whose node died, and the first node may have carried it out. */
  request?: string;
}

/** The life of a session as its client knows it. */
export type LifeRecord =
  | { kind: "opened"; session: string; at: number }
  /** The DELETE was acknowledged. */
  | { kind: "deleted"; session: string; at: number };

/** A task that its client was told of. */
export interface TaskRecord {
  kind: "task";
  session: string;
  /** The call that made it. */
  call: string;
  task: string;
  /**
   * Whether what works on it has a memory of its own, which outlives every node. Not where it asks something: its server
   * gives no event ids, so a question that was on its way at a node's death is lost.
   */
  remembered: boolean;
  at: number;
  /** What it was said to be, one after another; `unknown`: the session has no such task. */
  seen: string[];
  /** Texts of its results, or the codes of its errors. */
  results: string[];
  /** When its client had its last result. */
  endedAt: number | undefined;
}

export type Entry = CallRecord | StreamRecord | StatusRecord | LifeRecord | TaskRecord;

export interface Fault {
  what: string;
  /** Nodes that could not serve their sockets meanwhile. */
  nodes: number[];
  /** What any call may be held up by, beside the time that detection takes. */
  holdsUpMs: number;
  from: number;
  /** When everything was whole again; undefined while it is not. */
  until: number | undefined;
}

export interface History {
  records: Entry[];
  faults: Fault[];
  /** Calls the upstreams executed, by call: how often. */
  executions: ReadonlyMap<string, number>;
  /** When the machine kept this very process waiting, and for how long: it had the nodes waiting too. */
  stalls: readonly { at: number; ms: number }[];
  /** Which nodes were given a request, by its name, the last one last. */
  routes: ReadonlyMap<string, number[]>;
}
