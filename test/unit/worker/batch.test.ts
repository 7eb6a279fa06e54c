import assert from "node:assert/strict";
import { test } from "node:test";
import type { ActorId, Epoch, Incarnation } from "../../../runtime/actor/ids.ts";
import { type CallMessage, HostMessageType, MessageType } from "../../../runtime/actor/message.ts";
import { BatchDecoder, BatchEncoder, type Carried } from "../../../transports/worker/batch.ts";

const node = "1" as Incarnation;
const other = "2-7" as Incarnation;

function call(callId: number, changes: Partial<Record<number, unknown>> = {}, from = node): CallMessage {
  const usual = [MessageType.Call, callId, from, 0, "counter/a", "", "add", [], 1_000, 1, 0, [], "", 0];
  return Object.assign(usual, changes) as unknown as CallMessage;
}

/** Two ends, with a structured clone between them. */
function wire() {
  const [encoder, decoder] = [new BatchEncoder(), new BatchDecoder()];
  return {
    encoder,
    post(messages: readonly Carried[]): Carried[] {
      const arrived: Carried[] = [];
      const count = decoder.decode(structuredClone(encoder.encode(messages)), (message) => arrived.push(message));
      assert.equal(count, messages.length);
      return arrived;
    },
  };
}

test("every kind of message arrives as it was, whatever stands before it", () => {
  const messages: Carried[] = [
    call(1),
    call(2, { 7: ["x", 2, null, undefined, [1], { a: 1 }] }),
    call(3, { 5: "9-1" as Epoch, 8: 0.5, 9: 0, 10: 64, 11: ["a/1", "counter/a"], 12: "r1", 13: 2 }),
    call(2 ** 33, { 10: 64 }, other),
    call(5, { 3: 2, 7: [new Uint8Array([1, 2])] }),
    call(6, { 7: Array.from({ length: 1_001 }, (_, index) => index) }),
    call(7, { 11: ["b/2" as ActorId] }),
    [MessageType.Reply, 8, node, 0, null, { deep: ["value"] }],
    [MessageType.Reply, 9, other, 3, ["method_failed", "no", "yes", null, { why: 1 }], null],
    [MessageType.Reply, 10, other, 3, null, undefined],
    [MessageType.Item, 11, other, 3, ["item"]],
    [MessageType.Credit, 12, node, 0, "counter/a" as ActorId, 32],
    [MessageType.Cancel, 13, node, 0, "counter/a" as ActorId, "cancelled"],
    [MessageType.NotHere, 14, node, 0, "counter/a" as ActorId, ""],
    [HostMessageType.Drop, "counter/a" as ActorId, "idle"],
    [MessageType.Load, 0, node, 0, 0.25],
    call(15),
  ];
  const { post } = wire();
  assert.deepEqual(post(messages), messages);
  // Now that the names are known over there, and in another order.
  const turned = [...messages].reverse();
  assert.deepEqual(post(turned), turned);
  for (const message of messages) assert.deepEqual(post([message]), [message]);
});

test("a name is sent once, and again when more names than are kept came since", () => {
  const { encoder, post } = wire();
  const of = (index: number) => call(index, { 4: `counter/${index}` as ActorId });
  assert.deepEqual(post([of(1)]), [of(1)]);
  assert.ok(!encoder.encode([of(1)]).includes("counter/1"));
  const many = Array.from({ length: 5_000 }, (_, index) => of(index));
  assert.deepEqual(post(many), many);
  assert.deepEqual(post(many.slice(0, 3)), many.slice(0, 3));
  const sent = encoder.encode(many).filter((value) => typeof value === "string").length;
  assert.ok(sent > 4_900, "names that were forgotten must travel again");
});

test("after a batch that never arrived both sides start from nothing", () => {
  const { encoder, post } = wire();
  post([call(1)]);
  encoder.encode([call(2, { 6: "lost" }), call(3, { 4: "counter/lost" as ActorId })]);
  encoder.reset();
  const next = [call(4, { 6: "lost" }), call(5)];
  assert.deepEqual(post(next), next);
  assert.deepEqual(post(next), next);
});
