/** Calls in flight: cancellation, progress, failures of upstreams. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Cancellation } from "../../../actors/cancellation/cancellation.ts";
import { makeRef } from "../../../runtime/actor/ref.ts";
import {
  errorOf,
  FakeUpstream,
  type Json,
  kindOf,
  LATER,
  messageOf,
  PRINCIPAL,
  paramsOf,
  resultOf,
  settle,
  World,
  type WorldOptions,
} from "./kit.ts";

async function begun(options: WorldOptions = {}): Promise<World> {
  const upstreams = options.upstreams ?? [new FakeUpstream("one").on("tools/call", () => LATER)];
  const world = new World({ capabilities: { elicitation: {} }, ...options, upstreams });
  await world.initialize({ capabilities: { elicitation: {} }, ...options });
  return world;
}

describe("cancelling", () => {
  it("a call that waits in JSON tells the upstream, and is answered by a stream that ends at once and empty", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x" }, "c");
    await settle();
    const call = world.one.last("tools/call");
    assert.deepEqual(await world.notify("notifications/cancelled", { requestId: "c", reason: "enough" }), {
      kind: "accepted",
    });
    assert.equal(call.cancelled, "enough");
    const stream = world.open(await answer);
    await stream.done;
    assert.equal(stream.error, undefined);
    assert.deepEqual(stream.events, [{ opened: true, data: "" }]);
    assert.deepEqual(world.session.sizes, { calls: 0, requests: 0, streams: 0, events: 0 });
  });

  it("a call that streams ends its stream without a response, also when the upstream answers after all", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x", _meta: { progressToken: 1 } }, "c");
    await settle();
    const call = world.one.last("tools/call");
    world.one.notify("notifications/progress", { progress: 1 }, call.related);
    const stream = world.open(await answer);
    await settle();
    await world.notify("notifications/cancelled", { requestId: "c" });
    call.answer("too late");
    await stream.done;
    assert.deepEqual(
      stream.messages.map(({ method }) => method),
      ["notifications/progress"],
    );
  });

  it("one call of a batch leaves the others their answers", async () => {
    const world = await begun({ version: "2025-03-26" });
    const call = (id: number) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name: `${id}` } });
    const answer = world.post([call(1), call(2)]);
    await settle();
    await world.notify("notifications/cancelled", { requestId: 1 });
    world.one.requests.find(({ params }) => params?.name === "2")?.answer("two");
    assert.deepEqual(messageOf(await answer), [{ jsonrpc: "2.0", id: 2, result: "two" }]);
  });

  it("a request that has not come yet: it is answered as one that was cancelled, and not begun", async () => {
    const world = await begun();
    await world.notify("notifications/cancelled", { requestId: "c", reason: "changed my mind" });
    const stream = world.open(await world.request("tools/call", { name: "x" }, "c"));
    await stream.done;
    assert.deepEqual(stream.events, [{ opened: true, data: "" }]);
    assert.equal(world.one.count("tools/call"), 0);
    assert.equal(world.counts.get("troupe_session_cancelled_total"), 1);
    assert.deepEqual(world.session.sizes, { calls: 0, requests: 0, streams: 0, events: 0 });
    void world.request("tools/call", { name: "x" }, "d");
    await settle();
    assert.equal(world.one.count("tools/call"), 1, "and no other");
  });

  it("a request of a batch that has not come yet leaves the others their answers", async () => {
    const world = await begun({ version: "2025-03-26" });
    await world.notify("notifications/cancelled", { requestId: 1 });
    const call = (id: number) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name: `${id}` } });
    const answer = world.post([call(1), call(2)]);
    await settle();
    world.one.last("tools/call").answer("two");
    assert.deepEqual(messageOf(await answer), [{ jsonrpc: "2.0", id: 2, result: "two" }]);
    assert.equal(world.one.count("tools/call"), 1);
  });

  it("a request that has not come is forgotten after half a minute, and where too many are, the first", async () => {
    const world = await begun();
    await world.notify("notifications/cancelled", { requestId: "late" });
    await world.clock.advance(30_000);
    void world.request("tools/call", { name: "x" }, "late");
    for (let id = 0; id < 65; id++) await world.notify("notifications/cancelled", { requestId: `c${id}` });
    for (const id of ["c0", "c1", "c64"]) void world.request("tools/call", { name: id }, id);
    await settle();
    assert.deepEqual(
      world.one.requests.flatMap(({ method, params }) => (method === "tools/call" ? params?.name : [])),
      ["x", "c0"],
    );
  });

  it("a request that waits because its session moves holds, although the cancel overtakes it", async () => {
    const world = await begun();
    const running = world.request("tools/call", { name: "running" }, "r");
    await settle();
    const moved = world.migrate();
    await settle();
    // The session lets no new request begin, and its running call end. A cancel is for that call, for all it knows.
    const [first, second] = ["first", "second"].map((id) => world.request("tools/call", { name: id }, id));
    await world.cancel("first");
    world.one.last("tools/call").answer("done");
    await moved;
    assert.equal(kindOf(await running), "json");
    const stream = world.open((await first) ?? assert.fail());
    await stream.done;
    assert.deepEqual(stream.messages, []);
    await settle();
    assert.equal(world.one.last("tools/call").params?.name, "second");
    assert.equal(world.one.count("tools/call"), 2);
    world.one.last("tools/call").answer("two");
    assert.equal(kindOf(await second), "json");
  });

  it("a call that comes again, because its stream was lost, holds: it is neither run again nor answered", async () => {
    const world = await begun();
    world.one.on("tools/list", () => ({ tools: [{ name: "x", annotations: { readOnlyHint: true } }] }));
    await world.ask("tools/list");
    void world.request("tools/call", { name: "x" }, "c");
    await settle();
    await world.cancel("c");
    await world.migrate();
    const text = JSON.stringify({ jsonrpc: "2.0", id: "c", method: "tools/call", params: { name: "x" } });
    const stream = world.open(await world.ref.post(PRINCIPAL, null, text, true));
    await stream.done;
    assert.deepEqual(stream.messages, []);
    assert.equal(world.one.count("tools/call"), 1);
  });

  it("what is over is ignored", async () => {
    const world = await begun();
    await world.request("ping", undefined, "over");
    for (const params of [{ requestId: "over" }, {}, undefined]) {
      assert.deepEqual(await world.notify("notifications/cancelled", params), { kind: "accepted" });
    }
    assert.equal(world.counts.get("troupe_session_cancelled_total"), undefined);
  });

  it("an initialize has no effect", async () => {
    const world = new World();
    const greeting = world.initialize();
    await world.notify("notifications/cancelled", { requestId: "init" });
    assert.equal((await greeting).protocolVersion, "2025-11-25");
  });

  it("also withdraws what the upstream asked in the course of the call, and says so before the stream ends", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x" }, "c");
    await settle();
    const asked = world.one.ask("elicitation/create", { message: "?" }, world.one.last("tools/call").related);
    const rejected = assert.rejects(asked, /withdrawn/);
    const stream = world.open(await answer);
    await settle();
    await world.notify("notifications/cancelled", { requestId: "c" });
    await rejected;
    await stream.done;
    const [question, withdrawal] = stream.messages;
    assert.equal(withdrawal?.method, "notifications/cancelled");
    assert.equal(paramsOf(withdrawal).requestId, question?.id);
  });

  it("frees the id at once", async () => {
    const world = await begun();
    void world.request("tools/call", { name: "x" }, "c");
    await settle();
    await world.notify("notifications/cancelled", { requestId: "c" });
    assert.equal(kindOf(await world.request("ping", undefined, "c")), "json");
  });
});

describe("a request that names a cancellation scope", () => {
  const meta = { "troupe/cancellationScope": "import-7" };
  /** A session beside the scope. */
  async function scoped(): Promise<{ world: World; cancel: (reason: string) => Promise<boolean> }> {
    const world = await begun();
    world.run(Cancellation, "import-7");
    const scope = makeRef(world.host.calls, Cancellation, "import-7", null);
    return { world, cancel: (reason) => scope.cancel(reason) };
  }

  it("is cancelled with the scope, down to the upstream, and answered with an error that says so", async () => {
    const { world, cancel } = await scoped();
    const answers = ["a", "b"].map((id) => world.request("tools/call", { name: id, _meta: meta }, id));
    const other = world.request("tools/call", { name: "other" }, "other");
    await settle();
    await cancel("the import was given up");
    for (const answer of answers) {
      const { message, data } = errorOf(await answer);
      assert.match(message, /the import was given up/);
      assert.equal(data?.code, "cancelled");
    }
    const cancelled = world.one.requests.map(({ params, cancelled: reason }) => [params?.name, reason]);
    assert.deepEqual(cancelled.slice(-3), [
      ["a", "the import was given up"],
      ["b", "the import was given up"],
      ["other", false],
    ]);
    world.one.last("tools/call").answer("fine");
    assert.equal(resultOf(await other), "fine");
  });

  it("leaves the scope when it is over, and then hears nothing of it", async () => {
    const { world, cancel } = await scoped();
    const answer = world.request("tools/call", { name: "x", _meta: meta }, "a");
    await settle();
    world.one.last("tools/call").answer("done");
    assert.equal(resultOf(await answer), "done");
    await settle();
    await cancel("late");
    assert.equal(world.counts.get("troupe_session_cancelled_total"), undefined);
  });

  it("that means nothing is a request as any other", async () => {
    const world = await begun();
    for (const id of ["", 7, null, "x".repeat(257)]) {
      const answer = world.request("tools/call", { name: "x", _meta: { "troupe/cancellationScope": id } });
      await settle();
      world.one.last("tools/call").answer("done");
      assert.equal(resultOf(await answer), "done");
    }
  });
});

