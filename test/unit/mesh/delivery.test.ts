import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import type { ActorId, Incarnation } from "../../../runtime/actor/ids.ts";
import { type Message, MessageType } from "../../../runtime/actor/message.ts";
import {
  call,
  introduce,
  metric,
  reply,
  seeded,
  startNode,
  startPair,
  startProxy,
  stopAll,
  type TestNode,
  until,
} from "./kit.ts";

afterEach(stopAll);

test("messages with one lane key keep their order, small and huge mixed", async () => {
  for (const seed of [1, 2, 3]) {
    const random = seeded(seed);
    const [a, b] = await startPair({ lanes: 1 + (seed % 3) });
    const keys = Array.from({ length: 8 }, (_, key) => `actor/${key}`);
    const sent = new Map<string, number>();
    for (let id = 0; id < 400; id++) {
      const key = keys[Math.floor(random() * keys.length)] ?? "";
      const order = sent.get(key) ?? 0;
      sent.set(key, order + 1);
      // One in eight is larger than a frame, up to ten of them.
      const size = random() < 0.125 ? 60_000 + Math.floor(random() * 600_000) : Math.floor(random() * 2_000);
      assert.equal(b.mesh.send(a.incarnation, key, call(id, key, order, new Uint8Array(size).fill(id))), "queued");
      if (random() < 0.1) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => a.messages.length === 400, `400 messages (seed ${seed})`);
    const next = new Map<string, number>();
    for (const { message } of a.messages) {
      assert.ok(message[0] === MessageType.Call);
      const key = message[4];
      const [order, bytes] = message[7] as [number, Uint8Array];
      assert.equal(order, next.get(key) ?? 0, `order in ${key} (seed ${seed})`);
      next.set(key, order + 1);
      assert.ok(bytes.every((byte) => byte === message[1] % 256));
    }
    await until(() => [a, b].every((node) => metric(node, "troupe_mesh_queue_bytes") === 0), "empty queues");
    await stopAll();
  }
});

test("messages of one tick travel in one frame per lane, very many in several", async () => {
  for (const [messages, frames] of [
    [60, 1],
    [200, 4],
  ] as const) {
    const [a, b] = await startPair({ lanes: 1 });
    const before = metric(b, 'troupe_mesh_frames_total{direction="sent"}');
    for (let id = 0; id < messages; id++) b.mesh.send(a.incarnation, `actor/${id}`, call(id, "actor/x"));
    await until(() => a.messages.length === messages, `${messages} messages`);
    assert.equal(metric(b, 'troupe_mesh_frames_total{direction="sent"}') - before, frames);
    assert.equal(metric(b, 'troupe_mesh_messages_total{direction="sent"}'), messages);
    assert.equal(metric(a, 'troupe_mesh_messages_total{direction="received"}'), messages);
    await stopAll();
  }
});

test("plain data survives with its types", async () => {
  const [a, b] = await startPair();
  const deep = Array.from({ length: 200 }).reduce<unknown>((inner) => ({ inner, more: [inner === null] }), null);
  const values: unknown[] = [
    null,
    true,
    "",
    "é😀".repeat(50),
    0,
    -1,
    1.5,
    2 ** 31,
    2 ** 32,
    2 ** 53 - 1,
    -(2 ** 53) + 1,
    Number.POSITIVE_INFINITY,
    10n,
    -(2n ** 63n),
    2n ** 80n,
    [],
    {},
    { constructor: 1, toJSON: 5, hasOwnProperty: null, "a b": [{}] },
    new Map<unknown, unknown>([
      ["key", { value: new Map() }],
      [3, new Set([1, "x"])],
    ]),
    new Set([[1], "x"]),
    new Date(1_700_000_000_123),
    new Uint8Array([0, 255]),
    new Uint8Array(0),
    deep,
    Object.fromEntries(Array.from({ length: 70_000 }, (_, index) => [`key${index}`, index])),
  ];
  for (const [index, value] of values.entries()) b.mesh.send(a.incarnation, "actor/x", call(index, "actor/x", value));
  await until(() => a.messages.length === values.length, "all values");
  for (const [index, value] of values.entries()) {
    assert.deepEqual(a.messages[index]?.message, call(index, "actor/x", value), `value ${index}`);
  }
});

