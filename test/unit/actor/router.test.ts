import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defineActor } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { TestCluster } from "./kit.ts";

const Counter = defineActor({
  kind: "counter",
  state: { initial: () => ({ n: 0 }) },
  instance: () => ({ aborted: [] as string[] }),
  methods: {
    async add(ctx, by: number) {
      ctx.state.n += by;
      await ctx.commit();
      return ctx.state.n;
    },
    where: (ctx) => String(ctx.worker.nodeId),
    sleep: (ctx) => ctx.passivate(),
    hang: (ctx) =>
      new Promise<void>((_, reject) => {
        ctx.signal.addEventListener("abort", () => {
          ctx.instance.aborted.push(ctx.signal.reason.code);
          reject(ctx.signal.reason);
        });
      }),
    async *watch(ctx, to: number) {
      try {
        for (let n = 0; n < to; n++) yield n;
        if (to === 0) await new Promise(() => {});
      } finally {
        ctx.instance.aborted.push("closed");
      }
    },
    aborted: (ctx) => ctx.instance.aborted,
  },
});

const Local = defineActor({
  kind: "local",
  placement: "node",
  mode: "reads",
  methods: { where: (ctx) => String(ctx.worker.nodeId) },
});

const fails = (code: string, started: string) => (error: unknown) => {
  assert.ok(error instanceof TroupeError, String(error));
  assert.deepEqual([error.code, error.started], [code, started], error.message);
  return true;
};

function three() {
  const cluster = new TestCluster();
  const [a, b, c] = ["a", "b", "c"].map((id) => cluster.add(id, Counter, Local));
  assert.ok(a && b && c);
  return { cluster, a, b, c };
}

