import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defineActor } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { Lane, type Message, MessageType } from "../../../runtime/actor/message.ts";
import { TestCluster, type TestNode } from "./kit.ts";

/** What happened to the actors of a test, in order. */
let log: string[] = [];
/** Ends the turns that wait for it. */
let open = (): void => {};
let gate = Promise.resolve();

function close(): void {
  gate = new Promise((resolve) => {
    open = resolve;
  });
}

const Counter = defineActor({
  kind: "counter",
  state: { initial: () => ({ n: 0 }) },
  mailbox: { messages: 3 },
  instance: () => ({ cache: [] as string[], veto: false, hang: false }),
  onActivate(ctx) {
    log.push(`activated on ${ctx.worker.nodeId}`);
    if (ctx.migrated !== undefined) ctx.instance.cache = (ctx.migrated as { cache: string[] }).cache;
  },
  onMigrate(ctx) {
    if (ctx.instance.veto) throw new Error("not now");
    if (ctx.instance.hang) return new Promise(() => {});
    return { cache: ctx.instance.cache };
  },
  onDeactivate(ctx, reason) {
    log.push(`${reason} on ${ctx.worker.nodeId}`);
  },
  methods: {
    /** In memory only. */
    bump: (ctx, by: number) => {
      ctx.state.n += by;
      return ctx.state.n;
    },
    async add(ctx, by: number) {
      ctx.state.n += by;
      await ctx.commit();
      return ctx.state.n;
    },
    keep: (ctx, what: string) => void ctx.instance.cache.push(what),
    kept: (ctx) => ctx.instance.cache,
    veto: (ctx, how: "veto" | "hang") => {
      ctx.instance[how] = true;
    },
    async wait(ctx, by: number) {
      await gate;
      ctx.state.n += by;
      return ctx.state.n;
    },
    work: (ctx) => ctx.waitUntil(gate),
    where: (ctx) => String(ctx.worker.nodeId),
    async *watch(ctx) {
      yield ctx.state.n;
      await new Promise(() => {});
    },
  },
});

/** Reminders that note where they fire. */
const Alarm = defineActor({
  kind: "alarm",
  state: { initial: () => ({ n: 0 }) },
  methods: {
    set: (ctx, name: string, afterMs: number) => ctx.reminders.set(name, { afterMs }),
    commit: (ctx) => ctx.commit(),
  },
  onReminder: (ctx, { name }) => void log.push(`${name} on ${ctx.worker.nodeId}`),
});

/** Nothing in memory but its state. */
const Plain = defineActor({
  kind: "plain",
  state: { initial: () => ({ n: 0 }) },
  methods: {
    add: async (ctx, by: number) => {
      ctx.state.n += by;
      await ctx.commit();
      return ctx.state.n;
    },
    where: (ctx) => String(ctx.worker.nodeId),
  },
});

function three() {
  log = [];
  const cluster = new TestCluster();
  const [a, b, c] = ["a", "b", "c"].map((id) => cluster.add(id, Counter, Plain, Alarm));
  assert.ok(a && b && c);
  return { cluster, a, b, c };
}

const fails = (code: string, started: string) => (error: unknown) => {
  assert.ok(error instanceof TroupeError, String(error));
  assert.deepEqual([error.code, error.started], [code, started], error.message);
  return true;
};

async function until(what: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 10_000; !what(); ) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise(setImmediate);
  }
}

function statusOn(node: TestNode): string | undefined {
  return [...node.host.activations()][0]?.status;
}

