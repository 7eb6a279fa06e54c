/**
 * A peer that knows the secret and breaks the rules: every way ends its link, bounded, and nothing else.
 */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { WebSocket } from "ws";
import type { Generation, Incarnation, NodeId } from "../../../runtime/actor/ids.ts";
import { authenticationKey } from "../../../transports/mesh/auth.ts";
import { freshNonce } from "../../../transports/mesh/authenticate.ts";
import {
  ackFrame,
  chunkFrame,
  deliveredFrame,
  messagesFrame,
  packMessage,
  packNumber,
} from "../../../transports/mesh/frame.ts";
import { dialerReceives, startDialer } from "../../../transports/mesh/handshake.ts";
import { call, SECRET, startNode, stopAll, type TestNode, until } from "./kit.ts";

afterEach(stopAll);

interface HandMadeSocket {
  ws: WebSocket;
  /** Close code, when it closed. */
  closed: Promise<number>;
}

const peer = { nodeId: "b" as NodeId, incarnation: "b" as Incarnation };

function hello(node: TestNode, link: number, lane: number, lanes: number): ReturnType<typeof startDialer> {
  const self = {
    ...peer,
    generation: "generation-1" as Generation,
    cluster: "test",
    troupe: "1",
    protocol: { min: 1, max: 1 },
    key: authenticationKey(SECRET),
  };
  return startDialer(self, { peer: node.member, link, lane, lanes, nonce: freshNonce(), seal: false });
}

/** Dials `node` as b, by hand, and proves the secret. */
async function open(node: TestNode, link: number, lane: number, lanes = 1): Promise<HandMadeSocket> {
  const ws = new WebSocket(`ws://127.0.0.1:${node.port}/troupe-mesh`);
  const closed = new Promise<number>((resolve) => ws.on("close", resolve));
  ws.on("error", () => {});
  await new Promise((resolve) => ws.on("open", resolve));
  let { state, send } = hello(node, link, lane, lanes);
  await new Promise<void>((resolve) => {
    ws.on("message", (data, binary) => {
      if (binary) return;
      const step = dialerReceives(state, String(data));
      if (step.next === "wait") {
        state = step.state;
        ws.send(step.send);
      } else resolve();
    });
    void closed.then(() => resolve());
    ws.send(send);
  });
  return { ws, closed };
}

/** A node, and a hand-made link to it: one lane and the bulk socket. */
async function linkByHand(limits = {}): Promise<{ a: TestNode; lane: HandMadeSocket; bulk: HandMadeSocket }> {
  const a = await startNode("a", { limits });
  a.mesh.setPeers([{ ...peer, meshUrl: "127.0.0.1:1" }]);
  const lane = await open(a, 1, 0);
  const bulk = await open(a, 1, 1);
  await until(() => a.mesh.connected(peer.incarnation), "linked");
  return { a, lane, bulk };
}

const packed = (id: number, ...args: unknown[]) => packMessage(call(id, "x/y", ...args), 1e9);
const frame = (...parts: Buffer[]) =>
  messagesFrame(
    parts,
    parts.reduce((sum, part) => sum + part.length, 0),
  );

test("a hand-made link works", async () => {
  const { a, lane, bulk } = await linkByHand();
  const large = packed(1, new Uint8Array(1_000));
  lane.ws.send(frame(packNumber(1), packNumber(-1), packed(2), packed(3)));
  bulk.ws.send(chunkFrame(1, large.length, large.subarray(0, 500)));
  bulk.ws.send(chunkFrame(1, large.length, large.subarray(500)));
  await until(() => a.messages.length === 3, "three messages");
  const order = a.messages.map(({ message }) => message[1]);
  assert.deepEqual([order[0], order.indexOf(1) < order.indexOf(2)], [3, true]);
});

