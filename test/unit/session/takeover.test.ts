/** What a session's next owner keeps of its streams, and what it tells whoever waited for the one that died. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import {
  type Connection,
  errorOf,
  FakeUpstream,
  type Json,
  kindOf,
  LATER,
  PRINCIPAL,
  paramsOf,
  type Received,
  resultOf,
  settle,
  World,
  type WorldOptions,
} from "./kit.ts";

const CLIENT = { elicitation: {} };

async function begun(options: WorldOptions = {}): Promise<World> {
  const upstreams = options.upstreams ?? [new FakeUpstream("one").on("tools/call", () => LATER)];
  const world = new World({ capabilities: CLIENT, ...options, upstreams });
  await world.initialize({ capabilities: CLIENT, ...options });
  return world;
}

/** A call whose POST has become a stream, opened. */
async function streaming(world: World, id: string): Promise<[Connection, Received]> {
  const answer = world.request("tools/call", { name: "x", _meta: { progressToken: id } }, id);
  await settle();
  const received = world.one.last("tools/call");
  world.one.notify("notifications/progress", { progress: 0 }, received.related);
  const connection = world.open(await answer);
  await settle();
  return [connection, received];
}

const responses = (connection: Connection): Json[] => connection.messages.filter(({ method }) => method === undefined);

describe("an event with an id", () => {
  it("is given to its reader only when it is stored, and everything behind it waits too", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world, "call");
    const seen = stream.events.length;
    world.failCommits = true;
    void world.one.ask("elicitation/create", { message: "?" }, call.related);
    world.one.notify("notifications/progress", { progress: 1 }, call.related);
    await world.clock.advance(2_000);
    assert.equal(stream.events.length, seen, "nothing is promised that is not stored");
    world.failCommits = false;
    await world.clock.advance(300);
    assert.deepEqual(
      stream.messages.slice(-2).map(({ method }) => method),
      ["elicitation/create", "notifications/progress"],
    );
  });

  it("may be a priming event, whose stream is stored first", async () => {
    const world = await begun();
    world.failCommits = true;
    const [stream] = await streaming(world, "call");
    assert.equal(stream.events.length, 0);
    world.failCommits = false;
    await world.clock.advance(300);
    assert.equal(stream.events[0]?.opened, true);
    assert.equal(world.stored?.log?.streams.length, 1);
  });

  it("lets go of a reader that leaves while the store is away", async () => {
    const world = await begun();
    world.failCommits = true;
    const [stream] = await streaming(world, "call");
    await stream.drop();
    assert.equal(world.session.openStreams, 0);
  });
});

describe("what the log costs", () => {
  it("is nothing for calls answered as JSON, progress and logging", async () => {
    const world = await begun({ upstreams: [new FakeUpstream("one").on("tools/call", () => ({ ok: true }))] });
    await world.ask("tools/call", { name: "x" });
    const before = world.commits;
    for (let n = 0; n < 10; n++) await world.ask("tools/call", { name: "x" });
    world.one.notify("notifications/message", { level: "info", data: "x" });
    const get = world.listen();
    await settle();
    assert.equal(get.messages.length, 1);
    assert.equal(world.commits, before);
    assert.equal("log" in (world.stored ?? {}), false);
  });

  it("is one commit for a call that is answered by the time its stream is opened", async () => {
    const world = await begun();
    await world.request("ping");
    const answer = world.request("tools/call", { name: "x", _meta: { progressToken: 1 } }, "call");
    await settle();
    const before = world.commits;
    const call = world.one.last("tools/call");
    world.one.notify("notifications/progress", { progress: 1 }, call.related);
    call.answer({});
    const stream = world.open(await answer);
    await stream.done;
    assert.equal(responses(stream).length, 1);
    assert.equal(world.commits, before + 1);
  });

  it("is nothing in the state once the events are over their age", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world, "call");
    call.answer({});
    await stream.done;
    assert.equal(world.stored?.log?.events.length, 1);
    await world.clock.advance(11 * 60_000);
    await world.notify("notifications/cancelled", { requestId: "x" });
    await world.ask("logging/setLevel", { level: "info" }).catch(() => {});
    assert.equal("log" in (world.stored ?? {}), false);
  });
});

