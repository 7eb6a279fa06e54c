import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../../runtime/actor/clock.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import type { ActorId, Incarnation } from "../../../runtime/actor/ids.ts";
import { MessageType } from "../../../runtime/actor/message.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { LeaseWord } from "../../../runtime/worker/lease_word.ts";
import { WorkerPool, type WorkerPoolOptions } from "../../../runtime/worker/pool.ts";
import { isDeno } from "../../../runtime/worker/spawn.ts";
import type { Carried, ThreadPort } from "../../../transports/worker/port.ts";
import type { FixtureControl, FixtureIo, FixtureSettings } from "./fixture_entry.ts";

/** A pool of fixture workers, with everything it reported. */
function harness(options: Partial<WorkerPoolOptions<FixtureSettings>> & { onReady?: () => void } = {}) {
  const exits: { index: number; code: number; reason: string }[] = [];
  const ports: ThreadPort[] = [];
  const silent: number[] = [];
  const unproven: string[] = [];
  const circuit: string[] = [];
  const said: string[] = [];
  const received: Carried[] = [];
  const io: FixtureIo = {
    greet: (name) => `hello ${name}`,
    fail() {
      throw new TroupeError("fenced", "not yours", { started: "no" });
    },
    said: (what) => void said.push(what),
  };
  const clock = systemClock(10_000);
  const lease = new LeaseWord();
  const pool = new WorkerPool<FixtureSettings, FixtureControl>({
    entry: new URL("./fixture_entry.ts", import.meta.url),
    size: 1,
    settings: () => ({}),
    io: () => io,
    clock,
    lease,
    log: silentLogger,
    watchdog: { intervalMs: 20 },
    events: {
      onReady(_index, data) {
        ports.push(data);
        data.onmessage((message) => received.push(message));
        options.onReady?.();
      },
      onExit: (index, code, reason) => void exits.push({ index, code, reason }),
      onSilent: (_index, ms) => void silent.push(ms),
      onUnproven: (_index, reason) => void unproven.push(reason),
      onCircuitOpen: (_index, reason) => void circuit.push(reason),
    },
    ...options,
  });
  const control = () => pool.control(0) ?? assert.fail("worker 0 does not run");
  return { pool, clock, lease, exits, ports, silent, unproven, circuit, said, received, control };
}

