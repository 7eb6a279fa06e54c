/**
 * What a client sees when the node that owns its session, or the one that holds its socket, is killed with SIGKILL:
 * the session goes on at the same id, what was finished is delivered on resume, what was running ends honestly, and an
 * open connection to another node stays open. Times from the kill to the first correct answer are printed.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { ask, callBody, type OpenSession, openSession, post } from "../harness/mcp_requests.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { SseConnection } from "../harness/sse_connection.ts";
import { waitUntil } from "../harness/wait.ts";

const PATH = "/mcp/exercise";
/** Twice the time after which silence alone would be proof. */
const SOON_MS = 16_000;
const OWNER = 0;
const EDGE = 1;
const OTHER = 2;

describe("SIGKILL, with three nodes", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;
  let session: OpenSession;
  const open: SseConnection[] = [];
  const took: string[] = [];

  const url = (node: number): string => `${cluster.urls[node]}${PATH}`;
  const connect = (method: "GET" | "POST", node: number, body?: unknown, more: Record<string, string> = {}) => {
    const connection = new SseConnection(method, url(node), { ...session.headers, ...more }, body);
    open.push(connection);
    return connection;
  };
  const resume = (node: number, id: string) => connect("GET", node, undefined, { "last-event-id": id });
  const until = (what: string, predicate: () => unknown) => waitUntil(predicate, SOON_MS, what, 5);

  /** Kills `node`; the returned function tells that a correct answer has come. */
  const killed = (node: number, what: string): (() => void) => {
    const { pid } = cluster.node(node);
    const at = performance.now();
    process.kill(pid, "SIGKILL");
    return () => void took.push(`${what}: ${Math.round(performance.now() - at)} ms`);
  };

  /** Asks until the session answers: a node that does not know of the death yet may refuse, with nothing started. */
  const echo = async (node: number): Promise<void> => {
    await until(`node ${node} to answer for the session`, async () => {
      const reply = await post(url(node), callBody("echo", "echo", { text: "here" }), session.headers);
      assert.notEqual(reply.status, 404, "the session must not be lost");
      assert.notEqual(reply.status, 400, reply.text);
      return reply.status === 200 && JSON.stringify(reply.message?.result?.content).includes("here");
    });
  };

  /** A call that streams, up to its priming event. */
  const longCall = async (node: number, id: string, ms: number): Promise<SseConnection> => {
    const connection = connect("POST", node, callBody(id, "wait", { name: id, ms }));
    await until("the stream of a long call to begin", () => connection.lastId !== "");
    return connection;
  };

  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      mcpServers: { exercise: { module: new URL("./fixtures/exercise.mjs", import.meta.url) } },
      config: { mcp: { configurations: { response: { stream_after_ms: 50 } } } },
    });
  });
  beforeEach(async () => {
    session = await openSession(url(OWNER));
    const reply = await post(url(EDGE), callBody("warm", "echo", { text: "warm" }), session.headers);
    assert.equal(reply.status, 200);
  });
  afterEach(async () => {
    for (const connection of open.splice(0)) connection.close();
    for (const node of [OWNER, EDGE]) {
      await cluster.kill(node);
      await cluster.restart(node);
    }
  });
  after(async () => {
    for (const line of took) console.log(`# from kill -9 to the first correct answer, ${line}`);
    await cluster?.close();
  });

  it("of the owner of an idle session: any node answers for it, with no new initialize", async () => {
    const answered = killed(OWNER, "idle session");
    await echo(EDGE);
    answered();
    await echo(OTHER);
    const reply = await post(url(OTHER), callBody("list", "state_of", { name: "nothing" }), session.headers);
    assert.match(reply.text, /unknown/);
  });

  it("of the owner after a response that nobody read: it is delivered on resume, with nothing of other streams", async () => {
    const lost = await longCall(EDGE, "lost", 300);
    const other = await longCall(EDGE, "other", 300);
    const id = lost.lastId;
    lost.close();
    await until("the other call's response", () => other.response("other"));
    await until("both calls to end", async () => {
      const { calls } = await cluster.api<{ calls: number }>(EDGE, `sessions/${session.id}`);
      return calls === 0;
    });
    // What was stored before this acknowledgement is stored for good.
    const level = { jsonrpc: "2.0", id: "level", method: "logging/setLevel", params: { level: "debug" } };
    assert.equal((await post(url(EDGE), level, session.headers)).status, 200);

    const answered = killed(OWNER, "finished response on resume");
    const resumed = await resumeWhenOwned(OTHER, id);
    await until("the finished response", () => resumed.response("lost"));
    answered();
    await until("the end of the stream", () => resumed.ended);
    assert.deepEqual(resumed.response("lost")?.result?.content, [{ type: "text", text: "waited" }]);
    assert.deepEqual(
      resumed.messages.filter(({ method }) => method === undefined).map((message) => message.id),
      ["lost"],
    );
  });

  it("of the owner during a call: its open stream on another node ends with an honest error", async () => {
    const stream = await longCall(EDGE, "long", 60_000);
    const answered = killed(OWNER, "honest end of a running call");
    await until("the end of the call", () => stream.response("long"));
    answered();
    const error = stream.response("long")?.error;
    assert.equal(error?.code, -32603);
    assert.deepEqual(error.data, { code: "unavailable", started: "unknown", retryable: false });
    await until("the end of the stream", () => stream.ended);
    assert.equal(stream.messages.filter(({ id }) => id === "long").length, 1);
    await echo(OTHER);
  });

  it("of the owner under a GET stream on another node: the connection stays, and is told of the lost memory once", async () => {
    const get = connect("GET", EDGE);
    await until("the GET stream", () => get.status === 200 && get.lastId !== "");
    const answered = killed(OWNER, "GET stream goes on");
    await until("the warning", () => get.messages.find(({ method }) => method === "notifications/message"));
    answered();
    const warning = get.messages.find(({ method }) => method === "notifications/message");
    assert.equal(warning?.params?.level, "warning");
    const changes = () => get.messages.filter(({ method }) => method === "notifications/prompts/list_changed").length;
    await until("the list changes", () => changes() === 1);
    await echo(OTHER);
    await post(url(OTHER), callBody("change", "change_lists"), session.headers);
    await until("a change after the takeover", () => changes() === 2);
    assert.equal(get.ended, false);
    assert.equal(get.messages.filter(({ method }) => method === "notifications/message").length, 1);
    const ids = get.events.flatMap(({ id }) => (id === "" ? [] : [id]));
    assert.equal(new Set(ids).size, ids.length, `no id means two things: ${ids}`);
  });

  it("of the edge: the stream of a running call is resumed at another one, which gets the response", async () => {
    const stream = await longCall(EDGE, "survives", 1_500);
    const answered = killed(EDGE, "stream of a dead edge, resumed elsewhere (the call took 1,500 ms)");
    await until("the connection to break", () => stream.ended);
    const resumed = resume(OTHER, stream.lastId);
    await until("the response", () => resumed.response("survives"));
    answered();
    assert.deepEqual(resumed.response("survives")?.result?.content, [{ type: "text", text: "waited" }]);
    assert.equal(stream.response("survives"), undefined);
  });

  it("leaves nothing behind after DELETE", async () => {
    await longCall(EDGE, "running", 60_000);
    assert.equal((await ask("DELETE", url(OTHER), session.headers)).status, 200);
    await cluster.kill(OWNER);
    await until("the session to be unknown", async () => {
      const reply = await post(url(OTHER), callBody("gone", "echo", { text: "?" }), session.headers);
      assert.notEqual(reply.status, 200);
      return reply.status === 404;
    });
  });

  /** A resume is refused with 503 while the death is not known; a client comes back then. */
  async function resumeWhenOwned(node: number, id: string): Promise<SseConnection> {
    for (const deadline = performance.now() + SOON_MS; ; ) {
      const connection = resume(node, id);
      await until("an answer to the resume", () => connection.status !== 0 || connection.ended);
      if (connection.status === 200) return connection;
      assert.equal(connection.status, 503, "the event id must stay valid");
      if (performance.now() > deadline) throw new Error("the resume was refused for too long");
    }
  }
});