describe("after a takeover", () => {
  it("a finished response is delivered on resume, under the id it had, and nothing of other streams", async () => {
    const world = await begun();
    const [one, callOne] = await streaming(world, "one");
    const [two, callTwo] = await streaming(world, "two");
    await one.drop();
    callOne.answer({ of: "one" });
    callTwo.answer({ of: "two" });
    await two.done;
    await world.move("fenced");
    for (let n = 0; n < 2; n++) {
      const resumed = world.resume(one.lastEventId);
      await resumed.done;
      assert.deepEqual(responses(resumed), [{ jsonrpc: "2.0", id: "one", result: { of: "one" } }]);
    }
    const complete = world.resume(two.lastEventId);
    await complete.done;
    assert.ok(TroupeError.is(complete.error, "not_found"), "its client has everything");
  });

  it("a call that was in flight ends with an error that says that nobody knows whether it ran", async () => {
    const world = await begun();
    const [stream] = await streaming(world, "call");
    await world.move("fenced");
    const resumed = world.resume(stream.lastEventId);
    await resumed.done;
    assert.equal(resumed.messages.length, 1);
    const { id, error } = resumed.messages[0] as { id: string; error: { code: number; data: Json } };
    assert.deepEqual([id, error.code], ["call", -32603]);
    assert.deepEqual(error.data, { code: "unavailable", started: "unknown", retryable: false });
    await world.move("fenced");
    const again = world.resume(stream.lastEventId);
    await again.done;
    assert.deepEqual(responses(again), resumed.messages, "the second successor says what the first said");
  });

  it("of a batch only what was not answered fails", async () => {
    const world = await begun({ version: "2025-03-26" });
    const messages = ["a", "b"].map((id) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name: id } }));
    const answer = world.post(messages);
    await settle();
    const first = world.one.requests.find(({ params }) => params?.name === "a");
    world.one.ask("elicitation/create", { message: "?" }, first?.related).catch(() => {});
    const stream = world.open(await answer);
    first?.answer({ done: true });
    await settle();
    const asked = stream.events.find(({ id }) => id !== undefined)?.id ?? "";
    await world.move("fenced");
    const resumed = world.resume(asked);
    await resumed.done;
    assert.deepEqual(
      responses(resumed).map(({ id, error }) => [id, error === undefined]),
      [
        ["a", true],
        ["b", false],
      ],
    );
  });

  it("a cancelled call is not answered", async () => {
    const world = await begun();
    const [stream] = await streaming(world, "call");
    await world.notify("notifications/cancelled", { requestId: "call" });
    await settle();
    await world.move("fenced");
    const resumed = world.resume(stream.lastEventId);
    await resumed.done;
    assert.equal(responses(resumed).length, 0);
  });

  it("a request of an upstream that is gone is withdrawn before its call ends", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world, "call");
    world.one.ask("elicitation/create", { message: "?" }, call.related).catch(() => {});
    await settle();
    const request = stream.messages.at(-1);
    await world.move("fenced");
    const resumed = world.resume(stream.lastEventId);
    await resumed.done;
    const [withdrawal, response] = resumed.messages;
    assert.equal(withdrawal?.method, "notifications/cancelled");
    assert.equal(paramsOf(withdrawal).requestId, request?.id);
    assert.equal(response?.id, "call");
    await world.post({ jsonrpc: "2.0", id: request?.id, result: { action: "accept" } });
    assert.equal(world.counts.get("troupe_session_stray_responses_total"), 1);
  });

  it("the GET stream goes on, and no id means two things", async () => {
    const world = await begun();
    await world.request("ping");
    await streaming(world, "call");
    const first = world.listen();
    await settle();
    world.one.notify("notifications/tools/list_changed");
    await settle();
    await world.move("fenced");
    const second = world.resume(first.lastEventId);
    await settle();
    void world.request("tools/call", { name: "x" }, "again").catch(() => {});
    await settle();
    const ids = [...first.events, ...second.events].flatMap(({ id }) => id ?? []);
    assert.equal(new Set(ids).size, ids.length, ids.join(" "));
  });

  it("an id of the GET stream on which nothing was ever said is still good", async () => {
    const world = await begun();
    const get = world.listen();
    await settle();
    await world.move("fenced");
    const resumed = world.resume(get.lastEventId);
    await settle();
    assert.equal(resumed.error, undefined);
    assert.notEqual(resumed.lastEventId, get.lastEventId);
  });

  it("events that are over their age are gone, and their numbers are never given away again", async () => {
    const world = await begun();
    await streaming(world, "call");
    world.one.notify("notifications/tools/list_changed");
    const get = world.listen();
    await settle();
    const old = get.lastEventId;
    await get.drop();
    await world.clock.advance(11 * 60_000);
    await world.move("fenced");
    void world.request("tools/call", { name: "x" }, "again").catch(() => {});
    await settle();
    const later = world.resume(old);
    await settle();
    world.one.notify("notifications/tools/list_changed");
    await settle();
    const ids = later.events.flatMap(({ id, data }) => (data === "" ? [] : (id ?? [])));
    assert.equal(ids.includes(old), false);
  });
});

