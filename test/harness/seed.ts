/**
 * One seed for everything that a test leaves to chance. It is printed, and `TROUPE_SEED` brings it back, so a failing
 * run can be played again (as far as the operating system's scheduling allows).
 */

/** Uniform numbers in [0, 1), the same ones for the same seed. */
export type Random = () => number;

/** The seed of this run: `TROUPE_SEED`, or a new one. Printed once per use under `what`. */
export function seedOf(what: string): number {
  const given = process.env.TROUPE_SEED;
  const seed = given === undefined || given === "" ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  if (!Number.isSafeInteger(seed)) throw new Error(`TROUPE_SEED must be a whole number, got "${given}"`);
  console.log(`# ${what}: seed ${seed} (TROUPE_SEED=${seed} repeats it)`);
  return seed;
}

/** Mulberry32: small, fast, and good enough to choose replicas with. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One of `count` places. */
export function chooseIndex(random: Random, count: number): number {
  return Math.min(count - 1, Math.floor(random() * count));
}
