import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concurrent, defineActor } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { singleNode } from "./kit.ts";

/** A promise and what settles it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

const fails = (code: string, started: string) => (error: unknown) => {
  assert.ok(error instanceof TroupeError, String(error));
  assert.deepEqual([error.code, error.started], [code, started], error.message);
  return true;
};

describe("calls", () => {
  it("answers with what the method returns, and keeps state between calls", async () => {
    const Counter = defineActor({
      kind: "counter",
      state: { initial: () => ({ n: 0 }) },
      methods: {
        async add(ctx, by: number) {
          ctx.state.n += by;
          return ctx.state.n;
        },
      },
    });
    const node = singleNode(Counter);
    const counter = node.actor(Counter, "visits");
    assert.equal(await counter.add(2), 2);
    assert.equal(await counter.add(3), 5);
    assert.equal(await node.actor(Counter, "other").add(1), 1);
  });

  it("keeps nothing of a call whose method waits for nothing, and settles it as any other", async () => {
    const Quick = defineActor({
      kind: "quick",
      methods: {
        say: (_ctx, text: string) => text,
        refuse: () => {
          throw new TypeError("never");
        },
      },
    });
    const Slow = defineActor({
      kind: "slow",
      methods: {
        ask: async (ctx, text: string) => [await ctx.actor(Quick, "x").say(text)],
      },
    });
    const node = singleNode(Quick, Slow);
    const [quick, slow] = [node.actor(Quick, "x"), node.actor(Slow, "x")];
    assert.deepEqual([await quick.say("awake"), await slow.ask("awake")], ["awake", ["awake"]]);
    const answers = [quick.say("a"), slow.ask("b"), quick.say("c")];
    // Settled already, though nobody has looked: only the one that waits is kept, and not the call it waits for.
    assert.deepEqual([node.host.calls.size, node.host.turns.size], [1, 1]);
    assert.deepEqual(await Promise.all(answers), ["a", ["b"], "c"]);
    await assert.rejects(quick.refuse(), fails("method_failed", "yes"));
    assert.deepEqual([node.host.calls.size, node.host.turns.size], [0, 0]);
  });

  it("cancels a call whose own method, before its first wait, made its caller cancel", async () => {
    const controller = new AbortController();
    const Stubborn = defineActor({
      kind: "stubborn",
      methods: {
        async cancelMe(ctx) {
          controller.abort();
          await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
          throw ctx.signal.reason;
        },
        awake: () => true,
      },
    });
    const node = singleNode(Stubborn);
    const ref = node.actor(Stubborn, "x");
    await ref.awake();
    await assert.rejects(ref.with({ signal: controller.signal }).cancelMe(), fails("cancelled", "yes"));
    assert.equal(node.host.turns.size, 0);
  });

  it("runs one turn at a time in mode serial, in the order of the calls", async () => {
    const order: string[] = [];
    const Serial = defineActor({
      kind: "serial",
      methods: {
        async step(_ctx, name: string) {
          order.push(`+${name}`);
          await new Promise(setImmediate);
          order.push(`-${name}`);
        },
      },
    });
    const ref = singleNode(Serial).actor(Serial, "x");
    await Promise.all([ref.step("a"), ref.step("b"), ref.step("c")]);
    assert.deepEqual(order, ["+a", "-a", "+b", "-b", "+c", "-c"]);
  });

  it("lets read-only methods overlap in mode reads, and writers be alone", async () => {
    let reading = 0;
    let most = 0;
    let together = false;
    const Reads = defineActor({
      kind: "reads",
      mode: "reads",
      readOnly: ["read"],
      methods: {
        async read() {
          most = Math.max(most, ++reading);
          await new Promise(setImmediate);
          reading--;
        },
        async write() {
          together ||= reading > 0;
          await new Promise(setImmediate);
          together ||= reading > 0;
        },
      },
    });
    const ref = singleNode(Reads).actor(Reads, "x");
    await Promise.all([ref.read(), ref.read(), ref.write(), ref.read(), ref.read()]);
    assert.equal(most, 2);
    assert.equal(together, false);
  });

  it("overlaps up to n turns in mode concurrent(n)", async () => {
    let running = 0;
    let most = 0;
    const Wide = defineActor({
      kind: "wide",
      mode: concurrent(3),
      methods: {
        async work() {
          most = Math.max(most, ++running);
          await new Promise(setImmediate);
          running--;
        },
      },
    });
    const ref = singleNode(Wide).actor(Wide, "x");
    await Promise.all(Array.from({ length: 9 }, () => ref.work()));
    assert.equal(most, 3);
  });

  it("refuses a call that would wait for itself, naming the chain", async () => {
    const A = defineActor({
      kind: "a",
      methods: {
        async outer(ctx): Promise<string> {
          return ctx.actor(B, "b").middle();
        },
        async inner() {
          return "never";
        },
      },
    });
    const B = defineActor({
      kind: "b",
      methods: {
        async middle(ctx): Promise<string> {
          return ctx.actor(A, "a").inner();
        },
      },
    });
    const node = singleNode(A, B);
    await assert.rejects(node.actor(A, "a").outer(), (error: unknown) => {
      assert.ok(TroupeError.is(error, "call_cycle"));
      assert.match(error.message, /a\/a → b\/b → a\/a/);
      assert.equal(error.started, "yes", "the outer call did begin");
      return true;
    });
  });

  it("lets the same chain in again in mode reentrant", async () => {
    const Loop = defineActor({
      kind: "loop",
      mode: "reentrant",
      methods: {
        async outer(ctx): Promise<string> {
          return ctx.actor(Loop2, ctx.key).back();
        },
        async inner() {
          return "in";
        },
      },
    });
    const Loop2 = defineActor({
      kind: "loop2",
      methods: {
        async back(ctx): Promise<string> {
          return ctx.actor(Loop, ctx.key).inner();
        },
      },
    });
    assert.equal(await singleNode(Loop, Loop2).actor(Loop, "x").outer(), "in");
  });

  it("turns a thrown error into method_failed, started", async () => {
    const Bad = defineActor({
      kind: "bad",
      methods: {
        boom() {
          throw new Error("kaputt");
        },
      },
    });
    const node = singleNode(Bad);
    await assert.rejects(node.actor(Bad, "x").boom(), (error: unknown) => {
      assert.ok(TroupeError.is(error, "method_failed"));
      assert.match(error.message, /kaputt/);
      assert.equal(error.started, "yes");
      return true;
    });
  });

  it("says that a call whose deadline passed in the queue had not begun", async () => {
    const { opened, open } = gate();
    const Slow = defineActor({ kind: "slow", methods: { wait: () => opened } });
    const node = singleNode(Slow);
    const first = node.actor(Slow, "x").wait();
    await assert.rejects(node.actor(Slow, "x").with({ timeoutMs: 40 }).wait(), fails("deadline_exceeded", "no"));
    open();
    await first;
  });

  it("aborts a running turn at its deadline and says that it had begun", async () => {
    let reason: unknown;
    const Slow = defineActor({
      kind: "slow",
      methods: {
        wait: (ctx) =>
          new Promise<void>((_, reject) => {
            ctx.signal.addEventListener("abort", () => {
              reason = ctx.signal.reason;
              reject(ctx.signal.reason);
            });
          }),
      },
    });
    const node = singleNode(Slow);
    await assert.rejects(node.actor(Slow, "x").with({ timeoutMs: 40 }).wait(), fails("deadline_exceeded", "yes"));
    assert.ok(TroupeError.is(reason, "deadline_exceeded"));
  });

  it("never starts a queued call that was cancelled", async () => {
    const { opened, open } = gate();
    let runs = 0;
    const Slow = defineActor({
      kind: "slow",
      methods: {
        wait: () => {
          runs++;
          return opened;
        },
      },
    });
    const node = singleNode(Slow);
    const first = node.actor(Slow, "x").wait();
    const controller = new AbortController();
    const second = node.actor(Slow, "x").with({ signal: controller.signal }).wait();
    const refused = assert.rejects(second, fails("cancelled", "no"));
    await new Promise(setImmediate);
    controller.abort();
    await refused;
    open();
    await first;
    assert.equal(runs, 1);
    assert.equal(node.host.turns.size, 0);
  });

  it("cancels nested calls with their turn", async () => {
    let reached: unknown;
    const Inner = defineActor({
      kind: "inner",
      methods: {
        wait: (ctx) =>
          new Promise<void>((_, reject) => {
            ctx.signal.addEventListener("abort", () => {
              reached = ctx.signal.reason;
              reject(ctx.signal.reason);
            });
          }),
      },
    });
    const Outer = defineActor({
      kind: "outer",
      methods: {
        async go(ctx) {
          await ctx.actor(Inner, "x").wait();
        },
      },
    });
    const node = singleNode(Inner, Outer);
    const controller = new AbortController();
    const call = node.actor(Outer, "x").with({ signal: controller.signal }).go();
    const refused = assert.rejects(call, fails("cancelled", "yes"));
    await new Promise(setImmediate);
    controller.abort();
    await refused;
    assert.ok(TroupeError.is(reached, "cancelled"));
  });

  it("gives nested calls what is left of the time", async () => {
    let left = 0;
    const Inner = defineActor({
      kind: "inner",
      methods: {
        look: (ctx) => {
          left = ctx.deadline - ctx.worker.clock.now();
        },
      },
    });
    const Outer = defineActor({
      kind: "outer",
      methods: {
        async go(ctx) {
          await ctx.actor(Inner, "x").look();
        },
      },
    });
    await singleNode(Inner, Outer).actor(Outer, "x").with({ timeoutMs: 500 }).go();
    assert.ok(left > 0 && left <= 500, `${left}`);
  });

  it("refuses at once when the mailbox is full", async () => {
    const { opened, open } = gate();
    const Tiny = defineActor({ kind: "tiny", mailbox: { messages: 2 }, methods: { wait: () => opened } });
    const node = singleNode(Tiny);
    const ref = node.actor(Tiny, "x");
    const accepted = [ref.wait(), ref.wait(), ref.wait()];
    await new Promise(setImmediate);
    await assert.rejects(ref.wait(), fails("overloaded", "no"));
    assert.ok(node.host.queued.bytes > 0, "what waits is part of the node's load");
    open();
    await Promise.all(accepted);
    assert.equal(node.host.queued.bytes, 0);
  });

  it("runs nothing once the node's lease has lapsed", async () => {
    let runs = 0;
    const Any = defineActor({ kind: "any", methods: { go: () => void runs++ } });
    const node = singleNode(Any);
    await node.actor(Any, "x").go();
    node.lease = 0;
    await assert.rejects(node.actor(Any, "x").go(), fails("unavailable", "no"));
    assert.equal(runs, 1);
  });

  it("refuses methods and kinds that do not exist", async () => {
    const Real = defineActor({ kind: "real", methods: { here: () => 1 } });
    const Wrong = defineActor({ kind: "real", methods: { gone: () => 1 } });
    const Unknown = defineActor({ kind: "unknown", methods: { any: () => 1 } });
    const node = singleNode(Real);
    await assert.rejects(node.actor(Wrong, "x").gone(), fails("unknown_method", "no"));
    await assert.rejects(node.actor(Unknown, "x").any(), fails("unknown_kind", "no"));
  });
});

describe("streams", () => {
  const Ticker = defineActor({
    kind: "ticker",
    instance: () => ({ produced: 0, closed: false }),
    methods: {
      async *count(ctx, to: number) {
        try {
          for (let n = 1; n <= to; n++) {
            ctx.instance.produced = n;
            yield n;
          }
        } finally {
          ctx.instance.closed = true;
        }
      },
      async *fail() {
        yield 1;
        throw new Error("broken");
      },
      look: (ctx) => ({ ...ctx.instance }),
    },
  });

  it("delivers all items in order, then ends", async () => {
    const node = singleNode(Ticker);
    const got: number[] = [];
    for await (const n of node.actor(Ticker, "x").count(500)) got.push(n);
    assert.deepEqual(
      got,
      Array.from({ length: 500 }, (_, i) => i + 1),
    );
    assert.equal(node.host.calls.size, 0);
  });

  it("keeps the producer at most a window ahead, and cancels it when the consumer leaves", async () => {
    const node = singleNode(Ticker);
    const ref = node.actor(Ticker, "x");
    for await (const n of ref.count(1_000_000)) {
      await new Promise(setImmediate);
      if (n === 10) break;
    }
    const seen = await ref.look();
    assert.ok(seen.produced <= 10 + 128, `${seen.produced}`);
    assert.equal(seen.closed, true);
  });

  it("delivers an error after the items that came before it", async () => {
    const got: number[] = [];
    await assert.rejects(
      async () => {
        for await (const n of singleNode(Ticker).actor(Ticker, "x").fail()) got.push(n);
      },
      fails("method_failed", "yes"),
    );
    assert.deepEqual(got, [1]);
  });

  it("does not keep other turns out", async () => {
    const node = singleNode(Ticker);
    const stream = node.actor(Ticker, "x").count(1_000_000)[Symbol.asyncIterator]();
    await stream.next();
    assert.equal((await node.actor(Ticker, "x").look()).closed, false);
    await stream.return?.();
  });
});

describe("state", () => {
  const Notes = defineActor({
    kind: "notes",
    state: { initial: () => ({ list: [] as string[] }), required: true },
    methods: {
      async add(ctx, note: string) {
        ctx.state.list.push(note);
        await ctx.commit();
        return ctx.state.list.length;
      },
      read: (ctx) => ctx.state.list,
      sleep: (ctx) => ctx.passivate(),
      end: (ctx) => ctx.end(),
    },
  });

  it("makes an actor that needs state only by create", async () => {
    const node = singleNode(Notes);
    await assert.rejects(node.actor(Notes, "x").read(), fails("not_found", "no"));
    await node.create(Notes, "x", { list: ["first"] });
    assert.deepEqual(await node.actor(Notes, "x").read(), ["first"]);
    await assert.rejects(node.create(Notes, "x", { list: [] }), fails("already_exists", "no"));
  });

  it("keeps committed state over passivation, and loses no call to it", async () => {
    const node = singleNode(Notes);
    await node.create(Notes, "x", { list: [] });
    const ref = node.actor(Notes, "x");
    await ref.add("a");
    const calls = [ref.sleep(), ref.add("b"), ref.read()];
    assert.deepEqual((await Promise.all(calls)).at(-1), ["a", "b"]);
  });

  it("answers ended after the end, for ever", async () => {
    const node = singleNode(Notes);
    await node.create(Notes, "x", { list: [] });
    const ref = node.actor(Notes, "x");
    await ref.end();
    await assert.rejects(ref.read(), fails("ended", "no"));
    await assert.rejects(node.create(Notes, "x", { list: [] }), fails("ended", "no"));
  });

  it("shares one write between commits asked for while one is on its way", async () => {
    const Busy = defineActor({
      kind: "busy",
      mode: concurrent(100),
      state: { initial: () => ({ n: 0 }) },
      methods: {
        async add(ctx) {
          ctx.state.n++;
          await ctx.commit();
        },
      },
    });
    const node = singleNode(Busy);
    await Promise.all(Array.from({ length: 50 }, () => node.actor(Busy, "x").add()));
    assert.ok(node.commits <= 3, `${node.commits} writes`);
  });

  it("stops an activation whose commit is refused", async () => {
    const node = singleNode(Notes);
    await node.create(Notes, "x", { list: [] });
    node.fenced = true;
    await assert.rejects(node.actor(Notes, "x").add("a"), fails("fenced", "yes"));
    assert.equal(node.host.residents, 0);
  });
});