describe("routing between nodes", () => {
  it("calls one activation from every node", async () => {
    const { a, b, c } = three();
    assert.equal(await a.actor(Counter, "x").add(1), 1);
    assert.equal(await b.actor(Counter, "x").add(1), 2);
    assert.equal(await c.actor(Counter, "x").add(1), 3);
    assert.deepEqual([a.host.residents, b.host.residents, c.host.residents], [1, 0, 0]);
  });

  it("asks the directory once per node, not per call", async () => {
    const { cluster, a, b } = three();
    await a.actor(Counter, "x").add(1);
    for (let i = 0; i < 50; i++) await b.actor(Counter, "x").add(1);
    assert.equal(cluster.directory.claims, 2);
  });

  it("carries streams between nodes and ends the producer when the consumer leaves", async () => {
    const { a, b } = three();
    await a.actor(Counter, "x").where();
    const got: number[] = [];
    for await (const n of b.actor(Counter, "x").watch(300)) got.push(n);
    assert.equal(got.length, 300);
    for await (const n of b.actor(Counter, "x").watch(1_000_000)) if (n === 5) break;
    while ((await a.actor(Counter, "x").aborted()).length < 2) await new Promise(setImmediate);
  });

  it("finds an actor that has moved, without running the call twice", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").add(1);
    await c.actor(Counter, "x").add(1);
    await a.actor(Counter, "x").sleep();
    while (a.host.residents > 0) await new Promise(setImmediate);
    assert.equal(await b.actor(Counter, "x").add(1), 3);
    assert.equal(await b.actor(Counter, "x").where(), "b");
    // c still believes in a.
    assert.equal(await c.actor(Counter, "x").add(1), 4);
    assert.equal(await c.actor(Counter, "x").where(), "b");
  });

  it("keeps the order of one caller's calls over a move", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").add(0);
    await c.actor(Counter, "x").add(0);
    await a.actor(Counter, "x").sleep();
    while (a.host.residents > 0) await new Promise(setImmediate);
    await b.actor(Counter, "x").where();
    const answers = await Promise.all(Array.from({ length: 20 }, () => c.actor(Counter, "x").add(1)));
    assert.deepEqual(
      answers,
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });

  it("takes a dead node's actor over, with its committed state", async () => {
    const { cluster, a, b } = three();
    await a.actor(Counter, "x").add(5);
    cluster.kill(a);
    assert.equal(await b.actor(Counter, "x").add(1), 6);
    assert.equal(b.host.residents, 1);
  });

  it("begins its next life only when nothing of the one before runs, and starts nothing until then", async () => {
    const { a } = three();
    await a.actor(Counter, "x").add(5);
    const hanging = assert.rejects(a.actor(Counter, "x").hang(), TroupeError);
    await new Promise(setImmediate);
    // The host hears of it late.
    const deliver = a.host.deliver.bind(a.host);
    const late: Parameters<typeof deliver>[0][] = [];
    a.host.deliver = (message) => void late.push(message);
    let fenced = false;
    const over = a.router.fence().then(() => {
      fenced = true;
    });
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    assert.equal(fenced, false);
    a.host.deliver = deliver;
    for (const message of late) deliver(message);
    await over;
    assert.equal(a.host.residents, 0);
    await hanging;
    await assert.rejects(a.actor(Counter, "y").add(1), fails("unavailable", "no"));
    assert.equal(a.host.residents, 0);
  });

  it("says unknown for a call whose node died with it", async () => {
    const { cluster, a, b } = three();
    await a.actor(Counter, "x").where();
    const call = assert.rejects(b.actor(Counter, "x").hang(), fails("unavailable", "unknown"));
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    cluster.kill(a);
    await call;
  });

  it("cancels calls and streams of a caller whose node went away", async () => {
    const { cluster, a, b } = three();
    await a.actor(Counter, "x").where();
    const call = assert.rejects(
      b
        .actor(Counter, "y")
        .where()
        .then(() => b.actor(Counter, "x").hang()),
      TroupeError,
    );
    const stream = b.actor(Counter, "x").watch(0)[Symbol.asyncIterator]();
    void stream.next().catch(() => {});
    while (a.host.turns.size < 1) await new Promise(setImmediate);
    cluster.cutLink(a, b);
    await call;
    while (!(await a.actor(Counter, "x").aborted()).includes("caller_died")) await new Promise(setImmediate);
  });

  it("lets a call wait for a link that comes back in time", async () => {
    const { cluster, a, b } = three();
    await a.actor(Counter, "x").add(1);
    await b.actor(Counter, "x").add(1);
    cluster.cutLink(a, b);
    const call = b.actor(Counter, "x").add(1);
    await new Promise(setImmediate);
    cluster.healLink(a, b);
    assert.equal(await call, 3);
  });

  it("cancels a call that still waits for a link, not started", async () => {
    const { cluster, a, b } = three();
    await a.actor(Counter, "x").add(1);
    await b.actor(Counter, "x").add(1);
    cluster.cutLink(a, b);
    const controller = new AbortController();
    const call = assert.rejects(
      b.actor(Counter, "x").with({ signal: controller.signal }).add(1),
      fails("cancelled", "no"),
    );
    await new Promise(setImmediate);
    controller.abort();
    await call;
    cluster.healLink(a, b);
    assert.equal(await b.actor(Counter, "x").add(1), 3);
  });

  it("reaches an actor whose key names its node, without the directory", async () => {
    const { cluster, a } = three();
    assert.equal(await a.actor(Local, "thing@c").where(), "c");
    assert.equal(await a.actor(Local, "thing@a").where(), "a");
    assert.equal(cluster.directory.claims, 0);
    await assert.rejects(a.actor(Local, "thing@nobody").where(), fails("unavailable", "no"));
  });

  it("takes its own actor over again after its worker died, asked by whichever node", async () => {
    const { a, b } = three();
    await a.actor(Counter, "x").add(5);
    await b.actor(Counter, "x").add(1);
    const before = a.directory.rows.get("counter/x")?.owner?.epoch;
    a.restartThread();
    assert.equal(await b.actor(Counter, "x").add(1), 7);
    assert.equal(await b.actor(Counter, "x").where(), "a");
    assert.notEqual(a.directory.rows.get("counter/x")?.owner?.epoch, before);
  });

  it("lets calls wait while no worker of the owner runs, in the order they came", async () => {
    const { a, b } = three();
    await a.actor(Counter, "x").add(5);
    a.endThread();
    const answers = [1, 10, 100].map((by) => b.actor(Counter, "x").add(by));
    // A call behind them to somebody else has its way through the same link.
    await b.actor(Local, "here@b").where();
    let settled = 0;
    for (const answer of answers) void answer.finally(() => settled++);
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    assert.equal(settled, 0);
    a.startThread();
    assert.deepEqual(await Promise.all(answers), [6, 16, 116]);
    assert.equal(await b.actor(Counter, "x").where(), "a");
  });

  it("creates an actor once a worker runs again", async () => {
    const { a } = three();
    a.endThread();
    const created = a.create(Counter, "made", { n: 3 });
    let settled = false;
    void created.finally(() => {
      settled = true;
    });
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    assert.equal(settled, false);
    a.startThread();
    await created;
    assert.equal(await a.actor(Counter, "made").add(1), 4);
  });

  it("does not trust its own old route when a peer says that the actor is here", async () => {
    const { a, b, c } = three();
    await c.actor(Counter, "x").add(1);
    await a.actor(Counter, "x").add(1);
    // The directory says that a owns it, whose answer to that claim was lost, and a still believes in c.
    await c.actor(Counter, "x").sleep();
    while (c.host.residents > 0) await new Promise(setImmediate);
    const row = a.directory.rows.get("counter/x");
    assert.ok(row !== undefined);
    row.owner = { incarnation: a.incarnation, epoch: "lost" as never };
    assert.equal(await b.actor(Counter, "x").add(1), 3);
    assert.equal(await b.actor(Counter, "x").where(), "a");
  });
});