test("nesting has a limit that every node can unpack, and what exceeds it harms only its sender", async () => {
  const [a, b] = await startPair();
  const nested = (levels: number): unknown => {
    let value: unknown = [];
    for (let level = 1; level < levels; level++) value = level % 2 === 0 ? [value] : { value };
    return value;
  };
  // A call's tuple and its arguments are two levels.
  assert.equal(b.mesh.send(a.incarnation, "x", call(1, "x/y", nested(998))), "queued");
  for (const levels of [999, 5_000, 100_000]) {
    assert.throws(
      () => b.mesh.send(a.incarnation, "x", call(2, "x/y", nested(levels))),
      (error: unknown) => TroupeError.is(error, "invalid_argument"),
    );
  }
  const cycle: unknown[] = [];
  cycle.push(cycle);
  assert.throws(() => b.mesh.send(a.incarnation, "x", call(2, "x/y", cycle)), /cannot be packed/);
  b.mesh.send(a.incarnation, "x", call(3, "x/y"));
  await until(() => a.messages.length === 2, "the two that are fine");
  assert.deepEqual(a.messages[0]?.message, call(1, "x/y", nested(998)));
});

test("bytes arrive as Uint8Array with memory of their own", async () => {
  const [a, b] = await startPair();
  for (const size of [10, 200_000]) b.mesh.send(a.incarnation, "actor/x", reply(size, new Uint8Array(size)));
  await until(() => a.messages.length === 2, "both");
  for (const { message } of a.messages) {
    const bytes = message[5] as Uint8Array;
    assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
    assert.equal(bytes.buffer.byteLength, bytes.byteLength);
    // What a worker gets.
    assert.ok(bytes.buffer instanceof ArrayBuffer);
    assert.equal(structuredClone(bytes, { transfer: [bytes.buffer] }).length, message[1]);
  }
});

test("the caller may change what it sent", async () => {
  const [a, b] = await startPair();
  const bytes = new Uint8Array([1]);
  const message = call(1, "actor/x", bytes);
  b.mesh.send(a.incarnation, "actor/x", message);
  bytes[0] = 2;
  message[6] = "other";
  await until(() => a.messages.length === 1, "the message");
  assert.deepEqual(a.messages[0]?.message, call(1, "actor/x", new Uint8Array([1])));
});

test("small messages on other keys overtake a payload of 20 MiB", async () => {
  const [a, b] = await startPair();
  let largeArrived = false;
  a.onMessage = (_from, message) => {
    if (message[0] !== MessageType.Call) return;
    if (message[1] === 0) largeArrived = true;
    a.mesh.send(b.incarnation, message[4], reply(message[1], null));
  };
  let trips = 0;
  const next = (): void => {
    const id = trips + 1;
    b.mesh.send(a.incarnation, `actor/${id}`, call(id, `actor/${id}`));
  };
  b.onMessage = (_from, message) => {
    if (message[1] === 0 || largeArrived) return;
    trips++;
    next();
  };
  b.mesh.send(a.incarnation, "actor/large", call(0, "actor/large", new Uint8Array(20 * 1024 * 1024).fill(7)));
  next();
  await until(() => largeArrived, "the large message");
  // One after the other; were they in one queue, not even the first would be answered before.
  assert.ok(trips >= 3, `${trips} small calls were answered before the large one arrived`);
});

test("what waits behind a large message with the same key comes after it", async () => {
  const [a, b] = await startPair({ lanes: 1 });
  b.mesh.send(a.incarnation, "actor/x", call(0, "actor/x", new Uint8Array(5 * 1024 * 1024)));
  b.mesh.send(a.incarnation, "actor/x", call(1, "actor/x", new Uint8Array(70_000)));
  for (let id = 2; id < 50; id++) b.mesh.send(a.incarnation, "actor/x", call(id, "actor/x"));
  await until(() => a.messages.length === 50, "all");
  assert.deepEqual(
    a.messages.map(({ message }) => message[1]),
    Array.from({ length: 50 }, (_, id) => id),
  );
});

