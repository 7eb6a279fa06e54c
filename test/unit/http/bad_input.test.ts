/** Every wrong request that the edge can tell, each with its status and JSON-RPC error; the node keeps serving. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { newSessionId } from "../../../transports/http/session_id.ts";
import { type Edge, POST_HEADERS, post, RawClient, request, rpcError, startEdge, until } from "./kit.ts";

const PING = { jsonrpc: "2.0", id: 7, method: "ping" };
const INITIALIZE = { jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: "2025-11-25" } };

async function withSession(
  t: TestContext,
  options = {},
): Promise<{ edge: Edge; session: { "mcp-session-id": string } }> {
  const edge = await startEdge(t, options);
  return { edge, session: { "mcp-session-id": edge.gateway.add() } };
}

async function stillServes(edge: Edge): Promise<void> {
  const answer = await post(edge, PING, { "mcp-session-id": edge.gateway.add() });
  assert.equal(answer.status, 200);
  assert.equal(JSON.parse(answer.text).id, 7);
}

test("text that is no JSON: 400, parse error", async (t) => {
  const { edge, session } = await withSession(t);
  for (const text of ["{", "", "\u0000", '{"jsonrpc":"2.0"', "[1,]"]) {
    rpcError(await post(edge, text, session), 400, -32700);
  }
  await stillServes(edge);
});

test("bytes that are no UTF-8: 400, parse error", async (t) => {
  const { edge, session } = await withSession(t);
  rpcError(await post(edge, Buffer.from([0x22, 0xff, 0x22]), session), 400, -32700);
  await stillServes(edge);
});

test("JSON that is no JSON-RPC: 400, invalid request", async (t) => {
  const { edge, session } = await withSession(t);
  for (const message of [[], 5, "x", null, {}, { id: 1, method: "ping" }, [PING, 1], [INITIALIZE]]) {
    rpcError(await post(edge, JSON.stringify(message), session), 400, -32600);
  }
  await stillServes(edge);
});

test("another media type: 415", async (t) => {
  const { edge, session } = await withSession(t);
  for (const type of [undefined, "text/plain", "application/x-www-form-urlencoded", "application/jsonl"]) {
    rpcError(await post(edge, PING, { ...session, "content-type": type }), 415, -32000);
  }
  rpcError(await post(edge, PING, { ...session, "content-encoding": "gzip" }), 415, -32000);
  const charset = await post(edge, PING, { ...session, "content-type": "application/json; charset=utf-8" });
  assert.equal(charset.status, 200);
});

test("an Accept that lacks one of the two types on POST, or event streams on GET: 406", async (t) => {
  const { edge, session } = await withSession(t);
  for (const accept of [undefined, "application/json", "text/event-stream", "text/html"]) {
    rpcError(await post(edge, PING, { ...session, accept }), 406, -32000);
  }
  for (const accept of ["*/*", "application/*, text/*"]) {
    assert.equal((await post(edge, PING, { ...session, accept })).status, 200);
  }
  rpcError(await request(edge, "GET", "/mcp", { ...session, accept: "application/json" }), 406, -32000);
});

test("a body that says it is too large: 413 before a byte of it is read", async (t) => {
  const { edge } = await withSession(t, { endpoint: { bodyLimit: 1_000 } });
  const client = new RawClient(edge.port);
  const headers = Object.entries(POST_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
  client.send(`POST /mcp HTTP/1.1\r\nhost: localhost\r\n${headers.join("")}content-length: 1001\r\n\r\n`);
  await until(() => client.received.includes("\r\n\r\n") && client.received.endsWith("}"), "the answer");
  assert.match(client.received, /^HTTP\/1\.1 413 /);
  assert.match(client.received, /connection: close/i);
  client.destroy();
  await stillServes(edge);
});

test("a body that grows too large: 413 reaches a client that is still sending, then the connection ends", async (t) => {
  const { edge } = await withSession(t, { endpoint: { bodyLimit: 100_000 } });
  const client = new RawClient(edge.port);
  const headers = Object.entries(POST_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
  client.send(`POST /mcp HTTP/1.1\r\nhost: localhost\r\n${headers.join("")}transfer-encoding: chunked\r\n\r\n`);
  const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
  const sender = setInterval(() => client.send(chunk), 2);
  await until(() => client.received.endsWith("}"), "the answer");
  assert.match(client.received, /^HTTP\/1\.1 413 /);
  assert.match(client.received, /"code":-32000/);
  await until(() => client.closed, "the end of the connection");
  clearInterval(sender);
  await stillServes(edge);
});

test("a refused upload is read on for a moment, so that no reset overtakes the answer", async (t) => {
  const { edge } = await withSession(t, { endpoint: { bodyLimit: 1_000 } });
  const client = new RawClient(edge.port);
  client.socket.pause();
  const headers = Object.entries(POST_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
  client.send(`POST /mcp HTTP/1.1\r\nhost: localhost\r\n${headers.join("")}content-length: 100000000\r\n\r\n`);
  for (let sent = 0; sent < 60; sent++) {
    client.send("x".repeat(10_000));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(client.closed, false);
  client.socket.resume();
  await until(() => client.closed, "the end of the connection");
  assert.match(client.received, /^HTTP\/1\.1 413 .*"code":-32000.*\}$/s);
});

test("a body of exactly the limit is taken", async (t) => {
  const { edge, session } = await withSession(t, { endpoint: { bodyLimit: 1_000 } });
  const text = JSON.stringify(PING);
  assert.equal((await post(edge, text.padEnd(1_000), session)).status, 200);
  rpcError(await post(edge, text.padEnd(1_001), session), 413, -32000);
});

test("more bodies than the node may hold: 503, and room again when they are answered", async (t) => {
  const { edge, session } = await withSession(t, { endpoint: { bodyBudget: 10_000 } });
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  edge.gateway.onPost = async () => {
    await held;
    return { kind: "accepted" };
  };
  const waiting = [post(edge, PING, session), post(edge, PING, session)];
  await until(() => edge.gateway.posts.length === 2, "both posts wait");
  const refused = await post(edge, PING, session);
  assert.deepEqual(rpcError(refused, 503, -32000).data, { code: "overloaded", started: "no", retryable: true });
  assert.equal(refused.headers["retry-after"], "1");
  assert.match(edge.metrics.text(), /troupe_refusals_total\{reason="bodies"\} 1/);
  release();
  for (const answer of await Promise.all(waiting)) assert.equal(answer.status, 202);
  assert.equal((await post(edge, PING, session)).status, 202);
});

test("no session id: 400; one that cannot be ours or is unknown: 404", async (t) => {
  const { edge } = await withSession(t);
  const id = newSessionId();
  const get = { accept: "text/event-stream" };
  rpcError(await post(edge, PING), 400, -32000, 7);
  rpcError(await request(edge, "GET", "/mcp", get), 400, -32000);
  rpcError(await request(edge, "DELETE", "/mcp"), 400, -32000);
  for (const unknown of ["x", `${id}!`, id]) {
    const header = { "mcp-session-id": unknown };
    const error = rpcError(await post(edge, PING, header), 404, -32001, 7);
    assert.equal(error.message, "Session not found");
    assert.deepEqual(error.data, { code: "not_found", started: "no", retryable: false });
    rpcError(await request(edge, "GET", "/mcp", { ...get, ...header }), 404, -32001);
    rpcError(await request(edge, "DELETE", "/mcp", header), 404, -32001);
  }
  // What cannot be ours costs the cluster nothing.
  assert.deepEqual(edge.gateway.asked, [id, id, id]);
});

test("a session of another principal: 404 for everything, as if it were not there", async (t) => {
  const edge = await startEdge(t);
  const opened = await post(edge, INITIALIZE, { authorization: "Bearer mine" });
  const header = { "mcp-session-id": opened.headers["mcp-session-id"] as string };
  assert.equal((await post(edge, PING, { ...header, authorization: "Bearer mine" })).status, 200);
  for (const authorization of [undefined, "Bearer yours"]) {
    const theirs = { ...header, authorization };
    assert.equal(rpcError(await post(edge, PING, theirs), 404, -32001, 7).message, "Session not found");
    rpcError(await request(edge, "GET", "/mcp", { accept: "text/event-stream", ...theirs }), 404, -32001);
    rpcError(await request(edge, "DELETE", "/mcp", theirs), 404, -32001);
  }
  assert.equal(edge.gateway.sessions.size, 1);
});

test("a protocol version nobody knows: 400 on every method", async (t) => {
  const { edge, session } = await withSession(t);
  const headers = { ...session, "mcp-protocol-version": "1999-01-01" };
  rpcError(await post(edge, PING, headers), 400, -32000, 7);
  rpcError(await request(edge, "GET", "/mcp", { accept: "text/event-stream", ...headers }), 400, -32000);
  rpcError(await request(edge, "DELETE", "/mcp", headers), 400, -32000);
  assert.equal(edge.gateway.sessions.size, 1);
});

test("a request of the modern era: 400 with the versions to fall back to", async (t) => {
  const { edge } = await withSession(t);
  const data = { supported: ["2025-11-25", "2025-06-18", "2025-03-26"], requested: "2026-07-28" };
  const discover = {
    jsonrpc: "2.0",
    id: "d",
    method: "server/discover",
    params: { _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } },
  };
  assert.deepEqual(rpcError(await post(edge, discover), 400, -32022, "d").data, data);
  const header = { "mcp-protocol-version": "2026-07-28" };
  assert.deepEqual(rpcError(await post(edge, PING, header), 400, -32022, 7).data, data);
});

test("an unknown server: 404 naming it", async (t) => {
  const { edge, session } = await withSession(t);
  assert.match(rpcError(await post(edge, INITIALIZE, {}, "/mcp/nope"), 404, -32000).message, /Unknown server "nope"/);
  rpcError(await post(edge, PING, session, "/mcp/%E0%A4%A"), 404, -32000);
  rpcError(await post(edge, PING, session, "/mcp/files/more"), 404, -32000);
  assert.equal((await post(edge, INITIALIZE, {}, "/mcp/se%20arch")).status, 200);
  assert.deepEqual(edge.gateway.opened[0]?.scope, { upstreams: ["se arch"], prefixed: false });
});

test("another method: 405 with what is allowed; HEAD likewise, without a body", async (t) => {
  const { edge, session } = await withSession(t);
  for (const method of ["PUT", "PATCH"]) {
    const answer = await request(edge, method, "/mcp", session);
    rpcError(answer, 405, -32000);
    assert.equal(answer.headers.allow, "GET, POST, DELETE, OPTIONS");
  }
  const head = await request(edge, "HEAD", "/mcp", session);
  assert.deepEqual([head.status, head.text], [405, ""]);
});

test("another path: 404", async (t) => {
  const { edge } = await withSession(t);
  for (const path of ["/", "/mcpx", "/nope?x=1"]) {
    const answer = await request(edge, "GET", path);
    assert.equal(answer.status, 404);
    assert.equal(JSON.parse(answer.text).success, false);
  }
});

test("a page of another origin, or a host that is not this node: 403", async (t) => {
  const { edge, session } = await withSession(t, { site: { allowedOrigins: ["https://app.example.com"] } });
  rpcError(await post(edge, PING, { ...session, origin: "https://evil.example.com" }), 403, -32000);
  rpcError(await post(edge, PING, { ...session, origin: "null" }), 403, -32000);
  rpcError(await post(edge, PING, { ...session, host: "evil.example.com" }), 403, -32000);
  rpcError(await request(edge, "OPTIONS", "/mcp", { origin: "https://evil.example.com" }), 403, -32000);
  assert.equal(edge.gateway.posts.length, 0);
  assert.equal((await post(edge, PING, { ...session, origin: "https://app.example.com" })).status, 200);
  assert.equal((await post(edge, PING, { ...session, host: `localhost:${edge.port}` })).status, 200);
  assert.equal((await post(edge, PING, { ...session, host: "[::1]:1" })).status, 200);
});

test("what is not HTTP: 400, and the connection ends", async (t) => {
  const { edge } = await withSession(t);
  for (const text of ["garbage\r\n\r\n", "GET /mcp HTTP/1.1\r\nbad header\r\n\r\n", "POST /mcp HTTP/1.1\r\n\r\n"]) {
    const client = new RawClient(edge.port);
    client.send(text);
    await until(() => client.closed, "the end of the connection");
    assert.match(client.received, /^HTTP\/1\.1 400 /);
  }
  await stillServes(edge);
});

test("headers that are too long: 431", async (t) => {
  const { edge } = await withSession(t);
  const client = new RawClient(edge.port);
  client.send(`GET /mcp HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(40_000)}\r\n\r\n`);
  await until(() => client.closed, "the end of the connection");
  assert.match(client.received, /^HTTP\/1\.1 431 /);
});

test("a Last-Event-ID that cannot be ours: 400, without asking the session", async (t) => {
  const { edge, session } = await withSession(t);
  const headers = { accept: "text/event-stream", ...session, "last-event-id": "x".repeat(300) };
  rpcError(await request(edge, "GET", "/mcp", headers), 400, -32000);
  assert.equal(edge.gateway.eventCalls.length, 0);
});

test("a failure of the cluster is told with its code, and whether the work had begun", async (t) => {
  const { edge, session } = await withSession(t);
  const cases = [
    ["overloaded", "no", 503, -32000, true, "3"],
    ["unavailable", "no", 503, -32000, true, "1"],
    ["unavailable", "unknown", 503, -32000, false, "1"],
    ["store_unavailable", "no", 503, -32000, true, "1"],
    ["deadline_exceeded", "yes", 504, -32000, false, undefined],
    ["ended", "no", 404, -32001, false, undefined],
    ["too_large", "no", 413, -32000, false, undefined],
    ["invalid_argument", "no", 400, -32602, false, undefined],
    ["method_failed", "yes", 500, -32603, false, undefined],
  ] as const;
  for (const [code, started, status, rpcCode, retryable, retryAfter] of cases) {
    edge.gateway.onPost = () => {
      const retryAfterMs = code === "overloaded" ? 2_500 : undefined;
      throw new TroupeError(code, `because of ${code}`, { started, retryAfterMs });
    };
    const answer = await post(edge, PING, session);
    const error = rpcError(answer, status, rpcCode, 7);
    assert.equal(error.data?.code, code);
    assert.equal(error.data?.started, started);
    assert.equal(error.data?.retryable, retryable, code);
    assert.equal(answer.headers["retry-after"], retryAfter);
    // The words of a defect are for the log.
    assert.equal(error.message.includes("because of"), ![404, 500].includes(status));
  }
  edge.gateway.onPost = () => {
    throw new TypeError("secret detail");
  };
  assert.equal(rpcError(await post(edge, PING, session), 500, -32603, 7).message, "Internal error");
});

test("thousands of bad requests leave no trace in memory", async (t) => {
  const { edge, session } = await withSession(t, { endpoint: { bodyLimit: 20_000 } });
  const bad = [
    () => "POST /mcp HTTP/1.1\r\nhost: localhost\r\n",
    () => `GET /mcp HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nmcp-session-id: ${newSessionId()}\r\n`,
    () => "POST /mcp/nope HTTP/1.1\r\nhost: localhost\r\n",
    () => "POST /mcp HTTP/1.1\r\nhost: evil.example.com\r\n",
    () => `GET /${Math.random()} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${Math.random()}\r\n`,
  ];
  const headers = Object.entries(POST_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
  const unparsable = "x".repeat(2_000);
  const round = async (requests: number): Promise<void> => {
    const client = new RawClient(edge.port);
    let answers = 0;
    client.socket.on("data", (chunk: Buffer) => {
      answers += chunk.toString("latin1").split("HTTP/1.1 4").length - 1;
      client.received = "";
    });
    for (let n = 0; n < requests; n++) {
      if (n % 2 === 0) client.send(`${bad[(n / 2) % bad.length]?.()}content-length: 0\r\n\r\n`);
      else {
        client.send(
          `POST /mcp HTTP/1.1\r\nhost: localhost\r\n${headers.join("")}` +
            `authorization: Bearer ${Math.random()}\r\ncontent-length: ${unparsable.length}\r\n\r\n${unparsable}`,
        );
      }
      if (n % 200 === 199) await until(() => answers >= n - 100, "the answers", 20_000);
    }
    await until(() => answers >= requests * 0.99, "all answers", 20_000);
    client.destroy();
  };
  await round(2_000);
  const before = process.memoryUsage().heapUsed;
  await round(10_000);
  const grown = process.memoryUsage().heapUsed - before;
  // 10,000 bodies and credentials would be tens of megabytes; the collector's own swing is less.
  assert.ok(grown < 30 * 1024 * 1024, `the heap grew by ${grown} bytes`);
  assert.equal((await post(edge, PING, session)).status, 200);
});
