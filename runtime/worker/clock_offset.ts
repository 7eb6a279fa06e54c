/**
 * Aligns a worker's clock with the I/O thread's.
 *
 * Each thread's `performance.now()` may start at zero when the thread starts (on Deno it does). A worker asks the I/O
 * thread for its time; the answer was read after the question was sent, so `answer - sent` is never less than the true
 * offset, and an aligned clock never runs behind the I/O thread's. That is the safe side: a worker may stop a little
 * before its lease ends, never after. Each round's error is at most its own round trip, so the smallest of several
 * rounds is taken; one of them being slow costs nothing.
 */

/** Rounds before settling for what there is. */
const MAX_ROUNDS = 20;
/** Rounds always made. */
const MIN_ROUNDS = 3;
/** A round trip this short, milliseconds, is good enough to stop. */
const GOOD_ROUND_TRIP_MS = 2;

/**
 * What to add to `now()` to get the time that `ask` reads, rounded up by at most the shortest round trip. Rejects when
 * `ask` does.
 */
export async function clockOffset(now: () => number, ask: () => Promise<number>): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  let shortest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (round >= MIN_ROUNDS && shortest <= GOOD_ROUND_TRIP_MS) break;
    const sent = now();
    const answer = await ask();
    shortest = Math.min(shortest, now() - sent);
    best = Math.min(best, answer - sent);
  }
  return best;
}
