/** Event streams: format, keep-alive, back-pressure, and what happens when one side goes away. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventsCall, SessionEvent } from "../../../actors/session/contract.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { formatEvent } from "../../../transports/http/sse.ts";
import { EventFeed, ManualClock, openStream, post, request, rpcError, startEdge, until } from "./kit.ts";

const COMMENT = ": keep-alive\n\n";
const OPENED: SessionEvent = { opened: true, data: "" };
const CALL = { jsonrpc: "2.0", id: 9, method: "tools/call" };

test("events are written so that every line of them arrives", () => {
  assert.equal(formatEvent({ data: '{"a":1}' }), 'event: message\ndata: {"a":1}\n\n');
  assert.equal(formatEvent({ id: "s-1", data: "x" }), "id: s-1\nevent: message\ndata: x\n\n");
  assert.equal(formatEvent({ data: "a\nb\r\nc\rd" }), "event: message\ndata: a\ndata: b\ndata: c\ndata: d\n\n");
  assert.equal(formatEvent({ id: "s-\n0\r\0", data: "" }), "id: s-0\ndata: \n\n");
  assert.equal(formatEvent({ data: "", retryMs: 1_500.4 }), "retry: 1501\n\n");
  assert.equal(formatEvent({ id: "s-0", data: "", retryMs: 5 }), "retry: 5\nid: s-0\ndata: \n\n");
  assert.equal(formatEvent(OPENED), "");
});

test("a silent stream gets a comment every 15 s; all of them share one timer", async (t) => {
  const clock = new ManualClock();
  const edge = await startEdge(t, { clock });
  const feeds: EventFeed[] = [];
  edge.gateway.onEvents = () => {
    const feed = new EventFeed().push(OPENED);
    feeds.push(feed);
    return feed;
  };
  const before = clock.timers;
  const sessionId = edge.gateway.add();
  const first = openStream(edge, sessionId);
  const second = openStream(edge, sessionId);
  await until(() => edge.streams.size === 2, "both streams");
  // One for the streams, one for stalled sockets.
  assert.equal(clock.timers - before, 2);
  clock.advance(11_000);
  feeds[1]?.push({ data: "1" });
  await until(() => second.received.includes("data: 1"), "the event");
  clock.advance(4_000);
  await until(() => first.received.includes(COMMENT), "a comment");
  assert.ok(!second.received.includes(COMMENT));
  clock.advance(15_000);
  await until(() => second.received.includes(COMMENT), "a comment on the second");
  await until(() => first.received.split(COMMENT).length === 3, "another on the first");
  first.destroy();
  second.destroy();
  await until(() => edge.streams.size === 0, "both streams are gone");
  clock.advance(10_000);
  assert.equal(clock.timers - before, 0);
});

for (const size of [10_000, 100_000]) {
  test(`a client that does not read events of ${size} bytes is not read ahead for, and disconnected after 60 s`, async (t) => {
    const clock = new ManualClock();
    const edge = await startEdge(t, { clock });
    const feed = new EventFeed();
    const event = { data: "x".repeat(size) };
    for (let n = 0; n < 50_000_000 / size; n++) feed.push(event);
    edge.gateway.onEvents = () => feed;
    const client = openStream(edge, edge.gateway.add());
    client.socket.pause();
    let before = -1;
    await until(() => {
      const settled = feed.taken > 0 && feed.taken === before;
      before = feed.taken;
      return settled;
    }, "the socket is full");
    // The kernel's buffers of a loopback connection hold a few megabytes; the rest stays with the session.
    assert.ok(feed.taken * size < 30_000_000, `took ${feed.taken} events`);
    clock.advance(50_000);
    assert.equal(feed.returned, false);
    clock.advance(31_000);
    await until(() => feed.returned, "the stream's reader is ended");
    await until(() => edge.streams.size === 0, "the stream is gone");
    client.destroy();
  });
}

test("a client that reads slowly is kept", async (t) => {
  const clock = new ManualClock();
  const edge = await startEdge(t, { clock });
  const feed = new EventFeed();
  for (let n = 0; n < 200; n++) feed.push({ data: "x".repeat(200_000) });
  edge.gateway.onEvents = () => feed;
  const client = openStream(edge, edge.gateway.add());
  client.socket.pause();
  for (let step = 0; step < 5; step++) {
    const { taken } = feed;
    client.socket.resume();
    await until(() => feed.taken > taken + 5, "the client has read");
    client.socket.pause();
    clock.advance(40_000);
  }
  assert.equal(feed.returned, false);
  client.destroy();
});

test("no comment is written into the middle of a long event", async (t) => {
  const clock = new ManualClock();
  const edge = await startEdge(t, { clock });
  const feed = new EventFeed().push({ data: "x".repeat(20_000_000) });
  edge.gateway.onEvents = () => feed;
  const client = openStream(edge, edge.gateway.add());
  client.socket.pause();
  await until(() => feed.taken === 1 && client.socket.bytesRead > 0, "the event is being written");
  clock.advance(20_000);
  client.socket.resume();
  await until(() => client.received.includes("x\r\n") && client.received.length > 20_000_000, "all of it");
  assert.ok(!client.received.includes(COMMENT));
  client.destroy();
});

test("a stream's reader ends when its socket closes", async (t) => {
  const edge = await startEdge(t);
  const feed = new EventFeed().push(OPENED);
  edge.gateway.onEvents = () => feed;
  const client = openStream(edge, edge.gateway.add());
  await until(() => edge.streams.size === 1, "the stream");
  client.destroy();
  await until(() => feed.returned, "the reader is ended");
  assert.equal(edge.streams.size, 0);
});

test("a session that wants the connection closed has it closed, with the time to come back after", async (t) => {
  const edge = await startEdge(t);
  edge.gateway.onEvents = () => new EventFeed().push({ id: "s-0", data: "" }, { data: "", retryMs: 700 }).end();
  const headers = { accept: "text/event-stream", "mcp-session-id": edge.gateway.add() };
  const answer = await request(edge, "GET", "/mcp", headers);
  assert.equal(answer.text, "id: s-0\ndata: \n\nretry: 700\n\n");
});

test("a refusal of the session comes as a status, not as an empty stream", async (t) => {
  const edge = await startEdge(t);
  const data = { reason: "malformed event id", status: 400 };
  edge.gateway.onEvents = () =>
    new EventFeed().fail(new TroupeError("not_found", "Last-Event-ID: malformed", { started: "no", data }));
  const headers = { accept: "text/event-stream", "mcp-session-id": edge.gateway.add(), "last-event-id": "?" };
  assert.match(rpcError(await request(edge, "GET", "/mcp", headers), 400, -32602).message, /malformed event id/);
});

test("another's session and no session are told apart by nobody", async (t) => {
  const edge = await startEdge(t);
  const headers = { accept: "text/event-stream", "mcp-session-id": edge.gateway.add() };
  const bodies = [];
  for (const error of [
    new TroupeError("not_found", "no actor session/x", { started: "unknown" }),
    new TroupeError("not_found", "there is no such session", {
      started: "no",
      data: { reason: "unknown session", status: 404 },
    }),
  ]) {
    edge.gateway.onEvents = () => new EventFeed().fail(error);
    bodies.push((await request(edge, "GET", "/mcp", headers)).text);
  }
  assert.equal(bodies[0], bodies[1]);
});

test("a stream that breaks is opened again after the last id, and the client does not notice", async (t) => {
  const edge = await startEdge(t);
  const calls: EventsCall[] = [];
  edge.gateway.onPost = () => ({ kind: "stream", stream: "s" });
  edge.gateway.onEvents = (call) => {
    calls.push(call);
    if (calls.length === 1) {
      return new EventFeed()
        .push({ opened: true, id: "s-0", data: "" }, { id: "s-1", data: "1" })
        .fail(new TroupeError("unavailable", "its node was lost"));
    }
    if (calls.length === 2) return new EventFeed().fail(new TroupeError("unavailable", "being moved"));
    return new EventFeed().push(OPENED, { id: "s-2", data: "2" }).end();
  };
  const answer = await post(edge, CALL, { "mcp-session-id": edge.gateway.add() });
  assert.deepEqual(answer.text.match(/data: \d/g), ["data: 1", "data: 2"]);
  assert.deepEqual(
    calls.map(({ stream, lastEventId }) => [stream, lastEventId]),
    [
      ["s", null],
      [null, "s-1"],
      [null, "s-1"],
    ],
  );
});

test("a POST's stream that cannot be opened again ends with an honest error; a GET's with the time to come back", async (t) => {
  const edge = await startEdge(t);
  edge.gateway.onPost = () => ({ kind: "stream", stream: "s" });
  let broken = (): SessionEvent[] => [];
  edge.gateway.onEvents = (call) =>
    call.lastEventId === null
      ? new EventFeed().push(...broken()).fail(new TroupeError("unavailable", "its node was lost"))
      : new EventFeed().fail(new TroupeError("not_found", "gone", { started: "unknown" }));
  const session = { "mcp-session-id": edge.gateway.add() };

  broken = () => [{ opened: true, id: "s-0", data: "" }];
  const failed = await post(edge, CALL, session);
  const [, text] = /data: (\{.*\})\n/.exec(failed.text) ?? [];
  const message = JSON.parse(text ?? "") as { id: number; error: { data: { code: string } } };
  assert.deepEqual([message.id, message.error.data.code], [9, "not_found"]);
  assert.match(failed.text, /retry: \d+\n\n$/);

  // A client that has its answer gets no second one.
  broken = () => [
    { opened: true, id: "s-0", data: "" },
    { id: "s-1", data: '{"jsonrpc":"2.0","id":9,"result":{}}' },
  ];
  assert.equal((await post(edge, CALL, session)).text.split('"id":9').length, 2);

  broken = () => [{ opened: true, id: "s-0", data: "" }];
  const headers = { accept: "text/event-stream", ...session };
  assert.match((await request(edge, "GET", "/mcp", headers)).text, /^id: s-0\ndata: \n\nretry: \d+\n\n$/);
});

test("a POST's stream that the session's next owner does not know: nobody knows whether the request took effect", async (t) => {
  const edge = await startEdge(t);
  edge.gateway.onPost = () => ({ kind: "stream", stream: "s" });
  const data = { reason: "unknown stream", status: 400 };
  edge.gateway.onEvents = () =>
    new EventFeed().fail(new TroupeError("not_found", "unknown stream", { started: "no", data }));
  const answer = await post(edge, CALL, { "mcp-session-id": edge.gateway.add() });
  assert.equal(answer.status, 503);
  const { error } = JSON.parse(answer.text) as { error: { data: Record<string, unknown> } };
  assert.deepEqual([error.data.started, error.data.retryable], ["unknown", false]);
});

test("more streams than the node may hold: 503", async (t) => {
  const edge = await startEdge(t, { maxStreams: 1 });
  edge.gateway.onEvents = () => new EventFeed().push(OPENED);
  const sessionId = edge.gateway.add();
  const client = openStream(edge, sessionId);
  await until(() => edge.streams.size === 1, "the stream");
  const headers = { accept: "text/event-stream", "mcp-session-id": sessionId };
  assert.equal(rpcError(await request(edge, "GET", "/mcp", headers), 503, -32000).data?.code, "overloaded");
  assert.match(edge.metrics.text(), /troupe_refusals_total\{reason="event_streams"\} 1/);
  client.destroy();
});

test("a body whose owner died before it answered is handed to the next owner, marked as one that comes again", async (t) => {
  const edge = await startEdge(t);
  const sessionId = edge.gateway.add();
  const failures = [
    new TroupeError("unavailable", "the link to its node broke", { started: "unknown" }),
    new TroupeError("unavailable", "nobody owns it yet", { started: "no" }),
  ];
  const marks: unknown[] = [];
  edge.gateway.onPost = (call) => {
    marks.push(call.again);
    const failure = failures[marks.length - 1];
    if (failure !== undefined) throw failure;
    return '{"jsonrpc":"2.0","id":9,"result":{}}';
  };
  assert.equal((await post(edge, CALL, { "mcp-session-id": sessionId })).status, 200);
  assert.deepEqual(marks, [undefined, true, true]);
});

test("a body that was provably not begun comes again unmarked; one that is refused does not come again", async (t) => {
  const edge = await startEdge(t);
  const headers = { "mcp-session-id": edge.gateway.add() };
  const marks: unknown[] = [];
  let failure = new TroupeError("unavailable", "not begun", { started: "no" });
  edge.gateway.onPost = (call) => {
    marks.push(call.again);
    throw failure;
  };
  const given = await post(edge, CALL, headers);
  assert.equal(given.status, 503);
  assert.ok(marks.length > 1 && marks.every((mark) => mark === undefined), `${marks}`);
  failure = new TroupeError("overloaded", "full", { started: "no" });
  marks.length = 0;
  assert.equal((await post(edge, CALL, headers)).status, 503);
  assert.equal(marks.length, 1);
});

test("a POST's stream of which nothing was stored: the next owner is asked, and its answer ends the stream", async (t) => {
  const edge = await startEdge(t);
  let posts = 0;
  edge.gateway.onPost = (call) => {
    posts++;
    if (call.again !== true) return { kind: "stream", stream: "s" };
    return '{"jsonrpc":"2.0","id":9,"result":{"second":true}}';
  };
  const data = { reason: "unknown stream", status: 400 };
  edge.gateway.onEvents = () =>
    new EventFeed()
      .push({ opened: true, data: "" })
      .fail(new TroupeError("not_found", "unknown", { started: "no", data }));
  const answer = await post(edge, CALL, { "mcp-session-id": edge.gateway.add() });
  assert.match(answer.text, /"second":true/);
  assert.equal(posts, 2);
});
