/** The edge over real session actors, on two nodes that share a directory. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { defineSession } from "../../../actors/session/session.ts";
import { systemClock } from "../../../runtime/actor/clock.ts";
import type { ActorSystem } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { actorId } from "../../../runtime/actor/ids.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { Metrics } from "../../../runtime/observe/metrics.ts";
import { SessionCaps } from "../../../transports/http/session_caps.ts";
import { ActorSessionGateway } from "../../../transports/http/session_gateway.ts";
import { TestCluster } from "../actor/kit.ts";
import { openStream, post, request, rpcError, startEdge, until } from "./kit.ts";

const INITIALIZE = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } },
};
const PING = { jsonrpc: "2.0", id: 2, method: "ping" };

/** Two nodes, each with an edge, whose sessions see `upstreams`; none of those can be reached. */
async function startCluster(
  t: TestContext,
  upstreams: string[] = [],
  bounds: { maxSessions: number; maxPerPrincipal?: number } = { maxSessions: 100 },
) {
  const metrics = new Metrics();
  const session = defineSession({
    describe: (_ctx, name) => Promise.reject(new TroupeError("unavailable", `${name} crashed`, { started: "no" })),
    open: () => assert.fail("no upstream is asked in these tests"),
  });
  const cluster = new TestCluster();
  const edges = [];
  for (const id of ["n1", "n2"]) {
    const node = cluster.add(id, session);
    t.after(() => node.timers.forEach(clearTimeout));
    const caps = new SessionCaps({
      maxPerPrincipal: undefined,
      ...bounds,
      count: () => [...node.router.actors()].length,
      lives: (key) => node.router.has(actorId("session", key)),
      clock: systemClock(),
      metrics,
    });
    const sessions = new ActorSessionGateway(node, systemClock(), silentLogger, session, caps);
    edges.push(await startEdge(t, { sessions, endpoint: { scopes: () => ({ upstreams, prefixed: true }) } }));
  }
  const [one, two] = edges;
  assert.ok(one !== undefined && two !== undefined);
  return {
    cluster,
    one,
    two,
    metrics,
    living: () => [...cluster.nodes.values()].reduce((sum, { router }) => sum + router.actorCount, 0),
  };
}

test("a session opened on one node is used from another, and ended from there for both", async (t) => {
  const { one, two } = await startCluster(t);
  const opened = await post(one, INITIALIZE, {}, "/mcp/files");
  assert.equal(opened.status, 200, opened.text);
  assert.equal(JSON.parse(opened.text).result.protocolVersion, "2025-06-18");
  const session = { "mcp-session-id": String(opened.headers["mcp-session-id"]) };
  for (const edge of [one, two]) {
    const pong = await post(edge, PING, session, "/mcp/files");
    assert.deepEqual([pong.status, JSON.parse(pong.text)], [200, { jsonrpc: "2.0", id: 2, result: {} }]);
  }
  assert.equal((await request(two, "DELETE", "/mcp/files", session)).status, 200);
  for (const edge of [one, two]) rpcError(await post(edge, PING, session, "/mcp/files"), 404, -32001, 2);
});

test("the session's stream opens on any node, and ends with its socket", async (t) => {
  const { one, two } = await startCluster(t);
  const opened = await post(one, INITIALIZE);
  const stream = openStream(two, String(opened.headers["mcp-session-id"]));
  await until(() => stream.received.startsWith("HTTP/1.1 200"), "the stream");
  assert.equal(two.streams.size, 1);
  stream.destroy();
  await until(() => two.streams.size === 0, "the stream is gone");
});

test("a session of another principal is answered exactly as one that never was", async (t) => {
  const { one, two } = await startCluster(t);
  const opened = await post(one, INITIALIZE, { authorization: "Bearer mine" });
  const theirs = { "mcp-session-id": String(opened.headers["mcp-session-id"]), authorization: "Bearer yours" };
  const nobodys = { "mcp-session-id": "A".repeat(32), authorization: "Bearer yours" };
  for (const edge of [one, two]) {
    const found = await post(edge, PING, theirs);
    assert.deepEqual([found.status, found.text], [404, (await post(edge, PING, nobodys)).text]);
    const get = { accept: "text/event-stream" };
    const stream = await request(edge, "GET", "/mcp", { ...get, ...theirs });
    assert.deepEqual(
      [stream.status, stream.text],
      [404, (await request(edge, "GET", "/mcp", { ...get, ...nobodys })).text],
    );
    rpcError(await request(edge, "DELETE", "/mcp", theirs), 404, -32001);
  }
  assert.equal((await post(two, PING, { ...theirs, authorization: "Bearer mine" })).status, 200);
});

test("an initialize that is malformed makes no session", async (t) => {
  const { cluster, one } = await startCluster(t);
  const answer = await post(one, { ...INITIALIZE, params: {} });
  rpcError(answer, 400, -32602, 1);
  assert.equal(answer.headers["mcp-session-id"], undefined);
  assert.equal(cluster.directory.rows.size, 0);
});

test("an initialize that the session answers with an error leaves no session behind", async (t) => {
  const { cluster, one } = await startCluster(t, ["files"]);
  const answer = await post(one, INITIALIZE);
  assert.ok("error" in JSON.parse(answer.text), answer.text);
  assert.equal(JSON.parse(answer.text).id, 1);
  assert.equal(answer.headers["mcp-session-id"], undefined);
  const [row] = cluster.directory.rows.values();
  await until(() => row?.ended === true, "what was stored is ended");
});

test("a full node answers 503, a caller with too many 429, and what ended makes room", async (t) => {
  const bounds = { maxSessions: 3, maxPerPrincipal: 2 };
  const { one, metrics, living } = await startCluster(t, [], bounds);
  const open = (who: string) => post(one, INITIALIZE, { authorization: `Bearer ${who}` });
  const [first] = [await open("a"), await open("a")];
  const tooMany = await open("a");
  const { data } = rpcError(tooMany, 429, -32000, 1);
  assert.equal(data?.retryAfterMs, 5_000);
  assert.equal(tooMany.headers["retry-after"], "1");
  assert.match(tooMany.text, /has 2 sessions here.*DELETE/);
  assert.equal((await open("b")).status, 200);
  const full = await open("c");
  assert.deepEqual(rpcError(full, 503, -32000, 1).data?.started, "no");
  assert.equal(full.headers["retry-after"], "5");
  assert.match(full.text, /max_sessions/);
  assert.equal(full.headers["mcp-session-id"], undefined);
  const mine = { "mcp-session-id": String(first?.headers["mcp-session-id"]), authorization: "Bearer a" };
  assert.equal((await request(one, "DELETE", "/mcp", mine)).status, 200);
  await until(() => living() === 2, "the session to be gone from the node");
  assert.equal((await open("a")).status, 200);
  const text = metrics.text();
  assert.match(text, /troupe_refusals_total\{reason="principal"\} 1/);
  assert.match(text, /troupe_refusals_total\{reason="sessions"\} [1-9]/);
});

test("a session that cannot be stored for certain is not opened: 503, no id, no call of it", async (t) => {
  const system: ActorSystem = {
    create: async () => {
      throw new TroupeError("unavailable", "the store did not answer", { started: "unknown" });
    },
    actor: () => assert.fail("the session was called"),
  };
  const edge = await startEdge(t, { sessions: new ActorSessionGateway(system, systemClock(), silentLogger) });
  const answer = await post(edge, INITIALIZE);
  const { data } = rpcError(answer, 503, -32000, 1);
  assert.deepEqual([data?.started, data?.retryable], ["unknown", false]);
  assert.equal(answer.headers["mcp-session-id"], undefined);
});
