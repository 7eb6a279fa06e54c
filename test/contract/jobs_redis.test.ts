/** What only the job queue on Redis can get wrong: the store away, locks lost, keys in the wrong place, start-up. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { JobEvent, JobQueue } from "../../runtime/jobs/contract.ts";
import { openJobQueue } from "../../runtime/jobs/open.ts";
import { defineJob } from "../../runtime/jobs/rules.ts";
import { freePort } from "../harness/ports.ts";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil, within } from "../harness/wait.ts";
import { redisJobStore } from "./jobs_store.ts";

const DEADLINE_MS = 15_000;

async function endOf(queue: JobQueue, id: string, heard = (): void => {}): Promise<JobEvent | undefined> {
  let last: JobEvent | undefined;
  const read = async (): Promise<void> => {
    for await (const event of queue.watch(id)) {
      last = event;
      heard();
    }
  };
  await within(read(), DEADLINE_MS, `the end of ${id}`);
  return last;
}

/** Modules of a package that this process has loaded. */
function loaded(name: string): string[] {
  const folder = `/node_modules/${name}/`;
  return Object.keys(createRequire(import.meta.url).cache).filter((file) =>
    file.replaceAll("\\", "/").includes(folder),
  );
}

describe("the job queue on redis", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let server: RedisServer;
  let store: ReturnType<typeof redisJobStore>;
  before(async () => {
    server = await startRedis();
    store = redisJobStore(server);
  });
  after(async () => {
    await store.close();
    await server.stop();
  });

  test("the package root does not load BullMQ; opening a queue on redis does", async () => {
    await import("../../runtime/index.ts");
    assert.deepEqual(loaded("bullmq"), []);
    await store.connect();
    assert.notDeepEqual(loaded("bullmq"), []);
  });

  test("every key carries the prefix and the hash tag of the jobs", async () => {
    const job = defineJob<null, null>("tagged");
    const queue = await store.connect();
    queue.process(job, () => null);
    await endOf(queue, (await queue.add(job, null, { key: "a:b" })).id);
    await queue.cancel((await queue.add(job, null, { delayMs: 60_000 })).id);
    const keys = (await server.command("KEYS", "*")).split("\n");
    assert(keys.length > 3);
    assert.deepEqual(
      keys.filter((key) => !key.startsWith(`${store.prefix}{jobs}:`)),
      [],
    );
  });

  test("a cancel leaves nothing behind", async () => {
    const job = defineJob<null, void>("traceless");
    const queue = await store.connect();
    let started = (): void => {};
    const running = new Promise<void>((resolve) => {
      started = resolve;
    });
    queue.process(job, async (_job, { signal }) => {
      started();
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    const { id } = await queue.add(job, null, { key: "k" });
    await within(running, DEADLINE_MS, "the job to run");
    assert.equal(await queue.cancel(id), "cancelling");
    await waitUntil(
      async () => {
        const keys = await server.command("KEYS", `${store.prefix}*traceless*`);
        return !/cancelled|:j-k/.test(keys);
      },
      DEADLINE_MS,
      "the job and the wish to cancel it to be gone",
    );
  });

  test("a watcher is not told of what happened before it came, however late the news", async () => {
    const job = defineJob<string, string>("old-news", { attempts: 1 });
    const [watching, working] = [await store.connect(), await store.connect()];
    let lives = 0;
    let go = (): void => {};
    const late = new Promise<void>((resolve) => {
      go = resolve;
    });
    working.process(job, async ({ data }) => {
      if (data === "opens the events") return data;
      lives += 1;
      if (lives === 1) throw new Error("first life");
      await late;
      return "second life";
    });
    await endOf(watching, (await working.add(job, "opens the events")).id);
    const readers = async (): Promise<string[]> =>
      [...(await server.command("CLIENT", "LIST")).matchAll(/^id=(\d+) .* cmd=xread /gm)].map(([, id = ""]) => id);
    const before = await readers();
    // The events come after a reconnect, when the first life is over.
    for (const reader of before) await server.command("CLIENT", "KILL", "ID", reader);
    const { id } = await working.add(job, "twice");
    await waitUntil(async () => (await working.get(id))?.state === "dead", DEADLINE_MS, "the death", 1);
    await working.retryDead(id);
    const end = endOf(watching, id);
    await waitUntil(async () => (await readers()).length >= before.length, DEADLINE_MS, "the events to go on");
    go();
    assert.deepEqual(await end, { type: "completed", result: "second life" });
  });

  test("a handler whose lock was lost is told, and its late result changes nothing", async () => {
    const job = defineJob<null, string>("fenced");
    const [first, second] = [await store.connect(), await store.connect()];
    let runs = 0;
    let reason: unknown;
    const process = (queue: JobQueue) =>
      queue.process(job, async (_job, { signal }) => {
        runs += 1;
        if (runs > 1) return "second";
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        reason = signal.reason;
        return "first";
      });
    process(first);
    const { id } = await first.add(job, null, { key: "k" });
    await waitUntil(() => runs === 1, DEADLINE_MS, "the first handler");
    process(second);
    // As if this worker had been silent for longer than its lock.
    await server.command("DEL", `${store.prefix}{jobs}:fenced:j-k:lock`);
    assert.deepEqual(await endOf(second, id), { type: "completed", result: "second" });
    await waitUntil(() => reason !== undefined, DEADLINE_MS, "the first handler to be told");
    assert(TroupeError.is(reason, "fenced"));
    assert.equal((await second.get(id))?.attempt, 2);
    assert.equal((await second.get(id))?.result, "second");
  });

  test("while the store is away verbs fail at once and say so; afterwards everything goes on", async () => {
    const job = defineJob<number, number>("outage", { attempts: 10 });
    const queue = await store.connect();
    let running = (): void => {};
    const started = new Promise<void>((resolve) => {
      running = resolve;
    });
    let go = (): void => {};
    const gone = new Promise<void>((resolve) => {
      go = resolve;
    });
    queue.process(job, async ({ data }, { progress }) => {
      if (data === 1) {
        void progress("running");
        await gone;
      }
      return data;
    });
    const first = await queue.add(job, 1, { key: "first" });
    const second = await queue.add(job, 2);
    const end = endOf(queue, first.id, running);
    await within(started, DEADLINE_MS, "the watcher to hear of the job");
    await server.save();
    await server.kill();
    await waitUntil(
      () =>
        queue.add(job, 3, { key: "third" }).then(
          () => false,
          (error: unknown) => TroupeError.is(error, "store_unavailable") && error.started === "no",
        ),
      DEADLINE_MS,
      "a refused add",
    );
    go();
    await server.start();
    assert.deepEqual(await end, { type: "completed", result: 1 });
    const third = await waitUntil(() => queue.add(job, 3, { key: "third" }), DEADLINE_MS, "an accepted add");
    assert.deepEqual(await endOf(queue, second.id), { type: "completed", result: 2 });
    assert.deepEqual(await endOf(queue, third.id), { type: "completed", result: 3 });
  });

  test("closing does not wait for a store that is away", async () => {
    const queue = await store.connect();
    const job = defineJob<null, void>("closing");
    queue.process(job, () => {});
    await endOf(queue, (await queue.add(job, null)).id);
    server.freeze();
    try {
      await within(queue.close({ graceMs: 0 }), DEADLINE_MS, "the queue to close");
    } finally {
      server.thaw();
    }
  });

  test("a store that cannot be reached is named, without its password", async () => {
    const port = await freePort();
    await assert.rejects(openJobQueue({ kind: "redis", url: `redis://:hush@127.0.0.1:${port}` }), (error) => {
      assert(TroupeError.is(error, "store_unavailable"));
      assert.match(error.message, new RegExp(`cannot reach Redis at 127.0.0.1:${port}`));
      assert.doesNotMatch(error.message, /hush/);
      return true;
    });
    await assert.rejects(
      openJobQueue({ kind: "redis", url: server.url }, { lockMs: 5 }),
      /lockMs is 5, must be a whole number from 100/,
    );
  });
});
