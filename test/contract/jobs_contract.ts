/** What every job queue promises, whatever keeps its jobs. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { TroupeError } from "../../runtime/actor/errors.ts";
import {
  FinalJobError,
  type JobEvent,
  type JobOptions,
  type JobQueue,
  type WatchOptions,
} from "../../runtime/jobs/contract.ts";
import { defineJob, jobId, MAX_DATA_BYTES, MAX_RESULT_BYTES } from "../../runtime/jobs/rules.ts";
import { waitUntil, within } from "../harness/wait.ts";
import type { JobStore } from "./jobs_store.ts";

const DEADLINE_MS = 10_000;

let definitions = 0;
/** A definition that no other test uses. Retries come at once unless a test says otherwise. */
function aJob<Data = unknown, Result = unknown>(defaults: JobOptions = {}) {
  definitions += 1;
  return defineJob<Data, Result>(`job-${definitions}`, { backoff: { kind: "fixed", delayMs: 0 }, ...defaults });
}

async function all(events: AsyncIterable<JobEvent>): Promise<JobEvent[]> {
  const seen: JobEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

/** The events of a job until its end, which must come in time. */
function watched(queue: JobQueue, id: string, options?: WatchOptions): Promise<JobEvent[]> {
  return within(all(queue.watch(id, options)), DEADLINE_MS, `the end of ${id}`);
}

async function endOf(queue: JobQueue, id: string): Promise<JobEvent | undefined> {
  return (await watched(queue, id)).at(-1);
}

/** Settles when its signal fires. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/** A promise and what settles it. */
function gate<T = void>() {
  let open: (value: T) => void = () => {};
  const passed = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { open: (value: T) => open(value), passed: within(passed, DEADLINE_MS, "a gate to open") };
}

function refused(code: string, saying: RegExp) {
  return (error: unknown) => {
    assert(TroupeError.is(error), String(error));
    assert.equal(error.code, code);
    assert.match(error.message, saying);
    return true;
  };
}

export function jobsContract(kind: string, makeStore: () => JobStore): void {
  describe(`jobs on ${kind}`, () => {
    let store: JobStore;
    let queue: JobQueue;
    before(async () => {
      store = makeStore();
      queue = await store.connect();
    });
    after(() => store.close());

    test("jobs of a name run in the order they were added, one at a time", async () => {
      const job = aJob<number, void>();
      const ids = [];
      for (let n = 0; n < 6; n += 1) ids.push((await queue.add(job, n)).id);
      const order: number[] = [];
      let running = 0;
      queue.process(job, async ({ data }) => {
        running += 1;
        assert.equal(running, 1);
        await new Promise((resolve) => setImmediate(resolve));
        order.push(data);
        running -= 1;
      });
      for (const id of ids) assert.deepEqual(await endOf(queue, id), { type: "completed", result: null });
      assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
    });

    test("as many run at once as the concurrency says, and no more", async () => {
      const job = aJob<number, number>();
      const full = gate();
      let running = 0;
      let most = 0;
      queue.process(
        job,
        async ({ data }) => {
          running += 1;
          most = Math.max(most, running);
          if (running === 3) full.open();
          await full.passed;
          running -= 1;
          return data * 2;
        },
        { concurrency: 3 },
      );
      const ids = await Promise.all([1, 2, 3, 4, 5, 6, 7].map(async (n) => (await queue.add(job, n)).id));
      const ends = await Promise.all(ids.map((id) => endOf(queue, id)));
      assert.deepEqual(
        ends,
        [2, 4, 6, 8, 10, 12, 14].map((result) => ({ type: "completed", result })),
      );
      assert.equal(most, 3);
    });

    test("a job's data and its result come back as they were given", async () => {
      const job = aJob<{ text: string; list: (number | null)[]; deep: { yes: boolean } }, { n: number }>();
      const data = { text: "ünï ✓ \u0000", list: [1.5, null], deep: { yes: true } };
      const { id } = await queue.add(job, data, { key: "a:b/c@d" });
      assert.equal(id, `${job.name}/a:b/c@d`);
      let seen: unknown;
      queue.process(job, (given) => {
        seen = given;
        return { n: 1 };
      });
      await endOf(queue, id);
      const info = await queue.get(id);
      assert.equal(info?.state, "completed");
      assert.equal(info.result?.n, 1);
      assert.deepEqual(info.data, data);
      const { addedAt } = info;
      const { name } = job;
      assert.deepEqual(seen, { id, name, key: "a:b/c@d", data, attempt: 1, attempts: 3, addedAt });
    });

    test("a delayed job waits its time", async () => {
      const job = aJob<null, number>({ delayMs: 200 });
      queue.process(job, () => Date.now());
      const added = Date.now();
      const { id } = await queue.add(job, null);
      assert.equal((await queue.get(id))?.state, "delayed");
      assert.equal((await queue.counts(job)).delayed, 1);
      const end = await endOf(queue, id);
      assert.equal(end?.type, "completed");
      // The two clocks of a store and its worker round to milliseconds.
      assert(Number(end.result) - added >= 198, `ran after ${Number(end.result) - added} ms`);
    });

    test("a failing job is tried again after its back-off, then is dead", async () => {
      const job = aJob({ attempts: 3, backoff: { kind: "exponential", delayMs: 60 } });
      const starts: number[] = [];
      const attempts: number[] = [];
      queue.process(job, ({ attempt }) => {
        starts.push(Date.now());
        attempts.push(attempt);
        throw new RangeError(`no luck ${attempt}`);
      });
      const { id } = await queue.add(job, { n: 1 });
      assert.deepEqual(await endOf(queue, id), { type: "dead", error: "RangeError: no luck 3" });
      assert.deepEqual(attempts, [1, 2, 3]);
      const [first = 0, second = 0, third = 0] = starts;
      assert(second - first >= 58, `tried again after ${second - first} ms`);
      assert(third - second >= 118, `tried again after ${third - second} ms`);
      const info = await queue.get(id);
      assert.equal(info?.state, "dead");
      assert.equal(info.error, "RangeError: no luck 3");
      assert.equal(info.attempt, 3);
      assert.deepEqual(
        (await queue.dead({ definition: job })).map((dead) => [dead.id, dead.data]),
        [[id, { n: 1 }]],
      );
      assert.deepEqual(await queue.counts(job), { waiting: 0, delayed: 0, active: 0, dead: 1 });
    });

    test("the dead-letter list has the latest first, over all names, as many as asked for", async () => {
      const jobs = [aJob({ attempts: 1 }), aJob({ attempts: 1 })] as const;
      const ids: string[] = [];
      for (const job of [jobs[0], jobs[1], jobs[0]]) {
        const stop = queue.process(job, () => {
          throw new Error("always");
        });
        const { id } = await queue.add(job, null);
        await endOf(queue, id);
        await stop();
        ids.unshift(id);
        // Deaths within one millisecond have no order.
        const died = Date.now();
        await waitUntil(() => Date.now() > died, 1_000, "the next millisecond", 1);
      }
      assert.deepEqual(
        (await queue.dead({ limit: 2 })).map(({ id }) => id),
        ids.slice(0, 2),
      );
      assert.deepEqual(
        (await queue.dead({ limit: 2, definition: jobs[0] })).map(({ id }) => id),
        [ids[0], ids[2]],
      );
    });

    test("a dead job that is retried has all its attempts again", async () => {
      const job = aJob<null, string>({ attempts: 2 });
      const attempts: number[] = [];
      queue.process(job, ({ attempt }) => {
        attempts.push(attempt);
        if (attempts.length < 4) throw new Error("not yet");
        return "at last";
      });
      const { id } = await queue.add(job, null);
      assert.equal((await endOf(queue, id))?.type, "dead");
      assert.equal(await queue.retryDead(id), true);
      // Not the end of its first life, which is still among the events.
      assert.deepEqual(await endOf(queue, id), { type: "completed", result: "at last" });
      assert.deepEqual(attempts, [1, 2, 1, 2]);
      assert.equal(await queue.retryDead(id), false);
      assert.deepEqual(await queue.dead({ definition: job }), []);
      assert.equal((await queue.get(id))?.error, null);
    });

    test("a final error is not tried again", async () => {
      const job = aJob({ attempts: 5 });
      let runs = 0;
      queue.process(job, () => {
        runs += 1;
        throw new FinalJobError("no such customer");
      });
      const { id } = await queue.add(job, null);
      assert.deepEqual(await endOf(queue, id), { type: "dead", error: "FinalJobError: no such customer" });
      assert.equal(runs, 1);
    });

    test("every attempt is given the data that was added, whatever the one before did to it", async () => {
      const job = aJob<{ list: number[] }, number>();
      queue.process(job, ({ data, attempt }) => {
        data.list.push(9);
        if (attempt === 1) throw new Error("again");
        return data.list.length;
      });
      const { id } = await queue.add(job, { list: [1] });
      assert.deepEqual(await endOf(queue, id), { type: "completed", result: 2 });
    });

    test("progress is seen in order, and elsewhere too", async () => {
      const job = aJob<null, string>();
      const elsewhere = await store.connect();
      const begin = gate();
      queue.process(job, async (_job, { progress }) => {
        await begin.passed;
        for (let step = 1; step <= 30; step += 1) await progress({ step });
        return "done";
      });
      const { id } = await queue.add(job, null);
      const first = watched(queue, id);
      const second = watched(elsewhere, id);
      await waitUntil(async () => (await queue.get(id))?.state === "active", DEADLINE_MS, "the job to run");
      begin.open();
      const expected = Array.from({ length: 30 }, (_, index) => index + 1);
      for (const events of await Promise.all([first, second])) {
        const end = events.pop();
        const steps = events.map((event) => (event.type === "progress" ? (event.value as { step: number }).step : 0));
        // One who joins late starts with the latest.
        assert.deepEqual(steps, expected.slice(expected.length - steps.length));
        assert.deepEqual(end, { type: "completed", result: "done" });
      }
      assert.deepEqual((await queue.get(id))?.progress, { step: 30 });
    });

    test("who watches a job that ended is told its last progress and its end", async () => {
      const job = aJob<null, number>();
      queue.process(job, async (_job, { progress }) => {
        await progress("half");
        await progress("nearly");
        return 7;
      });
      const { id } = await queue.add(job, null);
      await waitUntil(async () => (await queue.get(id))?.state === "completed", DEADLINE_MS, "the job to complete");
      assert.deepEqual(await watched(queue, id), [
        { type: "progress", attempt: 1, value: "nearly" },
        { type: "completed", result: 7 },
      ]);
    });

    test("watching ends with the signal, and is refused for a job that is not known", async () => {
      const job = aJob();
      await assert.rejects(watched(queue, jobId(job, "nobody")), refused("not_found", /no job job-\d+\/nobody/));
      const { id } = await queue.add(job, null, { delayMs: 60_000 });
      const stop = new AbortController();
      const watching = watched(queue, id, { signal: stop.signal });
      stop.abort(new Error("enough"));
      await assert.rejects(watching, /enough/);
      await queue.cancel(id);
    });

    test("a job that waits is cancelled at once, never runs, and its key is free again", async () => {
      const job = aJob<number, void>();
      const { id } = await queue.add(job, 1, { key: "k" });
      const delayed = await queue.add(job, 2, { delayMs: 100 });
      const watching = watched(queue, id);
      await waitUntil(() => queue.cancel(delayed.id), DEADLINE_MS, "the cancel");
      assert.equal(await queue.cancel(id), "cancelled");
      assert.deepEqual((await watching.catch(() => [{ type: "cancelled" }])).at(-1), { type: "cancelled" });
      assert.equal(await queue.get(id), null);
      assert.equal(await queue.cancel(id), "not-found");
      assert.equal((await queue.add(job, 3, { key: "k" })).added, true);
      const ran: number[] = [];
      queue.process(job, ({ data }) => {
        ran.push(data);
      });
      await endOf(queue, id);
      assert.deepEqual(ran, [3]);
      assert.deepEqual(await queue.counts(job), { waiting: 0, delayed: 0, active: 0, dead: 0 });
    });

    test("a job that runs is cancelled through its signal, from elsewhere", async () => {
      const job = aJob<null, void>();
      const elsewhere = await store.connect();
      const started = gate();
      const reason = gate<unknown>();
      let runs = 0;
      queue.process(job, async (_job, { signal }) => {
        runs += 1;
        started.open();
        await untilAborted(signal).catch((error: unknown) => {
          reason.open(error);
          throw error;
        });
      });
      const { id } = await queue.add(job, null);
      const watching = watched(queue, id);
      await started.passed;
      assert.equal(await elsewhere.cancel(id), "cancelling");
      const error = await reason.passed;
      assert(TroupeError.is(error, "cancelled"));
      assert.deepEqual(await watching, [{ type: "cancelled" }]);
      assert.equal(await queue.get(id), null);
      assert.deepEqual(await queue.dead({ definition: job }), []);
      assert.equal(runs, 1);
    });

    test("a handler that finishes all the same has completed", async () => {
      const job = aJob<null, string>();
      const started = gate();
      queue.process(job, async (_job, { signal }) => {
        started.open();
        await untilAborted(signal).catch(() => {});
        return "was nearly there";
      });
      const { id } = await queue.add(job, null);
      await started.passed;
      await queue.cancel(id);
      assert.deepEqual(await endOf(queue, id), { type: "completed", result: "was nearly there" });
      assert.equal(await queue.cancel(id), "finished");
    });

    test("a dead job is taken off the list by cancelling it", async () => {
      const job = aJob({ attempts: 1 });
      queue.process(job, () => {
        throw new Error("always");
      });
      const { id } = await queue.add(job, null);
      await endOf(queue, id);
      assert.equal(await queue.cancel(id), "cancelled");
      assert.deepEqual(await queue.dead({ definition: job }), []);
    });

    test("a key is added once, however many try", async () => {
      const job = aJob<number, number>();
      const elsewhere = await store.connect();
      const tries = [1, 2, 3, 4].map((n) => (n % 2 === 0 ? queue : elsewhere).add(job, n, { key: "one" }));
      const outcomes = await Promise.all(tries);
      assert.equal(outcomes.filter(({ added }) => added).length, 1);
      assert.equal((await queue.counts(job)).waiting, 1);
      let runs = 0;
      queue.process(job, ({ data }) => {
        runs += 1;
        return data;
      });
      await endOf(queue, jobId(job, "one"));
      // It is known while its result is kept.
      assert.equal((await queue.add(job, 9, { key: "one" })).added, false);
      assert.equal(runs, 1);
    });

    test("a result is kept for its time, after which the key is free again", async () => {
      const job = aJob<number, number>({ keepMs: 150 });
      queue.process(job, ({ data }) => data);
      const { id } = await queue.add(job, 1, { key: "k" });
      assert.deepEqual(await endOf(queue, id), { type: "completed", result: 1 });
      assert.equal((await queue.get(id))?.result, 1);
      await waitUntil(async () => (await queue.get(id)) === null, DEADLINE_MS, "the result to be forgotten");
      assert.equal((await queue.add(job, 2, { key: "k" })).added, true);
      assert.deepEqual(await endOf(queue, id), { type: "completed", result: 2 });
    });

    test("a handler that stops lets its job end", async () => {
      const job = aJob<null, string>();
      const started = gate();
      const go = gate();
      const stop = queue.process(job, async () => {
        started.open();
        await go.passed;
        return "finished";
      });
      const { id } = await queue.add(job, null);
      const next = await queue.add(job, null);
      await started.passed;
      const stopped = stop();
      go.open();
      await within(stopped, DEADLINE_MS, "the handler to stop");
      assert.equal((await queue.get(id))?.result, "finished");
      assert.equal((await queue.get(next.id))?.state, "waiting");
    });

    test("what a stopping handler did not finish is given back, and does not count as an attempt", async () => {
      const job = aJob<null, number>({ attempts: 1 });
      const started = gate();
      const reason = gate<unknown>();
      const stop = queue.process(job, async (_job, { signal }) => {
        started.open();
        return await untilAborted(signal).catch((error: unknown) => {
          reason.open(error);
          throw error;
        });
      });
      const { id } = await queue.add(job, null);
      await started.passed;
      await stop({ graceMs: 50 });
      assert(TroupeError.is(await reason.passed, "draining"));
      assert.equal((await queue.get(id))?.state, "waiting");
      queue.process(job, ({ attempt }) => attempt);
      assert.deepEqual(await endOf(queue, id), { type: "completed", result: 1 });
    });

    test("a definition has one handler at a time", async () => {
      const job = aJob();
      const stop = queue.process(job, () => null);
      assert.throws(() => queue.process(job, () => null), refused("already_exists", /has a handler/));
      await stop();
      await queue.process(job, () => null)();
    });

    test("what is out of bounds is refused, and told how", async () => {
      const job = aJob();
      const cyclic: { self?: unknown } = {};
      cyclic.self = cyclic;
      const refusals: [unknown, object, string, RegExp][] = [
        ["x".repeat(MAX_DATA_BYTES), {}, "too_large", /65538 bytes of JSON, more than 65536/],
        ["é".repeat(MAX_DATA_BYTES / 2), {}, "too_large", /bytes of JSON/],
        [{ at: new Date(0) }, {}, "invalid_argument", /data\.at is a Date/],
        [{ list: [1, Number.NaN] }, {}, "invalid_argument", /data\.list\[1\] is NaN/],
        [{ call() {} }, {}, "invalid_argument", /data\.call is a function/],
        [cyclic, {}, "invalid_argument", /nested more than 64/],
        [null, { key: "a b" }, "invalid_argument", /key "a b" must have/],
        [null, { key: "" }, "invalid_argument", /key "" must have/],
        [null, { delayMs: -1 }, "invalid_argument", /delayMs is -1, must be a whole number from 0/],
        [null, { attempts: 0 }, "invalid_argument", /attempts is 0/],
        [null, { keepMs: 1.5 }, "invalid_argument", /keepMs is 1.5/],
        [null, { backoff: { kind: "linear", delayMs: 1 } }, "invalid_argument", /backoff.kind is "linear"/],
      ];
      for (const [data, options, code, saying] of refusals) {
        await assert.rejects(queue.add(job, data, options), refused(code, saying));
      }
      assert.throws(() => defineJob("a/b"), refused("invalid_argument", /job name "a\/b"/));
      assert.throws(
        () => queue.process(job, () => null, { concurrency: 0 }),
        refused("invalid_argument", /concurrency is 0/),
      );
      await assert.rejects(queue.get("nonsense"), refused("invalid_argument", /must be name\/key/));
      await assert.rejects(queue.dead({ limit: 0 }), refused("invalid_argument", /limit is 0/));
    });

    test("a result that is too large or no JSON makes the job dead without another attempt", async () => {
      const job = aJob<number, unknown>();
      let runs = 0;
      queue.process(job, async ({ data }, { progress }) => {
        runs += 1;
        assert.throws(() => progress("x".repeat(5_000)), refused("too_large", /progress is 5002 bytes/));
        return data === 1 ? "x".repeat(MAX_RESULT_BYTES) : new Map();
      });
      const large = await endOf(queue, (await queue.add(job, 1)).id);
      assert(large?.type === "dead");
      assert.match(large.error, /result is 65538 bytes/);
      const odd = await endOf(queue, (await queue.add(job, 2)).id);
      assert(odd?.type === "dead");
      assert.match(odd.error, /result is a Map/);
      assert.equal(runs, 2);
    });
  });

  describe(`jobs on ${kind}, under faults`, () => {
    async function withStore(body: (store: JobStore) => Promise<void>): Promise<void> {
      const store = makeStore();
      try {
        await body(store);
      } finally {
        await store.close();
      }
    }

    test("a job whose worker is killed is run by another, and the attempt counts", () =>
      withStore(async (store) => {
        const job = aJob<string, string>({ attempts: 2 });
        const { id } = await (await store.connect()).add(job, "data");
        const worker = await store.doomedWorker(job);
        await worker.kill();
        const queue = await store.connect();
        queue.process(job, ({ data, attempt }) => `${data} in attempt ${attempt}`);
        assert.deepEqual(await endOf(queue, id), { type: "completed", result: "data in attempt 2" });
      }));

    test("a job that has no attempt left when its worker is killed is dead", () =>
      withStore(async (store) => {
        const job = aJob({ attempts: 1 });
        const { id } = await (await store.connect()).add(job, null);
        const worker = await store.doomedWorker(job);
        await worker.kill();
        const queue = await store.connect();
        let runs = 0;
        queue.process(job, () => {
          runs += 1;
        });
        const end = await endOf(queue, id);
        assert(end?.type === "dead");
        assert.match(end.error, /worker ended while it ran, in attempt 1 of 1/);
        assert.equal(runs, 0);
        assert.equal(await queue.retryDead(id), true);
        await waitUntil(async () => (await queue.get(id))?.state === "completed", DEADLINE_MS, "the retried job");
      }));

    test("a cancel holds when the worker that was told dies before it obeyed", () =>
      withStore(async (store) => {
        const job = aJob<number, void>();
        const first = await store.connect();
        const { id } = await first.add(job, 1);
        const worker = await store.doomedWorker(job);
        assert.equal(await first.cancel(id), "cancelling");
        const later = await first.add(job, 2);
        await worker.kill();
        const queue = await store.connect();
        const ran: number[] = [];
        queue.process(job, ({ data }) => {
          ran.push(data);
        });
        await endOf(queue, later.id);
        await waitUntil(async () => (await queue.get(id)) === null, DEADLINE_MS, "the cancelled job to go");
        assert.deepEqual(ran, [2]);
      }));

    test("jobs outlive the queue that added them", () =>
      withStore(async (store) => {
        const job = aJob<string, string>({ attempts: 1 });
        const before = await store.connect();
        const stop = before.process(job, ({ data }) => {
          if (data === "bad") throw new Error("no");
          return `${data}!`;
        });
        const done = await before.add(job, "done");
        const bad = await before.add(job, "bad");
        await endOf(before, done.id);
        await endOf(before, bad.id);
        await stop();
        const names = ["a", "b", "c", "d", "e", "f"];
        const waiting = [];
        for (const name of names) waiting.push(await before.add(job, name));
        const delayed = await before.add(job, "later", { delayMs: 50 });
        await store.restart();

        const queue = await store.connect();
        assert.equal((await queue.get(done.id))?.result, "done!");
        assert.deepEqual(
          (await queue.dead()).map(({ id }) => id),
          [bad.id],
        );
        const ran: string[] = [];
        queue.process(job, ({ data }) => {
          ran.push(data);
          return data;
        });
        for (const { id } of [...waiting, delayed]) assert.equal((await endOf(queue, id))?.type, "completed");
        assert.deepEqual(
          ran.filter((data) => data !== "later"),
          names,
        );
        assert.equal(ran.length, 7);
      }));

    test("too many unfinished jobs are refused until there is room", () =>
      withStore(async (store) => {
        const job = aJob();
        const queue = await store.connect({ maxUnfinished: 3 });
        for (let n = 0; n < 3; n += 1) await queue.add(job, n, { key: `k${n}`, delayMs: n * 60_000 });
        await assert.rejects(queue.add(job, 3), (error) => {
          refused("overloaded", /3 jobs are waiting or running already/)(error);
          assert(TroupeError.is(error) && error.retryAfterMs !== undefined && error.started === "no");
          return true;
        });
        await queue.add(aJob(), null);
        await queue.cancel(jobId(job, "k1"));
        await queue.add(job, 3);
      }));

    test("a closed queue refuses, and ends who watches", () =>
      withStore(async (store) => {
        const job = aJob();
        const queue = await store.connect();
        const { id } = await queue.add(job, null, { delayMs: 60_000 });
        const watching = queue.watch(id)[Symbol.asyncIterator]().next();
        // The watch is in force when another call of the queue has been answered.
        await queue.get(id);
        await queue.close();
        await assert.rejects(within(watching, DEADLINE_MS, "the watch to end"), refused("draining", /closed/));
        await assert.rejects(queue.add(job, null), refused("draining", /closed/));
        await queue.close();
      }));
  });
}