describe("progress", () => {
  it("carries the client's own token, string or number, on the stream of that call", async () => {
    const world = await begun();
    for (const token of ["t", 0]) {
      const answer = world.request("tools/call", { name: "x", _meta: { progressToken: token } }, `call-${token}`);
      await settle();
      const call = world.one.last("tools/call");
      assert.equal(call.progress, true);
      world.one.notify("notifications/progress", { progress: 1, total: 2 }, call.related);
      const stream = world.open(await answer);
      await settle();
      const params = { progress: 1, total: 2, progressToken: token };
      assert.deepEqual(stream.messages, [{ jsonrpc: "2.0", method: "notifications/progress", params }]);
      call.answer({});
      await stream.done;
    }
  });

  it("is passed on only while it increases", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x", _meta: { progressToken: 1 } });
    await settle();
    const call = world.one.last("tools/call");
    for (const progress of [1, 1, 0.5, 2, Number.NaN, "3", undefined, 2.5]) {
      world.one.notify("notifications/progress", { progress }, call.related);
    }
    const stream = world.open(await answer);
    call.answer({});
    await stream.done;
    const values = stream.messages.flatMap(({ params }) => (params as Json | undefined)?.progress ?? []);
    assert.deepEqual(values, [1, 2, 2.5]);
  });

  it("that nobody asked for, or that comes after the response, goes nowhere", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x" });
    await settle();
    const call = world.one.last("tools/call");
    assert.equal(call.progress, false);
    world.one.notify("notifications/progress", { progress: 1 }, call.related);
    call.answer({});
    assert.equal(kindOf(await answer), "json");
    world.one.notify("notifications/progress", { progress: 2 }, call.related);
    assert.equal(world.session.sizes.streams, 0);
  });
});