async function until(predicate: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!predicate()) {
    if (performance.now() > deadline) assert.fail(`waited 20 s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const unavailable = (error: unknown): boolean => TroupeError.is(error, "unavailable");

test("the two sides of the control conversation call each other, and typed errors survive", async () => {
  const { pool, control, said } = harness();
  await pool.start();
  assert.equal(await control().greet("ada"), "hello ada");
  assert.deepEqual(await control().refused(), ["fenced", "no"]);
  await assert.rejects(control().uncloneable(), (error: unknown) => TroupeError.is(error, "invalid_argument"));
  assert.deepEqual(await control().stats(), { parked: false, settings: {} });
  pool.park();
  assert.equal((await control().stats()).parked, true);
  pool.resume();
  assert.equal((await control().stats()).parked, false);
  await until(() => pool.vitals(0)?.queuedBytes === 64 * 1_024, "a heartbeat that says what waits");
  assert.deepEqual(await pool.close("drain"), { unproven: [] });
  assert.deepEqual(said, ["stopped: drain"]);
});

test("an unknown control method is refused, also one that every object has", async () => {
  const { pool, control } = harness();
  await pool.start();
  for (const name of ["nothing", "constructor", "toString", "__proto__"]) {
    const method = Reflect.get(control(), name);
    await assert.rejects(method(), (error: unknown) => TroupeError.is(error, "unknown_method"));
  }
  await pool.close("drain");
});

test("messages go through a worker and back in order", async () => {
  const { pool, ports, received } = harness();
  await pool.start();
  const node = "1" as Incarnation;
  for (let id = 1; id <= 1_000; id++) {
    ports[0]?.send([MessageType.Call, id, node, 0, "a/b" as ActorId, "", "m", [{ id }], 1_000, 1, 0, [], "", 0]);
  }
  await until(() => received.length === 1_000, "1,000 messages");
  assert.deepEqual(
    received.map((message) => message[1]),
    Array.from({ length: 1_000 }, (_, index) => index + 1),
  );
  await pool.close("drain");
});

test("a large byte array crosses in milliseconds on both runtimes", async () => {
  const { pool, ports, received } = harness();
  await pool.start();
  const node = "1" as Incarnation;
  const body = new Uint8Array(1_048_576);
  const before = process.cpuUsage();
  for (let id = 1; id <= 8; id++) ports[0]?.send([MessageType.Reply, id, node, 0, null, body]);
  await until(() => received.length === 8, "8 MiB there and back");
  // Sent through Worker.postMessage on Deno this took about 100 ms of processor time for each MiB, one way: 1.6 s in all.
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 1_200_000, `took ${(user + system) / 1_000} ms of processor time`);
  await pool.close("drain");
});

test("a worker started late has the I/O thread's clock, and never runs behind it", async () => {
  const { pool, clock, control } = harness();
  // Deno's clocks start at zero in each thread: let this thread's be well ahead.
  await until(() => clock.now() - 10_000 > 1_000, "one second of this thread");
  await pool.start();
  for (let round = 0; round < 20; round++) {
    const before = clock.now();
    const there = await control().now();
    const after = clock.now();
    assert.ok(there >= before, `the worker read ${there}, before the question at ${before}`);
    // Ahead by at most the handshake's shortest round trip; generous for a busy machine.
    assert.ok(there <= after + 50, `the worker read ${there}, the answer came at ${after}`);
  }
  await pool.close("drain");
});

test("workers read the lease that the I/O thread writes", async () => {
  const { pool, lease, control } = harness();
  await pool.start();
  assert.equal(await control().lease(), Number.NEGATIVE_INFINITY);
  lease.write(1_234.5678);
  assert.equal(await control().lease(), 1_234.567);
  lease.park();
  assert.equal(await control().lease(), Number.NEGATIVE_INFINITY);
  await pool.close("drain");
});

for (const [name, end, pattern] of [
  ["an uncaught error", (control: { crash(): Promise<void> }) => control.crash(), /crashed as asked/],
  ["process.exit", (control: { exit(code: number): Promise<void> }) => control.exit(7), /code 7/],
] as const) {
  test(`${name} in a worker rejects open calls, is reported, and a new worker takes its place`, async () => {
    const { pool, exits, ports, unproven, control } = harness({ restart: { firstMs: 10 } });
    await pool.start();
    const open = control().never();
    const before = control();
    const rejected = assert.rejects(open, unavailable);
    end(control()).catch(() => {});
    await rejected;
    await assert.rejects(before.now(), unavailable, "a call to the old life after its end");
    await until(() => exits.length === 1, "the exit");
    assert.match(exits[0]?.reason ?? "", pattern);
    assert.throws(
      () =>
        ports[0]?.send([MessageType.Call, 1, "1" as Incarnation, 0, "a/b" as ActorId, "", "m", [], 1, 1, 0, [], "", 0]),
      unavailable,
    );
    await until(() => pool.state(0) === "running", "the restart");
    assert.equal(ports.length, 2);
    assert.equal(await control().greet("again"), "hello again");
    assert.deepEqual(unproven, []);
    await pool.close("drain");
  });
}

test("a worker in an endless loop is reported, then ended by the watchdog", async () => {
  const { pool, exits, silent, unproven, control } = harness({
    watchdog: { intervalMs: 20, warnMs: 100, endMs: 300 },
    restart: { firstMs: 10 },
  });
  await pool.start();
  const spinning = assert.rejects(control().spin(), unavailable);
  await spinning;
  assert.equal(silent.length, 1);
  assert.ok((silent[0] ?? 0) >= 100);
  if (isDeno) {
    // Terminating proves nothing there: the node has to go, and no new worker may take the place of the old one.
    assert.match(unproven[0] ?? "", /no sign of life/);
    assert.equal(pool.state(0), "unproven");
    assert.equal(exits.length, 0);
    assert.deepEqual(await pool.close("drain"), { unproven: [0] });
    // This test's own process cannot end the loop otherwise; it ends when the test run does.
  } else {
    await until(() => exits.length === 1 && pool.state(0) === "running", "the restart");
    assert.match(exits[0]?.reason ?? "", /no sign of life/);
    assert.deepEqual(unproven, []);
    assert.deepEqual(await pool.close("drain"), { unproven: [] });
  }
});

test("a worker that is busy for less than the limit is left alone", async () => {
  const { pool, exits, control } = harness({ watchdog: { intervalMs: 20, warnMs: 5_000, endMs: 10_000 } });
  await pool.start();
  await control().spinFor(300);
  assert.equal(await control().greet("you"), "hello you");
  assert.equal(exits.length, 0);
  await pool.close("drain");
});

test("where terminating is no proof, nothing is reported as ended and nothing restarts", async () => {
  const { pool, exits, unproven, control } = harness({
    terminateIsProof: false,
    watchdog: { intervalMs: 20, warnMs: 50, endMs: 100 },
    restart: { firstMs: 1 },
  });
  await pool.start();
  // Busy, not endless: the thread itself ends on every runtime.
  await assert.rejects(control().spinFor(2_000), unavailable);
  assert.equal(unproven.length, 1);
  assert.equal(exits.length, 0);
  assert.equal(pool.state(0), "unproven");
  assert.equal(pool.control(0), undefined);
  assert.deepEqual(await pool.close("drain"), { unproven: [0] });
});

test("a worker that keeps ending opens the circuit, with the reason, and is tried again later", async () => {
  const { pool, circuit, exits, ports } = harness({
    onReady: () =>
      void pool
        .control(0)
        ?.crash()
        .catch(() => {}),
    restart: { firstMs: 1, longestMs: 5, exits: 3, windowMs: 600_000, openMs: 500 },
  });
  await pool.start();
  await until(() => circuit.length === 1, "the circuit to open");
  assert.equal(exits.length, 3);
  assert.match(circuit[0] ?? "", /crashed as asked/);
  assert.equal(pool.state(0), "waiting");
  await until(() => ports.length === 4, "the next try");
  await pool.close("drain");
});

test("start rejects with the reason when a worker cannot initialise, and leaves no thread behind", async () => {
  const { pool, exits } = harness({ size: 2, settings: (index) => ({ failInit: index === 1 }) });
  await assert.rejects(pool.start(), /worker 2 has no such module/);
  assert.equal(pool.state(1), "stopped");
  // It may have been starting still: then it was terminated, which on Deno proves nothing.
  assert.ok(pool.state(0) === "stopped" || (isDeno && pool.state(0) === "unproven"), pool.state(0));
  assert.equal(exits.filter(({ index }) => index === 1).length, 0);
});

test("start rejects when the entry module does not exist", async () => {
  const { pool } = harness({ entry: new URL("./no_such_entry.ts", import.meta.url) });
  await assert.rejects(pool.start());
  assert.equal(pool.state(0), "stopped");
});

test("close waits a bounded time for actors to stop", async () => {
  const { pool, said } = harness({ settings: () => ({ stuckStop: true }), closeMs: 100 });
  await pool.start();
  const { unproven } = await pool.close("drain");
  assert.deepEqual(unproven, isDeno ? [0] : []);
  assert.deepEqual(said, []);
});
