/**
 * A durable job queue: work that may wait, is tried again when it fails, and outlives the one who asked for it.
 *
 * For background work only. A call of an actor is answered in microseconds and never goes through here; a job costs
 * several commands of the store. What belongs here: sending a mail, refreshing an index, a sweep at night.
 *
 * ## What is promised
 * - **At least once.** A job whose `add` was acknowledged is handed to a handler until one attempt succeeds, its attempts
 *   are spent, or it is cancelled. It can be run twice: a worker that finished and died before it could say so, or one
 *   that was frozen for longer than its lock, is followed by another. So a handler must be *idempotent*: `job.id` is the
 *   same in every attempt, and is what to hand to the outside as an idempotency key.
 * - **Order.** Jobs of one name start in the order they were added. With `concurrency` 1 on one worker they also end in
 *   that order; delays and retries take a job out of it.
 * - **Attempts.** An attempt ends when the handler settles, and also when its worker dies; both count, so a job that kills
 *   its worker is not handed on for ever. After the last one the job is *dead*: it stays in the dead-letter list until
 *   `retryDead` or `cancel`. Work that was given back because its worker shut down does not count.
 * - **One per key.** While a job with that key is known (waiting, delayed, running, dead, or completed less than `keepMs`
 *   ago), adding another answers `added: false` and changes nothing. So an `add` with an unknown outcome may be repeated.
 * - **Cancel.** A job that does not run is removed at once. One that runs is told through its signal, on whatever node;
 *   the request is stored, so it also holds when that worker dies. A cancelled job is forgotten; its key is free again.
 *   A handler that finishes its work all the same has completed.
 * - **Progress** is seen in order. A slow watcher may miss values in between, and never the end.
 *
 * ## What is not promised
 * On `single_node` jobs live as long as the process, with `cluster.dir` as long as the folder. On Redis they are as durable as its persistence and replication: a
 * store that comes back empty has no jobs, and unlike actors nobody writes them back. Delays are measured with the clocks
 * of adder and worker on Redis; they must agree.
 *
 * ## A handler
 * Runs on the thread that called `process`. It should end soon after its signal fires; `signal.reason` is a
 * `TroupeError`: `cancelled`, `draining` (the worker shuts down: throw, and the job is given back), or `fenced` (the lock
 * was lost: somebody else runs the job by now). What it returns must be plain JSON. Throw `FinalJobError` where trying
 * again makes no sense.
 *
 * ## Faults
 * - *A worker dies or freezes.* Its lock lapses after `lockMs` and the job is handed to another within two more.
 * - *The store is away.* Every verb throws `store_unavailable`, saying whether it may have taken effect. Running handlers
 *   go on, and their outcome is stored when the connection is back; if their lock lapsed meanwhile, the job runs again.
 *
 * ## Bounds (`rules.ts` has the numbers)
 * Data, results and progress have a size; a name has a number of unfinished, dead and kept completed jobs. Unfinished ones
 * beyond it are refused with `overloaded`; of the other two the oldest are dropped.
 */

/** What a job is about. Only a type. */
declare const jobTypes: unique symbol;
/** Names a job: `name/key`. One that came from a definition knows its types; plain text does as well where it must. */
export type JobId<Data = unknown, Result = unknown> = string & {
  readonly [jobTypes]?: { data: Data; result: Result };
};

/** How long to wait before attempt n+1. `exponential` doubles with each failure. At most a day. */
export interface Backoff {
  kind: "fixed" | "exponential";
  delayMs: number;
}

export interface JobOptions {
  /** Not before that much time has passed. Default 0, at most 14 days. */
  delayMs?: number;
  /** How often it is tried at most, 1 to 100. Default 3. */
  attempts?: number;
  /** Default: exponential from one second. */
  backoff?: Backoff;
  /** How long its result can be read, at most a day. Default an hour. */
  keepMs?: number;
}

export interface AddOptions extends JobOptions {
  /** Names the job within its definition. Letters, digits and `. _ : / @ = + -`, at most 128. Default a random one. */
  key?: string;
}

/** A kind of job: its name, its types, and how its jobs are treated unless `add` says otherwise. */
export interface JobDefinition<Data, Result> {
  readonly name: string;
  readonly defaults: Readonly<JobOptions>;
  /** Never there; carries the types. */
  readonly [jobTypes]?: { data: Data; result: Result };
}

export type JobState = "waiting" | "delayed" | "active" | "completed" | "dead";

