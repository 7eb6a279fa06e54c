/** Requests of upstreams to the client: sampling, elicitation, roots. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "../../../transports/upstream/contract.ts";
import { type Connection, FakeUpstream, type Json, LATER, paramsOf, settle, World, type WorldOptions } from "./kit.ts";

async function begun(options: WorldOptions = {}): Promise<World> {
  const upstreams = options.upstreams ?? [new FakeUpstream("one").on("tools/call", () => LATER)];
  const capabilities = { elicitation: {}, sampling: {}, roots: {} };
  const world = new World({ capabilities, ...options, upstreams });
  await world.initialize({ capabilities, ...options });
  return world;
}

/** A call, its number, and the promise of its POST's stream once it is one. */
async function calling(world: World, name = "x"): Promise<{ related: number; stream: Promise<Connection> }> {
  const answer = world.request("tools/call", { name });
  await settle();
  return { related: world.one.last("tools/call").related, stream: answer.then((posted) => world.open(posted)) };
}

describe("a request of an upstream", () => {
  it("goes on the stream of its call, and the client's answer on any POST resolves it", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    const asked = world.one.ask("elicitation/create", { message: "?" }, related);
    const connection = await stream;
    await settle();
    const [question] = connection.messages;
    assert.equal(question?.method, "elicitation/create");
    assert.deepEqual(question?.params, { message: "?" });
    assert.match(String(question?.id), /epoch-1/);
    assert.deepEqual(await world.post({ jsonrpc: "2.0", id: question?.id, result: { action: "accept" } }), {
      kind: "accepted",
    });
    assert.deepEqual(await asked, { action: "accept" });
    assert.equal(world.session.sizes.requests, 0);
  });

  it("is answered once: a second answer is counted and dropped", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    const asked = world.one.ask("elicitation/create", { message: "?" }, related);
    const connection = await stream;
    await settle();
    const id = connection.messages[0]?.id;
    await world.post({ jsonrpc: "2.0", id, result: { first: true } });
    await world.post({ jsonrpc: "2.0", id, result: { second: true } });
    assert.deepEqual(await asked, { first: true });
    assert.equal(world.counts.get("troupe_session_stray_responses_total"), 1);
  });

  it("rejects with the client's error", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    const asked = world.one.ask("sampling/createMessage", {}, related);
    const connection = await stream;
    await settle();
    await world.post({ jsonrpc: "2.0", id: connection.messages[0]?.id, error: { code: -1, message: "declined" } });
    await assert.rejects(asked, (error) => error instanceof RpcError && error.code === -1);
  });

  it("is withdrawn when the upstream no longer wants it, and the client is told", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    const controller = new AbortController();
    const asked = world.one.ask("elicitation/create", { message: "?" }, related, controller.signal);
    const connection = await stream;
    controller.abort();
    await assert.rejects(asked);
    await settle();
    const [question, withdrawal] = connection.messages;
    assert.equal(paramsOf(withdrawal).requestId, question?.id);
    await world.post({ jsonrpc: "2.0", id: question?.id, result: {} });
    assert.equal(world.counts.get("troupe_session_stray_responses_total"), 1);
  });

  it("dies with its upstream, and the client is told before its call ends", async () => {
    const world = await begun();
    const { stream } = await calling(world);
    const asked = assert.rejects(world.one.ask("roots/list", {}), /went away/);
    world.one.crash();
    await asked;
    assert.equal(world.session.sizes.requests, 0);
    const connection = await stream;
    await connection.done;
    const [question, withdrawal, answer] = connection.messages;
    assert.deepEqual(paramsOf(withdrawal), { requestId: question?.id, reason: "the server went away" });
    assert.notEqual(answer?.error, undefined);
  });

  it("without a call goes to the only call its upstream works on, though somebody listens on GET", async () => {
    const world = await begun();
    const { stream } = await calling(world);
    const get = world.listen();
    await settle();
    void world.one.ask("roots/list", {});
    const connection = await stream;
    await settle();
    assert.equal(connection.messages.length, 1);
    assert.equal(get.messages.length, 0);
  });

  it("without a call goes to GET when there are several and somebody listens, else to the oldest", async () => {
    const world = await begun();
    const first = await calling(world, "first");
    await calling(world, "second");
    void world.one.ask("roots/list", {});
    const oldest = await first.stream;
    await settle();
    assert.equal(oldest.messages.length, 1);
    const get = world.listen();
    await settle();
    void world.one.ask("roots/list", {});
    await settle();
    assert.deepEqual([oldest.messages.length, get.messages.length], [1, 1]);
  });

  it("without any call waits for the GET stream", async () => {
    const world = await begun({ upstreams: [new FakeUpstream("one").on("tools/list", () => ({ tools: [] }))] });
    await world.ask("tools/list");
    void world.one.ask("roots/list", {});
    const get = world.listen();
    await settle();
    assert.equal(get.messages[0]?.method, "roots/list");
    assert.notEqual(get.lastEventId, "");
  });

  it("has its progress token replaced by an id of ours, and the client's progress finds its way back", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    void world.one.ask("sampling/createMessage", { _meta: { progressToken: 7, other: true } }, related);
    const connection = await stream;
    await settle();
    const [question] = connection.messages;
    assert.deepEqual(question?.params, { _meta: { progressToken: question?.id, other: true } });
    await world.notify("notifications/progress", { progressToken: question?.id, progress: 3 });
    await world.notify("notifications/progress", { progressToken: "unknown", progress: 3 });
    assert.deepEqual(world.one.notified, [
      { method: "notifications/progress", params: { progressToken: 7, progress: 3 } },
    ]);
  });

  it("is refused beyond the bound, without bothering the client", async () => {
    const world = await begun({ settings: { maxClientRequests: 1 } });
    const { related } = await calling(world);
    void world.one.ask("elicitation/create", { message: "?" }, related);
    await assert.rejects(world.one.ask("elicitation/create", { message: "?" }, related), { code: -32000 });
    assert.equal(world.session.sizes.events, 1);
  });

  it("that is a ping is answered by the session", async () => {
    const world = await begun();
    await calling(world);
    assert.deepEqual(await world.one.ask("ping", {}), {});
    assert.equal(world.session.sizes.streams, 0);
  });

  const refusals: [what: string, capabilities: Json, method: string, params: Json, code: number][] = [
    ["roots undeclared", {}, "roots/list", {}, -32601],
    ["sampling undeclared", {}, "sampling/createMessage", {}, -32601],
    ["sampling with tools undeclared", { sampling: {} }, "sampling/createMessage", { tools: [] }, -32602],
    ["elicitation undeclared", {}, "elicitation/create", {}, -32601],
    ["URL mode undeclared", { elicitation: {} }, "elicitation/create", { mode: "url" }, -32602],
    ["form mode undeclared", { elicitation: { url: {} } }, "elicitation/create", { mode: "form" }, -32602],
    ["a method no client has", { roots: {} }, "tasks/get", {}, -32601],
  ];
  for (const [what, capabilities, method, params, code] of refusals) {
    it(`is refused with ${code} and never reaches the client: ${what}`, async () => {
      const world = await begun({ capabilities });
      const { related } = await calling(world);
      await assert.rejects(world.one.ask(method, params, related), { code });
      assert.equal(world.session.sizes.streams, 0);
    });
  }

  const grants: [what: string, capabilities: Json, method: string, params: Json][] = [
    ["sampling with tools", { sampling: { tools: {} } }, "sampling/createMessage", { tools: [] }],
    ["URL mode", { elicitation: { form: {}, url: {} } }, "elicitation/create", { mode: "url" }],
    ["form mode by an empty object", { elicitation: {} }, "elicitation/create", {}],
  ];
  for (const [what, capabilities, method, params] of grants) {
    it(`reaches a client that declared ${what}`, async () => {
      const world = await begun({ capabilities });
      const { related } = await calling(world);
      void world.one.ask(method, params, related);
      assert.equal(world.session.sizes.requests, 1);
    });
  }

  it("waits in the log for a client that lost its connection", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    world.one.notify("notifications/message", { level: "info" }, related);
    const first = await stream;
    await settle();
    await first.drop();
    const asked = world.one.ask("elicitation/create", { message: "?" }, related);
    const resumed = world.resume(first.lastEventId);
    await settle();
    await world.post({ jsonrpc: "2.0", id: resumed.messages[0]?.id, result: { ok: true } });
    assert.deepEqual(await asked, { ok: true });
  });
});