test("a delivered large message leaves nothing behind in later ones", async () => {
  const [a, b] = await startPair({ lanes: 1 });
  const sent = () => metric(b, 'troupe_mesh_bytes_total{direction="sent"}');
  const small = async (id: number): Promise<number> => {
    const before = sent();
    b.mesh.send(a.incarnation, "actor/x", call(id, "actor/x"));
    await until(() => a.messages.some(({ message }) => message[1] === id), "the small message");
    return sent() - before;
  };
  const alone = await small(1);
  for (const id of [2, 3]) b.mesh.send(a.incarnation, "actor/x", call(id, "actor/x", new Uint8Array(500_000)));
  await until(() => a.messages.length === 3, "the large ones");
  await until(() => metric(b, "troupe_mesh_queue_bytes") === 0, "b knows they were delivered");
  assert.equal(await small(4), alone);
});

/** `a` and `b`, whose link stands still: nothing is read any more, nothing is closed. */
async function startStuckPair(options: Parameters<typeof startNode>[1]): Promise<[a: TestNode, b: TestNode]> {
  const a = await startNode("a", options);
  const b = await startNode("b", options);
  const proxy = await startProxy(a.port);
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked");
  proxy.freeze();
  return [a, b];
}

test("calls to a peer that does not read are refused when the queue is full, and control messages still fit", async () => {
  const [a, b] = await startStuckPair({ lanes: 1, limits: { laneQueueMessages: 500 } });
  let accepted = 0;
  while (b.mesh.send(a.incarnation, "x", call(accepted, "actor/x", "y".repeat(4_000))) === "queued") {
    accepted++;
    assert.ok(accepted < 5_000, "the queue has a bound");
    if (accepted % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  // 500 wait; what left is bounded by the window of 1 MiB.
  assert.ok(accepted >= 500 && accepted < 900, `${accepted} accepted`);
  assert.ok(metric(b, "troupe_mesh_queue_bytes") <= 501 * 4_100);
  assert.equal(metric(b, "troupe_mesh_overloaded_total"), 1);
  for (let id = 0; id < 200; id++) {
    const cancel: Message = [MessageType.Cancel, id, "b" as Incarnation, 0, "actor/x" as ActorId, "cancelled"];
    assert.equal(b.mesh.send(a.incarnation, "x", cancel), "queued");
    assert.equal(b.mesh.send(a.incarnation, "x", call(id, "actor/x")), "overloaded");
  }
  assert.ok(b.mesh.connected(a.incarnation));
});

test("the queue is bounded in bytes, too, also for large messages", async () => {
  const limits = { laneQueueBytes: 1_000_000, bulkQueueBytes: 2_000_000 };
  const [a, b] = await startStuckPair({ lanes: 1, limits });
  for (const size of [10_000, 300_000]) {
    let accepted = 0;
    while (b.mesh.send(a.incarnation, "x", call(accepted, "actor/x", new Uint8Array(size))) === "queued") {
      accepted++;
      assert.ok(accepted * size < 6_000_000, `${accepted} of ${size} bytes accepted`);
      if (accepted % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(accepted * size >= (size > 100_000 ? 1_500_000 : 900_000));
  }
  assert.ok(metric(b, "troupe_mesh_queue_bytes") <= 3_100_000);
});

test("an answer that does not fit becomes an error to its caller", async () => {
  const limits = { laneQueueBytes: 200_000, bulkQueueBytes: 400_000 };
  const [a, b] = await startPair({ lanes: 1, limits });
  // One tick, so nothing leaves meanwhile. At most 300,000 bytes of answers wait in the lane, 600,000 in bulk.
  for (const size of [10_000, 100_000]) {
    for (let id = 0; id < 50; id++) {
      assert.equal(a.mesh.send(b.incarnation, "x", reply(size + id, new Uint8Array(size))), "queued");
    }
  }
  await until(() => b.messages.length === 100, "an answer for every call");
  const errors = b.messages.filter(({ message }) => message[0] === MessageType.Reply && message[4] !== null);
  assert.ok(errors.length >= 60 && errors.length < 90, `${errors.length} errors`);
  for (const { message } of errors) assert.deepEqual([message[4]].flat().slice(0, 1), ["overloaded"]);
  assert.ok(a.mesh.connected(b.incarnation));
});

test("an answer that cannot be sent at all becomes an error to its caller", async () => {
  const [a, b] = await startPair({ limits: { maxMessageBytes: 100_000 } });
  assert.equal(a.mesh.send(b.incarnation, "x", reply(1, new Uint8Array(200_000))), "queued");
  assert.equal(a.mesh.send(b.incarnation, "x", reply(2, Symbol("not data"))), "queued");
  await until(() => b.messages.length === 2, "two answers");
  const codes = b.messages.map(({ message }) => (message[0] === MessageType.Reply ? message[4]?.[0] : "none"));
  assert.deepEqual(codes, ["too_large", "invalid_argument"]);
});

test("a call that cannot be sent at all throws, and nothing was sent", async () => {
  const [a, b] = await startPair({ limits: { maxMessageBytes: 100_000 } });
  const refused = (code: "too_large" | "invalid_argument") => (error: unknown) =>
    TroupeError.is(error, code) && error.started === "no";
  assert.throws(() => b.mesh.send(a.incarnation, "x", call(1, "x/y", new Uint8Array(200_000))), refused("too_large"));
  assert.throws(() => b.mesh.send(a.incarnation, "x", call(2, "x/y", Symbol())), refused("invalid_argument"));
  b.mesh.send(a.incarnation, "x", call(3, "x/y"));
  await until(() => a.messages.length > 0, "the third");
  assert.deepEqual(
    a.messages.map(({ message }) => message[1]),
    [3],
  );
});

test("a link that cannot even take answers is closed, not silent", async () => {
  const [a, b] = await startStuckPair({ lanes: 1, limits: { laneQueueMessages: 100, windowBytes: 256 * 1024 } });
  let last = "queued";
  const answer = "x".repeat(1_000);
  for (let id = 0; id < 5_000 && last === "queued"; id++) last = b.mesh.send(a.incarnation, "x", reply(id, answer));
  assert.equal(last, "no-link");
  await until(() => b.links.length > 1, "the link is closed");
  assert.deepEqual(b.links, ["up a", "down a closed"]);
});

test("credits keep a stream of messages going far beyond the window", async () => {
  const [a, b] = await startPair({ lanes: 1, limits: { windowBytes: 256 * 1024 } });
  let received = 0;
  a.onMessage = () => {
    received++;
  };
  for (let id = 0; id < 3_000; id++) {
    while (b.mesh.send(a.incarnation, "x", call(id, "actor/x", new Uint8Array(5_000))) !== "queued") {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  await until(() => received === 3_000, "15 MB through a window of 256 KiB");
});

test("messages to unknown peers have no link", async () => {
  const a = await startNode("a");
  assert.equal(a.mesh.send("z" as Incarnation, "x", call(1, "x/y")), "no-link");
  const b = await startNode("b");
  introduce(a, b);
  assert.equal(b.mesh.send(a.incarnation, "x", call(1, "x/y")), "no-link");
  assert.equal(b.mesh.connected(a.incarnation), false);
});

test("a receiver that throws does not harm the link", async () => {
  const [a, b] = await startPair();
  a.onMessage = (from, message) => {
    a.messages.push({ from, message });
    if (message[1] === 1) throw new Error("handler failed");
  };
  for (const id of [1, 2]) b.mesh.send(a.incarnation, "x", call(id, "x/y"));
  await until(() => a.messages.length === 2, "both");
  assert.ok(a.log.some((line) => line.includes("handler failed")));
  assert.ok(a.mesh.connected(b.incarnation));
});
