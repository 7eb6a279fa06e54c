/**
 * Judges from a counter, which a worker's loop bumps, whether the worker still turns.
 *
 * Silence is added up from the looks themselves, and each look adds at most `MAX_STEP_LOOKS` intervals: a process that
 * was suspended suspends its workers too, so the time it slept says nothing about them.
 */

export interface WatchdogLimits {
  /** How often the counter is bumped and looked at, milliseconds. Default 250. */
  intervalMs: number;
  /** Silence that is reported. Default 5,000. */
  warnMs: number;
  /** Silence that ends the worker. Default 15,000; `Infinity` under a debugger. */
  endMs: number;
  /** Time a new worker has to give its first sign of life and to finish `init`. Default 60,000. */
  startMs: number;
}

export const DEFAULT_WATCHDOG: WatchdogLimits = { intervalMs: 250, warnMs: 5_000, endMs: 15_000, startMs: 60_000 };

/** `warn` is said once per silence. */
export type Verdict = "alive" | "silent" | "warn" | "end";

const MAX_STEP_LOOKS = 2;

export class Watchdog {
  readonly #limits: WatchdogLimits;
  #count = 0;
  #lookedAt: number;
  #silentMs = 0;
  #warned = false;

  constructor(limits: WatchdogLimits, nowMs: number) {
    this.#limits = limits;
    this.#lookedAt = nowMs;
  }

  /** How long the worker has been silent, milliseconds. */
  get silentMs(): number {
    return this.#silentMs;
  }

  /** Looks at the counter. `started`: whether the worker finished starting; until then `startMs` is its only limit. */
  look(count: number, nowMs: number, started: boolean): Verdict {
    const { intervalMs, warnMs, endMs, startMs } = this.#limits;
    const step = Math.min(nowMs - this.#lookedAt, intervalMs * MAX_STEP_LOOKS);
    this.#lookedAt = nowMs;
    // While starting, a beating loop is no excuse: `init` may wait for something that never comes.
    if (started && count !== this.#count) {
      this.#count = count;
      this.#silentMs = 0;
      this.#warned = false;
      return "alive";
    }
    this.#silentMs += step;
    if (!started) return this.#silentMs >= startMs ? "end" : "alive";
    if (this.#silentMs >= endMs) return "end";
    if (this.#silentMs < warnMs) return "silent";
    if (this.#warned) return "silent";
    this.#warned = true;
    return "warn";
  }
}
