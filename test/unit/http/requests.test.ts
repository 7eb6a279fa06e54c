/** What the endpoint does with good requests: sessions, answers, streams, pages. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EventFeed, echo, openStream, POST_HEADERS, post, RawClient, request, startEdge, until } from "./kit.ts";

const INITIALIZE = { jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: "2025-11-25" } };
const call = (id: number) => ({ jsonrpc: "2.0", id, method: `m${id}` });

function rawPost(sessionId: string, message: unknown): string {
  const body = JSON.stringify(message);
  const headers = { host: "localhost", ...POST_HEADERS, "mcp-session-id": sessionId, "content-length": body.length };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /mcp HTTP/1.1\r\n${lines.join("")}\r\n${body}`;
}

test("initialize opens a session with the endpoint's scope, and its id is in a header", async (t) => {
  const edge = await startEdge(t);
  const answer = await post(edge, INITIALIZE);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers["content-type"], "application/json");
  const sessionId = answer.headers["mcp-session-id"];
  assert.match(String(sessionId), /^[\x21-\x7e]{32,}$/);
  assert.ok(edge.gateway.sessions.has(String(sessionId)));
  const [opened] = edge.gateway.opened;
  assert.deepEqual(opened?.scope, { upstreams: ["files", "search"], prefixed: true });
  assert.deepEqual(opened?.message, INITIALIZE);
  await post(edge, INITIALIZE, {}, "/mcp/files");
  assert.deepEqual(edge.gateway.opened[1]?.scope, { upstreams: ["files"], prefixed: false });
  await post(edge, INITIALIZE, {}, "/mcp/");
  assert.equal(edge.gateway.opened[2]?.scope.prefixed, true);
});

test("an initialize that is refused gives no session id", async (t) => {
  const edge = await startEdge(t);
  edge.gateway.openAnswer = { kind: "refused", status: 400, body: '{"jsonrpc":"2.0","id":1,"error":{}}' };
  const answer = await post(edge, INITIALIZE);
  assert.deepEqual([answer.status, answer.headers["mcp-session-id"]], [400, undefined]);
});

test("an initialize within a session is the session's to judge", async (t) => {
  const edge = await startEdge(t);
  await post(edge, INITIALIZE, { "mcp-session-id": edge.gateway.add() });
  assert.deepEqual([edge.gateway.opened.length, edge.gateway.posts.length], [0, 1]);
});

test("a post hands over principal, version and the body as it came", async (t) => {
  const edge = await startEdge(t);
  const session = { "mcp-session-id": edge.gateway.add() };
  const text = '{ "jsonrpc":"2.0", "id":7,\n"method":"ünï" }';
  const answer = await post(edge, text, { ...session, "mcp-protocol-version": "2025-06-18" });
  assert.equal(answer.text, '{"jsonrpc":"2.0","id":7,"result":{"method":"ünï"}}');
  assert.deepEqual(edge.gateway.posts, [{ principal: "anonymous", version: "2025-06-18", text }]);
});

test("a body that comes in many pieces is one body", async (t) => {
  const edge = await startEdge(t);
  const client = new RawClient(edge.port);
  const text = rawPost(edge.gateway.add(), { ...call(3), params: { text: "ä".repeat(10) } });
  for (const byte of Buffer.from(
    text.replace(/content-length: \d+/, `content-length: ${Buffer.byteLength(text) - text.indexOf("\r\n\r\n") - 4}`),
  )) {
    client.socket.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => client.received.includes('"m3"'), "the answer");
  assert.equal(JSON.parse(edge.gateway.posts[0]?.text ?? "").params.text, "ä".repeat(10));
  client.destroy();
});

test("accepted is 202 with an empty body; a refusal keeps its status and body", async (t) => {
  const edge = await startEdge(t);
  const session = { "mcp-session-id": edge.gateway.add() };
  const accepted = await post(edge, { jsonrpc: "2.0", method: "notifications/initialized" }, session);
  assert.deepEqual([accepted.status, accepted.text], [202, ""]);
  edge.gateway.onPost = () => ({ kind: "refused", status: 429, body: '{"jsonrpc":"2.0","id":1,"error":{}}' });
  const refused = await post(edge, call(1), session);
  assert.deepEqual([refused.status, refused.headers["retry-after"]], [429, "1"]);
});

test("DELETE ends a session: 200, then 404", async (t) => {
  const edge = await startEdge(t);
  const session = { "mcp-session-id": edge.gateway.add() };
  assert.equal((await request(edge, "DELETE", "/mcp", session)).status, 200);
  assert.equal((await request(edge, "DELETE", "/mcp", session)).status, 404);
  assert.equal((await post(edge, call(1), session)).status, 404);
});

test("pipelined requests are answered in order, on one connection", async (t) => {
  const edge = await startEdge(t);
  const sessionId = edge.gateway.add();
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { onPost } = edge.gateway;
  edge.gateway.onPost = async (posted) => {
    if (posted.text.includes('"m1"')) await held;
    return onPost(posted);
  };
  const client = new RawClient(edge.port);
  client.send([1, 2, 3].map((id) => rawPost(sessionId, call(id))).join(""));
  await until(() => edge.gateway.posts.length === 3, "all three are with the session");
  assert.equal(client.received, "");
  release();
  await until(() => client.received.includes('"m3"'), "the answers");
  assert.deepEqual(client.received.match(/"m\d"/g), ['"m1"', '"m2"', '"m3"']);
  client.destroy();
});

test("a client that disconnects does not take its post back", async (t) => {
  const edge = await startEdge(t);
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let finished = false;
  edge.gateway.onPost = async () => {
    await held;
    finished = true;
    return { kind: "stream", stream: "s1" };
  };
  const sessionId = edge.gateway.add();
  const client = new RawClient(edge.port);
  client.send(rawPost(sessionId, call(1)));
  await until(() => edge.gateway.posts.length === 1, "the post is with the session");
  client.destroy();
  await until(() => edge.server.connections === 0, "the server has seen it");
  release();
  await until(() => finished, "the session finishes");
  // Nobody is there to read the stream, so nobody opens it; it waits for Last-Event-ID.
  edge.gateway.onPost = echo;
  assert.equal((await post(edge, call(2), { "mcp-session-id": sessionId })).status, 200);
  assert.equal(edge.gateway.eventCalls.length, 0);
});

test("a POST answered as a stream carries its events, then ends", async (t) => {
  const edge = await startEdge(t);
  edge.gateway.onPost = () => ({ kind: "stream", stream: "s1" });
  edge.gateway.onEvents = () =>
    new EventFeed()
      .push({ opened: true, id: "s1.0", data: "" }, { data: '{"progress":1}' }, { id: "s1.1", data: '{"id":1}' })
      .end();
  const session = { "mcp-session-id": edge.gateway.add() };
  const answer = await post(edge, call(1), { ...session, "mcp-protocol-version": "2025-11-25" });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers["content-type"], "text/event-stream");
  assert.equal(answer.headers["cache-control"], "no-cache, no-transform");
  assert.equal(answer.headers["x-accel-buffering"], "no");
  const events = [
    "id: s1.0\ndata: \n\n",
    'event: message\ndata: {"progress":1}\n\n',
    'id: s1.1\nevent: message\ndata: {"id":1}\n\n',
  ];
  assert.equal(answer.text, events.join(""));
  assert.deepEqual(edge.gateway.eventCalls, [
    { principal: "anonymous", version: "2025-11-25", stream: "s1", lastEventId: null },
  ]);
});

test("a call that was cancelled before its answer began gets a stream that is empty", async (t) => {
  const edge = await startEdge(t);
  edge.gateway.onPost = () => ({ kind: "stream", stream: "s1" });
  edge.gateway.onEvents = () => new EventFeed().end();
  const answer = await post(edge, call(1), { "mcp-session-id": edge.gateway.add() });
  assert.deepEqual([answer.status, answer.headers["content-type"], answer.text], [200, "text/event-stream", ""]);
});

test("GET opens the session's own stream, or the one a Last-Event-ID belongs to; its head comes at once", async (t) => {
  const edge = await startEdge(t);
  edge.gateway.onEvents = () => new EventFeed().push({ opened: true, data: "" });
  const sessionId = edge.gateway.add();
  const fresh = openStream(edge, sessionId);
  await until(() => fresh.received.endsWith("\r\n\r\n"), "the head");
  assert.match(fresh.received, /^HTTP\/1\.1 200 /);
  const resumed = openStream(edge, sessionId, { "last-event-id": "s1.4" });
  await until(() => resumed.received.endsWith("\r\n\r\n"), "the head");
  assert.deepEqual(
    edge.gateway.eventCalls.map(({ stream, lastEventId }) => [stream, lastEventId]),
    [
      [null, null],
      [null, "s1.4"],
    ],
  );
  assert.equal(edge.streams.size, 2);
  fresh.destroy();
  resumed.destroy();
  await until(() => edge.streams.size === 0, "both streams are gone");
});

test("a page of an allowed origin may ask, and may read the session id", async (t) => {
  const edge = await startEdge(t, { site: { allowedOrigins: ["https://app.example.com"] } });
  const origin = "https://app.example.com";
  const preflight = await request(edge, "OPTIONS", "/mcp", {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type, mcp-session-id",
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers["access-control-allow-origin"], origin);
  assert.match(String(preflight.headers["access-control-allow-methods"]), /POST.*DELETE/);
  assert.match(String(preflight.headers["access-control-allow-headers"]), /Mcp-Session-Id/);
  const answer = await post(edge, INITIALIZE, { origin });
  assert.equal(answer.headers["access-control-allow-origin"], origin);
  assert.match(String(answer.headers["access-control-expose-headers"]), /Mcp-Session-Id/);
  assert.equal(answer.headers.vary, "Origin");
  const plain = await request(edge, "OPTIONS", "/mcp");
  assert.deepEqual([plain.status, plain.headers.allow], [204, "GET, POST, DELETE, OPTIONS"]);
  assert.equal(plain.headers["access-control-allow-origin"], undefined);
});

test("a long answer arrives whole", async (t) => {
  const edge = await startEdge(t);
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, result: { text: "ä".repeat(2_000_000) } });
  edge.gateway.onPost = () => body;
  const answer = await post(edge, call(1), { "mcp-session-id": edge.gateway.add() });
  assert.equal(answer.text, body);
});

test("requests, bytes and open streams are counted by route", async (t) => {
  const edge = await startEdge(t);
  edge.gateway.onEvents = () => new EventFeed().push({ opened: true, data: "" });
  const sessionId = edge.gateway.add();
  await post(edge, call(1), { "mcp-session-id": sessionId });
  await post(edge, call(1));
  await request(edge, "GET", "/nope");
  const stream = openStream(edge, sessionId);
  await until(() => edge.streams.size === 1, "the stream");
  const text = edge.metrics.text();
  assert.match(text, /troupe_http_requests_total\{route="mcp",status="2xx"\} 2\n/);
  assert.match(text, /troupe_http_requests_total\{route="mcp",status="4xx"\} 1\n/);
  assert.match(text, /troupe_http_requests_total\{route="unknown",status="4xx"\} 1\n/);
  assert.match(text, /troupe_http_request_bytes_total\{route="mcp"\} 76\n/);
  assert.match(text, /troupe_http_streams 1\n/);
  stream.destroy();
});
