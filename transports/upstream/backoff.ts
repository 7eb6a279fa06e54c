/**
 * When an upstream that failed may be started again: 250 ms after the first failure, then twice as long after each, at
 * most 30 s. A connection that stayed up for 30 s clears the record.
 */
const FIRST_MS = 250;
const LONGEST_MS = 30_000;
const HEALTHY_MS = 30_000;

export class CrashBackoff {
  #failures = 0;
  #retryAt = Number.NEGATIVE_INFINITY;

  /** Milliseconds until it may be started; 0: now. */
  waitMs(now: number): number {
    return Math.max(0, this.#retryAt - now);
  }

  /** It failed after having been up for `upMs` (0: it never was). */
  failed(now: number, upMs: number): void {
    if (upMs >= HEALTHY_MS) this.#failures = 0;
    this.#retryAt = now + Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
  }
}
