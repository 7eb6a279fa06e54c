/** What a client POSTs: how it is checked, and how it is answered. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { errorOf, FakeUpstream, kindOf, LATER, messageOf, settle, statusOf, World } from "./kit.ts";

function echoing(name = "one"): FakeUpstream {
  return new FakeUpstream(name).on("tools/call", (params) => ({ content: [{ type: "text", text: params?.name }] }));
}

describe("a POST", () => {
  it("with one request is answered in JSON when nothing else comes first", async () => {
    const world = new World({ upstreams: [echoing()] });
    await world.initialize();
    const answer = await world.request("tools/call", { name: "echo" }, "a");
    assert.deepEqual(messageOf(answer), {
      jsonrpc: "2.0",
      id: "a",
      result: { content: [{ type: "text", text: "echo" }] },
    });
    assert.deepEqual(world.session.sizes, { calls: 0, requests: 0, streams: 0, events: 0 });
  });

  it("keeps the client's ids apart by type", async () => {
    const world = new World({ upstreams: [new FakeUpstream("one").on("tools/call", () => LATER)] });
    await world.initialize();
    const one = world.request("tools/call", { name: "x" }, 1);
    const text = world.request("tools/call", { name: "y" }, "1");
    await settle();
    for (const name of ["y", "x"])
      world.one.requests.find(({ params }) => params?.name === name)?.answer(`for ${name}`);
    assert.deepEqual(messageOf(await one), { jsonrpc: "2.0", id: 1, result: "for x" });
    assert.deepEqual(messageOf(await text), { jsonrpc: "2.0", id: "1", result: "for y" });
  });

  it("becomes a stream when its time has passed, and its response is the stream's last event", async () => {
    const world = new World({ upstreams: [new FakeUpstream("one").on("tools/call", () => LATER)] });
    await world.initialize();
    const answer = world.request("tools/call", { name: "slow" }, 7);
    await world.clock.advance(999);
    assert.equal(world.session.sizes.streams, 0);
    await world.clock.advance(126);
    const stream = world.open(await answer);
    await settle();
    world.one.last("tools/call").answer({ content: [] });
    await stream.done;
    assert.deepEqual(stream.messages, [{ jsonrpc: "2.0", id: 7, result: { content: [] } }]);
  });

  it("with notifications and responses only is accepted", async () => {
    const world = new World();
    await world.initialize();
    assert.deepEqual(await world.notify("notifications/roots/list_changed"), { kind: "accepted" });
    assert.deepEqual(await world.post({ jsonrpc: "2.0", id: "nobody", result: {} }), { kind: "accepted" });
    assert.equal(world.counts.get("troupe_session_stray_responses_total"), 1);
  });

  const invalid: [what: string, body: unknown, code: number][] = [
    ["is not JSON", "{", -32700],
    ["is a number", "1", -32600],
    ["has no version", { id: 1, method: "ping" }, -32600],
    ["has a null id", { jsonrpc: "2.0", id: null, method: "ping" }, -32600],
    ["has a fractional id", { jsonrpc: "2.0", id: 1.5, method: "ping" }, -32600],
    ["has params that are no object", { jsonrpc: "2.0", id: 1, method: "ping", params: [] }, -32600],
    ["is neither request nor response", { jsonrpc: "2.0", id: 1 }, -32600],
    ["has result and error", { jsonrpc: "2.0", id: 1, result: {}, error: { code: 1, message: "" } }, -32600],
    ["is an empty batch", [], -32600],
  ];
  for (const [what, body, code] of invalid) {
    it(`that ${what} is refused with 400 and ${code}`, async () => {
      const world = new World();
      const answer = await world.post(body);
      assert.equal(statusOf(answer), 400);
      assert.equal(errorOf(answer).code, code);
      assert.equal(messageOf(answer).id, null);
    });
  }

  it("that names a version which is not served is refused with 400; another one of ours, or none, is fine", async () => {
    const world = new World({ version: "2025-06-18" });
    await world.initialize({ version: "2025-06-18" });
    const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
    for (const version of ["2026-07-28", "2024-11-05", "nonsense", ""]) {
      const answer = await world.post(ping, { version });
      assert.equal(statusOf(answer), 400, version);
      assert.match(errorOf(answer).message, /is not served here/);
    }
    for (const version of ["2025-06-18", "2025-11-25", "2025-03-26", null]) {
      assert.equal(kindOf(await world.post(ping, { version })), "json");
    }
    assert.equal(
      errorOf(await world.post([ping], { version: "2025-03-26" })).code,
      -32600,
      "what was negotiated holds",
    );
  });

  it("of another principal finds no session, with any method of the actor", async () => {
    const world = new World();
    const notFound = (error: unknown) => TroupeError.is(error, "not_found");
    const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
    await assert.rejects(world.post(ping, { principal: "stranger" }), notFound);
    await assert.rejects(world.ref.terminate("stranger"), notFound);
    const stream = world.connect(null, null, "stranger");
    await stream.done;
    assert.ok(notFound(stream.error), "not found");
    assert.equal(world.ended, false);
  });

  it("with an id that is in flight is refused, and the call in flight is answered once", async () => {
    const world = new World({ upstreams: [new FakeUpstream("one").on("tools/call", () => LATER)] });
    await world.initialize();
    const first = world.request("tools/call", { name: "x" }, 5);
    await settle();
    const second = await world.request("tools/call", { name: "x" }, 5);
    assert.equal(errorOf(second).code, -32600);
    assert.equal(world.one.count("tools/call"), 1);
    world.one.last("tools/call").answer("done");
    assert.deepEqual(messageOf(await first), { jsonrpc: "2.0", id: 5, result: "done" });
    assert.equal(kindOf(await world.request("ping", undefined, 5)), "json");
  });

  it("over the bound of calls in flight is refused with 429 and a time to come back", async () => {
    const world = new World({
      upstreams: [new FakeUpstream("one").on("tools/call", () => LATER)],
      settings: { maxCalls: 2 },
    });
    await world.initialize();
    void world.request("tools/call", { name: "x" });
    void world.request("tools/call", { name: "x" });
    await settle();
    const answer = await world.request("tools/call", { name: "x" }, "third");
    assert.equal(statusOf(answer), 429);
    assert.deepEqual(errorOf(answer).data, { retryAfterMs: 1_000 });
    assert.equal(messageOf(answer).id, "third");
    assert.equal(kindOf(await world.notify("notifications/cancelled", { requestId: 1 })), "accepted");
  });
});

describe("a batch", () => {
  const ping = (id: number) => ({ jsonrpc: "2.0", id, method: "ping" });
  const old = "2025-03-26";

  it("is answered as an array when all its requests finish in time", async () => {
    const world = new World({ version: old, upstreams: [echoing()] });
    await world.initialize({ version: old });
    const answer = await world.post([ping(1), { jsonrpc: "2.0", method: "notifications/initialized" }, ping(2)]);
    assert.deepEqual(messageOf(answer), [
      { jsonrpc: "2.0", id: 1, result: {} },
      { jsonrpc: "2.0", id: 2, result: {} },
    ]);
  });

  it("becomes one stream with one response each when a request takes longer", async () => {
    const world = new World({ version: old, upstreams: [new FakeUpstream("one").on("tools/call", () => LATER)] });
    await world.initialize({ version: old });
    const answer = world.post([ping(1), { jsonrpc: "2.0", id: 2, method: "tools/call", params: { name: "x" } }]);
    await world.clock.advance(1_200);
    const stream = world.open(await answer);
    await settle();
    assert.deepEqual(
      stream.messages.map(({ id }) => id),
      [1],
    );
    world.one.last("tools/call").answer({});
    await stream.done;
    assert.deepEqual(
      stream.messages.map(({ id }) => id),
      [1, 2],
    );
  });

  it("is refused in every later version", async () => {
    for (const version of ["2025-06-18", "2025-11-25"]) {
      const world = new World({ version });
      const answer = await world.post([ping(1)]);
      assert.equal(statusOf(answer), 400);
      assert.equal(errorOf(answer).code, -32600);
    }
  });

  it("is refused whole, before any effect, when one of its messages is invalid or it has too many", async () => {
    const world = new World({ version: old, upstreams: [echoing()] });
    await world.initialize({ version: old });
    const call = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "x" } };
    for (const batch of [
      [call, { jsonrpc: "2.0", id: {} }],
      [call, { ...call }],
      [call, { jsonrpc: "2.0", id: 2, method: "initialize", params: {} }],
      Array.from({ length: 101 }, (_, id) => ping(id)),
    ]) {
      const answer = await world.post(batch);
      assert.equal(statusOf(answer), 400);
      assert.equal(errorOf(answer).code, -32600);
    }
    assert.equal(world.one.count("tools/call"), 0);
    const most = await world.post(Array.from({ length: 100 }, (_, id) => ping(id)));
    assert.equal((messageOf(most) as unknown as unknown[]).length, 100);
  });
});
