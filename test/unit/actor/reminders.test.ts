/** Reminders, on virtual time: what fires, when, how often, and after which faults. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StoredReminder } from "../../../runtime/actor/define.ts";
import { occurrence } from "../../../runtime/actor/reminders.ts";
import { defineActor, type ReminderOptions, TroupeError } from "../../../runtime/index.ts";
import { createTestCluster, type TestCluster, type TestNode } from "../../../runtime/testing/index.ts";

interface Fired {
  key: string;
  name: string;
  dueMs: number;
  count: number;
  lateMs: number;
  node: string;
  data: unknown;
}
/** Every run of every reminder. */
let fired: Fired[] = [];
/** Runs that fail before one succeeds, by key. */
let failures = new Map<string, number>();

const Alarm = defineActor({
  kind: "alarm",
  placement: "least-loaded",
  state: { initial: () => ({ n: 0 }) },
  methods: {
    async set(ctx, name: string, options: ReminderOptions) {
      ctx.reminders.set(name, options);
      await ctx.commit();
    },
    setOnly: (ctx, name: string, options: ReminderOptions) => ctx.reminders.set(name, options),
    async delete(ctx, name: string) {
      const there = ctx.reminders.delete(name);
      await ctx.commit();
      return there;
    },
    list: (ctx) => ctx.reminders.list(),
    n: (ctx) => ctx.state.n,
    passivate: (ctx) => ctx.passivate(),
    end: (ctx) => ctx.end(),
    async busy(ctx, ms: number) {
      await new Promise<void>((resolve) => void ctx.worker.clock.after(ms, resolve));
    },
  },
  async onReminder(ctx, { name, data, dueMs, count }) {
    const lateMs = ctx.worker.clock.wallNow() - dueMs;
    fired.push({ key: ctx.key, name, dueMs, count, lateMs, node: ctx.worker.nodeId, data });
    const left = failures.get(ctx.key) ?? 0;
    if (left > 0) {
      failures.set(ctx.key, left - 1);
      throw new Error("not yet");
    }
    ctx.state.n += count;
    if (name === "snooze") ctx.reminders.set("snooze", { afterMs: 300 });
    if (name === "farewell") await ctx.end();
    if (name === "slow") await new Promise<void>((resolve) => void ctx.worker.clock.after(25_000, resolve));
  },
});

const Plain = defineActor({ kind: "plain", methods: { set: (ctx) => ctx.reminders.set("a", { afterMs: 1 }) } });

async function start(nodes: number, seed = 1): Promise<{ cluster: TestCluster; one: TestNode }> {
  fired = [];
  failures = new Map();
  const cluster = await createTestCluster({ nodes, seed, actors: [Alarm, Plain] });
  const [one] = cluster.nodes;
  assert.ok(one !== undefined);
  return { cluster, one };
}

const names = (): string[] => fired.map(({ name }) => name);

describe("what a due reminder comes to", () => {
  const base: StoredReminder = { name: "r", dueMs: 10_000, everyMs: 1_000, missed: "coalesce", data: undefined };

  it("is one run for one that comes once, however late", () => {
    assert.deepEqual(occurrence({ ...base, everyMs: undefined }, 10_000), { dueMs: 10_000, count: 1, nextMs: null });
    assert.deepEqual(occurrence({ ...base, everyMs: undefined }, 9e9), { dueMs: 10_000, count: 1, nextMs: null });
  });

  it("on time is the same for every policy, and the next time is a period on, not a period from now", () => {
    for (const missed of ["coalesce", "all", "skip"] as const) {
      assert.deepEqual(occurrence({ ...base, missed }, 10_400), { dueMs: 10_000, count: 1, nextMs: 11_000 });
    }
  });

  it("is one run for all missed times with coalesce", () => {
    assert.deepEqual(occurrence(base, 13_500), { dueMs: 13_000, count: 4, nextMs: 14_000 });
  });

  it("is one run after the other with all, and the last 1,000 of very many", () => {
    assert.deepEqual(occurrence({ ...base, missed: "all" }, 13_500), { dueMs: 10_000, count: 1, nextMs: 11_000 });
    const late = occurrence({ ...base, missed: "all" }, 10_000 + 4_999_000);
    assert.deepEqual(late, { dueMs: 10_000 + 4_000_000, count: 1, nextMs: 10_000 + 4_001_000 });
  });

  it("is none for missed times with skip, but a time that is not missed yet runs", () => {
    const slow = { ...base, everyMs: 60_000, missed: "skip" } as const;
    assert.deepEqual(occurrence(slow, 12_000), { dueMs: 10_000, count: 0, nextMs: 70_000 });
    assert.deepEqual(occurrence(slow, 10_999), { dueMs: 10_000, count: 1, nextMs: 70_000 });
    assert.deepEqual(occurrence(slow, 190_500), { dueMs: 190_000, count: 1, nextMs: 250_000 });
  });
});

