/** What a session remembers, and how it ends. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { errorOf, FakeUpstream, type Json, LATER, paramsOf, settle, World, type WorldOptions } from "./kit.ts";

function upstream(name = "one"): FakeUpstream {
  return new FakeUpstream(name)
    .on("tools/call", () => ({}))
    .on("logging/setLevel", () => ({}))
    .on("resources/subscribe", () => ({}))
    .on("resources/unsubscribe", () => ({}));
}

async function begun(options: WorldOptions = {}): Promise<World> {
  const world = new World({ upstreams: [upstream()], ...options });
  await world.initialize(options);
  return world;
}

describe("the handshake", () => {
  it("is stored before it is acknowledged, once", async () => {
    const world = new World();
    assert.equal((await world.describe()).state, "initializing");
    await world.notify("notifications/initialized");
    assert.equal(world.stored?.initialized, true);
    await world.notify("notifications/initialized");
    assert.equal(world.commits, 1);
    assert.equal((await world.describe()).state, "operational");
  });

  it("is not acknowledged when it could not be stored", async () => {
    const world = new World();
    world.failCommits = true;
    await assert.rejects(world.notify("notifications/initialized"), (error) =>
      TroupeError.is(error, "store_unavailable"),
    );
  });
});

describe("the log level", () => {
  it("is stored, told to running upstreams, and told to an upstream that starts later", async () => {
    const world = await begun();
    assert.deepEqual(await world.ask("logging/setLevel", { level: "warning" }), {});
    assert.equal(world.stored?.logLevel, "warning");
    assert.equal(world.one.starts, 0);
    await world.ask("tools/call", { name: "x" });
    assert.deepEqual(
      world.one.requests.map(({ method }) => method),
      ["logging/setLevel", "tools/call"],
      "before the first call",
    );
    await world.ask("logging/setLevel", { level: "error" });
    assert.deepEqual(world.one.last("logging/setLevel").params, { level: "error" });
    world.one.crash();
    await world.ask("tools/call", { name: "x" });
    assert.deepEqual(world.one.requests.at(-2)?.params, { level: "error" });
  });

  it("filters what is below it, whatever the upstream thinks", async () => {
    const world = await begun();
    await world.ask("tools/call", { name: "x" });
    await world.ask("logging/setLevel", { level: "warning" });
    for (const level of ["debug", "notice", "warning", "emergency", "odd"]) {
      world.one.notify("notifications/message", { level, data: "x" });
    }
    const get = world.listen();
    await settle();
    assert.deepEqual(
      get.messages.map((message) => paramsOf(message).level),
      ["warning", "emergency", "odd"],
    );
  });

  it("that does not exist is refused with -32602", async () => {
    const world = await begun();
    for (const level of ["verbose", "WARNING", 3, undefined]) {
      assert.equal(errorOf(await world.request("logging/setLevel", { level })).code, -32602);
    }
    assert.equal(world.stored?.logLevel, null);
  });

  it("survives a move", async () => {
    const world = await begun();
    await world.ask("logging/setLevel", { level: "error" });
    await world.move();
    await world.ask("tools/call", { name: "x" });
    assert.deepEqual(world.one.requests[0]?.params, { level: "error" });
  });
});

describe("a subscription", () => {
  it("delivers updates of its URI and of what is below it, and of nothing else", async () => {
    const world = await begun();
    await world.ask("resources/subscribe", { uri: "a://dir" });
    assert.deepEqual(world.stored?.subscriptions, ["a://dir"]);
    for (const uri of ["a://dir", "a://dir/file", "a://directory", "b://dir", 7]) {
      world.one.notify("notifications/resources/updated", { uri });
    }
    const get = world.listen();
    await settle();
    assert.deepEqual(
      get.messages.map((message) => paramsOf(message).uri),
      ["a://dir", "a://dir/file"],
    );
    assert.ok(world.one.keepRunning(), "its upstream must not be stopped for being idle");
  });

  it("ends at once with unsubscribe", async () => {
    const world = await begun();
    await world.ask("resources/subscribe", { uri: "a://b" });
    world.one.on("resources/unsubscribe", () => LATER);
    void world.request("resources/unsubscribe", { uri: "a://b" });
    await settle();
    world.one.notify("notifications/resources/updated", { uri: "a://b" });
    world.one.last("resources/unsubscribe").answer({});
    await settle();
    assert.deepEqual(world.stored?.subscriptions, []);
    assert.equal(world.session.sizes.events, 0);
    assert.equal(world.one.keepRunning(), false);
  });

  it("hears an update that overtakes its answer", async () => {
    const world = await begun();
    world.one.on("resources/subscribe", () => LATER);
    void world.request("resources/subscribe", { uri: "a://b" });
    await settle();
    world.one.notify("notifications/resources/updated", { uri: "a://b" });
    assert.equal(world.session.sizes.events, 1);
  });

  it("that the upstream refused is none", async () => {
    const world = await begun();
    world.one.on("resources/subscribe", (_params, request) => {
      request.refuse(-32002, "no such resource");
      return LATER;
    });
    assert.equal(errorOf(await world.request("resources/subscribe", { uri: "a://b" })).code, -32002);
    assert.deepEqual(world.stored?.subscriptions, []);
    world.one.notify("notifications/resources/updated", { uri: "a://b" });
    assert.equal(world.session.sizes.events, 0);
  });

  it("goes on after the upstream crashed, without any request", async () => {
    const world = await begun();
    await world.ask("resources/subscribe", { uri: "a://b" });
    world.one.crash();
    await world.clock.advance(1_000);
    assert.equal(world.one.starts, 2);
    assert.equal(world.one.count("resources/subscribe"), 2);
  });

  it("goes on after the session moved, without any request to the upstream", async () => {
    const world = await begun({ upstreams: [upstream("a"), upstream("b")] });
    await world.ask("resources/subscribe", { uri: "a://b" });
    await world.move();
    assert.equal(world.upstream("a").starts, 2);
    world.one.notify("notifications/resources/updated", { uri: "a://b" });
    const get = world.listen();
    await settle();
    assert.equal(get.messages.length, 1);
  });

  it("is told again only to the upstream that owns the URI", async () => {
    const world = await begun({ upstreams: [upstream("a"), upstream("b")] });
    await world.ask("resources/subscribe", { uri: "a://b" });
    await world.ask("tools/call", { name: "b__x" });
    assert.equal(world.upstream("a").count("resources/subscribe"), 1);
    assert.equal(world.upstream("b").count("resources/subscribe"), 0);
  });

  it("is counted against a bound", async () => {
    const world = await begun({ settings: { maxSubscriptions: 2 } });
    for (const uri of ["a://1", "a://2", "a://2"]) await world.ask("resources/subscribe", { uri });
    assert.equal(errorOf(await world.request("resources/subscribe", { uri: "a://3" })).code, -32000);
    assert.equal(world.stored?.subscriptions.length, 2);
  });
});

describe("notifications of the client", () => {
  it("about roots reach running upstreams and start none", async () => {
    const world = await begun({ upstreams: [upstream("a"), upstream("b")] });
    await world.ask("tools/call", { name: "a__x" });
    await world.notify("notifications/roots/list_changed");
    assert.deepEqual(world.upstream("a").notified, [{ method: "notifications/roots/list_changed", params: undefined }]);
    assert.equal(world.upstream("b").starts, 0);
  });
});

describe("the end of a session", () => {
  it("by DELETE closes streams and upstreams, and fails what waits", async () => {
    const world = await begun({ upstreams: [upstream().on("tools/call", () => LATER)], capabilities: { roots: {} } });
    const get = world.listen();
    const failed = [1, 2].map((id) => {
      const waiting = world.request("tools/call", { name: "x" }, id);
      return assert.rejects(waiting, (error) => TroupeError.is(error, "ended"));
    });
    await settle();
    const asked = assert.rejects(world.one.ask("roots/list", {}, undefined));
    const session = world.session;
    await world.ref.terminate("tester");
    await Promise.all([...failed, asked, get.done]);
    assert.equal(world.ended, true);
    assert.deepEqual(world.one.closedFor, ["ended"]);
    assert.deepEqual([session.sizes.calls, session.sizes.requests, session.openStreams], [0, 0, 0]);
  });

  it("by DELETE is answered when it is stored, though an upstream takes its time to stop", async () => {
    const world = await begun();
    await world.ask("tools/call", { name: "x" });
    world.one.slowStop = new Promise(() => {});
    await world.ref.terminate("tester");
    assert.equal(world.ended, true);
    assert.deepEqual(world.one.closedFor, ["ended"]);
  });

  it("by losing ownership leaves upstreams silently", async () => {
    for (const reason of ["fenced", "drain"] as const) {
      const world = await begun();
      await world.ask("tools/call", { name: "x" });
      await world.move(reason);
      assert.deepEqual(world.one.closedFor, [reason]);
      assert.equal(world.ended, false);
    }
  });

  it("comes when nobody used it for the idle time, and not while a call or a stream is open", async () => {
    const idle = { idleTimeoutMs: 60_000 };
    const unused = await begun({ settings: idle });
    await unused.clock.advance(50_000);
    await unused.request("ping");
    await unused.clock.advance(59_000);
    assert.equal(unused.ended, false);
    await unused.clock.advance(10_000);
    assert.equal(unused.ended, true);
    assert.equal(unused.counts.get("troupe_session_expired_total"), 1);

    const listening = await begun({ settings: idle });
    const get = listening.listen();
    await listening.clock.advance(300_000);
    assert.equal(listening.ended, false);
    await get.drop();
    await listening.clock.advance(70_000);
    assert.equal(listening.ended, true);

    const working = await begun({ settings: idle, upstreams: [upstream().on("tools/call", () => LATER)] });
    void working.request("tools/call", { name: "x" });
    await working.clock.advance(300_000);
    assert.equal(working.ended, false);
  });

  it("never comes by idleness where the time is 0", async () => {
    const world = await begun({ settings: { idleTimeoutMs: 0 } });
    await world.clock.advance(24 * 3_600_000);
    assert.equal(world.ended, false);
  });
});

describe("the description", () => {
  it("says who, what and how busy", async () => {
    const world = await begun({ upstreams: [upstream().on("tools/call", () => LATER), upstream("two")] });
    void world.request("tools/call", { name: "one__x" });
    const get = world.listen();
    await settle();
    assert.deepEqual(await world.describe(), {
      id: "session-1",
      owner: "node-1",
      era: "legacy",
      protocolVersion: "2025-11-25",
      client: { name: "test", version: "1" },
      upstreams: [
        { name: "one", running: true },
        { name: "two", running: false },
      ],
      state: "operational",
      createdAt: world.stored?.createdAt,
      idleMs: 0,
      calls: 1,
      streams: 1,
    } satisfies Json);
    await get.drop();
  });
});