export interface JobInfo<Data = unknown, Result = unknown> {
  id: JobId<Data, Result>;
  name: string;
  key: string;
  data: Data;
  state: JobState;
  /** Attempts begun since it was added, or since `retryDead`. */
  attempt: number;
  attempts: number;
  /** The last progress that was stored, or null. */
  progress: unknown;
  /** When completed. */
  result: Result | null;
  /** When dead; while it is tried again, why the last attempt failed where that is known. */
  error: string | null;
  /** Wall clock milliseconds. */
  addedAt: number;
  finishedAt: number | null;
}

/** What a handler is given. */
export interface Job<Data> {
  readonly id: JobId;
  readonly name: string;
  readonly key: string;
  readonly data: Data;
  /** 1 at first. */
  readonly attempt: number;
  readonly attempts: number;
  /** Wall clock milliseconds. */
  readonly addedAt: number;
}

export interface JobContext {
  readonly signal: AbortSignal;
  /**
   * Tells how far the work is. Throws when the value is not JSON or too large. The promise settles when the value was
   * stored or given up (store away, too many waiting); it never rejects, so it need not be awaited.
   */
  progress(value: unknown): Promise<void>;
}

export type JobHandler<Data, Result> = (job: Job<Data>, context: JobContext) => Promise<Result> | Result;

export interface ProcessOptions {
  /** Jobs at once, 1 to 1,000. Default 1. */
  concurrency?: number;
}

export interface StopOptions {
  /** How long handlers get to finish before their signal fires with `draining`. Default 5,000. */
  graceMs?: number;
}

/** Takes no more jobs, lets the running ones end, and gives back those that do not. */
export type StopProcessing = (options?: StopOptions) => Promise<void>;

/** The last three end the stream. */
export type JobEvent<Result = unknown> =
  | { type: "progress"; attempt: number; value: unknown }
  | { type: "completed"; result: Result }
  | { type: "dead"; error: string }
  | { type: "cancelled" };

export interface WatchOptions {
  signal?: AbortSignal;
}

export interface DeadOptions {
  limit?: number;
  definition?: { readonly name: string };
}

export interface JobCounts {
  waiting: number;
  delayed: number;
  active: number;
  dead: number;
}

export type CancelOutcome =
  /** It is gone and will not run. */
  | "cancelled"
  /** It runs; its handler is told. */
  | "cancelling"
  /** It completed. */
  | "finished"
  | "not-found";

export interface JobQueue {
  /** Resolves when the job is stored. Throws `invalid_argument`, `too_large`, `overloaded`, `store_unavailable`. */
  add<Data, Result>(
    definition: JobDefinition<Data, Result>,
    data: Data,
    options?: AddOptions,
  ): Promise<{ id: JobId<Data, Result>; added: boolean }>;
  /** Hands jobs of that definition to `handler` from now on. One handler per definition and queue. */
  process<Data, Result>(
    definition: JobDefinition<Data, Result>,
    handler: JobHandler<Data, Result>,
    options?: ProcessOptions,
  ): StopProcessing;
  /** `null`: never added, cancelled, or completed longer than `keepMs` ago. */
  get<Data = unknown, Result = unknown>(id: JobId<Data, Result> | string): Promise<JobInfo<Data, Result> | null>;
  cancel(id: string): Promise<CancelOutcome>;
  /**
   * The last progress, what follows, and how it ends. Throws `not_found` for a job that is not known; ends with an
   * error when `signal` fires (its reason) or the queue closes (`draining`).
   */
  watch<Data = unknown, Result = unknown>(
    id: JobId<Data, Result> | string,
    options?: WatchOptions,
  ): AsyncGenerator<JobEvent<Result>, void, void>;
  /** Dead jobs, the latest first; of one definition, or of all. `limit` is 1 to 1,000, default 100. */
  dead(options?: DeadOptions): Promise<JobInfo[]>;
  /** Gives a dead job all its attempts again. `false`: it is not dead. */
  retryDead(id: string): Promise<boolean>;
  /** Of one definition, or of all. */
  counts(definition?: { readonly name: string }): Promise<JobCounts>;
  /** Stops every handler, ends every watch, and lets go of the store. */
  close(options?: StopOptions): Promise<void>;
}

/** Thrown by a handler: trying again makes no sense, the job is dead at once. */
export class FinalJobError extends Error {
  override readonly name = "FinalJobError";
}
