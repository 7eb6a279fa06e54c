import assert from "node:assert/strict";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, test } from "node:test";
import { WebSocket } from "ws";
import type { Generation, Incarnation, NodeId } from "../../../runtime/actor/ids.ts";
import { authenticationKey } from "../../../transports/mesh/auth.ts";
import { freshNonce } from "../../../transports/mesh/authenticate.ts";
import { startDialer } from "../../../transports/mesh/handshake.ts";
import type { MemberAnswer, MeshOptions } from "../../../transports/mesh/options.ts";
import { call, introduce, metric, SECRET, startNode, startProxy, stopAll, type TestNode, until } from "./kit.ts";

afterEach(stopAll);

const self = (name: string, generation: string) => ({
  nodeId: name as NodeId,
  incarnation: name as Incarnation,
  generation: generation as Generation,
});

function refusals(node: TestNode, reason: string): number {
  return metric(node, `troupe_mesh_refused_total{reason="${reason}"}`);
}

/** Starts `a` and `b`, which dials, and waits until both have said in their logs why there is no link. */
async function refusedPair(optionsOfB: Partial<MeshOptions>, reason: string, logged: RegExp): Promise<void> {
  const a = await startNode("a");
  const b = await startNode("b", optionsOfB);
  introduce(a, b);
  await until(() => refusals(a, reason) > 0, `a refuses: ${reason}`);
  for (const node of [a, b]) {
    await until(() => node.log.some((line) => logged.test(line)), `${node.incarnation} logs ${logged}`);
    assert.deepEqual(node.links, []);
    assert.ok(!node.log.join().includes(SECRET));
  }
}

test("another secret is refused, and both sides say so", async () => {
  await refusedPair(
    { secret: "another secret than a" },
    "wrong_secret",
    /"reason":"wrong secret.*mesh\.secret differs/,
  );
});

test("no secret is another secret", async () => {
  await refusedPair({ secret: undefined }, "wrong_secret", /wrong secret/);
});

test("another cluster is refused, and both sides say so", async () => {
  await refusedPair({ clusterName: "staging" }, "other_cluster", /other cluster/);
});

test("another generation is refused, and both sides say so", async () => {
  await refusedPair({ self: self("b", "generation-2") }, "other_generation", /other generation/);
});

test("a node without a common protocol version is refused, and both sides say so", async () => {
  await refusedPair({ protocol: { min: 2, max: 3 }, version: "9.9.9" }, "version", /version: the two nodes share no/);
});

test("a node that speaks this version and the next one is linked", async () => {
  const a = await startNode("a");
  const b = await startNode("b", { protocol: { min: 1, max: 2 } });
  introduce(a, b);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked");
});

test("a peer that the view does not have yet is let in as soon as it has", async () => {
  let refreshes = 0;
  const a = await startNode("a", { refresh: () => void refreshes++ });
  const b = await startNode("b");
  b.mesh.setPeers([a.member]);
  await until(() => refreshes > 1, "a looks for its view again, each time b dials");
  assert.ok(refusals(a, "unknown_incarnation") > 1);
  assert.equal(a.mesh.connected(b.incarnation), false);
  a.mesh.setPeers([b.member]);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked");
});

test("a dead incarnation is refused, says so, and looks for its view", async () => {
  const isMember = (incarnation: Incarnation): MemberAnswer => (incarnation === "b" ? "dead" : "alive");
  let refreshes = 0;
  const a = await startNode("a", { isMember });
  const b = await startNode("b", { refresh: () => void refreshes++ });
  introduce(a, b);
  await until(() => refreshes > 0, "b was told");
  assert.ok(a.log.some((line) => /dead incarnation.*b\/b was declared dead/.test(line)));
  assert.ok(b.log.some((line) => /dead incarnation/.test(line)));
  assert.deepEqual([...a.links, ...b.links], []);
});

test("a new node at the address of an old one is not taken for it", async () => {
  const a = await startNode("a");
  const b = await startNode("b");
  b.mesh.setPeers([{ ...a.member, incarnation: "Z" as Incarnation }]);
  await until(() => b.log.some((line) => /wrong node/.test(line)), "b is told");
  assert.equal(refusals(a, "wrong_node") > 0, true);
});

test("a recorded handshake opens no second link", async () => {
  const a = await startNode("a");
  const b = await startNode("b");
  const proxy = await startProxy(a.port);
  const recorded: Buffer[][] = [];
  proxy.tap = (data, direction, connection) => {
    if (direction !== "up") return data;
    const chunks = recorded[connection] ?? [];
    chunks.push(Buffer.from(data));
    recorded[connection] = chunks;
    return data;
  };
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked");
  assert.equal(b.mesh.send(a.incarnation, "x", call(1, "x/y")), "queued");
  await until(() => a.messages.length === 1, "a message");

  for (const chunks of recorded) {
    const replay = connect(a.port, "127.0.0.1");
    replay.on("error", () => {});
    replay.on("data", () => {});
    for (const chunk of chunks) replay.write(chunk);
    await new Promise((resolve) => replay.once("close", resolve));
  }
  assert.equal(refusals(a, "wrong_secret"), recorded.length);
  assert.equal(a.messages.length, 1);
  assert.deepEqual(a.links, ["up b"]);
});

