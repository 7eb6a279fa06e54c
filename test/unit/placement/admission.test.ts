/** Overload: when a gate shuts and opens, what it refuses and what passes, and the line of starting activations. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defineActor } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { Lane, type Message } from "../../../runtime/actor/message.ts";
import { Starts } from "../../../runtime/actor/starts.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { Metrics } from "../../../runtime/observe/metrics.ts";
import { REFUSAL_REASONS } from "../../../runtime/observe/refusals.ts";
import {
  Admission,
  Gate,
  latenessMs,
  type ShutGates,
  type ThreadReading,
} from "../../../runtime/placement/admission.ts";
import { SimulatedProcess } from "../../../runtime/testing/process.ts";
import { VirtualTime } from "../../../runtime/testing/virtual_time.ts";
import { defaultHeapMib } from "../../../runtime/worker/heap.ts";
import { TestCluster, type TestNode } from "../actor/kit.ts";

const LIMITS = { delayMs: 500, heapShare: 0.9 };
const FINE: ThreadReading = { delayMs: 3, heapShare: 0.2 };
const LATE: ThreadReading = { delayMs: 501, heapShare: 0.2 };
const FULL: ThreadReading = { delayMs: 3, heapShare: 0.91 };

function readAll(gate: Gate, readings: readonly ThreadReading[]): (string | undefined)[] {
  return readings.map((reading) => gate.read(reading));
}

describe("a thread's gate", () => {
  it("shuts after three readings in a row over a limit, with the reason", () => {
    assert.deepEqual(readAll(new Gate(LIMITS), [LATE, LATE, LATE]), [undefined, undefined, "loop_delay"]);
    assert.deepEqual(readAll(new Gate(LIMITS), [FULL, FULL, FULL]), [undefined, undefined, "heap"]);
    assert.deepEqual(readAll(new Gate(LIMITS), [LATE, FULL, LATE]), [undefined, undefined, "loop_delay"]);
  });

  it("stays open over one long turn, one collection of garbage, one stop of the process", () => {
    const once = readAll(new Gate(LIMITS), [FINE, { delayMs: 60_000, heapShare: 1 }, LATE, FINE, LATE, LATE, FINE]);
    assert.deepEqual(new Set(once), new Set([undefined]));
  });

  it("stays open while a worker is silent for one long turn, and shuts when its silence goes on", () => {
    const silences = (until: number) =>
      Array.from({ length: until / 250 }, (_, look) => ({ delayMs: latenessMs(0, look * 250), heapShare: 0.2 }));
    assert.equal(readAll(new Gate(LIMITS), silences(2_000)).at(-1), undefined);
    assert.equal(readAll(new Gate(LIMITS), silences(3_500)).at(-1), "loop_delay");
    assert.equal(latenessMs(700, 0), 700, "its own word counts at once");
  });

  it("opens after three readings under four fifths of the limits", () => {
    const gate = new Gate(LIMITS);
    readAll(gate, [LATE, LATE, LATE]);
    const nearly = { delayMs: 401, heapShare: 0.2 };
    assert.equal(gate.read(FINE), "loop_delay");
    assert.equal(gate.read(FINE), "loop_delay");
    assert.equal(gate.read(nearly), "loop_delay", "still too late: the count begins anew");
    assert.deepEqual(readAll(gate, [FINE, FINE, FINE]), ["loop_delay", "loop_delay", undefined]);
  });

  it("names what is wrong now when that changes", () => {
    const gate = new Gate(LIMITS);
    assert.deepEqual(readAll(gate, [LATE, LATE, LATE, FULL]), [undefined, undefined, "loop_delay", "heap"]);
  });

  it("never shuts where a limit is switched off", () => {
    const off = new Gate({ delayMs: 0, heapShare: 1 });
    const readings = Array.from({ length: 10 }, () => ({ delayMs: 60_000, heapShare: 1 }));
    assert.deepEqual(new Set(readAll(off, readings)), new Set([undefined]));
  });
});

describe("a node's gates", () => {
  it("are told about when one shuts or opens, each thread on its own", async () => {
    const time = new VirtualTime(1);
    const readings = new Map<number, ThreadReading>([
      [0, FINE],
      [1, FINE],
    ]);
    const told: ShutGates[] = [];
    const metrics = new Metrics();
    const admission = new Admission({
      limits: LIMITS,
      clock: new SimulatedProcess("n", time, 1).clock,
      read: () => readings,
      changed: (shut) => void told.push(shut),
      log: silentLogger,
      metrics,
    });
    const run = async (ms: number): Promise<void> => {
      const until = time.now + ms;
      while (await time.step(until));
    };
    await run(2_000);
    assert.deepEqual(told, []);
    readings.set(1, FULL);
    await run(1_100);
    assert.deepEqual(told, [new Map([[1, "heap"]])]);
    assert.match(metrics.text(), /troupe_overloaded_threads 1/);
    readings.set(0, LATE);
    // The worker ended: another one starts, with an open gate.
    readings.delete(1);
    await run(1_100);
    assert.deepEqual(told.slice(1), [new Map(), new Map([[0, "loop_delay"]])]);
    readings.set(0, FINE);
    await run(1_100);
    assert.deepEqual(told.at(-1), new Map());
    admission.stop();
    readings.set(0, LATE);
    await run(5_000);
    assert.deepEqual(told.at(-1), new Map());
  });
});

const Echo = defineActor({
  kind: "echo",
  state: { initial: () => ({}) },
  methods: {
    say: (_ctx, what: string) => what,
    /** Calls another actor; that call belongs to work that was let in. */
    async ask(ctx, other: string): Promise<string> {
      return await ctx.actor(Echo, other).say("asked");
    },
  },
});