describe("migration of an actor", () => {
  it("takes along state, stored or not, and what onMigrate returns", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").add(1);
    await a.actor(Counter, "x").bump(10);
    await a.actor(Counter, "x").keep("memory");
    assert.equal(await a.move(Counter, "x", [b]), "moved");
    assert.equal(await c.actor(Counter, "x").where(), "b");
    assert.equal(await c.actor(Counter, "x").bump(0), 11);
    assert.deepEqual(await c.actor(Counter, "x").kept(), ["memory"]);
    assert.equal(await a.actor(Counter, "x").add(1), 12, "commits go on from the version it had");
    assert.deepEqual(log, ["activated on a", "moved on a", "activated on b"]);
  });

  it("takes along reminders; one that was not committed still fires only after a commit", async () => {
    const { a, b } = three();
    const ref = a.actor(Alarm, "x");
    await ref.set("committed", 300);
    await ref.commit();
    await ref.set("lost", 250);
    assert.equal(await a.move(Alarm, "x", [b]), "moved");
    await until(() => log.length === 2);
    assert.deepEqual(log, ["committed on b", "lost on b"], "its run's commit took the other along");
  });

  it("moves on and on, and back", async () => {
    const { a, b, c } = three();
    const ref = c.actor(Counter, "x");
    await a.actor(Counter, "x").add(1);
    for (const [from, to] of [
      [a, b],
      [b, c],
      [c, a],
      [a, c],
    ] as const) {
      assert.equal(await from.move(Counter, "x", [to]), "moved");
      await ref.add(1);
    }
    assert.equal(await b.actor(Counter, "x").add(0), 5);
    assert.equal(await ref.where(), "c");
  });

  it("keeps the order of each caller's calls, and runs each once", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").add(0);
    await Promise.all([b, c].map((node) => node.actor(Counter, "x").bump(0)));
    const answers = new Map<TestNode, number[]>([a, b, c].map((node) => [node, []]));
    const calls: Promise<unknown>[] = [];
    const call = (node: TestNode): void => {
      calls.push(
        node
          .actor(Counter, "x")
          .bump(1)
          .then((n) => answers.get(node)?.push(n)),
      );
    };
    for (const node of [a, b, c]) call(node);
    const move = a.move(Counter, "x", [b]);
    for (let round = 0; round < 30; round++) {
      // One call per node and round: as many as wait fit into the mailbox.
      for (const node of [a, b, c]) call(node);
      await Promise.all(calls);
    }
    assert.equal(await move, "moved");
    assert.equal(await c.actor(Counter, "x").bump(0), calls.length);
    for (const list of answers.values())
      assert.deepEqual(
        list,
        [...list].sort((x, y) => x - y),
      );
  });

  it("lets running turns end, and lets new calls wait for the new place", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").add(0);
    close();
    const running = a.actor(Counter, "x").wait(1);
    const move = a.move(Counter, "x", [b]);
    await until(() => statusOn(a) === "leaving");
    const later = c.actor(Counter, "x").where();
    await until(() => a.host.turns.size === 2);
    open();
    assert.equal(await running, 1);
    assert.equal(await move, "moved");
    assert.equal(await later, "b");
  });

  it("stays when running turns do not end in time, and answers what waited", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").add(0);
    close();
    const running = a.actor(Counter, "x").wait(1);
    const move = a.move(Counter, "x", [b], { budgetMs: 30 });
    const later = c.actor(Counter, "x").where();
    assert.equal(await move, "stayed");
    open();
    assert.equal(await running, 1);
    assert.equal(await later, "a");
  });

  it("waits for work that outlives its turn", async () => {
    const { a, b } = three();
    close();
    await a.actor(Counter, "x").work();
    assert.equal(await a.move(Counter, "x", [b], { budgetMs: 30 }), "stayed");
    const move = a.move(Counter, "x", [b]);
    await until(() => statusOn(a) === "leaving");
    open();
    assert.equal(await move, "moved");
  });

  it("lets through, while turns end, what is of the control lane", async () => {
    const { a, b } = three();
    close();
    await a.actor(Counter, "x").work();
    const move = a.move(Counter, "x", [b]);
    await until(() => statusOn(a) === "leaving");
    assert.equal(await a.actor(Counter, "x").with({ lane: Lane.Control }).where(), "a");
    const later = a.actor(Counter, "x").where();
    open();
    assert.equal(await move, "moved");
    assert.equal(await later, "b");
  });

  it("refuses what does not fit into the mailbox while nothing begins", async () => {
    const { a, b } = three();
    close();
    await a.actor(Counter, "x").work();
    const move = a.move(Counter, "x", [b]);
    await until(() => statusOn(a) === "leaving");
    const waiting = [1, 2, 3].map(() => a.actor(Counter, "x").bump(1));
    await assert.rejects(a.actor(Counter, "x").bump(1), fails("overloaded", "no"));
    open();
    assert.equal(await move, "moved");
    assert.deepEqual(await Promise.all(waiting), [1, 2, 3]);
  });

  it("ends streams with an error that lets the consumer open them again", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").bump(7);
    const stream = c.actor(Counter, "x").watch()[Symbol.asyncIterator]();
    assert.equal((await stream.next()).value, 7);
    const ended = assert.rejects(stream.next(), fails("unavailable", "yes"));
    assert.equal(await a.move(Counter, "x", [b]), "moved");
    await ended;
    for await (const n of c.actor(Counter, "x").watch()) {
      assert.equal(n, 7);
      break;
    }
  });

  it("answers a repeat of a request with the first answer, also at the new place", async () => {
    const { a, b, c } = three();
    const request = { delivery: "dedup", requestId: "r1" } as const;
    assert.equal(await c.actor(Counter, "x").with(request).bump(1), 1);
    const owner = [a, b, c].find(({ host }) => host.residents === 1) as TestNode;
    const other = owner === a ? b : a;
    assert.equal(await owner.move(Counter, "x", [other]), "moved");
    assert.equal(await c.actor(Counter, "x").with(request).bump(1), 1);
    assert.equal(await c.actor(Counter, "x").bump(0), 1);
  });

  it("gives a repeat back together with the request it waits for", async () => {
    const { a, b } = three();
    const request = { delivery: "dedup", requestId: "r1" } as const;
    await a.actor(Counter, "x").bump(0);
    close();
    await a.actor(Counter, "x").work();
    const move = a.move(Counter, "x", [b]);
    await until(() => statusOn(a) === "leaving");
    const both = [1, 2].map(() => a.actor(Counter, "x").with(request).bump(1));
    await until(() => a.host.turns.size >= 1);
    open();
    assert.equal(await move, "moved");
    assert.deepEqual(await Promise.all(both), [1, 1]);
  });

  for (const how of ["veto", "hang"] as const) {
    it(`goes on where it is when onMigrate ${how === "veto" ? "throws" : "takes too long"}`, async () => {
      const { a, b, c } = three();
      await a.actor(Counter, "x").keep("memory");
      await a.actor(Counter, "x").veto(how);
      const move = a.move(Counter, "x", [b]);
      await until(() => statusOn(a) === "frozen" || how === "veto");
      const waits = c.actor(Counter, "x").where();
      assert.equal(await move, "stayed");
      assert.equal(await waits, "a");
      assert.deepEqual(await c.actor(Counter, "x").kept(), ["memory"]);
    });
  }

  it("stays, with all it had, when no node takes it", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").add(1);
    await a.actor(Counter, "x").bump(1);
    await a.actor(Counter, "x").keep("memory");
    cluster.loses = ([type]) => type === MessageType.Offered;
    b.router.drain();
    const move = a.move(Counter, "x", [b]);
    const waits = c.actor(Counter, "x").kept();
    cluster.loses = () => false;
    const epoch = a.directory.rows.get("counter/x")?.owner?.epoch;
    assert.equal(await move, "stayed");
    assert.deepEqual(await waits, ["memory"]);
    assert.notEqual(a.directory.rows.get("counter/x")?.owner?.epoch, epoch, "no two activations have the same epoch");
    assert.equal(await c.actor(Counter, "x").add(0), 2);
    assert.equal(await c.actor(Counter, "x").where(), "a");
  });

  it("tries the next node when one refuses", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").bump(3);
    b.router.drain();
    assert.equal(await a.move(Counter, "x", [b, c]), "moved");
    assert.equal(await a.actor(Counter, "x").where(), "c");
    assert.equal(await a.actor(Counter, "x").bump(0), 3);
  });

  it("is not activated twice when the answer to the transfer is lost", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").bump(3);
    cluster.directory.transfersLost = 2;
    const move = a.move(Counter, "x", [b]);
    const waits = c.actor(Counter, "x").bump(1);
    assert.equal(await move, "moved");
    assert.equal(await waits, 4);
    assert.deepEqual(log, ["activated on a", "moved on a", "activated on b"]);
  });

  it("lets a call that finds the new owner first wait until that has what was handed over", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").bump(3);
    let late: Message | undefined;
    cluster.loses = (message) => {
      if (message[0] !== MessageType.Settled) return false;
      late = structuredClone(message);
      return true;
    };
    assert.equal(await a.move(Counter, "x", [b]), "moved");
    // It finds b in the directory, which knows nothing of it yet.
    const early = c.actor(Counter, "x").bump(1);
    await until(() => b.router.calls === 1);
    for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
    assert.equal(b.host.residents, 0);
    b.router.fromPeer(a.incarnation, late as Message);
    assert.equal(await early, 4);
  });

  it("goes on with its stored state when its old node dies before it could settle the offer", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").add(3);
    await a.actor(Counter, "x").bump(1);
    cluster.loses = ([type]) => type === MessageType.Settled;
    assert.equal(await a.move(Counter, "x", [b]), "moved");
    const waits = c.actor(Counter, "x").bump(0);
    await until(() => b.router.calls === 1);
    cluster.kill(a);
    assert.equal(await waits, 3);
    assert.equal(await c.actor(Counter, "x").where(), "b");
  });

  it("is taken over with its stored state when its old node dies before the transfer", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").add(3);
    await a.actor(Counter, "x").bump(1);
    cluster.loses = ([type]) => type === MessageType.Offered;
    void a.move(Counter, "x", [b]);
    await until(() => log.includes("moved on a"));
    cluster.kill(a);
    assert.equal(await c.actor(Counter, "x").bump(0), 3);
    assert.equal(await b.actor(Counter, "x").where(), "c");
  });

  it("is taken over with its stored state when its new node dies", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").add(3);
    assert.equal(await a.move(Counter, "x", [b]), "moved");
    cluster.kill(b);
    assert.equal(await c.actor(Counter, "x").add(1), 4);
  });

  it("stops silently when somebody else took it over meanwhile", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").add(3);
    const row = a.directory.rows.get("counter/x");
    assert.ok(row?.owner);
    row.owner = { incarnation: c.incarnation, epoch: "other" as never };
    assert.equal(await a.move(Counter, "x", [b]), "gone");
    assert.equal(await b.actor(Counter, "x").add(1), 4);
    assert.equal(await a.actor(Counter, "x").where(), "c");
    assert.deepEqual(log, ["activated on a", "moved on a", "activated on c"]);
  });

  it("settles when its worker ends meanwhile", async () => {
    const { a, b } = three();
    await a.actor(Counter, "x").add(3);
    close();
    await a.actor(Counter, "x").work();
    const move = a.move(Counter, "x", [b]);
    await until(() => statusOn(a) === "leaving");
    a.restartThread();
    assert.equal(await move, "gone");
    open();
    assert.equal(await b.actor(Counter, "x").add(1), 4);
  });

  it("tells who listens that it moved", async () => {
    const { a, b } = three();
    await a.actor(Counter, "x").add(3);
    const moved = a.events.next("moved");
    const before = a.directory.rows.get("counter/x")?.owner?.epoch;
    const activated = b.events.next("activated");
    await a.move(Counter, "x", [b]);
    const { actor, to, epoch } = await moved;
    assert.deepEqual([actor, to, epoch], ["counter/x", b.incarnation, a.directory.rows.get("counter/x")?.owner?.epoch]);
    assert.equal((await activated).from, before);
  });

  it("tells a caller with an old route where it went, so that nobody asks the directory", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").add(1);
    await c.actor(Counter, "x").add(1);
    await a.move(Counter, "x", [b]);
    const before = cluster.directory.claims;
    for (let call = 0; call < 20; call++) await c.actor(Counter, "x").add(1);
    assert.equal(cluster.directory.claims, before);
  });

  it("is claimed anew where the store says that it is, when the store forgot the move", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").add(1);
    const before = cluster.directory.rows.get("counter/x")?.owner ?? null;
    assert.equal(await a.move(Counter, "x", [b]), "moved");
    assert.equal(await b.actor(Counter, "x").where(), "b");
    b.restartThread();
    const row = cluster.directory.rows.get("counter/x");
    assert.ok(row);
    row.owner = before;
    assert.equal(await c.actor(Counter, "x").add(1), 2);
    assert.equal(await c.actor(Counter, "x").where(), "a");
  });

  it("does not wait for a node that was gone when the move was written down", async () => {
    const { cluster, a, b } = three();
    await a.actor(Counter, "x").add(1);
    const everybody = new Set(cluster.nodes.keys());
    a.router.viewChanged(everybody);
    cluster.directory.transferred = () => {
      cluster.nodes.delete(b.incarnation);
      a.router.viewChanged(new Set([...everybody].filter((one) => one !== b.incarnation)));
    };
    assert.equal(await a.move(Counter, "x", [b]), "moved");
    assert.equal(await a.actor(Counter, "x").with({ timeoutMs: 2_000 }).add(1), 2);
  });
});