/** An upstream over HTTP, which keeps its session when its owner dies. */
function remote(): FakeUpstream {
  const one = new FakeUpstream("one").on("tools/call", () => LATER);
  one.resumable = true;
  one.capabilities = { tools: { listChanged: true }, logging: {} };
  return one;
}

describe("an upstream whose session outlives the owner", () => {
  it("is stored before the first answer, with no further commit for calls", async () => {
    const one = remote().on("tools/call", () => ({ ok: true }));
    const world = await begun({ upstreams: [one] });
    let stored = (): void => {};
    world.slowCommits = new Promise((resolve) => {
      stored = resolve;
    });
    const first = world.request("tools/call", { name: "x" });
    await settle();
    assert.equal(one.requests.length, 0, "nothing is sent that a successor would not know of");
    stored();
    await first;
    assert.equal(world.stored?.connections?.one?.sessionId, "remote-1");
    const before = world.commits;
    for (let n = 0; n < 5; n++) await world.ask("tools/call", { name: "x" });
    assert.equal(world.commits, before);
  });

  it("goes on with the calls it works on: the client gets its answers, and its cancel arrives", async () => {
    const world = await begun({ upstreams: [remote()] });
    const [stream, received] = await streaming(world, "call");
    const [other, cancelled] = await streaming(world, "other");
    await world.move("fenced");
    const resumed = world.resume(stream.lastEventId);
    const resumedOther = world.resume(other.lastEventId);
    await settle();
    assert.deepEqual(responses(resumed), []);
    world.one.notify("notifications/progress", { progress: 5 }, received.related);
    received.answer({ done: true });
    await resumed.done;
    assert.deepEqual(responses(resumed), [{ jsonrpc: "2.0", id: "call", result: { done: true } }]);
    assert.equal(paramsOf(resumed.messages[0]).progressToken, "call");
    await world.notify("notifications/cancelled", { requestId: "other", reason: "enough" });
    await resumedOther.done;
    assert.equal(cancelled.cancelled, "enough");
    assert.equal(world.one.starts, 1, "its handshake was not made again");
    assert.equal(world.counts.get("troupe_session_upstream_resets_total"), undefined);
  });

  it("may ask over any number of owners: the question keeps its id and is answered once", async () => {
    const world = await begun({ upstreams: [remote()] });
    const [stream, received] = await streaming(world, "call");
    world.one.ask("elicitation/create", { message: "?" }, received.related).catch(() => {});
    await settle();
    const question = stream.messages.at(-1);
    await world.move("fenced");
    await world.move("fenced");
    const resumed = world.resume(stream.lastEventId);
    await settle();
    assert.deepEqual(resumed.messages, [], "it was proven to have arrived");
    for (let n = 0; n < 2; n++) await world.post({ jsonrpc: "2.0", id: question?.id, result: { action: "accept" } });
    await settle();
    assert.deepEqual([...world.one.laterAnswers], [["question-1", { action: "accept" }]]);
    assert.equal(world.counts.get("troupe_session_stray_responses_total"), 1);
    received.answer({});
    await resumed.done;
  });

  it("that forgot it is begun anew: calls end honestly, questions are withdrawn, and the client is told", async () => {
    const world = await begun({ upstreams: [remote()] });
    const get = world.listen();
    const [stream, received] = await streaming(world, "call");
    world.one.ask("elicitation/create", { message: "?" }, received.related).catch(() => {});
    await settle();
    await get.drop();
    world.one.remembers.clear();
    await world.move("fenced");
    const listening = world.listen();
    const resumed = world.resume(stream.lastEventId);
    await settle();
    await resumed.done;
    const withdrawn = [...listening.messages, ...resumed.messages].filter(
      ({ method }) => method === "notifications/cancelled",
    );
    assert.equal(withdrawn.length, 1);
    assert.deepEqual((responses(resumed)[0] as { error: { data: Json } }).error.data.started, "unknown");
    const told = listening.messages.map(({ method }) => method);
    assert.ok(told.includes("notifications/message") && told.includes("notifications/tools/list_changed"), `${told}`);
    assert.equal(world.counts.get("troupe_session_upstream_resets_total"), 1);
    assert.equal(world.one.starts, 2);
  });

  it("is left in peace by an owner that lost the session or gives it away", async () => {
    for (const reason of ["fenced", "drain"] as const) {
      const world = await begun({ upstreams: [remote()] });
      const [, received] = await streaming(world, "call");
      await world.move(reason);
      assert.equal(received.cancelled, false);
      assert.equal(world.one.closedFor[0], reason);
    }
  });
});

