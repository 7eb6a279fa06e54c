/** The job queue of a single node to the millisecond, and its bounds, on a clock that only moves when told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../runtime/actor/clock.ts";
import type { JobEvent, JobOptions } from "../../runtime/jobs/contract.ts";
import { JobFeed } from "../../runtime/jobs/feed.ts";
import { type JobsState, MemoryJobs } from "../../runtime/jobs/memory.ts";
import { backoffDelay, defineJob, MAX_COMPLETED, MAX_DEAD } from "../../runtime/jobs/rules.ts";

class HandClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ at: number; callback: () => void }>();
  now(): number {
    return this.#now;
  }
  wallNow(): number {
    return 1_700_000_000_000 + this.#now;
  }
  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }
  get timers(): number {
    return this.#timers.size;
  }
  /** Runs what is due on the way, and lets handlers end in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await quiet();
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await quiet();
    }
    this.#now = end;
  }
}

/** Every promise that can settle has settled. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function open(clock = new HandClock(), state?: JobsState) {
  let keys = 0;
  const randomKey = (): string => {
    keys += 1;
    return `random-${keys}`;
  };
  const queue = new MemoryJobs({ clock, randomKey, maxUnfinished: 10_000, ...(state === undefined ? {} : { state }) });
  return { clock, queue };
}

test("back-off waits as long as it says: the same each time, or twice as long", async () => {
  for (const [backoff, expected] of [
    [{ kind: "fixed", delayMs: 500 }, [0, 500, 1_000, 1_500]],
    [{ kind: "exponential", delayMs: 500 }, [0, 500, 1_500, 3_500]],
  ] as const) {
    const { clock, queue } = open();
    const job = defineJob<null, void>("retried", { attempts: 4, backoff });
    const starts: number[] = [];
    queue.process(job, () => {
      starts.push(clock.now());
      throw new Error("no");
    });
    const { id } = await queue.add(job, null);
    await clock.advance(10_000);
    assert.deepEqual(starts, expected);
    assert.equal((await queue.get(id))?.state, "dead");
  }
});

test("exponential back-off stops growing at a day", () => {
  assert.equal(backoffDelay({ kind: "exponential", delayMs: 1_000 }, 100), 86_400_000);
});

test("a delay counts from the moment of adding, also over a restart", async () => {
  const job = defineJob<null, number>("delayed");
  const first = open();
  const { id } = await first.queue.add(job, null, { delayMs: 1_000 });
  await first.clock.advance(400);
  const state = JSON.parse(JSON.stringify(first.queue.state)) as JobsState;
  await first.queue.close();
  const { clock, queue } = open(first.clock, state);
  queue.process(job, () => clock.now());
  await clock.advance(599);
  assert.equal((await queue.get(id))?.state, "delayed");
  await clock.advance(1);
  assert.equal((await queue.get(id))?.result, 1_000);
});

test("a result goes when its time is over, and takes its timer with it", async () => {
  const { clock, queue } = open();
  const job = defineJob<null, number>("kept", { keepMs: 1_000 });
  queue.process(job, () => 1);
  const { id } = await queue.add(job, null);
  await clock.advance(999);
  assert.equal((await queue.get(id))?.result, 1);
  await clock.advance(1);
  assert.equal(await queue.get(id), null);
  assert.equal(clock.timers, 0);
});

test("a cancelled delayed job leaves no timer behind", async () => {
  const { clock, queue } = open();
  const { id } = await queue.add(defineJob("delayed"), null, { delayMs: 1_000 });
  assert.equal(clock.timers, 1);
  await queue.cancel(id);
  assert.equal(clock.timers, 0);
});

test("of dead jobs and of results the oldest are dropped when there are too many", async () => {
  const { clock, queue } = open();
  const run = async (name: string, defaults: JobOptions, handler: () => void, count: number) => {
    const job = defineJob<number, void>(name, defaults);
    queue.process(job, handler, { concurrency: 100 });
    for (let n = 0; n < count; n += 1) await queue.add(job, n, { key: `k${n}` });
    await clock.advance(0);
  };
  const fail = () => {
    throw new Error("no");
  };
  await run("dying", { attempts: 1 }, fail, MAX_DEAD + 2);
  await run("completing", {}, () => {}, MAX_COMPLETED + 2);
  assert.equal((await queue.counts()).dead, MAX_DEAD);
  assert.equal(queue.state.jobs.length, MAX_DEAD + MAX_COMPLETED);
  for (const name of ["dying", "completing"]) {
    assert.equal(await queue.get(`${name}/k1`), null);
    assert.notEqual(await queue.get(`${name}/k2`), null);
  }
});

test("what a handler that was given up still says is not heard", async () => {
  const { clock, queue } = open();
  const job = defineJob<null, string>("deaf");
  let go = (): void => {};
  const late = new Promise<void>((resolve) => {
    go = resolve;
  });
  const stop = queue.process(job, async (_job, { progress }) => {
    await late;
    void progress("late");
    return "late";
  });
  const { id } = await queue.add(job, null);
  await quiet();
  const stopped = stop({ graceMs: 100 });
  await clock.advance(10_000);
  await stopped;
  assert.equal((await queue.get(id))?.state, "waiting");
  go();
  await quiet();
  const info = await queue.get(id);
  assert.deepEqual([info?.state, info?.attempt, info?.progress], ["waiting", 0, null]);
  queue.process(job, () => "on time");
  await clock.advance(0);
  assert.equal((await queue.get(id))?.result, "on time");
});

test("a job given back or interrupted is first in line again", async () => {
  const job = defineJob<number, void>("line");
  const { clock, queue } = open();
  for (const n of [1, 2, 3]) await queue.add(job, n);
  queue.process(job, () => new Promise(() => {}));
  await quiet();
  const next = open(clock, JSON.parse(JSON.stringify(queue.state)) as JobsState);
  const order: [number, number][] = [];
  next.queue.process(job, ({ data, attempt }) => {
    order.push([data, attempt]);
  });
  await clock.advance(0);
  assert.deepEqual(order, [
    [1, 2],
    [2, 1],
    [3, 1],
  ]);
});

test("a watcher that does not read loses the oldest progress, never the end", async () => {
  const feed = new JobFeed();
  for (let n = 1; n <= 1_000; n += 1) feed.progress({ start: 1, n }, 1, n);
  feed.end({ type: "completed", result: "end" });
  const seen: (JobEvent | null)[] = [];
  do seen.push(await feed.next());
  while (seen.at(-1)?.type !== "completed");
  assert.equal(seen.length, 257);
  assert.deepEqual(seen[0], { type: "progress", attempt: 1, value: 745 });
});

test("a watcher is told nothing twice, and nothing of an attempt that was followed by another", async () => {
  const feed = new JobFeed();
  feed.progress({ start: 1, n: 1 }, 1, "first");
  feed.progress({ start: 1, n: 1 }, 1, "first again");
  feed.progress({ start: 2, n: 1 }, 2, "second");
  feed.progress({ start: 1, n: 2 }, 1, "a zombie's");
  feed.end({ type: "cancelled" });
  feed.end({ type: "dead", error: "too late" });
  const values: unknown[] = [];
  for (;;) {
    const event = await feed.next();
    values.push(event?.type === "progress" ? event.value : event?.type);
    if (event?.type === "cancelled") break;
  }
  assert.deepEqual(values, ["first", "second", "cancelled"]);
});
