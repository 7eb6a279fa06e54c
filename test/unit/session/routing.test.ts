/** Which upstream a request goes to, and lists of several as one. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MAX_NAME } from "../../../actors/session/naming.ts";
import { errorOf, FakeUpstream, type Json, kindOf, LATER, resultOf, settle, World, type WorldOptions } from "./kit.ts";

function withTools(name: string, ...tools: string[]): FakeUpstream {
  return new FakeUpstream(name)
    .on("tools/list", () => ({ tools: tools.map((tool) => ({ name: tool, description: `of ${name}` })) }))
    .on("tools/call", (params) => ({ by: name, tool: params?.name, args: params?.arguments ?? null }));
}

async function begun(upstreams: FakeUpstream[], options: WorldOptions = {}): Promise<World> {
  const world = new World({ upstreams, ...options });
  await world.initialize(options);
  return world;
}

describe("one upstream under its own names", () => {
  it("gets everything as it is, cursors included, and methods nobody knows", async () => {
    const upstream = new FakeUpstream("one")
      .on("tools/list", (params) => ({ tools: [], nextCursor: `after ${params?.cursor}` }))
      .on("vendor/thing", (params) => ({ echoed: params }));
    const world = await begun([upstream]);
    assert.deepEqual(await world.ask("tools/list", { cursor: "c" }), { tools: [], nextCursor: "after c" });
    assert.deepEqual(await world.ask("vendor/thing", { x: 1 }), { echoed: { x: 1 } });
  });

  it("is not bothered with methods of a capability it has not", async () => {
    const upstream = new FakeUpstream("one");
    upstream.capabilities = { tools: {} };
    const world = await begun([upstream]);
    for (const method of [
      "prompts/list",
      "prompts/get",
      "resources/list",
      "resources/read",
      "resources/subscribe",
      "resources/templates/list",
      "completion/complete",
      "logging/setLevel",
      "tasks/get",
    ]) {
      const answer = await world.request(method, { uri: "a://b", level: "info" });
      assert.equal(errorOf(answer).code, -32601, method);
    }
    assert.equal(upstream.requests.length, 0);
  });

  it("gets a call without the wish for a task, which it does not offer", async () => {
    const world = await begun([withTools("one", "t")]);
    await world.ask("tools/call", { name: "t", task: { ttl: 1 } });
    assert.deepEqual(world.one.last("tools/call").params, { name: "t" });
  });

  it("is greeted with the client's own name and capabilities, but without tasks", async () => {
    const capabilities = { roots: {}, tasks: {} };
    const world = await begun([withTools("one", "t")], { capabilities, version: "2025-06-18" });
    await world.ask("tools/call", { name: "t" });
    assert.deepEqual(world.one.handshake, {
      protocolVersion: "2025-06-18",
      capabilities: { roots: {} },
      clientInfo: { name: "test", version: "1" },
    });
  });
});

describe("several upstreams", () => {
  it("are one list, in their order and each in its own, all pages gathered", async () => {
    const paged = new FakeUpstream("b").on("tools/list", (params) =>
      params?.cursor === undefined
        ? { tools: [{ name: "z" }, { name: "a" }], nextCursor: "2" }
        : { tools: [{ name: "m" }] },
    );
    const world = await begun([withTools("a", "x"), paged]);
    const { tools, nextCursor } = await world.ask("tools/list");
    assert.deepEqual(
      (tools as Json[]).map(({ name }) => name),
      ["a__x", "b__z", "b__a", "b__m"],
    );
    assert.equal(nextCursor, undefined);
  });

  it("have no cursors", async () => {
    const world = await begun([withTools("a", "x"), withTools("b", "y")]);
    assert.equal(errorOf(await world.request("tools/list", { cursor: "2" })).code, -32602);
  });

  it("get calls by prefix, under their own names", async () => {
    const world = await begun([withTools("a", "x"), withTools("b", "y"), withTools("a__b", "z")]);
    assert.deepEqual(await world.ask("tools/call", { name: "b__y", arguments: { n: 1 } }), {
      by: "b",
      tool: "y",
      args: { n: 1 },
    });
    assert.deepEqual(await world.ask("tools/call", { name: "a__b__z" }), { by: "a__b", tool: "z", args: null });
    assert.equal(world.upstream("a").starts, 0, "only the one that is needed is started");
    for (const name of ["x", "c__x", undefined]) {
      assert.equal(errorOf(await world.request("tools/call", { name })).code, -32602);
    }
  });

  it("have names of at most 64 characters, also right after the session moved", async () => {
    const long = "t".repeat(80);
    const longer = `${long}2`;
    const world = await begun([withTools("a", long, longer, "short"), withTools("b", long)]);
    const names = ((await world.ask("tools/list")).tools as Json[]).map(({ name }) => String(name));
    assert.equal(new Set(names).size, 4);
    for (const name of names) assert.ok(name.length <= MAX_NAME, name);
    const call = (name: string | undefined) => world.ask("tools/call", { name });
    assert.equal((await call(names[0])).tool, long);
    assert.equal((await call(names[1])).tool, longer);
    await world.move();
    assert.deepEqual(await call(names[1]), { by: "a", tool: longer, args: null });
    assert.equal((await call(names[3])).by, "b");
  });

  it("keep their names without prefixes: the first that has one keeps it, and that is logged once", async () => {
    const world = await begun([withTools("a", "x", "y"), withTools("b", "y", "z")], { prefixed: false });
    const list = async () => ((await world.ask("tools/list")).tools as Json[]).map(({ name }) => name);
    assert.deepEqual(await list(), ["x", "y", "z"]);
    assert.deepEqual(await list(), ["x", "y", "z"]);
    assert.equal(world.warnings.filter((warning) => warning.includes("same name")).length, 1);
    assert.equal((await world.ask("tools/call", { name: "y" })).by, "a");
    await world.move();
    assert.equal((await world.ask("tools/call", { name: "z" })).by, "b", "learned by listing");
    assert.equal(errorOf(await world.request("tools/call", { name: "none" })).code, -32602);
  });

  it("are listed without those that fail, which is logged once a minute", async () => {
    const failing = new FakeUpstream("b").on("tools/list", (_params, request) => {
      request.refuse(-32000, "not today");
      return LATER;
    });
    const world = await begun([withTools("a", "x"), failing]);
    for (let n = 0; n < 3; n++) assert.equal(((await world.ask("tools/list")).tools as Json[]).length, 1);
    assert.equal(world.warnings.length, 1);
    await world.clock.advance(60_000);
    await world.ask("tools/list");
    assert.equal(world.warnings.length, 2);
  });

  it("fail together with the first failure", async () => {
    const failing = (name: string) =>
      new FakeUpstream(name).on("tools/list", (_params, request) => {
        request.refuse(-32000, `${name} is out`);
        return LATER;
      });
    const world = await begun([failing("a"), failing("b")]);
    assert.equal(errorOf(await world.request("tools/list")).message, "a is out");
  });

  it("cannot fill the list beyond its bounds", async () => {
    const endless = new FakeUpstream("b").on("tools/list", (params) => ({
      tools: [{ name: `t${params?.cursor ?? 0}` }],
      nextCursor: String(Number(params?.cursor ?? 0) + 1),
    }));
    const big = withTools("a", ...Array.from({ length: 10_500 }, (_, n) => `t${n}`));
    const world = await begun([endless, big]);
    assert.equal(((await world.ask("tools/list")).tools as Json[]).length, 10_000);
    assert.equal(endless.count("tools/list"), 100);
    assert.equal(world.warnings.length, 2);
  });

  it("refuse methods that nobody among them is responsible for", async () => {
    const world = await begun([withTools("a", "x"), withTools("b", "y")]);
    assert.equal(errorOf(await world.request("vendor/thing")).code, -32601);
    for (const upstream of world.upstreams) upstream.capabilities = { tools: {} };
    const other = await begun(world.upstreams);
    assert.equal(errorOf(await other.request("prompts/list")).code, -32601);
  });

  it("get prompts and completions by name", async () => {
    const [a, b] = [new FakeUpstream("a"), new FakeUpstream("b")];
    b.on("prompts/get", (params) => params).on("completion/complete", (params) => params);
    const world = await begun([a, b]);
    assert.deepEqual(await world.ask("prompts/get", { name: "b__p", arguments: {} }), { name: "p", arguments: {} });
    const ref = { type: "ref/prompt", name: "b__p" };
    assert.deepEqual(await world.ask("completion/complete", { ref, argument: { name: "x" } }), {
      ref: { type: "ref/prompt", name: "p" },
      argument: { name: "x" },
    });
    assert.equal(errorOf(await world.request("completion/complete", { ref: {} })).code, -32602);
  });

  it("cancel a list that is being gathered at each of them", async () => {
    const [a, b] = [new FakeUpstream("a"), new FakeUpstream("b")];
    for (const upstream of [a, b]) upstream.on("tools/list", () => LATER);
    const world = await begun([a, b]);
    const answer = world.request("tools/list", undefined, "l");
    await settle();
    await world.notify("notifications/cancelled", { requestId: "l", reason: "why" });
    assert.equal(kindOf(await answer), "stream");
    assert.deepEqual([a.last("tools/list").cancelled, b.last("tools/list").cancelled], ["why", "why"]);
  });

  it("learn names again after a list changed", async () => {
    const tools = ["x"];
    const a = new FakeUpstream("a").on("tools/list", () => ({ tools: tools.map((name) => ({ name })) }));
    a.on("tools/call", () => ({ by: "a" }));
    const world = await begun([a, withTools("b", "y")], { prefixed: false });
    assert.equal((await world.ask("tools/call", { name: "y" })).by, "b");
    tools.push("y");
    a.notify("notifications/tools/list_changed");
    assert.equal((await world.ask("tools/call", { name: "y" })).by, "a");
  });
});

describe("resources of several upstreams", () => {
  function withResources(name: string, ...uris: string[]): FakeUpstream {
    return new FakeUpstream(name)
      .on("resources/list", () => ({ resources: uris.map((uri) => ({ uri, name: uri })) }))
      .on("resources/templates/list", () => ({ resourceTemplates: [{ uriTemplate: `${name}://{id}/data` }] }))
      .on("resources/read", (params, request) => {
        if (uris.includes(String(params?.uri)) || String(params?.uri).startsWith(`${name}://`)) return { by: name };
        request.refuse(-32002, `${name} has no such resource`);
        return LATER;
      });
  }

  it("keep their URIs, and are read where they were listed", async () => {
    const world = await begun([withResources("a", "x://1"), withResources("b", "x://2")]);
    const { resources } = await world.ask("resources/list");
    assert.deepEqual(
      (resources as Json[]).map(({ uri }) => uri),
      ["x://1", "x://2"],
    );
    assert.deepEqual(await world.ask("resources/read", { uri: "x://2" }), { by: "b" });
    assert.equal(world.upstream("a").count("resources/read"), 0);
  });

  it("are read where a template fits", async () => {
    const world = await begun([withResources("a"), withResources("b")]);
    await world.ask("resources/templates/list");
    assert.deepEqual(await world.ask("resources/read", { uri: "b://7/data" }), { by: "b" });
    assert.equal(world.upstream("a").count("resources/read"), 0);
  });

  it("are looked for in order when nothing is known, and then remembered", async () => {
    const world = await begun([withResources("a"), withResources("b", "x://2")]);
    for (let n = 0; n < 2; n++) assert.deepEqual(await world.ask("resources/read", { uri: "x://2" }), { by: "b" });
    assert.equal(world.upstream("a").count("resources/read"), 1);
  });

  it("that nobody has are answered with the upstreams' own error", async () => {
    const world = await begun([withResources("a"), withResources("b")]);
    const error = errorOf(await world.request("resources/read", { uri: "x://3" }));
    assert.equal(error.code, -32002);
    assert.equal(errorOf(await world.request("resources/read", {})).code, -32602);
  });

  it("may lack templates without being left out as failed", async () => {
    const world = await begun([withResources("a"), new FakeUpstream("b")]);
    const { resourceTemplates } = await world.ask("resources/templates/list");
    assert.equal((resourceTemplates as Json[]).length, 1);
    assert.equal(world.warnings.length, 0);
  });
});

describe("one upstream with a prefix", () => {
  it("has prefixed names", async () => {
    const world = await begun([withTools("a", "x")], { prefixed: true });
    assert.equal(((await world.ask("tools/list")).tools as Json[])[0]?.name, "a__x");
    assert.deepEqual(resultOf(await world.request("tools/call", { name: "a__x" })), {
      by: "a",
      tool: "x",
      args: null,
    });
  });
});