describe("an upstream that fails", () => {
  it("while a call is in flight is named in the error, with what is known about the call", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x" });
    await settle();
    world.one.crash();
    const error = errorOf(await answer);
    assert.equal(error.code, -32603);
    assert.match(error.message, /one.*exited with code 1/);
    assert.deepEqual(error.data, { code: "unavailable", started: "unknown", retryable: false });
    world.one.on("tools/call", () => ({ again: true }));
    assert.deepEqual(await world.ask("tools/call", { name: "x" }), { again: true });
    assert.equal(world.one.starts, 2);
  });

  it("before a call was sent leaves that call retryable", async () => {
    const world = await begun();
    world.one.unreachable = "no such file";
    const error = errorOf(await world.request("tools/call", { name: "x" }));
    assert.equal(error.code, -32603);
    assert.deepEqual(error.data, { code: "unavailable", started: "no", retryable: true });
  });

  it("with a JSON-RPC error has it passed on as it is", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x" });
    await settle();
    world.one.last("tools/call").refuse(-32042, "visit", { elicitations: [1] });
    assert.deepEqual(errorOf(await answer), { code: -32042, message: "visit", data: { elicitations: [1] } });
  });

  it("to answer something that can be written is an internal error, not the end", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x" });
    await settle();
    world.one.last("tools/call").answer({ big: 1n });
    assert.equal(errorOf(await answer).code, -32603);
    assert.equal(world.session.calls, 0);
  });
});
