/**
 * The proof that the simulation finds mistakes: each guard is taken away in turn, and a seed must show what it is for.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GUARDS, type Guard, type Sort, simulate } from "./simulation.ts";

/** Within how many seeds each guard must be missed. */
const MOST_SEEDS = 500;

/** What must be found without each guard. */
const CONSEQUENCES: Record<(typeof GUARDS)[number], RegExp> = {
  lease: /after a later owner took effect/,
  "commit-fence": /accepted after a later claim|after a later owner took effect|does not build on/,
  "frame-incarnation": /starts after its call|got the answer of|never ran|settled twice|calls on record|stream/,
  "declared-death": /after a later owner took effect|does not see/,
  settling: /after a later owner took effect/,
  "operation-ids": /because of its own first try|was made once/,
  "redirect-order": /starts after its call/,
  "bulk-placeholder": /starts after its call|was due/,
  "dedup-ring": /runs twice in one activation|is there twice/,
};

/** Faults to which a guard answers; where none are named, any. */
const FAULTS: Partial<Record<Guard, readonly Sort[]>> = {
  "commit-fence": ["freeze"],
  "redirect-order": ["cut"],
};

for (const guard of GUARDS) {
  test(`without the guard "${guard}" a promise is broken`, async () => {
    const others = new Set<string>();
    for (let seed = 1; seed <= MOST_SEEDS; seed++) {
      const [violation] = (await simulate({ seed, without: [guard], sorts: FAULTS[guard] })).violations;
      if (violation === undefined) continue;
      if (CONSEQUENCES[guard].test(violation)) return;
      others.add(violation);
    }
    assert.fail(`not within ${MOST_SEEDS} seeds; what was found: ${[...others].join("; ") || "nothing"}`);
  });
}
