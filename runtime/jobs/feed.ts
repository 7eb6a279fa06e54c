/**
 * What one watcher has yet to read about a job: bounded, in order, and with the end never dropped. A watcher that does
 * not read loses the oldest progress.
 */
import type { JobEvent, JobInfo } from "./contract.ts";

const MAX_UNREAD = 256;

/** Which report of which attempt; `start` grows with every start of the job. */
export interface ProgressMark {
  start: number;
  n: number;
}

export class JobFeed {
  readonly #unread: JobEvent[] = [];
  #last: ProgressMark = { start: 0, n: 0 };
  #ended = false;
  #failure: { error: unknown } | null = null;
  #wake: (() => void) | null = null;

  /** Ignores what is not newer than what it has: a repetition, or word from an attempt that was given up. */
  progress(mark: ProgressMark, attempt: number, value: unknown): void {
    const { start, n } = this.#last;
    if (this.#ended || mark.start < start || (mark.start === start && mark.n <= n)) return;
    this.#last = mark;
    if (this.#unread.length >= MAX_UNREAD) this.#unread.shift();
    this.#unread.push({ type: "progress", attempt, value });
    this.#wake?.();
  }

  /** The last event. */
  end(event: JobEvent): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unread.push(event);
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
  }

  /** The next event; null when `pause` settles first. Throws what it failed with. One reader at a time. */
  async next(pause?: Promise<void>): Promise<JobEvent | null> {
    let paused = false;
    void pause?.then(() => {
      paused = true;
      this.#wake?.();
    });
    for (;;) {
      if (this.#failure !== null) throw this.#failure.error;
      const event = this.#unread.shift();
      if (event !== undefined) return event;
      if (paused) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }
}

/** The event that ends the watching of a job in this state, or null. */
export function endOf({ state, result, error }: JobInfo): JobEvent | null {
  if (state === "completed") return { type: "completed", result };
  if (state === "dead") return { type: "dead", error: error ?? "" };
  return null;
}
