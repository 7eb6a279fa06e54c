/** How a session begins: version negotiation, and what `initialize` is answered. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openSession } from "../../../actors/session/open.ts";
import { errorOf, FakeUpstream, type Json, PRINCIPAL, settle, statusOf, World } from "./kit.ts";

function initialize(params: unknown): Json {
  return { jsonrpc: "2.0", id: 1, method: "initialize", params };
}
const options = { principal: PRINCIPAL, upstreams: ["a", "b"], prefixed: true, now: 42 };
const params = { protocolVersion: "2025-06-18", capabilities: { roots: {} }, clientInfo: { name: "c", version: "1" } };

describe("opening a session", () => {
  it("makes its first state from the client's initialize", () => {
    const opening = openSession(initialize(params), options);
    assert.deepEqual(opening, {
      kind: "opened",
      state: {
        principal: PRINCIPAL,
        upstreams: ["a", "b"],
        prefixed: true,
        protocolVersion: "2025-06-18",
        clientInfo: { name: "c", version: "1" },
        capabilities: { roots: {} },
        createdAt: 42,
        initialized: false,
        logLevel: null,
        subscriptions: [],
      },
    });
  });

  it("takes the client's version if it is served, else offers the newest", () => {
    for (const [asked, got] of [
      ["2025-03-26", "2025-03-26"],
      ["2025-11-25", "2025-11-25"],
      ["2024-11-05", "2025-11-25"],
      ["2099-01-01", "2025-11-25"],
      ["", "2025-11-25"],
    ]) {
      const opening = openSession(initialize({ ...params, protocolVersion: asked }), options);
      assert.equal(opening.kind === "opened" && opening.state.protocolVersion, got, asked);
    }
  });

  it("refuses what is no valid initialize", () => {
    const refused: [unknown, number][] = [
      [[initialize(params)], -32600],
      [{ jsonrpc: "2.0", id: 1, method: "ping" }, -32600],
      [{ jsonrpc: "2.0", method: "initialize", params }, -32600],
      ["text", -32600],
      [initialize(undefined), -32602],
      [initialize({ ...params, protocolVersion: 1 }), -32602],
      [initialize({ ...params, capabilities: [] }), -32602],
      [initialize({ ...params, clientInfo: { name: "c" } }), -32602],
    ];
    for (const [message, code] of refused) {
      const opening = openSession(message, options);
      assert.equal(opening.kind, "refused");
      if (opening.kind !== "refused") continue;
      assert.equal(opening.status, 400);
      assert.equal(errorOf(opening).code, code, JSON.stringify(message));
    }
  });
});

describe("initialize over one upstream", () => {
  it("is answered with the upstream's own name, capabilities and instructions, without tasks that no tool can be called as", async () => {
    const upstream = new FakeUpstream("one");
    upstream.capabilities = { tools: { listChanged: true }, tasks: { list: {} }, experimental: { x: {} } };
    upstream.instructions = "Use it well.";
    const world = new World({ upstreams: [upstream] });
    assert.deepEqual(await world.initialize(), {
      protocolVersion: "2025-11-25",
      capabilities: { tools: { listChanged: true }, experimental: { x: {} } },
      serverInfo: { name: "one", version: "1.0.0", title: "The one", icons: [] },
      instructions: "Use it well.",
    });
    assert.equal(upstream.starts, 0, "nothing is started for it");
  });

  it("leaves out what the negotiated version does not know", async () => {
    for (const [version, fields] of [
      ["2025-03-26", ["name", "version"]],
      ["2025-06-18", ["name", "version", "title"]],
    ] as const) {
      const world = new World({ version });
      const { serverInfo } = await world.initialize({ version });
      assert.deepEqual(Object.keys(serverInfo as Json), fields);
    }
  });

  it("that cannot be reached is a JSON-RPC error that names it and why, however long it takes", async () => {
    const upstream = new FakeUpstream("broken");
    upstream.unreachable = "spawn nowhere ENOENT";
    let giveUp = (): void => {};
    upstream.slow = new Promise((resolve) => {
      giveUp = resolve;
    });
    const world = new World({ upstreams: [upstream] });
    const posted = world.post(initialize(params));
    await world.clock.advance(30_000);
    giveUp();
    const answer = await posted;
    assert.equal(statusOf(answer), 200);
    assert.equal(errorOf(answer).code, -32603);
    assert.match(errorOf(answer).message, /broken.*ENOENT/);
    assert.equal(world.session.sizes.streams, 0);
  });

  it("is refused a second time", async () => {
    const world = new World();
    await world.post(initialize(params));
    assert.equal(errorOf(await world.post(initialize(params))).code, -32600, "before the client said initialized");
    await world.notify("notifications/initialized");
    await world.move();
    assert.equal(errorOf(await world.post(initialize(params))).code, -32600);
  });
});

describe("initialize over several upstreams", () => {
  it("asks what they offer, though the worker knows something already", async () => {
    const world = new World({ upstreams: [new FakeUpstream("a"), new FakeUpstream("b")] });
    await world.request("prompts/get", { name: "none" });
    assert.equal(world.one.describes, 1);
    world.one.capabilities = { tools: { listChanged: true } };
    assert.deepEqual(((await world.initialize()).capabilities as Json).tools, { listChanged: true });
  });

  it("merges capabilities and joins instructions under Troupe's name", async () => {
    const [a, b, c] = [new FakeUpstream("a"), new FakeUpstream("b"), new FakeUpstream("c")];
    a.capabilities = { tools: {}, resources: { subscribe: false } };
    b.capabilities = { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } };
    c.capabilities = { logging: {} };
    a.instructions = "A first.";
    c.instructions = "C too.";
    const world = new World({ upstreams: [a, b, c] });
    assert.deepEqual(await world.initialize(), {
      protocolVersion: "2025-11-25",
      capabilities: {
        tools: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
      },
      serverInfo: { name: "troupe", version: "9.9.9" },
      instructions: "## a\nA first.\n\n## c\nC too.",
    });
  });

  it("leaves out those that cannot be reached, with one warning, and asks them again later", async () => {
    const [a, b] = [new FakeUpstream("a"), new FakeUpstream("b")];
    b.unreachable = "down";
    for (const upstream of [a, b]) upstream.on("tools/list", () => ({ tools: [{ name: "t" }] }));
    const world = new World({ upstreams: [a, b] });
    await world.initialize();
    assert.equal(world.warnings.length, 1);
    assert.deepEqual(await world.ask("tools/list"), { tools: [{ name: "a__t" }] });
    assert.equal(world.warnings.length, 1);
    b.unreachable = undefined;
    await world.clock.advance(2_000);
    await world.ask("tools/list");
    await settle();
    assert.deepEqual(await world.ask("tools/list"), { tools: [{ name: "a__t" }, { name: "b__t" }] });
  });

  it("fails when none can be reached", async () => {
    const [a, b] = [new FakeUpstream("a"), new FakeUpstream("b")];
    a.unreachable = "down";
    b.unreachable = "out";
    const answer = await new World({ upstreams: [a, b] }).post(initialize(params));
    assert.match(errorOf(answer).message, /"a".*down.*"b".*out/);
  });
});
