import assert from "node:assert/strict";
import { test } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import type { ActorId, Incarnation } from "../../../runtime/actor/ids.ts";
import { type Message, MessageType } from "../../../runtime/actor/message.ts";
import { BatchDecoder } from "../../../transports/worker/batch.ts";
import {
  type Carried,
  createThreadChannel,
  ThreadPort,
  type ThreadPortOptions,
} from "../../../transports/worker/port.ts";

const node = "1" as Incarnation;

function call(callId: number, ...args: unknown[]): Message {
  return [MessageType.Call, callId, node, 0, "counter/a" as ActorId, "", "add", args, 1_000, 1, 0, [], "", 0];
}

function reply(callId: number, value: unknown): Message {
  return [MessageType.Reply, callId, node, 0, null, value];
}

/** Two connected ports on this thread, and what each received. */
function pair(options?: ThreadPortOptions) {
  const [left, right] = createThreadChannel();
  const near = new ThreadPort(left, options);
  const far = new ThreadPort(right);
  const atNear: Carried[] = [];
  const atFar: Carried[] = [];
  near.onmessage((message) => atNear.push(message));
  return { near, far, right, atNear, atFar, listen: () => far.onmessage((message) => atFar.push(message)) };
}

async function until(predicate: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!predicate()) {
    if (performance.now() > deadline) assert.fail(`waited 5 s for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("messages of one tick travel as one array, in order", async () => {
  const { near, far, right } = pair();
  const batches: number[][] = [];
  const decoder = new BatchDecoder();
  right.port.on("message", (batch: unknown[]) => {
    const ids: number[] = [];
    decoder.decode(batch, (message) => ids.push(Number(message[1])));
    batches.push(ids);
  });
  for (let id = 1; id <= 100; id++) near.send(call(id));
  // Sent from promise continuations, as replies are: still the same tick.
  await null;
  near.send(call(101));
  await Promise.resolve().then(() => near.send(call(102)));
  await until(() => batches.flat().length === 102, "all messages");
  assert.deepEqual(batches, [Array.from({ length: 102 }, (_, index) => index + 1)]);
  // Very many do not wait for the end of it, so that the other thread has work.
  for (let id = 103; id <= 402; id++) near.send(call(id));
  await until(() => batches.flat().length === 402, "the rest");
  assert.deepEqual(
    batches.slice(1).map(({ length }) => length),
    [128, 128, 44],
  );
  assert.deepEqual(
    batches.flat(),
    Array.from({ length: 402 }, (_, index) => index + 1),
  );
  near.close();
  far.close();
});

test("messages sent before the other side listens wait for it", async () => {
  const { near, far, atFar, listen } = pair();
  near.send(call(1));
  await new Promise((resolve) => setImmediate(resolve));
  near.send(call(2));
  listen();
  await until(() => atFar.length === 2, "both messages");
  assert.deepEqual(
    atFar.map((message) => message[1]),
    [1, 2],
  );
  far.close();
});

test("closing a port posts what was queued first", async () => {
  const { near, atFar, listen } = pair();
  listen();
  near.send(call(1));
  near.close();
  await until(() => atFar.length === 1, "the last message");
});

const uncloneable: [string, unknown][] = [
  ["a function", () => 1],
  ["a function deep inside", { a: [{ b: { c: () => 1 } }] }],
  ["a symbol", Symbol("s")],
  ["a promise that was not awaited", { value: Promise.resolve(1) }],
  ["a weak map", [new WeakMap()]],
];
for (const [name, value] of uncloneable) {
  test(`send refuses ${name}, and the tick's other messages arrive`, async () => {
    const { near, far, atFar, listen } = pair();
    listen();
    near.send(call(1));
    assert.throws(
      () => near.send(call(2, value)),
      (error: unknown) =>
        TroupeError.is(error, "invalid_argument") &&
        error.started === "no" &&
        /counter\/a\.add\(\)/.test(error.message),
    );
    near.send(call(3));
    await until(() => atFar.length === 2, "the other messages");
    assert.deepEqual(
      atFar.map((message) => message[1]),
      [1, 3],
    );
    far.close();
  });
}

test("a call that only the post finds uncloneable is answered to its sender, and the others arrive", async () => {
  const { near, far, atNear, atFar, listen } = pair();
  listen();
  near.send(call(1));
  near.send(call(2, new Proxy({}, {})));
  near.send(call(3));
  await until(() => atFar.length === 2 && atNear.length === 1, "two calls there and one failed reply here");
  const [failed] = atNear;
  assert.ok(failed?.[0] === MessageType.Reply);
  assert.equal(failed[1], 2);
  assert.equal(failed[4]?.[0], "invalid_argument");
  assert.equal(failed[4]?.[2], "no");
  far.close();
});

test("a reply that only the post finds uncloneable becomes a failed reply in its place", async () => {
  const { near, far, atFar, listen } = pair();
  listen();
  near.send(reply(1, "fine"));
  near.send(reply(2, new Proxy({}, {})));
  near.send(reply(3, "fine"));
  await until(() => atFar.length === 3, "three replies");
  assert.deepEqual(
    atFar.map((message) => [message[1], message[0] === MessageType.Reply ? (message[4]?.[0] ?? null) : "?"]),
    [
      [1, null],
      [2, "invalid_argument"],
      [3, null],
    ],
  );
  far.close();
});

test("values arrive as they were: nested data, bytes, dates, maps, cycles", async () => {
  const { near, far, atFar, listen } = pair();
  listen();
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const value = { a: [1, null, undefined, { b: new Map([["k", new Date(5)]]) }], c: Uint8Array.of(1, 2) };
  near.send(reply(1, value));
  near.send(reply(2, cycle));
  await until(() => atFar.length === 2, "both");
  assert.deepEqual(atFar[0]?.[5], value);
  const back = atFar[1]?.[5] as typeof cycle | undefined;
  assert.equal(back?.self, back);
  far.close();
});

test("a view of a large buffer is sent without the buffer, and the sender's value is not touched", async () => {
  const { near, far, atFar, listen } = pair();
  listen();
  const slab = new Uint8Array(65_536);
  slab.set([7, 8, 9], 100);
  const body = slab.subarray(100, 103);
  const value = { head: "x", parts: [body] };
  near.send(reply(1, value));
  assert.equal(value.parts[0], body);
  await until(() => atFar.length === 1, "the reply");
  const arrived = atFar[0]?.[5] as typeof value | undefined;
  const [bytes] = arrived?.parts ?? [];
  assert.deepEqual([...(bytes ?? [])], [7, 8, 9]);
  assert.equal(bytes?.buffer.byteLength, 3);
  far.close();
});

test("at the limit calls are refused as overloaded, replies pass, and handled messages make room", async () => {
  const { near, far, atFar, listen } = pair({ limit: 10 });
  for (let id = 1; id <= 10; id++) near.send(call(id));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(near.queued, 10);
  assert.throws(
    () => near.send(call(11)),
    (error: unknown) =>
      TroupeError.is(error, "overloaded") && error.started === "no" && error.retryAfterMs !== undefined,
  );
  near.send(reply(12, "ok"));
  listen();
  await until(() => near.queued === 0, "the queue to drain");
  near.send(call(13));
  await until(() => atFar.length === 12, "everything accepted");
  far.close();
});

test("a closed port refuses calls as unavailable, not started, and drops the rest", () => {
  const { near } = pair();
  near.close();
  assert.throws(
    () => near.send(call(1)),
    (error: unknown) => TroupeError.is(error, "unavailable") && error.started === "no",
  );
  near.send(reply(1, null));
});
