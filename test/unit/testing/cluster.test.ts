import assert from "node:assert/strict";
import { test } from "node:test";
import { defineActor, TroupeError } from "../../../runtime/index.ts";
import { createTestCluster, type TestCluster } from "../../../runtime/testing/index.ts";

const Counter = defineActor({
  kind: "counter",
  state: { initial: () => ({ n: 0 }) },
  readOnly: ["read"],
  methods: {
    async add(ctx, by: number): Promise<number> {
      ctx.state.n += by;
      await ctx.commit();
      return ctx.state.n;
    },
    read: (ctx) => ctx.state.n,
    async sleep(ctx, ms: number): Promise<string> {
      await new Promise<void>((resolve) => void ctx.worker.clock.after(ms, resolve));
      return "awake";
    },
    async *upTo(_ctx, n: number) {
      for (let index = 1; index <= n; index++) yield index;
    },
  },
});

/** The example of the documentation. */
test("a killed node's actor is taken over with its state", async () => {
  const cluster = await createTestCluster({ nodes: 3, seed: 1, actors: [Counter] });
  const [one, two] = cluster.nodes;
  assert.ok(one !== undefined && two !== undefined);
  assert.equal(await one.actor(Counter, "visits").add(2), 2);
  assert.equal(cluster.ownerOf(Counter, "visits"), one);
  cluster.killNode(one);
  const n = await cluster.until(() =>
    two
      .actor(Counter, "visits")
      .read()
      .catch(() => undefined),
  );
  assert.equal(n, 2);
});

async function story(seed: number): Promise<{ trace: string; now: number }> {
  const cluster = await createTestCluster({ nodes: 3, seed, actors: [Counter] });
  const [one, two, three] = cluster.nodes;
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  await Promise.all(cluster.nodes.map((node, index) => node.actor(Counter, `c${index}`).add(index)));
  cluster.partition(one, two);
  await two
    .actor(Counter, "c0")
    .with({ timeoutMs: 500 })
    .add(1)
    .catch(() => {});
  cluster.heal();
  cluster.freeze(three);
  await cluster.advance(12_000);
  cluster.thaw(three);
  await one.actor(Counter, "c2").add(1);
  return { trace: cluster.trace, now: cluster.now };
}

test("a seed determines the run, event for event", async () => {
  assert.deepEqual(await story(7), await story(7));
});

test("other seeds give other runs", async () => {
  assert.notEqual((await story(7)).trace, (await story(8)).trace);
});

async function owned(nodes: number): Promise<TestCluster> {
  const cluster = await createTestCluster({ nodes, seed: 3, actors: [Counter] });
  const [one] = cluster.nodes;
  assert.ok(one !== undefined);
  await one.actor(Counter, "a").add(1);
  return cluster;
}

test("waiting costs no time", async () => {
  const cluster = await owned(1);
  const before = performance.now();
  const [one] = cluster.nodes;
  assert.equal(await one?.actor(Counter, "a").with({ timeoutMs: 120_000 }).sleep(60_000), "awake");
  assert.ok(cluster.now > 60_000);
  assert.ok(performance.now() - before < 20_000);
});

test("a node that is frozen longer than its lease loses its actors and comes back under another incarnation", async () => {
  const cluster = await owned(3);
  const [one, two] = cluster.nodes;
  assert.ok(one !== undefined && two !== undefined);
  cluster.freeze(one);
  await cluster.advance(15_000);
  assert.equal(await two.actor(Counter, "a").add(1), 2);
  cluster.thaw(one);
  await assert.rejects(one.actor(Counter, "a").add(1), (error) => TroupeError.is(error, "unavailable"));
  await cluster.advance(3_000);
  assert.equal(await one.actor(Counter, "a").add(1), 3);
  assert.equal(cluster.ownerOf(Counter, "a"), two);
});

test("a partitioned owner keeps its actors, and callers on the other side are told within their time", async () => {
  const cluster = await owned(2);
  const [one, two] = cluster.nodes;
  assert.ok(one !== undefined && two !== undefined);
  cluster.partition(one, two);
  const started = cluster.now;
  await assert.rejects(two.actor(Counter, "a").with({ timeoutMs: 5_000 }).add(1), (error) => TroupeError.is(error));
  assert.ok(cluster.now - started <= 6_100);
  assert.equal(cluster.ownerOf(Counter, "a"), one);
  cluster.heal();
  await cluster.advance(3_000);
  assert.ok((await two.actor(Counter, "a").add(1)) >= 2);
});

test("an owner that cannot reach the store parks and then revives, with its state", async () => {
  const cluster = await owned(2);
  const [one] = cluster.nodes;
  assert.ok(one !== undefined);
  cluster.stopStore();
  await cluster.advance(6_000);
  await assert.rejects(one.actor(Counter, "a").read(), (error) => TroupeError.is(error, "unavailable"));
  cluster.heal();
  await cluster.advance(3_000);
  assert.equal(await one.actor(Counter, "a").read(), 1);
});

test("what a living node owns survives an emptied store", async () => {
  const cluster = await owned(3);
  cluster.clearStore();
  await cluster.advance(15_000);
  for (const node of cluster.nodes) assert.ok((await node.actor(Counter, "a").add(1)) >= 2);
});

test("a worker's end is an unknown outcome for running calls, and its actors start again elsewhere in the node", async () => {
  const cluster = await owned(1);
  const [one] = cluster.nodes;
  assert.ok(one !== undefined);
  const running = one.actor(Counter, "a").sleep(1_000);
  const outcome = assert.rejects(running, (error) => error instanceof TroupeError && error.started === "unknown");
  await cluster.advance(100);
  cluster.killWorker(one);
  await outcome;
  await cluster.advance(1_000);
  assert.equal(await one.actor(Counter, "a").read(), 1);
});

test("streams run on virtual time too", async () => {
  const cluster = await owned(2);
  const items: number[] = [];
  for await (const item of cluster.nodes[1]?.actor(Counter, "a").upTo(100) ?? []) items.push(item);
  assert.deepEqual(
    items,
    Array.from({ length: 100 }, (_, index) => index + 1),
  );
});

test("a restarted node takes part again", async () => {
  const cluster = await owned(2);
  const [one] = cluster.nodes;
  assert.ok(one !== undefined);
  cluster.killNode(one);
  const again = await cluster.restartNode(one);
  await cluster.advance(12_000);
  assert.equal(await again.actor(Counter, "a").add(1), 2);
});
