/**
 * `npm run simulate`: many seeds of the simulated cluster.
 *
 *   npm run simulate -- --seeds 100000           seeds 1 to 100,000
 *   npm run simulate -- --seed 17                seed 17 alone, with its trace where it fails
 *   npm run simulate -- --from 5000 --seeds 100  seeds 5,000 to 5,099
 *   npm run simulate -- --without lease          with that guard taken away: it has to fail
 *
 * Prints the first seed that breaks a promise with the end of its trace, and exits with 1.
 */
import { parseArgs } from "node:util";
import { GUARDS, type Guard, simulate } from "./simulation.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    without: { type: "string", multiple: true, default: [] },
    trace: { type: "boolean", default: false },
  },
});
const without = values.without.map((name): Guard => {
  const guard = GUARDS.find((known) => known === name);
  if (guard === undefined) {
    console.error(`--without ${name}: there is no such guard; the guards are ${GUARDS.join(", ")}`);
    process.exit(2);
  }
  return guard;
});
const first = Number(values.seed ?? values.from);
const count = values.seed === undefined ? Number(values.seeds) : 1;
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || count < 1) {
  console.error("--seed, --from and --seeds must be whole numbers");
  process.exit(2);
}

const started = performance.now();
let events = 0;
let succeeded = 0;
let failed = 0;
let faults = 0;
let handovers = 0;
for (let seed = first; seed < first + count; seed++) {
  const outcome = await simulate({ seed, without });
  events += outcome.events;
  succeeded += outcome.succeeded;
  failed += outcome.failed;
  faults += outcome.faults;
  handovers += outcome.handovers;
  if (outcome.violations.length > 0 || values.trace) {
    const replay = await simulate({ seed, without, trace: true });
    console.log(replay.tail.join("\n"));
    for (const violation of replay.violations) console.log(`seed ${seed}: ${violation}`);
    if (replay.trace !== outcome.trace)
      console.log(`seed ${seed} is not deterministic: ${outcome.trace} and ${replay.trace}`);
    const flags = without.map((guard) => ` --without ${guard}`).join("");
    console.log(`replay with: npm run simulate -- --seed ${seed}${flags}`);
    if (outcome.violations.length > 0) process.exit(1);
  }
  if ((seed - first + 1) % 1_000 === 0) console.log(`${seed - first + 1} seeds, nothing found`);
}
const seconds = (performance.now() - started) / 1_000;
console.log(
  `seeds ${first} to ${first + count - 1}: no promise broken; ${faults} faults, ${handovers} moves, ${succeeded} calls answered, ` +
    `${failed} failed honestly, ${events} events, ${seconds.toFixed(1)} s`,
);
