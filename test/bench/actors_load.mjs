/**
 * The load every system of the actor benchmark gets, so that they are compared under the same one: `inFlight` callers,
 * each with one call under way; or one caller, whose calls are timed.
 */

/** Bytes of an argument and of an answer. */
export const PAYLOAD = "x".repeat(200);
/** Actors that are called. */
export const TARGETS = 64;
/** A caller lets the event loop run after that many answers: without sockets nothing else would, and a node whose loop does not turn refuses work. */
const BREATHE = 16;

/**
 * `targets[i](PAYLOAD)` is one call of actor `i`. Answers the calls that were answered within the time, and how long that
 * was. A timer ends it: a look at the clock with every call would be a tenth of what the cheapest calls cost.
 */
export async function flood(targets, seconds, inFlight) {
  const begin = performance.now();
  let took;
  setTimeout(() => {
    took = performance.now() - begin;
  }, seconds * 1000);
  let calls = 0;
  const caller = async (call) => {
    for (let made = 1; ; made++) {
      await call(PAYLOAD);
      if (took !== undefined) return;
      calls++;
      if (made % BREATHE === 0) await new Promise(setImmediate);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, index) => caller(targets[index % targets.length])));
  return { calls, seconds: took / 1000 };
}

/** One call after the other, in turn over the targets. Times in microseconds. */
export async function sequence(targets, seconds) {
  const times = [];
  const begin = performance.now();
  let now = begin;
  while (now < begin + seconds * 1000) {
    await targets[times.length % targets.length](PAYLOAD);
    const after = performance.now();
    times.push((after - now) * 1000);
    now = after;
  }
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor(times.length * share)];
  return { calls: times.length, seconds, p50: at(0.5), p99: at(0.99) };
}

/** Throws unless every target answers what it was sent. */
export async function check(targets) {
  for (const call of targets) {
    if ((await call(PAYLOAD)) !== PAYLOAD) throw new Error("an echo answered something else");
  }
}