function two(): { a: TestNode; b: TestNode } {
  const cluster = new TestCluster();
  return { a: cluster.add("a", Echo), b: cluster.add("b", Echo) };
}

const overloaded = (retryAfterMs: number) => (error: unknown) => {
  assert.ok(TroupeError.is(error, "overloaded"), String(error));
  assert.deepEqual([error.started, error.retryAfterMs], ["no", retryAfterMs]);
  return true;
};

describe("a node whose gate is shut", () => {
  it("refuses new calls at once, its own and those of other nodes, and says when to come back", async () => {
    const { a, b } = two();
    await a.actor(Echo, "x").say("here");
    await b.actor(Echo, "x").say("known");
    a.router.setGates(new Map([[0, "loop_delay"]]));
    const shed = a.events.next("shed");
    await assert.rejects(b.actor(Echo, "x").say("hello"), overloaded(1_000));
    assert.deepEqual(await shed, { type: "shed", actor: "echo/x", reason: "loop_delay" });
    await assert.rejects(a.actor(Echo, "new").say("hello"), overloaded(1_000));
    a.router.setGates(new Map([[0, "heap"]]));
    await assert.rejects(a.create(Echo, "made", {}), overloaded(2_000));
    assert.match(a.metrics.text(), /troupe_refusals_total\{reason="loop_delay"\} 2/);
    assert.match(a.metrics.text(), /troupe_refusals_total\{reason="heap"\} 1/);
    a.router.setGates(new Map());
    assert.equal(await b.actor(Echo, "x").say("again"), "again");
    await a.create(Echo, "made", {});
  });

  it("lets the control lane pass, and calls that accepted work waits for", async () => {
    const { a, b } = two();
    await a.actor(Echo, "x").say("here");
    await b.actor(Echo, "y").say("here");
    a.router.setGates(new Map([[0, "heap"]]));
    assert.equal(await b.actor(Echo, "x").with({ lane: Lane.Control }).say("control"), "control");
    assert.equal(await b.actor(Echo, "y").ask("x"), "asked");
  });
});

