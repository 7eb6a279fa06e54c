import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { z } from "zod";
import { encodeState } from "../../../runtime/actor/codec.ts";
import { concurrent, defineActor } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { singleNode, TestCluster } from "./kit.ts";

const fails = (code: string, started: string) => (error: unknown) => {
  assert.ok(error instanceof TroupeError, String(error));
  assert.deepEqual([error.code, error.started], [code, started], error.message);
  return true;
};

describe("validation", () => {
  const Checked = defineActor({
    kind: "checked",
    state: { initial: () => ({ n: 0 }), schema: z.object({ n: z.number() }) },
    arguments: { add: z.tuple([z.number().int().positive()]) },
    methods: {
      async add(ctx, by: number) {
        ctx.state.n += by;
        await ctx.commit();
        return ctx.state.n;
      },
    },
  });

  it("refuses wrong arguments before the turn, naming what is wrong", async () => {
    const node = singleNode(Checked);
    assert.equal(await node.actor(Checked, "x").add(1), 1);
    await assert.rejects(node.actor(Checked, "x").add(-1), (error: unknown) => {
      assert.ok(TroupeError.is(error, "invalid_argument"));
      assert.equal(error.started, "no");
      assert.match(error.message, /checked\/x\.add.*0/);
      return true;
    });
    assert.equal(await node.actor(Checked, "x").add(1), 2);
  });

  it("refuses to activate on stored state that does not fit", async () => {
    const node = singleNode(Checked);
    await node.create(Checked, "x", { n: "many" });
    await assert.rejects(node.actor(Checked, "x").add(1), fails("activation_failed", "no"));
  });
});

describe("stored state of an older version", () => {
  const methods = { read: (ctx: { state: unknown }) => ctx.state };

  it("is brought up to date by upcast", async () => {
    const Old = defineActor({ kind: "doc", state: { initial: () => "a b" }, methods });
    const New = defineActor({
      kind: "doc",
      state: { initial: () => [] as string[], version: 2, upcast: (stored) => String(stored).split(" ") },
      methods,
    });
    const cluster = new TestCluster();
    const node = cluster.add("n", New);
    await node.router.create("doc/x" as never, encodeState("a b", 1));
    assert.deepEqual(await node.actor(New, "x").read(), ["a", "b"]);
    assert.ok(Old);
  });

  it("is refused where it is newer than the code, instead of being misread", async () => {
    const Old = defineActor({ kind: "doc", state: { initial: () => "" }, methods });
    const node = singleNode(Old);
    await node.router.create("doc/x" as never, encodeState(["a"], 2));
    await assert.rejects(node.actor(Old, "x").read(), fails("activation_failed", "no"));
  });
});

describe("activation", () => {
  it("answers activation_failed when onActivate throws, at once or later", async () => {
    const Sync = defineActor({
      kind: "sync",
      placement: "node",
      onActivate() {
        throw new Error("no way");
      },
      methods: { go: () => 1 },
    });
    const Later = defineActor({
      kind: "later",
      async onActivate() {
        await new Promise(setImmediate);
        throw new Error("no way");
      },
      methods: { go: () => 1 },
    });
    const node = singleNode(Sync, Later);
    await assert.rejects(node.actor(Sync, "x@n1").go(), fails("activation_failed", "no"));
    await assert.rejects(node.actor(Later, "x").go(), fails("activation_failed", "no"));
  });

  it("passivates what was used longest ago beyond the cap, keeping state", async () => {
    const Small = defineActor({
      kind: "small",
      commitOnTurn: true,
      state: { initial: () => ({ n: 0 }) },
      methods: { add: (ctx) => ++ctx.state.n },
    });
    const node = singleNode(Small);
    node.maxResidents = 10;
    node.restartThread();
    for (let round = 1; round <= 3; round++) {
      for (let i = 0; i < 40; i++) assert.equal(await node.actor(Small, `k${i}`).add(), round);
    }
    assert.ok(node.host.residents <= 12, `${node.host.residents}`);
    // Busy ones cannot go, so many calls at once make more; afterwards there are soon no more than the cap again.
    await Promise.all(Array.from({ length: 200 }, (_, i) => node.actor(Small, `b${i}`).add()));
    assert.ok(node.host.residents > 12, `${node.host.residents}`);
    for (let i = 0; i < 250; i++) await node.actor(Small, `c${i}`).add();
    assert.ok(node.host.residents <= 12, `${node.host.residents}`);
  });
});

describe("a commit whose answer was lost", () => {
  const Counter = defineActor({
    kind: "counter",
    state: { initial: () => ({ n: 0 }) },
    methods: {
      async add(ctx) {
        ctx.state.n++;
        await ctx.commit();
        return `${ctx.state.n} ${ctx.epoch}`;
      },
    },
  });

  it("is not mistaken for another owner: the next one goes on top of it, in the same activation", async () => {
    const node = singleNode(Counter);
    const first = await node.actor(Counter, "x").add();
    node.answersLost = true;
    await assert.rejects(node.actor(Counter, "x").add(), fails("store_unavailable", "yes"));
    node.answersLost = false;
    assert.equal(await node.actor(Counter, "x").add(), first.replace("1 ", "3 "));
    assert.equal(await node.actor(Counter, "x").add(), first.replace("1 ", "4 "));
  });

  it("changes nothing where no commit was in doubt: a version that is not its own is somebody else's", async () => {
    const node = singleNode(Counter);
    await node.actor(Counter, "x").add();
    const row = [...node.directory.rows.values()][0];
    assert.ok(row !== undefined);
    row.version++;
    await assert.rejects(node.actor(Counter, "x").add(), fails("fenced", "yes"));
  });
});

