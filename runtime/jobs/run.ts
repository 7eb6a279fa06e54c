/**
 * One attempt of a job in this process: its handler, its signal, its progress, and what came of it. The same on every
 * store; what the outcome means for the stored job is the store's matter.
 */
import type { Clock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import { FinalJobError, type Job, type JobHandler } from "./contract.ts";
import { jsonOf, MAX_ERROR_LENGTH, MAX_PROGRESS_BYTES, MAX_RESULT_BYTES } from "./rules.ts";

/** Why a running handler is told to stop. */
export type StopReason = "cancelled" | "drain" | "fenced";

export type Outcome =
  /** `result` is JSON. */
  | { kind: "completed"; result: string }
  | { kind: "cancelled" }
  /** Its worker shuts down; the attempt does not count. */
  | { kind: "given-back" }
  /** Somebody else runs it by now. */
  | { kind: "lost" }
  | { kind: "failed"; error: string; final: boolean };

/** One reported progress. `n` counts within the attempt; `value` is JSON. */
export interface Progress {
  n: number;
  value: string;
}

/** Progress of one attempt on its way to the store; beyond it values are skipped. */
const MAX_PROGRESS_WAITING = 64;
/** After its signal fired with `draining`, how long a handler may take to end. */
const LAST_WORD_MS = 2_000;
/** Default of `graceMs`. */
export const DEFAULT_GRACE_MS = 5_000;

const CODES = { cancelled: "cancelled", drain: "draining", fenced: "fenced" } as const;

export class JobRun {
  readonly job: Job<unknown>;
  /** Settles, never rejects. */
  readonly outcome: Promise<Outcome>;
  readonly #controller = new AbortController();
  readonly #store: (progress: Progress) => Promise<void>;
  #stopped: StopReason | null = null;
  #ended = false;
  #reported = 0;
  #waiting = 0;

  /** Starts the handler in a later microtask. */
  constructor(
    job: Job<unknown>,
    handler: JobHandler<unknown, unknown>,
    store: (progress: Progress) => Promise<void>,
    before: Promise<void> = Promise.resolve(),
  ) {
    this.job = job;
    this.#store = store;
    this.outcome = this.#run(handler, before);
  }

  /** Fires the handler's signal. The first reason stands, but losing the job overrides what was asked before. */
  stop(reason: StopReason): void {
    if (this.#ended || (this.#stopped !== null && reason !== "fenced")) return;
    this.#stopped = reason;
    const message = `job ${this.job.id}: attempt ${this.job.attempt} was stopped (${reason})`;
    this.#controller.abort(new TroupeError(CODES[reason], message, { started: "yes", data: { reason } }));
  }

  async #run(handler: JobHandler<unknown, unknown>, before: Promise<void>): Promise<Outcome> {
    const outcome = await this.#settle(handler, before);
    this.#ended = true;
    return this.#stopped === "fenced" ? { kind: "lost" } : outcome;
  }

  async #settle(handler: JobHandler<unknown, unknown>, before: Promise<void>): Promise<Outcome> {
    let result: unknown;
    try {
      await before;
      const { signal } = this.#controller;
      // Told to stop before it began.
      signal.throwIfAborted();
      result = await handler(this.job, { signal, progress: (value) => this.#progress(value) });
    } catch (error) {
      if (this.#stopped === "cancelled") return { kind: "cancelled" };
      if (this.#stopped === "drain") return { kind: "given-back" };
      return { kind: "failed", error: textOf(error), final: error instanceof FinalJobError };
    }
    try {
      return { kind: "completed", result: jsonOf(result, `${this.job.name}: result`, MAX_RESULT_BYTES) };
    } catch (error) {
      // Another attempt would do the same work for the same result.
      return { kind: "failed", error: textOf(error), final: true };
    }
  }

  async #progressStored(progress: Progress): Promise<void> {
    this.#waiting += 1;
    try {
      await this.#store(progress);
    } finally {
      this.#waiting -= 1;
    }
  }

  #progress(value: unknown): Promise<void> {
    const json = jsonOf(value, `${this.job.name}: progress`, MAX_PROGRESS_BYTES);
    if (this.#ended || this.#stopped === "fenced" || this.#waiting >= MAX_PROGRESS_WAITING) return Promise.resolve();
    this.#reported += 1;
    return this.#progressStored({ n: this.#reported, value: json }).catch(() => {});
  }
}

/**
 * Lets runs end: first by themselves within `graceMs`, then told that the worker shuts down. Answers those that still go
 * on after that.
 */
export async function drainRuns(runs: Iterable<JobRun>, clock: Clock, graceMs: number): Promise<JobRun[]> {
  const left = new Set(runs);
  for (const run of left) void run.outcome.then(() => left.delete(run));
  await settled(left, clock, graceMs);
  for (const run of left) run.stop("drain");
  await settled(left, clock, LAST_WORD_MS);
  return [...left];
}

async function settled(runs: ReadonlySet<JobRun>, clock: Clock, ms: number): Promise<void> {
  if (runs.size === 0 || ms === 0) return;
  let cancel = (): void => {};
  const late = new Promise<void>((resolve) => {
    cancel = clock.after(ms, resolve);
  });
  await Promise.race([Promise.all([...runs].map(({ outcome }) => outcome)), late]);
  cancel();
}

function textOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.length <= MAX_ERROR_LENGTH ? text : `${text.slice(0, MAX_ERROR_LENGTH - 1)}…`;
}
