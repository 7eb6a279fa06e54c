/**
 * Who holds a lease and who waits for it: the decisions of the lease actor, without turns and without a store.
 *
 * A line has at most one holder and a bounded first-in-first-out queue. Time is the activation's own clock. While a
 * grant is being stored the line is held (`until` is infinite), so nobody else can be let in before its outcome is known.
 */

/** What is stored of a grant. The time that is left is not: a new activation counts the whole `ttlMs` again. */
export interface StoredGrant {
  holder: string;
  fence: number;
  /** The longest life the holder was ever told, milliseconds. */
  ttlMs: number;
}

/** Somebody who waits. Its turn is still open; settling it answers the call. */
export interface Waiter {
  readonly holder: string;
  readonly ttlMs: number;
  /** Its caller has gone: it must not be granted anything. */
  gone: boolean;
  grant(fence: number, ttlMs: number): void;
  fail(error: unknown): void;
}

/** Callers that may wait for one lease. */
export const MAX_WAITERS = 1_000;

export class LeaseLine {
  /** When the present grant lapses, on the activation's clock. */
  until = 0;
  /** Cancels the timer that watches `until`; it runs only while somebody waits. */
  stopTimer: (() => void) | undefined;
  readonly #waiters: Waiter[] = [];

  /** Whether a grant is on its way to the store: its outcome is not known. */
  get storing(): boolean {
    return this.until === Number.POSITIVE_INFINITY;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** False: the queue is full. */
  join(waiter: Waiter): boolean {
    if (this.#waiters.length >= MAX_WAITERS) return false;
    this.#waiters.push(waiter);
    return true;
  }

  /** It no longer waits; the others keep their order. */
  leave(waiter: Waiter): void {
    waiter.gone = true;
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
  }

  /** Whoever came first. */
  next(): Waiter | undefined {
    return this.#waiters.shift();
  }

  /** Takes out everybody who waits under the name of `holder`: it asked again because an answer was lost. */
  takeAll(holder: string): Waiter[] {
    const taken = this.#waiters.filter((waiter) => waiter.holder === holder);
    for (const waiter of taken) this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
    return taken;
  }
}