describe("a worker whose gate is shut", () => {
  /** The node's other threads are only lists of what was sent to them. */
  function withWorkers(): { a: TestNode; sent: Map<number, unknown[]> } {
    const { a } = two();
    const sent = new Map<number, unknown[]>([1, 2].map((index) => [index, []]));
    for (const [index, messages] of sent) a.router.addThread(index, { send: (message) => void messages.push(message) });
    return { a, sent };
  }
  const actorsOn = (node: TestNode, thread: number): number =>
    [...node.router.actors()].filter((actor) => actor.thread === thread).length;

  it("gets no new actors, and none of the calls of those it has; the others go on", async () => {
    const { a, sent } = withWorkers();
    a.router.setGates(new Map([[1, "heap"]]));
    // Nobody answers on the fake threads.
    for (let index = 0; index < 9; index++)
      void a
        .actor(Echo, `k${index}`)
        .with({ timeoutMs: 50 })
        .say("x")
        .catch(() => {});
    while ([...a.router.actors()].length < 9) await new Promise(setImmediate);
    assert.equal(actorsOn(a, 1), 0);
    assert.ok(actorsOn(a, 2) >= 4);
    a.router.setGates(new Map([[2, "loop_delay"]]));
    const before = sent.get(2)?.length;
    const key = [...a.router.actors()].find(({ thread }) => thread === 2)?.id.slice("echo/".length) ?? "";
    await assert.rejects(a.actor(Echo, key).say("hello"), overloaded(1_000));
    assert.equal(sent.get(2)?.length, before);
  });

  it("makes the node full only when all of them are shut", async () => {
    const { a } = withWorkers();
    a.router.setGates(
      new Map([
        [1, "heap"],
        [2, "heap"],
      ]),
    );
    assert.equal(a.router.full, false);
    a.router.setGates(
      new Map([
        [0, "heap"],
        [1, "heap"],
        [2, "heap"],
      ]),
    );
    assert.equal(a.router.full, true);
    await assert.rejects(a.actor(Echo, "z").say("x"), overloaded(2_000));
  });
});

describe("the line of starting activations", () => {
  it("lets so many start at once, in order, and moves on when one is done", async () => {
    const time = new VirtualTime(1);
    const { clock } = new SimulatedProcess("n", time, 1);
    const starts = new Starts(clock, 3);
    let running = 0;
    let most = 0;
    const order: number[] = [];
    for (let index = 0; index < 20; index++) {
      starts.begin(async () => {
        order.push(index);
        most = Math.max(most, ++running);
        await new Promise<void>((resolve) => void clock.after(100, resolve));
        running--;
      });
    }
    while (await time.step(10_000));
    assert.equal(most, 3);
    assert.deepEqual(
      order,
      Array.from({ length: 20 }, (_, index) => index),
    );
    assert.ok(running === 0);
  });

  it("does not stand still behind starts that wait for ones behind them", async () => {
    const time = new VirtualTime(1);
    const { clock } = new SimulatedProcess("n", time, 1);
    const starts = new Starts(clock, 2);
    let release = (): void => {};
    const last = new Promise<void>((resolve) => {
      release = resolve;
    });
    let done = 0;
    const waits = async (): Promise<void> => {
      await last;
      done++;
    };
    starts.begin(waits);
    starts.begin(waits);
    starts.begin(async () => release());
    while (await time.step(10_000));
    assert.equal(done, 2);
  });

  it("holds an actor's calls back until its turn, and forgets one that is stopped in line", async () => {
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const started: string[] = [];
    const stopped: string[] = [];
    const Slow = defineActor({
      kind: "slow",
      onActivate: async (ctx) => {
        started.push(ctx.key);
        await gate;
      },
      onDeactivate: (ctx) => void stopped.push(ctx.key),
      methods: { hello: () => "hello" },
    });
    const node = new TestCluster().add("n", Slow);
    node.maxStarts = 1;
    node.restartThread();
    const calls = ["a", "b", "c"].map((key) => node.actor(Slow, key).hello());
    while (node.host.residents < 3) await new Promise(setImmediate);
    assert.deepEqual(started, ["a"]);
    node.host.deliver([34, "slow/b", "drain"] as unknown as Message);
    open();
    assert.deepEqual(await Promise.all(calls), ["hello", "hello", "hello"], "b was looked up and started again");
    assert.deepEqual(started.slice(0, 2), ["a", "c"]);
    assert.deepEqual(stopped, []);
  });
});

describe("the heap of a worker", () => {
  it("is an equal part of three quarters of the memory, within bounds", () => {
    const gib = 1024 ** 3;
    assert.equal(defaultHeapMib(3, 8 * gib), 1_536);
    assert.equal(defaultHeapMib(1, 64 * gib), 4_096);
    assert.equal(defaultHeapMib(63, 2 * gib), 256);
  });
});

it("every reason for a refusal says what is full", () => {
  for (const [reason, what] of Object.entries(REFUSAL_REASONS)) {
    assert.match(reason, /^[a-z_]+$/);
    assert.ok(what.length > 10);
  }
});
