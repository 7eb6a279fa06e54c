import assert from "node:assert/strict";
import { test } from "node:test";
import { BulkSender } from "../../../transports/mesh/bulk.ts";
import { BULK_THRESHOLD, packMessage, readChunk } from "../../../transports/mesh/frame.ts";
import { TransferMarks } from "../../../transports/mesh/ordering.ts";
import { reply } from "./kit.ts";

test("transfers take turns, so a short one is done before a long one that began earlier", () => {
  const sender = new BulkSender(1e9, 1e9);
  const long = sender.begin(new Uint8Array(10 * BULK_THRESHOLD));
  const short = sender.begin(new Uint8Array(2 * BULK_THRESHOLD));
  const turns: number[] = [];
  for (let frame = sender.nextFrame(); frame !== null; frame = sender.nextFrame()) {
    turns.push(readChunk(frame).transfer);
  }
  assert.deepEqual(turns.slice(0, 5), [long, short, long, short, long]);
  assert.equal(turns.length, 12);
});

test("a transfer counts until it was delivered, not until it was sent", () => {
  const sender = new BulkSender(100, 1e9);
  const id = sender.begin(new Uint8Array(100));
  assert.ok(sender.nextFrame() !== null);
  assert.equal(sender.fits(1, 1), false);
  assert.equal(sender.delivered(id), true);
  assert.equal(sender.delivered(id), false);
  assert.equal(sender.fits(100, 1), true);
});

test("chunks in flight are bounded by the window until they are acknowledged", () => {
  const sender = new BulkSender(1e9, 2 * BULK_THRESHOLD);
  sender.begin(new Uint8Array(10 * BULK_THRESHOLD));
  const first = sender.nextFrame();
  assert.ok(first !== null && sender.nextFrame() !== null);
  assert.equal(sender.nextFrame(), null);
  assert.equal(sender.acknowledged(first.length), true);
  assert.ok(sender.nextFrame() !== null);
  assert.equal(sender.acknowledged(1e9), false);
});

test("messages of a key wait behind its last transfer until that was delivered", () => {
  const marks = new TransferMarks();
  assert.equal(marks.behind(7), null);
  marks.began(7, 1);
  marks.began(7, 2);
  assert.deepEqual([marks.behind(7), marks.behind(8)], [2, null]);
  marks.delivered(1);
  assert.equal(marks.behind(7), 2);
  marks.delivered(2);
  assert.equal(marks.behind(7), null);
});

test("a large message does not make small ones hold on to large memory", () => {
  packMessage(reply(1, new Uint8Array(5_000_000)), 1e9);
  assert.ok(packMessage(reply(2, "small"), 1e9).buffer.byteLength <= BULK_THRESHOLD);
});
