/**
 * Time as an input. Everything that decides by time takes a `Clock`, so that simulations and tests own it.
 *
 * `now()` is monotonic milliseconds with an arbitrary origin, one origin for a whole process: worker threads are given
 * the offset between their own `performance.now()` and the I/O thread's when they start (on Deno each thread's clock
 * starts at zero). `wallNow()` is only for timestamps people read.
 */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Milliseconds since the Unix epoch; may jump. */
  wallNow(): number;
  /** Runs `callback` once after `ms`; returns what cancels it. Never keeps the process alive. */
  after(ms: number, callback: () => void): () => void;
}

/** The real clock of this thread. `offsetMs` is added to the thread's own monotonic reading. */
export function systemClock(offsetMs = 0): Clock {
  // Bound: looked up and checked once and not at every reading, which there are several of per call.
  const now = performance.now.bind(performance);
  return {
    now: () => now() + offsetMs,
    wallNow: () => Date.now(),
    after(ms, callback) {
      const timer = setTimeout(callback, ms);
      timer.unref?.();
      return () => clearTimeout(timer);
    },
  };
}
