import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { systemClock } from "../../../runtime/actor/clock.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { aheadCount, endAhead } from "../../../runtime/worker/ahead.ts";
import { LeaseWord } from "../../../runtime/worker/lease_word.ts";
import { WorkerPool } from "../../../runtime/worker/pool.ts";
import { isDeno, spawnAhead } from "../../../runtime/worker/spawn.ts";
import { waitUntil } from "../../harness/wait.ts";
import type { FixtureControl, FixtureSettings } from "./fixture_entry.ts";

const ENTRY = new URL("./fixture_entry.ts", import.meta.url);
const LIMITS = { maxOldGenerationSizeMb: 256 };
/** On Deno nothing is started ahead, and everything works the same. */
const started = (count: number): number => (isDeno ? 0 : count);

function poolOf(entry = ENTRY, resourceLimits = LIMITS) {
  const pool = new WorkerPool<FixtureSettings, FixtureControl>({
    entry,
    size: 1,
    settings: () => ({}),
    io: () => ({ greet: (name: string) => `hello ${name}`, said() {} }),
    clock: systemClock(0),
    lease: new LeaseWord(),
    log: silentLogger,
    resourceLimits,
    events: { onReady() {}, onExit() {}, onUnproven() {} },
  });
  return pool;
}

afterEach(endAhead);

test("a pool takes the thread that was started ahead, and it serves as any other", async () => {
  spawnAhead(ENTRY, 2, [], LIMITS);
  assert.equal(aheadCount(), started(2));
  const pool = poolOf();
  await pool.start();
  assert.equal(aheadCount(), started(1));
  assert.equal(await pool.control(0)?.greet("you"), "hello you");
  await pool.close("drain");
});

test("a thread with other limits is left alone, and ended with what nobody took", async () => {
  spawnAhead(ENTRY, 1, [], { maxOldGenerationSizeMb: 300 });
  const pool = poolOf();
  await pool.start();
  assert.equal(aheadCount(), started(1));
  await pool.close("drain");
  endAhead();
  assert.equal(aheadCount(), 0);
});

test("a thread that dies before it is taken is forgotten", async () => {
  spawnAhead(new URL("./no_such_entry.ts", import.meta.url), 1, [], LIMITS);
  await waitUntil(() => aheadCount() === 0, 20_000, "the thread to be forgotten");
  const pool = poolOf();
  await pool.start();
  assert.equal(pool.state(0), "running");
  await pool.close("drain");
});
