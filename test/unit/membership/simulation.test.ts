import assert from "node:assert/strict";
import { test } from "node:test";
import type { Guard } from "../../../runtime/placement/membership.ts";
import { simulate } from "./simulation.ts";

/** `MEMBERSHIP_SEED=17` replays one run; `MEMBERSHIP_SEEDS=20000` makes more of them. */
const replay = process.env.MEMBERSHIP_SEED;
const SEEDS = Number(process.env.MEMBERSHIP_SEEDS ?? 2_000);
const seeds = replay === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(replay)];

test("under any mix of faults the membership keeps its promises", () => {
  let declared = 0;
  let rejoined = 0;
  for (const seed of seeds) {
    const outcome = simulate({ seed });
    assert.deepEqual(outcome.violations, [], `replay with MEMBERSHIP_SEED=${seed}`);
    declared += outcome.declared;
    rejoined += outcome.rejoined;
  }
  // A simulation in which nobody dies would prove nothing.
  if (replay === undefined)
    assert.ok(declared > SEEDS && rejoined > SEEDS / 4, `${declared} declared, ${rejoined} rejoined`);
});

test("a seed determines the run", () => {
  assert.deepEqual(simulate({ seed: 5 }), simulate({ seed: 5 }));
});

const unsafe = /takes? effect/;
const guards: readonly [Guard, RegExp][] = [
  ["own-deadline", unsafe],
  ["stamp-when-sent", unsafe],
  ["stamp-when-seen", unsafe],
  ["hidden-time", unsafe],
  ["observation-gaps", /after not looking/],
  ["first-sight", unsafe],
];
for (const [guard, consequence] of guards) {
  test(`without the guard "${guard}" the simulation finds a violation`, () => {
    assert.match(firstViolation([guard], 20_000) ?? "no seed showed what the guard is for", consequence);
  });
}

function firstViolation(without: readonly Guard[], most: number): string | undefined {
  for (let seed = 1; seed <= most; seed++) {
    const [violation] = simulate({ seed, without }).violations;
    if (violation !== undefined) return violation;
  }
  return undefined;
}
