import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { systemClock } from "../../../runtime/actor/clock.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { LeaseWord } from "../../../runtime/worker/lease_word.ts";
import { WorkerPool, type WorkerPoolOptions } from "../../../runtime/worker/pool.ts";
import { waitUntil } from "../../harness/wait.ts";
import type { FixtureControl, FixtureSettings } from "./fixture_entry.ts";

type Pool = WorkerPool<FixtureSettings, FixtureControl>;

const pools: Pool[] = [];

async function startPool(options: Partial<WorkerPoolOptions<FixtureSettings>>): Promise<Pool> {
  const pool: Pool = new WorkerPool({
    entry: new URL("./fixture_entry.ts", import.meta.url),
    size: 1,
    settings: () => ({}),
    io: () => ({ greet: (name: string) => `hello ${name}`, said() {} }),
    clock: systemClock(),
    lease: new LeaseWord(),
    log: silentLogger,
    spareModules: [],
    spareAfterMs: 1,
    events: { onReady() {}, onExit() {}, onUnproven() {} },
    ...options,
  });
  pools.push(pool);
  await pool.start();
  return pool;
}

afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close("drain");
});

const control = (pool: Pool) => pool.control(0) ?? assert.fail("worker 0 does not run");

/** Ends the worker. Answers whether the thread that took its place had been there before. */
async function crash(pool: Pool): Promise<"spare" | "new"> {
  const before = control(pool);
  // Threads of a process are numbered in the order in which they are spawned.
  const marker = new Worker("", { eval: true });
  const { threadId } = marker;
  before.exit(1).catch(() => {});
  await waitUntil(() => pool.control(0) !== undefined && pool.control(0) !== before, 20_000, "a new worker");
  await marker.terminate();
  return (await control(pool).threadId()) < threadId ? "spare" : "new";
}

test("a spare thread takes the place of a worker that ended, and another spare its own", async () => {
  const pool = await startPool({});
  await waitUntil(() => pool.hasSpare, 20_000, "a spare");
  assert.equal(await crash(pool), "spare");
  assert.equal(await control(pool).greet("you"), "hello you");
  await waitUntil(() => pool.hasSpare, 20_000, "another spare");
  assert.equal(await crash(pool), "spare");
});

test("a spare that cannot import a module is no spare: the worker that ended is started afresh", async () => {
  const folder = await mkdtemp(join(tmpdir(), "troupe-spare-"));
  try {
    const module = join(folder, "not_twice.mjs");
    await writeFile(module, "throw new Error('only one thread may load this');");
    const pool = await startPool({ spareModules: [pathToFileURL(module).href] });
    await waitUntil(() => pool.hasSpare, 20_000, "a spare");
    await waitUntil(() => !pool.hasSpare, 20_000, "the spare to give up");
    assert.equal(await crash(pool), "new");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("a spare is taken while it still loads, and loads on", async () => {
  const folder = await mkdtemp(join(tmpdir(), "troupe-spare-"));
  try {
    const module = join(folder, "slow.mjs");
    await writeFile(module, "await new Promise((resolve) => setTimeout(resolve, 600_000));");
    const pool = await startPool({ spareModules: [pathToFileURL(module).href] });
    await waitUntil(() => pool.hasSpare, 20_000, "a spare");
    assert.equal(await crash(pool), "spare");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("the spare ends with its pool", async () => {
  const pool = await startPool({});
  await waitUntil(() => pool.hasSpare, 20_000, "a spare");
  await pool.close("drain");
  assert.equal(pool.hasSpare, false);
});

for (const [name, options] of [
  ["several workers, of which the others take over", { size: 2 }],
  ["no modules for one", { spareModules: undefined }],
] as const) {
  test(`there is no spare with ${name}`, async () => {
    const clock = systemClock();
    const asked: (() => void)[] = [];
    // What would fill the spare, run at once.
    const after = (ms: number, callback: () => void): (() => void) => {
      if (ms !== 1) return clock.after(ms, callback);
      asked.push(callback);
      return () => {};
    };
    const pool = await startPool({ ...options, clock: { ...clock, after } });
    for (const callback of asked) callback();
    assert.equal(pool.hasSpare, false);
  });
}