describe("a client whose edge died, and which comes back without naming an event", () => {
  const ids = ({ messages }: Connection): unknown[] =>
    messages.filter(({ method }) => method === "elicitation/create").map(({ id }) => id);

  it("is asked again under the same id, on the stream it opens, and the first answer counts", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    const asked = world.one.ask("elicitation/create", { message: "?" }, related);
    const lost = await stream;
    await settle();
    const [id] = ids(lost);
    await lost.drop();
    const get = world.listen();
    await settle();
    assert.deepEqual(ids(get), [id]);
    await world.post({ jsonrpc: "2.0", id, result: { action: "accept" } });
    assert.deepEqual(await asked, { action: "accept" });
    const resumed = world.resume(lost.events[0]?.id ?? "");
    await settle();
    assert.deepEqual(ids(resumed), [], "a message is on one stream");
  });

  it("is asked again after its session's owner died too", async () => {
    const world = await begun();
    const upstream = world.one;
    upstream.resumable = true;
    const { related, stream } = await calling(world);
    upstream.ask("elicitation/create", { message: "?" }, related).catch(() => {});
    const lost = await stream;
    await settle();
    await lost.drop();
    await world.move("fenced");
    const get = world.listen();
    await settle();
    assert.deepEqual(ids(get), ids(lost));
    await get.drop();
    await world.move("fenced");
    const later = world.listen();
    await settle();
    assert.deepEqual(ids(later), ids(lost), "the standalone stream can be lost as well");
    await world.post({ jsonrpc: "2.0", id: ids(lost)[0], result: { action: "accept" } });
    await settle();
    assert.deepEqual([...upstream.laterAnswers.values()].at(-1), { action: "accept" });
  });

  it("is asked again on the stream it opened before its session's node learned of that death", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    const asked = world.one.ask("elicitation/create", { message: "?" }, related);
    const lost = await stream;
    await settle();
    const get = world.listen();
    const late = world.one.ask("elicitation/create", { message: "asked of the dead" }, related);
    await settle();
    assert.deepEqual([ids(lost).length, ids(get).length], [2, 0]);
    await lost.edgeDied();
    assert.deepEqual(ids(get), ids(lost));
    for (const id of ids(get)) await world.post({ jsonrpc: "2.0", id, result: { action: "accept" } });
    assert.deepEqual(await Promise.all([asked, late]), [{ action: "accept" }, { action: "accept" }]);
  });

  it("is not asked again on a stream it had before, or resumed: it resumes the lost one too", async () => {
    for (const resume of [false, true]) {
      const world = await begun();
      const before = world.listen();
      await settle();
      const { related, stream } = await calling(world);
      world.one.ask("elicitation/create", { message: "?" }, related).catch(() => {});
      const lost = await stream;
      await settle();
      const get = resume ? world.resume(before.lastEventId) : before;
      await settle();
      await lost.edgeDied();
      assert.deepEqual(ids(get), []);
      const resumed = world.resume(lost.events[0]?.id ?? "");
      await settle();
      assert.deepEqual(ids(resumed), ids(lost));
    }
  });

  it("is not asked twice while somebody reads the question's own stream, or resumes it", async () => {
    const world = await begun();
    const { related, stream } = await calling(world);
    world.one.ask("elicitation/create", { message: "?" }, related).catch(() => {});
    const connection = await stream;
    await settle();
    const get = world.listen();
    await settle();
    assert.deepEqual(ids(get), []);
    await connection.drop();
    const resumed = world.resume(connection.events[0]?.id ?? "");
    await settle();
    assert.deepEqual([ids(resumed).length, ids(get).length], [1, 0]);
  });
});
