import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { MeshOptions } from "../../../transports/mesh/options.ts";
import { call, startNode, startProxy, stopAll, type TestNode, type TestProxy, until } from "./kit.ts";

afterEach(stopAll);

const MARKER = "a text that must not be read by others";

async function throughProxy(options: Partial<MeshOptions>): Promise<[a: TestNode, b: TestNode, proxy: TestProxy]> {
  const a = await startNode("a", options);
  const b = await startNode("b", options);
  const proxy = await startProxy(a.port);
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked");
  return [a, b, proxy];
}

/** What passes from b to a from now on. */
function record(proxy: TestProxy): Buffer[] {
  const seen: Buffer[] = [];
  proxy.tap = (data, direction) => {
    if (direction === "up") seen.push(Buffer.from(data));
    return data;
  };
  return seen;
}

test("sealed frames hide what they carry; others do not", async () => {
  for (const seal of ["always", "auto"] as const) {
    const [a, b, proxy] = await throughProxy({ seal });
    const seen = record(proxy);
    b.mesh.send(a.incarnation, "x", call(1, "x/y", MARKER));
    b.mesh.send(a.incarnation, "x", call(2, "x/y", MARKER, new Uint8Array(300_000)));
    await until(() => a.messages.length === 2, "both messages");
    assert.deepEqual(a.messages[0]?.message, call(1, "x/y", MARKER));
    assert.equal(Buffer.concat(seen).includes(MARKER), seal === "auto");
    await stopAll();
  }
});

test("a sealed frame with a changed byte ends the link and is not delivered", async () => {
  for (const size of [10, 300_000]) {
    const [a, b, proxy] = await throughProxy({ seal: "always" });
    let changed = 0;
    proxy.tap = (data, direction) => {
      // The last byte of a burst is inside the frame's tag or body; the WebSocket header stays whole.
      if (direction === "up" && changed++ === 0) data[data.length - 1] = (data[data.length - 1] ?? 0) ^ 1;
      return data;
    };
    b.mesh.send(a.incarnation, "x", call(1, "x/y", new Uint8Array(size)));
    await until(() => a.links.length > 1, "the link ends");
    assert.deepEqual(a.messages, []);
    assert.ok(a.log.some((line) => line.includes("not authentic")));
    await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked again");
    await stopAll();
  }
});

test("a sealed frame sent a second time ends the link and is delivered once", async () => {
  const [a, b, proxy] = await throughProxy({ seal: "always" });
  let repeated = false;
  proxy.tap = (data, direction) => {
    if (direction !== "up" || repeated) return data;
    repeated = true;
    return Buffer.concat([data, data]);
  };
  b.mesh.send(a.incarnation, "x", call(1, "x/y"));
  await until(() => a.links.length > 1, "the link ends");
  assert.equal(a.messages.length, 1);
});

test("one side that wants sealed frames is enough", async () => {
  const a = await startNode("a", { seal: "always" });
  const b = await startNode("b");
  const proxy = await startProxy(a.port);
  a.mesh.setPeers([b.member]);
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked");
  const seen = record(proxy);
  b.mesh.send(a.incarnation, "x", call(1, "x/y", MARKER));
  await until(() => a.messages.length === 1, "the message");
  assert.ok(!Buffer.concat(seen).includes(MARKER));
});