describe("a node that shuts down", () => {
  it("releases an actor that nobody takes, with its stored state", async () => {
    const { a, b, c } = three();
    await a.actor(Counter, "x").add(1);
    b.router.drain();
    a.router.drain();
    assert.equal(await a.move(Counter, "x", [b], { release: true }), "released");
    assert.equal(await c.actor(Counter, "x").add(1), 2);
    assert.equal(await c.actor(Counter, "x").where(), "c");
  });

  it("moves an actor in use", async () => {
    const { a, b, c } = three();
    await a.actor(Plain, "x").add(1);
    a.router.drain();
    assert.equal(await a.move(Plain, "x", [b], { release: true }), "moved");
    assert.equal(await c.actor(Plain, "x").where(), "b");
  });

  it("hands calls on that come while the actor is on its way", async () => {
    const { cluster, a, b, c } = three();
    await a.actor(Counter, "x").add(1);
    await c.actor(Counter, "x").add(1);
    let offer: Message | undefined;
    cluster.loses = (message) => {
      if (message[0] !== MessageType.Offer) return false;
      offer ??= structuredClone(message);
      return true;
    };
    a.router.drain();
    const move = a.move(Counter, "x", [b], { release: true });
    await until(() => offer !== undefined);
    const waits = Array.from({ length: 3 }, () => c.actor(Counter, "x").add(1));
    await until(() => a.router.calls === 3);
    cluster.loses = () => false;
    b.router.fromPeer(a.incarnation, offer as Message);
    assert.equal(await move, "moved");
    assert.deepEqual(await Promise.all(waits), [3, 4, 5]);
  });
});
