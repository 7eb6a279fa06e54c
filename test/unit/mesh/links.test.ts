import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { Generation, Incarnation, NodeId } from "../../../runtime/actor/ids.ts";
import { call, introduce, metric, startNode, startPair, startProxy, stopAll, type TestNode, until } from "./kit.ts";

afterEach(stopAll);

function linked(a: TestNode, b: TestNode): boolean {
  return a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation);
}

test("a link comes up once on both sides, whichever side learned of the other first", async () => {
  for (const first of ["a", "b"]) {
    const a = await startNode("a");
    const b = await startNode("b");
    (first === "a" ? a : b).mesh.setPeers([a.member, b.member]);
    await new Promise((resolve) => setImmediate(resolve));
    introduce(a, b);
    await until(() => linked(a, b), "linked");
    introduce(a, b);
    assert.deepEqual([a.links, b.links], [["up b"], ["up a"]]);
    await stopAll();
  }
});

test("what comes before the last socket is authenticated waits for it", async () => {
  const a = await startNode("a", { lanes: 2 });
  const b = await startNode("b", { lanes: 2 });
  const proxy = await startProxy(a.port);
  // One welcome comes late, while the other sockets bring messages already.
  proxy.delay = (direction, connection) => (direction === "down" && connection === 2 ? 50 : 0);
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => a.mesh.connected(b.incarnation), "a has its link");
  for (let id = 0; id < 10; id++) assert.equal(a.mesh.send(b.incarnation, `x/${id}`, call(id, "x/y")), "queued");
  assert.equal(b.mesh.connected(a.incarnation), false);
  await until(() => b.messages.length === 10, "all messages");
  assert.deepEqual([a.links, b.links], [["up b"], ["up a"]]);
});

test("three nodes make three links, with lanes and a bulk socket each", async () => {
  const nodes = [await startNode("a"), await startNode("b"), await startNode("c")] as const;
  introduce(...nodes);
  await until(() => nodes.every((node) => node.links.length === 2), "all linked");
  for (const node of nodes) assert.equal(metric(node, "troupe_mesh_links"), 2);
});

test("a cut socket takes the link down once on both sides, and it comes back", async () => {
  const a = await startNode("a");
  const b = await startNode("b");
  const proxy = await startProxy(a.port);
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => linked(a, b), "linked");
  for (let round = 1; round <= 3; round++) {
    proxy.cut();
    await until(() => a.links.length === 1 + 2 * round && b.links.length === 1 + 2 * round, "down and up again");
  }
  const expected = (peer: string) => [
    `up ${peer}`,
    ...Array(3)
      .fill([`down ${peer} closed`, `up ${peer}`])
      .flat(),
  ];
  assert.deepEqual([a.links, b.links], [expected("b"), expected("a")]);
  assert.ok(metric(b, "troupe_mesh_reconnects_total") >= 3);
  b.mesh.send(a.incarnation, "x", call(1, "x/y"));
  await until(() => a.messages.length === 1, "a message after it all");
});

test("losing one of its sockets ends the whole link", async () => {
  const a = await startNode("a");
  const b = await startNode("b");
  const proxy = await startProxy(a.port);
  // The next bytes of the second connection become a frame that no WebSocket accepts.
  let break2 = false;
  proxy.tap = (data, direction, connection) => {
    if (break2 && direction === "up" && connection === 1) return Buffer.alloc(data.length, 0xff);
    return data;
  };
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => linked(a, b), "linked");
  break2 = true;
  const begin = performance.now();
  for (let key = 0; a.links.length < 2; key++) {
    b.mesh.send(a.incarnation, `actor/${key}`, call(key, "x/y"));
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(performance.now() - begin < 10_000, "the link goes down");
  }
  assert.equal(a.links[1], "down b closed");
  await until(() => linked(a, b) && b.links.length === 3, "linked again");
});

test("a peer that is no member any more is unlinked as declared dead, and not dialed again", async () => {
  const [a, b] = await startPair();
  b.mesh.setPeers([]);
  await until(() => a.links.length === 2, "a lost it too");
  assert.deepEqual(b.links, ["up a", "down a declared-dead"]);
  assert.equal(b.mesh.connected(a.incarnation), false);
  assert.equal(metric(b, "troupe_mesh_reconnects_total"), 0);
});

