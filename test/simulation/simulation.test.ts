/**
 * Seeds of the simulated cluster in which every promise must hold; `npm run simulate -- --seeds 100000` runs more. That
 * it would find mistakes is shown in `mutations.test.ts`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { simulate } from "./simulation.ts";

/** About half a minute on two busy cores. */
const SEEDS = "Deno" in globalThis ? 100 : 300;

test("no promise is broken under any mix of faults", async () => {
  let faults = 0;
  let answered = 0;
  let failed = 0;
  let handovers = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const outcome = await simulate({ seed });
    assert.deepEqual(outcome.violations, [], `replay with: npm run simulate -- --seed ${seed}`);
    faults += outcome.faults;
    answered += outcome.succeeded;
    failed += outcome.failed;
    handovers += outcome.handovers;
  }
  // A simulation in which nothing goes wrong, or nothing gets through, would prove nothing.
  const enough = faults > SEEDS && answered > 50 * SEEDS && failed > 5 * SEEDS && handovers > SEEDS;
  assert.ok(enough, `${faults} faults, ${answered} answered, ${failed} failed, ${handovers} moves`);
});

test("a seed determines the run, event for event", async () => {
  for (const seed of [3, 17, 70, 300]) {
    const once = await simulate({ seed });
    assert.deepEqual(await simulate({ seed }), once);
  }
});
