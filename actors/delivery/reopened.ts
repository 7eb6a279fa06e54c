/**
 * A stream that outlives the activation it comes from: when it breaks because a node, worker or link went away, it is
 * opened again, and the consumer is told by a new `opening` number.
 *
 * What was sent between two openings is lost to this consumer; only its kind of stream knows how to make up for that (a
 * fresh snapshot, a gap marker, a repeated registration), so every item says which opening it came from.
 */
import type { Clock } from "../../runtime/actor/clock.ts";
import { type ErrorCode, TroupeError } from "../../runtime/actor/errors.ts";

/** Failures that say nothing about the request: the same one may succeed a moment later, somewhere else. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "caller_died",
  "deadline_exceeded",
  "disconnected",
  "draining",
  "fenced",
  "overloaded",
  "store_reset",
  "store_unavailable",
  "stream_failed",
  "unavailable",
]);

/** Whether trying again makes sense, for a request that may run twice. */
export function isPassing(error: unknown): error is TroupeError {
  return TroupeError.is(error) && PASSING.has(error.code);
}

/** Pauses between attempts: doubling from the first to the last, milliseconds. Spread by chance over half of it. */
const FIRST_PAUSE_MS = 20;
const LAST_PAUSE_MS = 1_000;

/** Waits before attempt `attempt` (from 1), at least as long as `error` asks for; at once when `signal` fires. */
export function pause(clock: Clock, attempt: number, error: unknown, signal: AbortSignal): Promise<void> {
  const wanted = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt - 1, 10));
  const asked = TroupeError.is(error) ? (error.retryAfterMs ?? 0) : 0;
  return elapsed(clock, Math.max(asked, wanted / 2 + (Math.random() * wanted) / 2), signal);
}

/** Resolves after `ms`, or when `signal` fires. */
export function elapsed(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const over = (): void => {
      stop();
      signal.removeEventListener("abort", over);
      resolve();
    };
    const stop = clock.after(ms, over);
    signal.addEventListener("abort", over);
  });
}

export interface Reopened<T> {
  /** 0 for the first, growing by one with each time it was opened again. */
  opening: number;
  item: T;
}

/**
 * Ends when a stream ends in order, or `signal` fires; throws what is not passing. `open` must make its stream end with
 * `signal` too.
 */
export async function* reopened<T>(
  open: () => AsyncIterable<T>,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<Reopened<T>> {
  let attempt = 0;
  for (let opening = 0; !signal.aborted; opening++) {
    let failure: unknown;
    try {
      for await (const item of open()) {
        attempt = 0;
        yield { opening, item };
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
      failure = error;
    }
    await pause(clock, ++attempt, failure, signal);
  }
}

/** Resolves when `signal` fires. */
export function fired(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
