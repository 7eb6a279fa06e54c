/**
 * `npm run bench:actors`: what Troupe's actors cost, against the raw ceilings and the other actor runtimes for TypeScript,
 * in one run. What each row is, and where its caller lives, is in README.md beside this file.
 *
 * Options: `--rows ws,troupe-1,…` (all; names are printed first in each line of the tables), `--seconds S` (3) per
 * window, `--rounds N` (3) windows of each, `--activations N` (50000), `--known N` (1000000) and `--wander N` (1000000)
 * calls over them, `--runtime node|deno` for Troupe and the ceilings.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startLeash } from "../harness/leash.ts";
import { type CallRow, measurePairs, measureThreads } from "./actors_calls.ts";
import { type LifeRow, measureLives } from "./actors_lives.ts";
import { buildForTalkers, pairSystems, type Setting } from "./actors_systems.ts";
import { type Outcome, targets } from "./actors_targets.ts";
import { machine, table } from "./figures.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));

const { values } = parseArgs({
  options: {
    rows: { type: "string" },
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "3" },
    activations: { type: "string", default: "50000" },
    known: { type: "string", default: "1000000" },
    wander: { type: "string", default: "1000000" },
    runtime: { type: "string", default: "node" },
  },
});
const chosen = values.rows?.split(",");
const leash = startLeash();
const setting: Setting = { runtime: values.runtime === "deno" ? "deno" : "node", leash };
const scale = {
  seconds: Number(values.seconds),
  rounds: Number(values.rounds),
  activations: Number(values.activations),
  known: Number(values.known),
  wander: Number(values.wander),
  wanted: (row: string) => chosen === undefined || chosen.includes(row),
};
const loadBefore = loadavg();

const calls: CallRow[] = [];
const lives: LifeRow[] = [];
try {
  await buildForTalkers();
  calls.push(...(await measurePairs(pairSystems(setting), scale)));
  calls.push(...(await measureThreads(setting, scale)));
  lives.push(...(await measureLives(setting, scale)));
} finally {
  await leash.close();
}

const digits = (value: number | undefined, places: number): string =>
  value === undefined ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: places });
const average = (of: number[]): string => of.map((value) => value.toFixed(1)).join(" ");
const outcomes: Outcome[] = targets(calls, lives);
console.log(
  `\n${machine()}, Troupe on ${setting.runtime}, ${new Date().toISOString().slice(0, 10)}, ` +
    `load average before ${average(loadBefore)}, after ${average(loadavg())}\n`,
);
if (calls.length > 0) {
  console.log(
    table(
      ["row", "calls", "calls/s at 512", "CPU µs/call", "p50 µs at 1", "p99 µs at 1"],
      calls.map((row) => [
        row.row,
        row.error === undefined ? row.what : `${row.what}: does not run here: ${row.error}`,
        digits(row.rate, 0),
        digits(row.cpu, 1),
        digits(row.p50, 0),
        digits(row.p99, 0),
      ]),
    ),
  );
}
if (lives.length > 0) {
  console.log(
    `\n${table(
      ["row", "what", "value", "unit"],
      lives.map((row) => [
        row.row,
        row.error === undefined ? row.what : `${row.what}: ${row.error}`,
        digits(row.value, 1),
        row.unit,
      ]),
    )}`,
  );
}
if (outcomes.length > 0) {
  console.log(
    `\n${table(
      ["target", "is", "wanted", ""],
      outcomes.map(({ what, is, wanted, met }) => [what, is, wanted, met ? "met" : "NOT met"]),
    )}`,
  );
}
await mkdir(RESULTS, { recursive: true });
const file = `${RESULTS}actors-${setting.runtime}.json`;
const result = {
  machine: machine(),
  date: new Date().toISOString(),
  options: values,
  loadAverage: { before: loadBefore, after: loadavg() },
  calls,
  lives,
  targets: outcomes,
};
await writeFile(file, `${JSON.stringify(result, null, 2)}\n`);
console.log(`\nWritten to ${file}`);