describe("a call that nobody can go on with", () => {
  const tools = (annotations: Json) => ({ tools: [{ name: "x", inputSchema: {}, annotations }] });
  const begin = (annotations: Json) =>
    begun({
      upstreams: [new FakeUpstream("one").on("tools/call", () => LATER).on("tools/list", () => tools(annotations))],
    });

  for (const hint of ["readOnlyHint", "idempotentHint"]) {
    it(`is run again where its tool declares ${hint}`, async () => {
      const world = await begin({ [hint]: true });
      const [stream] = await streaming(world, "call");
      await world.move("fenced");
      const resumed = world.resume(stream.lastEventId);
      await settle();
      assert.equal(world.one.count("tools/call"), 2);
      assert.deepEqual(world.one.last("tools/call").params?.name, "x");
      world.one.last("tools/call").answer({ second: true });
      await resumed.done;
      assert.deepEqual(responses(resumed), [{ jsonrpc: "2.0", id: "call", result: { second: true } }]);
    });
  }

  it("is not run again where its tool declares nothing, or the opposite", async () => {
    for (const annotations of [{}, { readOnlyHint: false, destructiveHint: true }]) {
      const world = await begin(annotations);
      const [stream] = await streaming(world, "call");
      await world.move("fenced");
      const resumed = world.resume(stream.lastEventId);
      await resumed.done;
      assert.equal(world.one.count("tools/call"), 1);
      const { error } = responses(resumed)[0] as { error: { data: Json } };
      assert.deepEqual(error.data, { code: "unavailable", started: "unknown", retryable: false });
    }
  });

  it("is answered soon where the upstream does not say what may be run again", async () => {
    const one = new FakeUpstream("one").on("tools/call", () => LATER).on("tools/list", () => LATER);
    const world = await begun({ upstreams: [one] });
    const [stream] = await streaming(world, "call");
    await world.move("fenced");
    const resumed = world.resume(stream.lastEventId);
    await world.clock.advance(900);
    assert.equal(resumed.ended, true);
    assert.equal(world.one.count("tools/call"), 1);
  });
});

describe("a body that comes again because its owner died", () => {
  const again = (world: World, body: unknown) => world.ref.post(PRINCIPAL, null, JSON.stringify(body), true);
  const call = (id: string) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "x" } });

  it("is run where that is safe, else answered that nobody knows", async () => {
    const one = new FakeUpstream("one")
      .on("tools/call", () => ({ ran: true }))
      .on("resources/list", () => ({ resources: [] }))
      .on("tools/list", () => ({ tools: [] }));
    const world = await begun({ upstreams: [one] });
    assert.deepEqual(resultOf(await again(world, { jsonrpc: "2.0", id: 1, method: "resources/list" })), {
      resources: [],
    });
    const unsafe = errorOf(await again(world, call("c")));
    assert.deepEqual(unsafe.data, { code: "unavailable", started: "unknown", retryable: false });
    assert.equal(one.count("tools/call"), 0);
  });

  it("leads to the stream that answers it, or did", async () => {
    const world = await begun({ upstreams: [remote()] });
    const [stream, received] = await streaming(world, "call");
    await world.move("fenced");
    const found = await again(world, call("call"));
    assert.deepEqual(found, { kind: "stream", stream: stream.lastEventId.split("-")[0] });
    received.answer({});
    await settle();
    assert.deepEqual(await again(world, call("call")), found);
    assert.equal(world.one.count("tools/call"), 1);
  });

  it("finds a call that runs still, where only the link to the owner broke", async () => {
    const world = await begun();
    void world.request("tools/call", { name: "x" }, "call");
    await settle();
    const found = await again(world, call("call"));
    assert.equal(kindOf(found), "stream");
    assert.equal(world.one.count("tools/call"), 1);
    world.one.last("tools/call").answer({ ok: 1 });
    const stream = world.open(found);
    await stream.done;
    assert.deepEqual(responses(stream), [{ jsonrpc: "2.0", id: "call", result: { ok: 1 } }]);
  });
});