describe("commitOnTurn", () => {
  it("holds the answer until the state is stored, and not for read-only methods", async () => {
    const Auto = defineActor({
      kind: "auto",
      commitOnTurn: true,
      readOnly: ["read"],
      state: { initial: () => ({ n: 0 }) },
      methods: { add: (ctx) => ++ctx.state.n, read: (ctx) => ctx.state.n },
    });
    const node = singleNode(Auto);
    assert.equal(await node.actor(Auto, "x").add(), 1);
    assert.equal(node.commits, 1);
    assert.equal(await node.actor(Auto, "x").read(), 1);
    assert.equal(node.commits, 1);
  });

  it("starts from what is stored after a commit failed", async () => {
    const Auto = defineActor({
      kind: "auto",
      commitOnTurn: true,
      state: { initial: () => ({ n: 0 }) },
      methods: { add: (ctx) => ++ctx.state.n },
    });
    const node = singleNode(Auto);
    await node.actor(Auto, "x").add();
    node.storeDown = true;
    await assert.rejects(node.actor(Auto, "x").add(), fails("store_unavailable", "yes"));
    node.storeDown = false;
    assert.equal(await node.actor(Auto, "x").add(), 2);
  });

  it("begins nothing on a state that could not be committed", async () => {
    const Auto = defineActor({
      kind: "auto",
      commitOnTurn: true,
      state: { initial: () => ({ n: 0 }) },
      methods: { add: (ctx) => ++ctx.state.n },
    });
    const node = singleNode(Auto);
    await node.actor(Auto, "x").add();
    node.commitsToFail = 1;
    const [first, second] = [node.actor(Auto, "x").add(), node.actor(Auto, "x").add()];
    await assert.rejects(first, fails("store_unavailable", "yes"));
    assert.equal(await second, 2);
  });
});

describe("delivery", () => {
  const Account = defineActor({
    kind: "account",
    mode: concurrent(10),
    state: { initial: () => ({ balance: 0 }) },
    instance: () => ({ gate: undefined as (() => void) | undefined }),
    methods: {
      async deposit(ctx, amount: number) {
        ctx.state.balance += amount;
        return ctx.state.balance;
      },
      async slow(ctx, amount: number) {
        ctx.state.balance += amount;
        await new Promise<void>((resolve) => {
          ctx.instance.gate = resolve;
        });
        return ctx.state.balance;
      },
      open: (ctx) => ctx.instance.gate?.(),
      balance: (ctx) => ctx.state.balance,
      async fail(ctx) {
        ctx.state.balance += 1;
        throw new Error("refused");
      },
    },
  });

  it("answers a repeat of a dedup request with the first result", async () => {
    const node = singleNode(Account);
    const ref = node.actor(Account, "x").with({ delivery: "dedup", requestId: "r1" });
    assert.equal(await ref.deposit(5), 5);
    assert.equal(await ref.deposit(5), 5);
    assert.equal(await node.actor(Account, "x").balance(), 5);
  });

  it("attaches a repeat to the call that still runs", async () => {
    const node = singleNode(Account);
    const ref = node.actor(Account, "x").with({ delivery: "dedup", requestId: "r1" });
    const first = ref.slow(5);
    const second = ref.slow(5);
    await new Promise(setImmediate);
    await node.actor(Account, "x").open();
    assert.deepEqual(await Promise.all([first, second]), [5, 5]);
  });

  it("lets a request that failed be tried again", async () => {
    const node = singleNode(Account);
    const ref = node.actor(Account, "x").with({ delivery: "dedup", requestId: "r1" });
    await assert.rejects(ref.fail(), fails("method_failed", "yes"));
    await assert.rejects(ref.fail(), fails("method_failed", "yes"));
    assert.equal(await node.actor(Account, "x").balance(), 2);
  });

  it("keeps durable results over the death of the owner", async () => {
    const cluster = new TestCluster();
    const [a, b] = [cluster.add("a", Account), cluster.add("b", Account)];
    const options = { delivery: "durable", requestId: "r1" } as const;
    assert.equal(await a.actor(Account, "x").with(options).deposit(5), 5);
    cluster.kill(a);
    assert.equal(await b.actor(Account, "x").with(options).deposit(5), 5);
    assert.equal(await b.actor(Account, "x").balance(), 5);
  });

  it("stores a result whose own commit failed with what it made, when another turn commits that", async () => {
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const Shared = defineActor({
      kind: "shared",
      mode: concurrent(10),
      state: { initial: () => ({ balance: 0 }) },
      methods: {
        async deposit(ctx, amount: number, wait = false) {
          ctx.state.balance += amount;
          if (wait) await gate;
          return ctx.state.balance;
        },
      },
    });
    const node = singleNode(Shared);
    const ref = (requestId: string) => node.actor(Shared, "x").with({ delivery: "durable", requestId });
    const slow = ref("slow").deposit(5, true);
    while (node.host.turns.size === 0) await new Promise(setImmediate);
    node.commitsToFail = 1;
    await assert.rejects(ref("quick").deposit(3), fails("store_unavailable", "yes"));
    open();
    assert.equal(await slow, 8);
    assert.equal(await ref("quick").deposit(3), 8);
    assert.equal(await ref("next").deposit(1), 9);
  });

  it("resends a durable call whose owner dies, and runs it once in what survives", async () => {
    const cluster = new TestCluster();
    const [a, b] = [cluster.add("a", Account), cluster.add("b", Account)];
    await a.actor(Account, "x").balance();
    const call = b.actor(Account, "x").with({ delivery: "durable" }).slow(5);
    while (a.host.turns.size === 0) await new Promise(setImmediate);
    cluster.kill(a);
    while (b.host.turns.size === 0) await new Promise((resolve) => setImmediate(resolve));
    await b.actor(Account, "x").open();
    assert.equal(await call, 5);
  });
});
