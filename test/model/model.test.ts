/** The ownership protocol, model-checked: the whole of it keeps its promises, and without any one guard it does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ABLATIONS, CHECKS, type Check, DEEP_CHECKS, PROMISES } from "./checks.ts";
import { missingTools, type Verdict, verify } from "./spin.ts";

/** Verifiers that run at once. */
const LANES = 2;

const missing = missingTools();
const skip = missing ?? false;
const deep = process.env.MODEL_DEEP === "1" ? DEEP_CHECKS : [];
const ablated = new Set<Check>(ABLATIONS);

const verdicts = new Map<Check, Promise<Verdict>>();

/** The verdict on `check`. The first call starts all checks, in order, `LANES` at a time. */
function verdictOn(check: Check): Promise<Verdict> {
  if (verdicts.size === 0) {
    const lanes: Promise<unknown>[] = Array.from({ length: LANES }, () => Promise.resolve());
    [...CHECKS, ...ABLATIONS, ...deep].forEach((one, index) => {
      const verdict = (lanes[index % LANES] as Promise<unknown>).then(() => verify(one, boundsOf(one)));
      verdicts.set(one, verdict);
      // Its own test reports a failure; the lane goes on.
      lanes[index % LANES] = verdict.catch(() => {});
    });
  }
  return verdicts.get(check) as Promise<Verdict>;
}

function boundsOf(check: Check): Parameters<typeof verify>[1] {
  if (ablated.has(check)) return { optimize: "-O0" };
  return deep.includes(check) ? { optimize: "-O2", memoryMb: 8_192, limitMs: 1_800_000 } : {};
}

for (const check of [...CHECKS, ...deep]) {
  test(`no promise is broken: ${check.name}`, { skip }, async (context) => {
    const { broken, states, seconds } = await verdictOn(check);
    assert.equal(broken, null);
    assert.ok(states > 10_000, `only ${states} states: the model is stuck`);
    context.diagnostic?.(`${states} states, ${seconds.toFixed(1)} s`);
  });
}

for (const check of ABLATIONS) {
  test(`a promise is broken with ${check.name}`, { skip }, async () => {
    const { broken } = await verdictOn(check);
    assert.ok(broken?.includes(PROMISES[check.breaks]), `expected ${PROMISES[check.breaks]}, spin found: ${broken}`);
  });
}