test("a peer that dies is reported as refused, once, by the side that dials and by the other", async () => {
  for (const [dead, alive] of [
    ["a", "b"],
    ["b", "a"],
  ]) {
    const pair = await startPair();
    const survivor = pair[alive === "a" ? 0 : 1];
    // To its peers a shutdown looks like a death: links end, then the address refuses.
    await pair[dead === "a" ? 0 : 1].mesh.close();
    await until(() => survivor.links.includes(`down ${dead} refused`), `${alive} has evidence`);
    await until(
      () => dead === "b" || metric(survivor, "troupe_mesh_reconnects_total") > 3,
      "more attempts, which report nothing",
    );
    assert.deepEqual(survivor.links, [`up ${dead}`, `down ${dead} closed`, `down ${dead} refused`]);
    await stopAll();
  }
});

test("an address that refuses from the start is no evidence", async () => {
  const b = await startNode("b");
  b.mesh.setPeers([{ ...b.member, incarnation: "a" as Incarnation, meshUrl: "127.0.0.1:1" }]);
  await until(() => metric(b, "troupe_mesh_reconnects_total") > 3, "some attempts");
  assert.deepEqual(b.links, []);
  assert.ok(b.log.some((line) => line.includes("connection refused")));
});

test("one refused connection is no evidence, whichever side looks", async () => {
  for (const side of ["dialer", "listener"]) {
    // Without jitter, so that both sides look at about the same times.
    const options = { limits: { probeMs: 300, reconnectMinMs: 300 }, random: () => 1 };
    const a = await startNode("a", options);
    const b = await startNode("b", options);
    const [proxyA, proxyB] = [await startProxy(a.port), await startProxy(b.port)];
    const [portA, portB] = [proxyA.address, proxyB.address].map((address) => Number(address.split(":")[1]));
    a.mesh.setPeers([{ ...b.member, meshUrl: proxyB.address }]);
    b.mesh.setPeers([{ ...a.member, meshUrl: proxyA.address }]);
    await until(() => linked(a, b), "linked");
    // Both addresses refuse until the first attempt was made; b's fails visibly, a's look at b is about as early.
    proxyB.close();
    proxyA.close();
    await until(() => b.log.some((line) => line.includes("connection refused")), "the first attempt");
    if (side === "dialer") await startProxy(a.port, portA);
    await startProxy(b.port, portB);
    if (side === "listener") await until(() => b.links.includes("down a refused"), "b has its evidence");
    const { links } = side === "dialer" ? b : a;
    if (side === "listener") await startProxy(a.port, portA);
    await until(() => linked(a, b), "linked again");
    assert.ok(!links.some((line) => line.endsWith("refused")), `${side}: ${links}`);
    await stopAll();
  }
});

test("a link that this node ended itself is no evidence", async () => {
  const limits = { pingMs: 20, silenceMs: 100, reconnectMaxMs: 50 };
  const a = await startNode("a", { limits });
  const b = await startNode("b", { limits });
  const proxy = await startProxy(a.port);
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => linked(a, b), "linked");
  // Silent, and then refusing, as a firewall does: it may well live.
  proxy.freeze();
  await until(() => b.links.length > 1, "b gives up the silent link");
  proxy.close();
  const attempts = metric(b, "troupe_mesh_reconnects_total");
  await until(() => metric(b, "troupe_mesh_reconnects_total") > attempts + 4, "refused attempts");
  assert.deepEqual(b.links, ["up a", "down a closed"]);
});

test("a silent link is closed, a quiet one is not", async () => {
  const limits = { pingMs: 20, silenceMs: 120 };
  const a = await startNode("a", { limits });
  const b = await startNode("b", { limits });
  const proxy = await startProxy(a.port);
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => linked(a, b), "linked");
  const quietUntil = performance.now() + 400;
  await until(() => performance.now() > quietUntil, "a while without messages");
  assert.deepEqual([a.links, b.links], [["up b"], ["up a"]]);
  proxy.freeze();
  await until(() => a.links.length === 2 && b.links.length >= 2, "both closed it");
  assert.ok(b.log.some((line) => line.includes("nothing heard for")));
});

test("a node that stood still does not take its own silence for its peers'", async () => {
  const limits = { pingMs: 50, silenceMs: 150 };
  const [a, b] = await startPair({ limits });
  const end = performance.now() + 500;
  while (performance.now() < end);
  const later = performance.now() + 300;
  await until(() => performance.now() > later, "a few heartbeats");
  assert.deepEqual([a.links, b.links], [["up b"], ["up a"]]);
});