describe("memory of upstreams that died with the owner", () => {
  const local = (transport: "stdio" | "http") => ({
    upstreams: [
      {
        name: "one",
        transport:
          transport === "stdio"
            ? { kind: "stdio" as const, command: "x", args: [], env: {}, cwd: "/" }
            : { kind: "http" as const, url: "http://127.0.0.1:1/mcp", headers: {} },
        isolation: "session" as const,
        idleStopMs: 0,
        maxProcesses: 1,
        startTimeoutMs: 1_000,
      },
    ],
  });
  const terminating = (transport: "stdio" | "http") => {
    const { upstreams } = local(transport);
    return { upstreams: upstreams.map((config) => ({ ...config, onOwnerLoss: "terminate" as const })) };
  };
  const upstream = () => {
    const one = new FakeUpstream("one").on("tools/call", () => ({}));
    one.capabilities = { tools: { listChanged: true }, prompts: {}, logging: {} };
    return one;
  };
  const told = (connection: Connection) => connection.messages.map(({ method }) => method);

  it("is told once, on the next stream: a warning, and list changes where they were declared", async () => {
    const world = await begun({ upstreams: [upstream()], settings: local("stdio") });
    await world.ask("tools/call", { name: "x" });
    assert.deepEqual(world.stored?.ran, ["one"]);
    await world.move("fenced");
    const get = world.listen();
    await settle();
    assert.deepEqual(told(get), ["notifications/message", "notifications/tools/list_changed"]);
    assert.equal(paramsOf(get.messages[0]).level, "warning");
    await get.drop();
    await world.move("fenced");
    const later = world.resume(get.lastEventId);
    await settle();
    assert.deepEqual(told(later), [], "nothing ran any more, so nothing more was lost");
  });

  it("is told as soon as the upstream can be reached, also by a later owner", async () => {
    const one = upstream();
    const options = { upstreams: [one], settings: local("stdio") };
    const first = await begun(options);
    await first.ask("tools/call", { name: "x" });
    one.unreachable = "it is being replaced";
    // Nodes that know nothing of the upstream yet.
    const second = new World({ ...options, state: first.stored });
    const unheard = second.listen();
    await settle();
    await second.session.prepareToMove();
    assert.deepEqual([told(unheard), second.stored?.ran, second.stored?.lost], [[], [], ["one"]]);
    const third = new World({ ...options, state: second.stored });
    const get = third.listen();
    await settle();
    assert.deepEqual(told(get), []);
    one.unreachable = undefined;
    await third.clock.advance(3_000);
    await settle();
    assert.deepEqual(told(get), ["notifications/message", "notifications/tools/list_changed"]);
    assert.equal(third.stored?.lost, undefined);
  });

  it("ends the session where the upstream's policy says so, and only if it had begun to run", async () => {
    const world = await begun({ upstreams: [upstream()], settings: terminating("stdio") });
    await world.move("fenced");
    await world.ask("tools/call", { name: "x" });
    assert.equal(world.ended, false);
    await world.move("fenced");
    assert.equal(world.ended, true);
    assert.equal(world.counts.get("troupe_session_owner_loss_ended_total"), 1);
    assert.equal(world.one.starts, 1);
  });

  it("ends the session whose HTTP upstream forgot it, where the policy says so", async () => {
    const one = remote().on("tools/call", () => ({}));
    const world = await begun({ upstreams: [one], settings: terminating("http") });
    await world.ask("tools/call", { name: "x" });
    await world.move("fenced");
    await world.ask("tools/call", { name: "x" });
    assert.equal(world.ended, false);
    one.remembers.clear();
    await world.move("fenced");
    assert.equal(world.ended, true);
  });

  it("is no matter where nothing ran, where it lives elsewhere, or where the client wants no warnings", async () => {
    const idle = await begun({ upstreams: [upstream()], settings: local("stdio") });
    await idle.move("fenced");
    const http = await begun({ upstreams: [upstream()], settings: local("http") });
    await http.ask("tools/call", { name: "x" });
    await http.move("fenced");
    for (const world of [idle, http]) {
      const get = world.listen();
      await settle();
      assert.deepEqual(told(get), []);
    }
    const quiet = await begun({ upstreams: [upstream()], settings: local("stdio") });
    await quiet.ask("tools/call", { name: "x" });
    await quiet.ask("logging/setLevel", { level: "error" });
    await quiet.move("fenced");
    const get = quiet.listen();
    await settle();
    assert.deepEqual(told(get), ["notifications/tools/list_changed"]);
  });
});
