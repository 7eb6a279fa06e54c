/** The listener: its bounds against strangers, and how it closes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { EventFeed, openStream, POST_HEADERS, post, RawClient, request, startEdge, until } from "./kit.ts";

const CALL = { jsonrpc: "2.0", id: 9, method: "tools/call" };

test("a client that never ends its headers, or its body, is answered 408 and disconnected", async (t) => {
  const headers = Object.entries(POST_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
  const body = `POST /mcp HTTP/1.1\r\nhost: localhost\r\n${headers.join("")}content-length: 9\r\n\r\n{`;
  for (const [text, server] of [
    ["POST /mcp HTTP/1.1\r\nhost: loc", { headersTimeoutMs: 200 }],
    [body, { headersTimeoutMs: 200, requestTimeoutMs: 400 }],
  ] as const) {
    const edge = await startEdge(t, { server });
    const client = new RawClient(edge.port);
    client.send(text);
    await until(() => client.closed, "the end of the connection");
    assert.match(client.received, /^HTTP\/1\.1 408 /);
    assert.equal((await request(edge, "GET", "/nope")).status, 404);
  }
});

test("a connection is kept for the next request", async (t) => {
  const edge = await startEdge(t);
  const client = new RawClient(edge.port);
  for (const answers of [1, 2]) {
    client.send("GET /nope HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await until(() => client.received.split("HTTP/1.1 404").length === answers + 1, "the answer");
  }
  assert.equal(client.closed, false);
  assert.equal(edge.server.connections, 1);
  client.destroy();
});

test("more connections than allowed are closed, and the others are served", async (t) => {
  const edge = await startEdge(t, { server: { maxConnections: 2 } });
  const kept = [new RawClient(edge.port), new RawClient(edge.port)];
  await until(() => edge.server.connections === 2, "both connections");
  const third = new RawClient(edge.port);
  await until(() => third.closed, "the third is closed");
  kept[0]?.send("GET /nope HTTP/1.1\r\nhost: localhost\r\n\r\n");
  await until(() => kept[0]?.received.includes("404") === true, "the first is served");
  for (const client of kept) client.destroy();
});

test("closing ends idle connections and standalone streams at once, and lets an answer finish", async (t) => {
  const edge = await startEdge(t);
  let release = (): void => {};
  edge.gateway.onPost = () =>
    new Promise((resolve) => {
      release = () => resolve('{"done":true}');
    });
  edge.gateway.onEvents = () => new EventFeed().push({ opened: true, data: "" });
  const sessionId = edge.gateway.add();
  const idle = new RawClient(edge.port);
  idle.send("GET /nope HTTP/1.1\r\nhost: localhost\r\n\r\n");
  await until(() => idle.received.includes("404"), "an idle connection");
  const stream = openStream(edge, sessionId);
  await until(() => edge.streams.size === 1, "a stream");
  const answer = new RawClient(edge.port);
  const names = Object.entries({ ...POST_HEADERS, "mcp-session-id": sessionId });
  const head = names.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const body = JSON.stringify(CALL);
  answer.send(`POST /mcp HTTP/1.1\r\nhost: localhost\r\n${head}content-length: ${body.length}\r\n\r\n${body}`);
  await until(() => edge.gateway.posts.length === 1, "a post in flight");

  let closed = false;
  const closing = edge.server.close({ graceMs: 10_000 }).then(() => {
    closed = true;
  });
  await until(() => idle.closed, "the idle connection is closed");
  await until(() => stream.closed, "the stream is closed");
  assert.match(stream.received, /retry: \d+\n\n/);
  await assert.rejects(request(edge, "GET", "/nope"), /ECONNREFUSED/);
  assert.equal(closed, false);
  release();
  await closing;
  await until(() => answer.closed, "the connection of the post is closed");
  assert.match(answer.received, /\r\nconnection: close\r\n.*\{"done":true\}$/is);
});

test("closing destroys what is not done after the grace", async (t) => {
  const edge = await startEdge(t);
  const feed = new EventFeed().push({ opened: true, id: "s-0", data: "" });
  edge.gateway.onPost = () => ({ kind: "stream", stream: "s" });
  edge.gateway.onEvents = () => feed;
  const answer = post(edge, CALL, { "mcp-session-id": edge.gateway.add() });
  await until(() => edge.streams.size === 1, "a stream that answers a post");
  const stuck = new RawClient(edge.port);
  stuck.send("POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-");
  await until(() => edge.server.connections === 2, "a client in the middle of its headers");
  await edge.server.close({ graceMs: 100 });
  assert.match((await answer).text, /^id: s-0\ndata: \n\nretry: \d+\n\n$/);
  assert.equal(feed.returned, true);
  await until(() => stuck.closed, "the other is gone, too");
});

test("a port in use is told in one sentence", async (t) => {
  const edge = await startEdge(t);
  const second = startEdge(t, { port: edge.port });
  await assert.rejects(second, new RegExp(`cannot listen on 127.0.0.1:${edge.port}: the address is in use; choose`));
});

test("a handler that fails answers 500, and the next request is served", async (t) => {
  const edge = await startEdge(t, {
    endpoint: {
      scopes: () => {
        throw new TypeError("a defect");
      },
    },
  });
  const answer = await post(edge, CALL);
  assert.equal(answer.status, 500);
  assert.ok(!answer.text.includes("defect"));
  assert.equal((await request(edge, "GET", "/nope")).status, 404);
});

test("a client whose connection still waited in the kernel's queue when the server closed is answered", async (t) => {
  const edge = await startEdge(t);
  const client = new Worker(
    `const { parentPort } = require("node:worker_threads");
    const { connect } = require("node:net");
    parentPort.once("message", () => {
      let open = 40, answered = 0;
      const ended = () => --open === 0 && parentPort.postMessage(answered);
      for (let n = 40; n > 0; n--) {
        let text = "";
        const socket = connect(${edge.port}, "127.0.0.1");
        socket.write("GET /nope HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n");
        socket.on("data", (piece) => { if (String(piece).startsWith("HTTP/1.1 404")) answered++; });
        socket.on("error", () => {});
        socket.on("close", ended);
      }
    });
    parentPort.postMessage("ready");`,
    { eval: true },
  );
  t.after(() => client.terminate());
  const told: unknown[] = [];
  client.on("message", (message) => told.push(message));
  await until(() => told.length === 1, "the client's thread");
  client.postMessage("connect");
  // This thread accepts nothing while the kernel takes all forty.
  const busyUntil = performance.now() + 500;
  while (performance.now() < busyUntil);
  await edge.server.close({ graceMs: 10_000 });
  await until(() => told.length === 2, "the end of the connections");
  assert.equal(told[1], 40);
});