test("a node with a new incarnation closes its links and is linked again under it", async () => {
  const [a, b] = await startPair();
  const renamed = "0" as Incarnation;
  a.mesh.setSelf(renamed, "generation-1" as Generation);
  assert.deepEqual(a.links, ["up b", "down b closed"]);
  b.mesh.setPeers([{ ...a.member, incarnation: renamed }]);
  await until(() => b.mesh.connected(renamed) && a.mesh.connected(b.incarnation), "linked again");
  b.mesh.send(renamed, "x", call(1, "x/y"));
  await until(() => a.messages.length === 1, "a message");
  assert.equal(b.mesh.connected(a.incarnation), false);
});

test("nodes that went through a reset of the store stay linked, and link with one that joined after it", async () => {
  const [a, b] = await startPair();
  const after = "generation-2" as Generation;
  a.mesh.setGeneration(after);
  b.mesh.setGeneration(after);
  const self = { nodeId: "c" as NodeId, incarnation: "c" as Incarnation, generation: after };
  const c = await startNode("c", { self });
  introduce(a, b, c);
  await until(() => [a, b].every(({ mesh }) => mesh.connected(c.incarnation)), "all are linked");
  assert.deepEqual(
    [a.links, b.links],
    [
      ["up b", "up c"],
      ["up a", "up c"],
    ],
  );
});

test("the old incarnation of a node is refused after it took a new one", async () => {
  const [a, b] = await startPair();
  a.mesh.setSelf("0" as Incarnation);
  await until(() => b.log.some((line) => line.includes("wrong node")), "b dials the old one in vain");
  assert.deepEqual(b.links, ["up a", "down a closed"]);
});

test("closing sends what is queued, then closes links, then the listener", async () => {
  const [a, b] = await startPair();
  for (let id = 0; id < 50; id++) {
    b.mesh.send(a.incarnation, `x/${id}`, call(id, "x/y", new Uint8Array(id % 5 === 0 ? 200_000 : 100)));
  }
  await b.mesh.close();
  await until(() => a.messages.length === 50, "all messages");
  assert.deepEqual(b.links, ["up a", "down a shutdown"]);
  assert.equal(b.mesh.send(a.incarnation, "x", call(1, "x/y")), "no-link");
  const again = await startNode("c", { bind: { host: "127.0.0.1", port: b.port } });
  assert.equal(again.port, b.port);
});

test("of a peer that shuts down every socket is read to its end", async () => {
  const a = await startNode("a");
  const b = await startNode("b");
  const proxy = await startProxy(a.port);
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => linked(a, b), "linked");
  // The end of one lane arrives before the messages of the other.
  proxy.delay = (direction, connection) => (direction === "up" && connection === 1 ? 50 : 0);
  for (let id = 0; id < 20; id++) b.mesh.send(a.incarnation, `x/${id}`, call(id, "x/y"));
  await b.mesh.close();
  await until(() => a.links.length === 2, "a has lost the link");
  assert.equal(a.messages.length, 20);
  assert.deepEqual(a.links, ["up b", "down b closed"]);
});

test("lanes and limits that cannot work are refused at once", async () => {
  await assert.rejects(startNode("a", { lanes: 0 }), RangeError);
  await assert.rejects(startNode("a", { lanes: 17 }), RangeError);
  await assert.rejects(startNode("a", { limits: { windowBytes: 1_000 } }), RangeError);
  const a = await startNode("a");
  await assert.rejects(
    startNode("b", { bind: { host: "127.0.0.1", port: a.port } }),
    /mesh\.bind_address.*EADDRINUSE/i,
  );
});

test("nodes with different numbers of lanes are linked; the dialer's number counts", async () => {
  const [a, b] = await startPair({ lanes: 1 }, { lanes: 4 });
  for (let id = 0; id < 50; id++) {
    b.mesh.send(a.incarnation, `x/${id}`, call(id, "x/y"));
    a.mesh.send(b.incarnation, `x/${id}`, call(id, "x/y"));
  }
  await until(() => a.messages.length === 50 && b.messages.length === 50, "all messages");
});

test("a peer whose address is not one is logged, not fatal", async () => {
  const b = await startNode("b");
  b.mesh.setPeers([{ ...b.member, incarnation: "a" as Incarnation, meshUrl: "not an address" }]);
  await until(() => b.log.some((line) => line.includes("is not host:port")), "a log line");
});
