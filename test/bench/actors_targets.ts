/** The targets of the issue, and whether a run met them. A target whose rows did not run is left out. */
import type { CallRow } from "./actors_calls.ts";
import type { LifeRow } from "./actors_lives.ts";

export interface Outcome {
  what: string;
  is: string;
  wanted: string;
  met: boolean;
}

/** Memory over the readings may differ by this share and count as flat. */
const FLAT = 0.15;
/** Share of the known actors that may be active for that row to say something. */
const MOST_ACTIVE = 0.6;

export function targets(calls: readonly CallRow[], lives: readonly LifeRow[]): Outcome[] {
  const outcomes: Outcome[] = [];
  const call = (row: string) => calls.find((one) => one.row === row && one.rate !== undefined);
  const life = (row: string) =>
    lives.find((one) => one.row === row && one.value !== undefined && one.error === undefined);
  const show = (value: number): string => Math.round(value).toLocaleString("en-US");
  const add = (
    what: string,
    is: number | undefined,
    wanted: number | undefined,
    unit: string,
    atLeast: boolean,
  ): void => {
    if (is === undefined || wanted === undefined || Number.isNaN(is) || Number.isNaN(wanted)) return;
    const met = atLeast ? is >= wanted : is <= wanted;
    outcomes.push({ what, is: `${show(is)} ${unit}`, wanted: `${atLeast ? "≥" : "≤"} ${show(wanted)} ${unit}`, met });
  };
  /** `absolute`, or `share` of the ceiling where that is less. */
  const floor = (absolute: number, share: number, ceiling: string): number =>
    Math.min(absolute, share * (call(ceiling)?.rate ?? Number.POSITIVE_INFINITY));

  for (const row of ["troupe-0", "troupe-1"]) {
    add(`${row}: calls between processes`, call(row)?.rate, floor(100_000, 0.7, "ws"), "/s", true);
    const effect = call("effect")?.rate;
    add(`${row}: 15 × Effect Cluster`, call(row)?.rate, effect === undefined ? undefined : 15 * effect, "/s", true);
    add(`${row}: p50 of one at a time`, call(row)?.p50, 300, "µs", false);
  }
  add("same-worker: calls", call("same-worker")?.rate, 500_000, "/s", true);
  add("threads: calls", call("threads")?.rate, floor(300_000, 0.6, "port"), "/s", true);
  add("activations, memory", life("activate-memory")?.value, 50_000, "/s", true);
  add("activations, Redis", life("activate-redis")?.value, 10_000, "/s", true);
  add("idle activation", life("idle-heap")?.value, 1_024, "bytes", false);
  for (const row of ["crash-1", "crash-2"]) add(`${row}: first answer`, life(row)?.value, 500, "ms", false);
  const known = life("known")?.seen as
    | { failed: number; known: number; residents: number; residentMB: number[] }
    | undefined;
  // Where all of them are active at once nothing was passivated, and nothing was shown.
  if (known !== undefined && known.residents <= known.known * MOST_ACTIVE) {
    // Of the second half: until then the heap grows to what the collector lets it have.
    const [first = 0, last = 0] = [known.residentMB[known.residentMB.length / 2], known.residentMB.at(-1)];
    const met = known.failed === 0 && last <= first * (1 + FLAT);
    outcomes.push({
      what: "known: memory and errors",
      is: `${first} → ${last} MB, ${known.failed} errors`,
      wanted: `≤ +${FLAT * 100} %, 0 errors`,
      met,
    });
  }
  return outcomes;
}
