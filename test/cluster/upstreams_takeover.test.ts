/**
 * What becomes of upstreams, and of what they work on, when the node that owns a session is killed or drained: a server
 * over HTTP notices nothing, a module is started again, and no call waits for ever.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { callBody, initializeBody, type OpenSession, openSession, post } from "../harness/mcp_requests.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { SseConnection } from "../harness/sse_connection.ts";
import { waitUntil } from "../harness/wait.ts";
import { type Connectable, type HttpUpstream, startHttpUpstream } from "../unit/upstream/http_upstream.ts";

/** Twice the time after which silence alone would be proof. */
const SOON_MS = 16_000;
/** Silence alone is proof after the lease and its grace. */
const DETECTED_MS = 6_600;
const OWNER = 0;
const EDGE = 1;
const OTHER = 2;
const exercise = { module: new URL("./fixtures/exercise.mjs", import.meta.url) };

describe("upstreams of a session whose node is gone", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;
  let remote: HttpUpstream;
  const open: SseConnection[] = [];

  const url = (node: number, server: string): string => `${cluster.urls[node]}/mcp/${server}`;
  const until = (what: string, predicate: () => unknown) => waitUntil(predicate, SOON_MS, what, 5);
  const connect = (method: "GET" | "POST", at: string, headers: Record<string, string>, body?: unknown) => {
    const connection = new SseConnection(method, at, headers, body);
    open.push(connection);
    return connection;
  };
  /** A session owned by node `OWNER`, which may refuse while it has just started and loads what it needs. */
  const opened = (server: string): Promise<OpenSession> =>
    waitUntil(() => openSession(url(OWNER, server)), SOON_MS, "a session");
  /** One that has called its upstream. */
  const begin = async (server: string): Promise<OpenSession> => {
    const session = await opened(server);
    const reply = await post(url(EDGE, server), callBody("warm", "echo", { text: "warm" }), session.headers);
    assert.equal(reply.status, 200, reply.text);
    return session;
  };
  /** A call at node `EDGE` that streams, up to its priming event. */
  const longCall = async (server: string, session: OpenSession, id: string, tool: string, args: object) => {
    const stream = connect("POST", url(EDGE, server), session.headers, callBody(id, tool, { ...args }));
    await until("the stream of a long call to begin", () => stream.lastId !== "");
    return stream;
  };
  const stateOf = async (server: string, session: OpenSession, name: string): Promise<string> =>
    (await post(url(OTHER, server), callBody(`state ${name}`, "state_of", { name }), session.headers)).text;

  before(async () => {
    const { default: factory } = (await import(exercise.module.href)) as { default: () => Connectable };
    remote = await startHttpUpstream("v1", { events: true, factory });
    cluster = await startCluster({
      nodes: 3,
      mcpServers: {
        remote: { url: remote.url },
        exercise,
        notes: { module: new URL("../../examples/quickstart/notes.ts", import.meta.url), on_owner_loss: "terminate" },
        strict: { ...exercise, on_owner_loss: "terminate" },
      },
      config: { mcp: { configurations: { response: { stream_after_ms: 300 } } } },
    });
  });
  afterEach(async () => {
    for (const connection of open.splice(0)) connection.close();
    await cluster.kill(OWNER);
    await cluster.restart(OWNER);
  });
  after(async () => {
    await cluster?.close();
    await remote?.close();
  });

  it("over HTTP: a running call goes on and is answered, and the upstream sees neither cancel nor end", async () => {
    const session = await begin("remote");
    const [sessions, deleted] = [remote.sessions.size, remote.deleted.length];
    const stream = await longCall("remote", session, "long", "wait", { name: "goes on", ms: 3_000 });
    await cluster.kill(OWNER);
    await until("the response", () => stream.response("long"));
    assert.deepEqual(stream.response("long")?.result?.content, [{ type: "text", text: "waited" }]);
    assert.match(await stateOf("remote", session, "goes on"), /waiting/, "it was never cancelled");
    assert.deepEqual([remote.sessions.size, remote.deleted.length], [sessions, deleted]);
    assert.equal(stream.messages.filter(({ method }) => method === "notifications/message").length, 0);
  });

  it("over HTTP: a question keeps its id, its answer on a third node completes the call", async () => {
    const session = await askable("remote");
    const stream = connect(
      "POST",
      url(EDGE, "remote"),
      session.headers,
      callBody("ask", "elicit", { message: "who?" }),
    );
    await until("the question", () => stream.messages.some(({ method }) => method === "elicitation/create"));
    const question = stream.messages.find(({ method }) => method === "elicitation/create");
    await cluster.kill(OWNER);
    const answer = { jsonrpc: "2.0", id: question?.id, result: { action: "accept", content: { name: "Ada" } } };
    const reply = await post(url(OTHER, "remote"), answer, session.headers);
    assert.equal(reply.status, 202, reply.text);
    await until("the response", () => stream.response("ask"));
    assert.deepEqual(stream.response("ask")?.result?.content, [{ type: "text", text: "accept Ada" }]);
    assert.equal(stream.messages.filter(({ method }) => method === "elicitation/create").length, 1);
  });

  for (const how of ["died", "froze"] as const) {
    it(`a question whose edge ${how} is asked again on the stream the client opens, and its call is answered`, async () => {
      const session = await askable("exercise");
      const ask = callBody("ask", "elicit", { message: "?" });
      const stream = connect("POST", url(EDGE, "exercise"), session.headers, ask);
      const questions = ({ messages }: SseConnection) =>
        messages.filter(({ method }) => method === "elicitation/create");
      await until("the question", () => questions(stream).length === 1);
      // The client opens its stream before the owner of the session can know of a frozen edge.
      if (how === "died") await cluster.kill(EDGE);
      else cluster.freeze(EDGE);
      try {
        const get = connect("GET", url(OTHER, "exercise"), session.headers);
        await until("the question again", () => questions(get).length === 1);
        const [id] = questions(get).map((question) => question.id);
        assert.equal(id, questions(stream)[0]?.id);
        const answer = { jsonrpc: "2.0", id, result: { action: "accept", content: { name: "Ada" } } };
        assert.equal((await post(url(OTHER, "exercise"), answer, session.headers)).status, 202);
        const resumed = connect("GET", url(OTHER, "exercise"), { ...session.headers, "last-event-id": stream.lastId });
        await until("the response", () => resumed.response("ask"));
        assert.deepEqual(resumed.response("ask")?.result?.content, [{ type: "text", text: "accept Ada" }]);
      } finally {
        await cluster.kill(EDGE);
        await cluster.restart(EDGE);
      }
    });
  }

  it("over HTTP: a cancel on a third node reaches the call of the former owner", async () => {
    const session = await begin("remote");
    const stream = await longCall("remote", session, "long", "wait", { name: "cancelled later", ms: 60_000 });
    await cluster.kill(OWNER);
    const cancel = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "long" } };
    assert.equal((await post(url(OTHER, "remote"), cancel, session.headers)).status, 202);
    await until("the upstream to see it", async () =>
      /cancelled/.test(await stateOf("remote", session, "cancelled later")),
    );
    await until("the end of the stream", () => stream.ended);
  });

  it("over HTTP: an upstream that forgot the session gets a new one, and the client is told", async () => {
    const session = await begin("remote");
    remote.sessions.clear();
    await cluster.kill(OWNER);
    const reply = await post(url(EDGE, "remote"), callBody("after", "echo", { text: "again" }), session.headers);
    assert.match(reply.text, /again/);
    const get = connect("GET", url(OTHER, "remote"), session.headers);
    // On the first stream the client opens: that of the call, if that took long.
    const told = (method: string) => get.messages.some((sent) => sent.method === method) || reply.text.includes(method);
    await until("the warning", () => told("notifications/message"));
    await until("the lists", () => told("notifications/tools/list_changed"));
  });

  it("over HTTP: draining the owner sends no end and no cancel", async () => {
    const session = await begin("remote");
    const [sessions, deleted] = [remote.sessions.size, remote.deleted.length];
    assert.equal((await cluster.stop(OWNER)).code, 0);
    const reply = await post(url(EDGE, "remote"), callBody("after", "echo", { text: "again" }), session.headers);
    assert.match(reply.text, /again/);
    assert.deepEqual([remote.sessions.size, remote.deleted.length], [sessions, deleted]);
  });

  it("a call that only reads is run again and answered, whether it streams or not", async () => {
    const session = await begin("exercise");
    const stream = await longCall("exercise", session, "stream", "read", { ms: 1_000 });
    const plain = post(url(EDGE, "exercise"), callBody("plain", "read", { ms: 1_000 }), session.headers);
    await until("both to run", async () => {
      const { calls } = await cluster.api<{ calls: number }>(EDGE, `sessions/${session.id}`);
      return calls === 2;
    });
    await cluster.kill(OWNER);
    await until("the response", () => stream.response("stream"));
    assert.deepEqual(stream.response("stream")?.result?.content, [{ type: "text", text: "read" }]);
    assert.deepEqual((await plain).message?.result?.content, [{ type: "text", text: "read" }]);
  });

  it("a cancel of a call that waits because its session moves reaches it, at another replica", async () => {
    const session = await begin("exercise");
    const running = await longCall("exercise", session, "running", "wait", { name: "running", ms: 60_000 });
    const stopped = cluster.stop(OWNER);
    const ping = { jsonrpc: "2.0", id: 0, method: "ping" };
    await until("new requests to wait for the session's new owner", async () => {
      const answered = post(url(EDGE, "exercise"), { ...ping, id: ++ping.id }, session.headers).then(() => true);
      const waited = new Promise<false>((resolve) => setTimeout(resolve, 300, false));
      return !(await Promise.race([answered, waited]));
    });
    const late = connect(
      "POST",
      url(EDGE, "exercise"),
      session.headers,
      callBody("late", "wait", { name: "late", ms: 60_000 }),
    );
    for (const requestId of ["late", "running"]) {
      const cancel = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } };
      assert.equal((await post(url(OTHER, "exercise"), cancel, session.headers)).status, 202);
    }
    await until("the cancelled calls to end", () => late.ended && running.ended);
    assert.deepEqual([late.status, late.response("late"), running.response("running")], [200, undefined, undefined]);
    assert.match(await stateOf("exercise", session, "late"), /unknown/);
    assert.equal((await stopped).code, 0);
  });

  it("any other call ends with an error that says that nobody knows, also before it streams", async () => {
    const session = await begin("exercise");
    const plain = post(url(EDGE, "exercise"), callBody("plain", "wait", { name: "w", ms: 60_000 }), session.headers);
    await until("it to run", async () => {
      const { calls } = await cluster.api<{ calls: number }>(EDGE, `sessions/${session.id}`);
      return calls === 1;
    });
    const killed = performance.now();
    await cluster.kill(OWNER);
    const { message, text } = await plain;
    assert.deepEqual(message?.error?.data, { code: "unavailable", started: "unknown", retryable: false }, text);
    assert.ok(
      performance.now() - killed < DETECTED_MS + 1_000,
      "an edge answers within the detection time and a second",
    );
  });

  it("a module that saves its memory has it after its node died: nothing is lost, and nothing told", async () => {
    const session = await opened("notes");
    for (const title of ["first", "second"]) {
      const reply = await post(url(EDGE, "notes"), callBody(title, "add", { title, text: "…" }), session.headers);
      assert.equal(reply.status, 200, reply.text);
    }
    await cluster.kill(OWNER);
    const reply = await post(url(OTHER, "notes"), callBody("search", "search", {}), session.headers);
    assert.match(reply.text, /1\. first.*2\. second/);
    const added = await post(
      url(EDGE, "notes"),
      callBody("third", "add", { title: "third", text: "…" }),
      session.headers,
    );
    assert.match(added.text, /Added 3\. third/);
  });

  it("a session that must not go on without its upstream's memory is unknown afterwards", async () => {
    const session = await begin("strict");
    await cluster.kill(OWNER);
    const reply = await post(url(EDGE, "strict"), callBody("after", "echo", { text: "?" }), session.headers);
    assert.equal(reply.status, 404, reply.text);
    assert.equal((await openSession(url(EDGE, "strict"))).version, "2025-11-25");
  });

  /** A session whose client can be asked. */
  async function askable(server: string): Promise<OpenSession> {
    const body = initializeBody();
    const asking = { ...body, params: { ...body.params, capabilities: { elicitation: {} } } };
    const id = await waitUntil(
      async () => (await post(url(OWNER, server), asking)).headers.get("mcp-session-id"),
      SOON_MS,
      "a session",
    );
    const headers = { "mcp-session-id": id, "mcp-protocol-version": "2025-11-25" };
    await post(url(OWNER, server), { jsonrpc: "2.0", method: "notifications/initialized" }, headers);
    return { id, version: "2025-11-25", headers };
  }
});
