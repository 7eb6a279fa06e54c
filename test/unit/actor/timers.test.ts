/** Timers of activations, on virtual time. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concurrent, defineActor, TroupeError } from "../../../runtime/index.ts";
import { createTestCluster, type TestCluster, type TestNode } from "../../../runtime/testing/index.ts";

/** Everything that happened, in order, in any activation. */
let log: string[] = [];

const Clockwork = defineActor({
  kind: "clockwork",
  state: { initial: () => ({ ticks: 0 }) },
  instance: () => ({ cancel: () => {} }),
  methods: {
    once(ctx, afterMs: number) {
      ctx.instance.cancel = ctx.timer(afterMs, (turn) => void log.push(`once ${turn.key} ${turn.state.ticks}`));
    },
    every(ctx, everyMs: number, takesMs: number) {
      ctx.instance.cancel = ctx.timer({ everyMs }, async (turn) => {
        turn.state.ticks++;
        log.push(`tick ${turn.worker.clock.now() % 100_000}`);
        if (takesMs > 0) await new Promise<void>((resolve) => void turn.worker.clock.after(takesMs, resolve));
      });
    },
    failing(ctx) {
      ctx.timer({ everyMs: 100 }, () => {
        log.push("failed");
        throw new Error("the timer's own");
      });
    },
    cancel: (ctx) => ctx.instance.cancel(),
    passivate: (ctx) => ctx.passivate(),
    async busy(ctx, ms: number) {
      log.push("busy");
      await new Promise<void>((resolve) => void ctx.worker.clock.after(ms, resolve));
      log.push("free");
    },
    call: () => void log.push("call"),
    ticks: (ctx) => ctx.state.ticks,
    many(ctx, count: number) {
      for (let index = 0; index < count; index++) ctx.timer(60_000, () => {});
    },
    wrong: (ctx) => void ctx.timer({ everyMs: 0 }, () => {}),
    async commitAtTick(ctx) {
      ctx.timer(100, async (turn) => {
        turn.state.ticks = 7;
        await turn.commit();
      });
    },
  },
});

async function one(): Promise<{ cluster: TestCluster; node: TestNode }> {
  log = [];
  const cluster = await createTestCluster({ nodes: 1, actors: [Clockwork] });
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  return { cluster, node };
}

describe("a timer", () => {
  it("runs once, after its time, as a turn with the actor's state", async () => {
    const { cluster, node } = await one();
    await node.actor(Clockwork, "a").once(500);
    await cluster.advance(490);
    assert.deepEqual(log, []);
    await cluster.advance(60);
    assert.deepEqual(log, ["once a 0"]);
    await cluster.advance(5_000);
    assert.deepEqual(log, ["once a 0"]);
  });

  it("with everyMs runs again and again, in step with the first, until it is cancelled", async () => {
    const { cluster, node } = await one();
    const ref = node.actor(Clockwork, "a");
    await ref.every(100, 30);
    await cluster.advance(1_050);
    assert.equal(await ref.ticks(), 10);
    await ref.cancel();
    await cluster.advance(1_000);
    assert.equal(await ref.ticks(), 10);
  });

  it("never overlaps itself, and leaves out what it missed instead of catching up", async () => {
    const { cluster, node } = await one();
    const ref = node.actor(Clockwork, "a");
    await ref.every(100, 450);
    await cluster.advance(2_300);
    // At 100, 600, 1,100, 1,600 and 2,100.
    assert.equal(log.length, 5);
  });

  it("waits behind calls: it is in the background lane", async () => {
    const { cluster, node } = await one();
    const ref = node.actor(Clockwork, "a");
    await ref.once(100);
    const busy = ref.busy(300);
    await cluster.advance(200);
    const calls = [ref.call(), ref.call()];
    await Promise.all([busy, ...calls]);
    await cluster.advance(50);
    assert.deepEqual(log, ["busy", "free", "call", "call", "once a 0"]);
  });

  it("dies with its activation, also when its turn was already waiting", async () => {
    const { cluster, node } = await one();
    const ref = node.actor(Clockwork, "a");
    await ref.once(100);
    const busy = ref.busy(300);
    await cluster.advance(200);
    // Both the timer's turn and this are queued; this one is first.
    const passivate = ref.passivate();
    await Promise.all([busy, passivate]);
    await cluster.advance(1_000);
    assert.deepEqual(log, ["busy", "free"]);
    assert.equal(cluster.ownerOf(Clockwork, "a"), undefined, "the timer must not wake the actor up again");
  });

  it("goes on after a turn of it failed", async () => {
    const { cluster, node } = await one();
    await node.actor(Clockwork, "a").failing();
    await cluster.advance(350);
    assert.deepEqual(log, ["failed", "failed", "failed"]);
  });

  it("leaves state in memory: what it did not commit goes with the activation", async () => {
    const { cluster, node } = await one();
    const ref = node.actor(Clockwork, "a");
    await ref.every(100, 0);
    await cluster.advance(550);
    assert.equal(await ref.ticks(), 5);
    await ref.passivate();
    await cluster.advance(100);
    assert.equal(await ref.ticks(), 0);
  });

  it("may commit", async () => {
    const { cluster, node } = await one();
    const ref = node.actor(Clockwork, "a");
    await ref.commitAtTick();
    await cluster.advance(200);
    await ref.passivate();
    await cluster.advance(100);
    assert.equal(await ref.ticks(), 7);
  });

  it("is refused beyond 1,024 of one activation, and without a sensible time", async () => {
    const { node } = await one();
    const ref = node.actor(Clockwork, "a");
    await ref.many(1_024);
    await assert.rejects(ref.many(1), (error) => TroupeError.is(error, "overloaded"));
    await assert.rejects(ref.wrong(), (error) => TroupeError.is(error, "invalid_argument"));
  });
});

describe("a method", () => {
  it("cannot take a name that belongs to the runtime's own turns", () => {
    assert.throws(
      () => defineActor({ kind: "sly", mode: concurrent(2), methods: { "@timer": () => {} } }),
      /cannot start with "@"/,
    );
  });
});