const offences: Record<string, (lane: WebSocket, bulk: WebSocket) => void> = {
  "an unknown frame": (lane) => lane.send(Buffer.from([9, 1, 2])),
  "an empty frame": (lane) => lane.send(Buffer.alloc(0)),
  "text after the handshake": (lane) => lane.send("text"),
  "bytes that are no messages": (lane) => lane.send(Buffer.from([0, 0xc1, 0xff, 0xdd])),
  "values that are no messages": (lane) => lane.send(frame(Buffer.from([0xa1, 0x61]))),
  "a cut message": (lane) => lane.send(frame(packed(1).subarray(0, 20))),
  "credit for what was not sent": (lane) => lane.send(ackFrame(1)),
  "a credit of the wrong size": (lane) => lane.send(Buffer.from([1, 0])),
  "a chunk on a lane": (lane) => lane.send(chunkFrame(1, 1, Buffer.from([1]))),
  "messages on the bulk socket": (_lane, bulk) => bulk.send(frame(packed(1))),
  "a chunk without bytes": (_lane, bulk) => bulk.send(chunkFrame(1, 1, Buffer.alloc(0))),
  "a transfer larger than a message may be": (_lane, bulk) => bulk.send(chunkFrame(1, 300_000, Buffer.from([1]))),
  "a transfer longer than announced": (_lane, bulk) => bulk.send(chunkFrame(1, 1, Buffer.from([1, 2]))),
  "a transfer that is no message": (lane, bulk) => {
    lane.send(frame(packNumber(1)));
    bulk.send(chunkFrame(1, 1, Buffer.from([1])));
  },
  "more transfers than the bound": (_lane, bulk) => {
    for (let id = 1; id < 10; id++) bulk.send(chunkFrame(id, 90_000, Buffer.from([1])));
  },
  "a delivery that was not begun": (_lane, bulk) => bulk.send(deliveredFrame(1)),
  "one transfer in two places": (lane) => lane.send(frame(packNumber(1), packNumber(1))),
  "more behind a transfer than any window allows": (lane) => {
    lane.send(frame(packNumber(1)));
    const marked = frame(packNumber(-1), packed(2, new Uint8Array(60_000)));
    for (let sent = 0; sent < 18 * 1024 * 1024; sent += marked.length) lane.send(marked);
  },
};

for (const [name, offend] of Object.entries(offences)) {
  test(`${name} ends the link, and both its sockets close`, async () => {
    const { a, lane, bulk } = await linkByHand({ maxMessageBytes: 100_000, bulkQueueBytes: 200_000 });
    offend(lane.ws, bulk.ws);
    const codes = await Promise.all([lane.closed, bulk.closed]);
    assert.ok(codes.includes(4500), `close codes ${codes}`);
    assert.deepEqual(a.links, ["up b", "down b closed"]);
    assert.deepEqual(a.messages, []);
    await until(() => a.metrics.text().includes("troupe_mesh_queue_bytes 0\n"), "nothing is kept");
  });
}

test("a newer link of a peer takes the place of the older, and a late socket of the older is refused", async () => {
  const { a, lane, bulk } = await linkByHand();
  await open(a, 5, 0);
  assert.deepEqual(await Promise.all([lane.closed, bulk.closed]), [4503, 4503]);
  const late = await open(a, 4, 0);
  assert.equal(await late.closed, 4409);
  await open(a, 5, 1);
  await until(() => a.mesh.connected(peer.incarnation), "linked");
  assert.deepEqual(a.links, ["up b", "down b closed", "up b"]);
});

test("a second socket at the same place is refused", async () => {
  const { a } = await linkByHand();
  const second = await open(a, 1, 0);
  assert.equal(await second.closed, 4409);
  assert.equal(a.mesh.connected(peer.incarnation), true);
});

test("a handshake with an incarnation that the node has left is ended", async () => {
  const a = await startNode("a");
  a.mesh.setPeers([{ ...peer, meshUrl: "127.0.0.1:1" }]);
  const ws = new WebSocket(`ws://127.0.0.1:${a.port}/troupe-mesh`);
  const closed = new Promise((resolve) => ws.on("close", resolve));
  ws.on("error", () => {});
  ws.on("open", () => ws.send(hello(a, 1, 0, 1).send));
  ws.on("message", () => a.mesh.setSelf("0" as Incarnation));
  assert.equal(await closed, 1006);
});

test("a link that never becomes complete is closed in time", async () => {
  const a = await startNode("a", { limits: { handshakeMs: 100 } });
  a.mesh.setPeers([{ ...peer, meshUrl: "127.0.0.1:1" }]);
  const half = await open(a, 1, 0);
  assert.equal(await half.closed, 4503);
  assert.deepEqual(a.links, []);
});