/** Opens TCP connections to a node and writes `bytes` on each. */
function strangers(node: TestNode, count: number, bytes: string | Buffer): Socket[] {
  return Array.from({ length: count }, () => {
    const socket = connect(node.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.on("data", () => {});
    socket.write(bytes);
    return socket;
  });
}

const UPGRADE = [
  "GET /troupe-mesh HTTP/1.1",
  "Host: a",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "",
  "",
].join("\r\n");

test("strangers who say nothing, half a request, garbage or no handshake are closed in time", async () => {
  const a = await startNode("a", { limits: { handshakeMs: 100 } });
  const openings = ["", "GET / HT", "GET /troupe-mesh HTTP/1.1\r\nX: ", Buffer.alloc(3_000, 0xff), UPGRADE];
  for (const opening of openings) {
    const sockets = strangers(a, 5, opening);
    await until(() => sockets.every((socket) => socket.destroyed || socket.readableEnded), `closed: ${opening}`, 2_000);
    for (const socket of sockets) socket.destroy();
  }
  await until(() => metric(a, "troupe_mesh_unauthenticated_sockets") === 0, "nothing is left");
  assert.ok(refusals(a, "handshake_timeout") >= 15);
});

test("a stranger who dribbles a message is closed in time", async () => {
  const a = await startNode("a", { limits: { handshakeMs: 150 } });
  const [socket] = strangers(a, 1, UPGRADE);
  assert.ok(socket !== undefined);
  // A masked text frame that announces 100 bytes, and then a byte every few milliseconds.
  socket.write(Buffer.from([0x81, 0x80 | 100, 0, 0, 0, 0]));
  const dribble = setInterval(() => socket.write("x"), 5);
  await until(() => socket.destroyed, "closed", 2_000);
  clearInterval(dribble);
});

test("of too many strangers the oldest go, and a member still gets in", async () => {
  const a = await startNode("a", { limits: { unauthenticatedSockets: 8, handshakeMs: 60_000 } });
  const sockets = strangers(a, 50, "GET / HT");
  await until(() => sockets.filter((socket) => socket.destroyed).length === 42, "42 of 50 are closed");
  assert.equal(metric(a, "troupe_mesh_unauthenticated_sockets"), 8);
  const b = await startNode("b");
  introduce(a, b);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked");
  const lines = a.log.filter((line) => line.includes("too many connections"));
  assert.ok(lines.length > 0 && lines.length <= 20, `${lines.length} log lines`);
  for (const socket of sockets) socket.destroy();
});

/** A WebSocket of a stranger; resolves with the close code. */
function stranger(node: TestNode, speak: (ws: WebSocket) => void): Promise<number> {
  const ws = new WebSocket(`ws://127.0.0.1:${node.port}/troupe-mesh`);
  ws.on("error", () => {});
  ws.on("open", () => speak(ws));
  return new Promise((resolve) => ws.on("close", resolve));
}

test("messages that are too large, binary, or no handshake are refused before anything else happens", async () => {
  const a = await startNode("a");
  a.mesh.setPeers([{ nodeId: "b" as NodeId, incarnation: "b" as Incarnation, meshUrl: "127.0.0.1:1" }]);
  assert.equal(await stranger(a, (ws) => ws.send("x".repeat(5_000))), 4400);
  assert.equal(await stranger(a, (ws) => ws.send(Buffer.from([0, 0x91, 1]))), 4400);
  assert.equal(await stranger(a, (ws) => ws.send("{}")), 4400);
  // Larger than a frame: not even kept in memory.
  assert.equal(await stranger(a, (ws) => ws.send("x".repeat(200_000))), 1009);
  assert.equal(refusals(a, "malformed"), 3);
  assert.deepEqual(a.messages, []);
});

test("a stranger who claims to be a member gets nothing before the proof, and no frame is heard", async () => {
  const a = await startNode("a");
  a.mesh.setPeers([{ nodeId: "b" as NodeId, incarnation: "b" as Incarnation, meshUrl: "127.0.0.1:1" }]);
  const claimed = { ...self("b", "generation-1"), cluster: "test", troupe: "1", protocol: { min: 1, max: 1 } };
  const hello = startDialer(
    { ...claimed, key: authenticationKey("guess") },
    { peer: a.member, link: 1, lane: 0, lanes: 1, nonce: freshNonce(), seal: false },
  ).send;
  // Longer than a handshake text may be, and right otherwise.
  assert.equal(await stranger(a, (ws) => ws.send(`${hello}${" ".repeat(4_096)}`)), 4400);
  const code = await stranger(a, (ws) => {
    ws.send(hello);
    ws.once("message", () => ws.send(Buffer.from([0, 0x91, 1])));
  });
  assert.equal(code, 4400);
  assert.deepEqual([a.links, a.messages], [[], []]);
});

test("other paths and plain requests are turned away", async () => {
  const a = await startNode("a");
  const status = await new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port: a.port, path: "/" }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
  assert.equal(status, 426);
  const ws = new WebSocket(`ws://127.0.0.1:${a.port}/other`);
  const error = await new Promise<Error>((resolve) => ws.on("error", resolve));
  assert.match(error.message, /400/);
});