describe("a reminder", () => {
  it("fires once at its time, with its data, and what it did to the state is committed", async () => {
    const { cluster, one } = await start(1);
    const ref = one.actor(Alarm, "a");
    await ref.set("tea", { afterMs: 500, data: { cups: 2 } });
    await cluster.advance(480);
    assert.equal(fired.length, 0);
    await cluster.advance(5_000);
    assert.equal(fired.length, 1);
    assert.deepEqual(fired[0]?.data, { cups: 2 });
    assert.ok((fired[0]?.lateMs ?? 99) < 50, JSON.stringify(fired));
    await ref.passivate();
    await cluster.advance(100);
    assert.equal(await ref.n(), 1);
    assert.deepEqual(await ref.list(), []);
  });

  it("counts from the commit on: one that was never committed does not fire", async () => {
    const { cluster, one } = await start(1);
    const ref = one.actor(Alarm, "a");
    await ref.setOnly("lost", { afterMs: 200 });
    await cluster.advance(1_000);
    assert.equal(fired.length, 0);
    // The next commit takes it along, here that of another reminder's run.
    await ref.set("other", { afterMs: 200 });
    await ref.setOnly("early", { afterMs: 100 });
    await cluster.advance(1_000);
    assert.deepEqual(names(), ["lost", "other", "early"]);
  });

  it("has had its run as soon as that ended: its node may die right after", async () => {
    const { cluster, one } = await start(3);
    await one.actor(Alarm, "a").set("tea", { afterMs: 500 });
    const owner = cluster.ownerOf(Alarm, "a");
    assert.ok(owner !== undefined);
    await cluster.until(() => fired.length === 1);
    // Long enough for a commit, too short for anybody to look after the actor.
    await cluster.advance(30);
    cluster.killNode(owner);
    await cluster.advance(20_000);
    assert.equal(fired.length, 1);
    assert.equal(await cluster.nodes[0]?.actor(Alarm, "a").n(), 1);
  });

  it("wakes an actor that is not resident, within half a second", async () => {
    const { cluster, one } = await start(3);
    const ref = one.actor(Alarm, "a");
    await ref.set("up", { afterMs: 5_000 });
    await ref.passivate();
    await cluster.until(() => cluster.ownerOf(Alarm, "a") === undefined);
    await cluster.advance(6_000);
    assert.equal(fired.length, 1);
    assert.ok((fired[0]?.lateMs ?? 9_999) < 500, JSON.stringify(fired));
  });

  it("of many actors over three nodes fires once for each time, resident or not", async () => {
    const { cluster } = await start(3);
    const keys = Array.from({ length: 60 }, (_, index) => `k${index}`);
    await Promise.all(
      keys.map(async (key, index) => {
        const ref = (cluster.nodes[index % 3] as TestNode).actor(Alarm, key);
        await ref.set("beat", { everyMs: 1_000, missed: "all" });
        if (index % 2 === 0) await ref.passivate();
      }),
    );
    await cluster.advance(10_600);
    const runs = new Map<string, number>();
    for (const { key, dueMs } of fired) runs.set(`${key} ${dueMs}`, (runs.get(`${key} ${dueMs}`) ?? 0) + 1);
    assert.equal(runs.size, 600);
    assert.deepEqual(new Set(runs.values()), new Set([1]));
    assert.ok(fired.every(({ lateMs }) => lateMs < 500));
    assert.equal(new Set(fired.map(({ node }) => node)).size, 3, "all nodes take part");
  });

  it("fires on another node when its owner dies before", async () => {
    const { cluster, one } = await start(3);
    const ref = one.actor(Alarm, "a");
    await ref.set("soon", { afterMs: 2_000 });
    const owner = cluster.ownerOf(Alarm, "a");
    assert.ok(owner !== undefined);
    cluster.killNode(owner);
    await cluster.advance(15_000);
    assert.deepEqual(names(), ["soon"]);
    assert.notEqual(fired[0]?.node, owner.name);
  });

  it("fires also when the node that watches its shard dies with the owner", async () => {
    // Whoever the two are: in a cluster of three, one is left.
    for (let survivor = 0; survivor < 3; survivor++) {
      const { cluster, one } = await start(3, survivor + 1);
      await Promise.all(["a", "b", "c", "d"].map((key) => one.actor(Alarm, key).set("soon", { afterMs: 2_000 })));
      for (const [index, node] of cluster.nodes.entries()) if (index !== survivor) cluster.killNode(node);
      await cluster.advance(30_000);
      assert.deepEqual(fired.map(({ key }) => key).sort(), ["a", "b", "c", "d"]);
    }
  });

  for (const [missed, expected] of [
    ["coalesce", { runs: 1, stand: 4 }],
    ["all", { runs: 4, stand: 4 }],
    ["skip", { runs: 0, stand: 0 }],
  ] as const) {
    it(`survives a cluster that is down as a whole; what was missed: ${missed}`, async () => {
      const { cluster, one } = await start(2);
      await one.actor(Alarm, "a").set("often", { everyMs: 60_000, missed });
      const nodes = [...cluster.nodes];
      for (const node of nodes) cluster.killNode(node);
      await cluster.advance(4 * 60_000 + 30_000);
      for (const node of nodes) await cluster.restartNode(node);
      await cluster.advance(20_000);
      const before = fired.splice(0);
      assert.equal(before.length, expected.runs);
      assert.equal(
        before.reduce((sum, { count }) => sum + count, 0),
        expected.stand,
      );
      await cluster.advance(20_000);
      assert.equal(fired.length, 1, "and then it goes on as before");
      assert.ok((fired[0]?.lateMs ?? 9_999) < 500);
    });
  }

  it("is tried again when its handler failed, with growing pauses", async () => {
    const { cluster, one } = await start(1);
    failures.set("a", 3);
    await one.actor(Alarm, "a").set("stubborn", { afterMs: 100 });
    await cluster.advance(1_000);
    assert.equal(fired.length, 1);
    await cluster.advance(30_000);
    assert.equal(fired.length, 4);
    assert.deepEqual(await one.actor(Alarm, "a").list(), []);
    const pauses = fired.slice(1).map(({ lateMs }, index) => lateMs - (fired[index]?.lateMs ?? 0));
    assert.ok(
      pauses.every((pause, index) => pause >= 1_000 * 2 ** index && pause < 1_600 * 2 ** index),
      `${pauses}`,
    );
  });

  it("that failed is tried again elsewhere when its node dies meanwhile", async () => {
    const { cluster, one } = await start(2);
    failures.set("a", 1);
    await one.actor(Alarm, "a").set("stubborn", { afterMs: 100 });
    await cluster.until(() => fired.length === 1);
    const owner = cluster.ownerOf(Alarm, "a");
    assert.ok(owner !== undefined);
    cluster.killNode(owner);
    await cluster.advance(20_000);
    assert.equal(fired.length, 2);
  });

  it("may set itself again, and delete others, in its own run", async () => {
    const { cluster, one } = await start(1);
    await one.actor(Alarm, "a").set("snooze", { afterMs: 300 });
    await cluster.advance(1_000);
    assert.deepEqual(names(), ["snooze", "snooze", "snooze"]);
    assert.equal(await one.actor(Alarm, "a").delete("snooze"), true);
    await cluster.advance(1_000);
    assert.equal(fired.length, 3);
    assert.equal(await one.actor(Alarm, "a").delete("snooze"), false);
  });

  it("goes with its actor's end", async () => {
    const { cluster, one } = await start(2);
    await one.actor(Alarm, "a").set("never", { afterMs: 1_000 });
    await one.actor(Alarm, "b").set("farewell", { everyMs: 1_000 });
    await one.actor(Alarm, "a").end();
    await cluster.advance(15_000);
    assert.deepEqual(names(), ["farewell"]);
  });

  it("does not overlap itself however long it takes", async () => {
    const { cluster, one } = await start(2);
    await one.actor(Alarm, "a").set("slow", { everyMs: 1_000 });
    await cluster.advance(60_000);
    // Each run takes 25 s, longer than the due index waits before it wakes the actor again.
    assert.equal(fired.length, 3);
  });

  it("waits behind calls, and is late then", async () => {
    const { cluster, one } = await start(1);
    const ref = one.actor(Alarm, "a");
    await ref.set("patient", { afterMs: 100 });
    await ref.busy(3_000);
    await cluster.advance(100);
    assert.equal(fired.length, 1);
    assert.ok((fired[0]?.lateMs ?? 0) >= 2_900);
  });

  it("fires after its worker died", async () => {
    const { cluster, one } = await start(1);
    await one.actor(Alarm, "a").set("soon", { afterMs: 300 });
    cluster.killWorker(one);
    await cluster.advance(2_000);
    assert.deepEqual(names(), ["soon"]);
  });

  it("is written back by its owner into a store that came back empty", async () => {
    const { cluster, one } = await start(2);
    await one.actor(Alarm, "a").set("later", { afterMs: 30_000 });
    cluster.clearStore();
    await cluster.advance(15_000);
    await one.actor(Alarm, "a").passivate();
    await cluster.advance(20_000);
    assert.deepEqual(names(), ["later"]);
  });

  it("is not fired while its node is parked, and once it revived", async () => {
    const { cluster, one } = await start(1);
    await one.actor(Alarm, "a").set("soon", { afterMs: 8_000 });
    cluster.stopStore();
    await cluster.advance(10_000);
    assert.equal(fired.length, 0);
    cluster.heal();
    await cluster.advance(5_000);
    assert.deepEqual(names(), ["soon"]);
  });

  it("is refused without a sensible name and time, without a handler, and beyond 256 of one actor", async () => {
    const { one } = await start(1);
    const ref = one.actor(Alarm, "a");
    const wrong: [name: string, options: ReminderOptions][] = [
      ["", { afterMs: 1 }],
      ["x", {}],
      ["x", { afterMs: -1 }],
      ["x", { afterMs: 1, atMs: 1 }],
      ["x", { everyMs: 99 }],
      ["x", { atMs: Number.NaN }],
      ["x", { afterMs: 1, missed: "skip" }],
    ];
    for (const [name, options] of wrong) {
      await assert.rejects(ref.set(name, options), (error) => TroupeError.is(error, "invalid_argument"));
    }
    await assert.rejects(one.actor(Plain, "a").set(), (error) => TroupeError.is(error, "invalid_argument"));
    for (let index = 0; index < 256; index++) await ref.setOnly(`r${index}`, { afterMs: 1e9 });
    await assert.rejects(ref.set("one more", { afterMs: 1 }), (error) => TroupeError.is(error, "overloaded"));
    await ref.set("r7", { afterMs: 1e9 });
  });
});
