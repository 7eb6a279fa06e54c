/** Streams, the event log, and resuming. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Streams } from "../../../actors/session/streams.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import {
  type Connection,
  FakeUpstream,
  LATER,
  ManualClock,
  type Received,
  settle,
  World,
  type WorldOptions,
} from "./kit.ts";

const CLIENT = { elicitation: {}, sampling: {}, roots: {} };

async function begun(options: WorldOptions = {}): Promise<World> {
  const upstreams = options.upstreams ?? [new FakeUpstream("one").on("tools/call", () => LATER)];
  const world = new World({ capabilities: CLIENT, ...options, upstreams });
  await world.initialize({ capabilities: CLIENT, ...options });
  return world;
}

/** A call whose POST has become a stream, opened. */
async function streaming(world: World, id: number | string = "call"): Promise<[Connection, Received]> {
  const answer = world.request("tools/call", { name: "x", _meta: { progressToken: `token-${id}` } }, id);
  await settle();
  const received = world.one.last("tools/call");
  world.one.notify("notifications/progress", { progress: 0 }, received.related);
  const connection = world.open(await answer);
  await settle();
  return [connection, received];
}

function refusedWith(connection: Connection): unknown {
  return TroupeError.is(connection.error, "not_found")
    ? (connection.error.data as { status: number }).status
    : undefined;
}

describe("the stream of a POST", () => {
  it("begins with a priming event in 2025-11-25, and without one before", async () => {
    for (const [version, primed] of [
      ["2025-11-25", true],
      ["2025-06-18", false],
      ["2025-03-26", false],
    ] as const) {
      const world = await begun({ version });
      const [stream] = await streaming(world);
      const [first] = stream.events;
      assert.equal(first?.opened, true);
      assert.equal(first?.data, "");
      assert.equal(first?.id !== undefined, primed, version);
    }
  });

  it("ends after the response, and keeps nothing but the log", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    call.answer({ ok: true });
    await stream.done;
    assert.equal(stream.error, undefined);
    assert.deepEqual(stream.messages.at(-1), { jsonrpc: "2.0", id: "call", result: { ok: true } });
    assert.deepEqual(world.session.sizes, { calls: 0, requests: 0, streams: 1, events: 1 });
    await world.clock.advance(11 * 60_000);
    assert.deepEqual(world.session.sizes, { calls: 0, requests: 0, streams: 0, events: 0 });
  });

  it("gives ids to responses and requests, and none to progress and logging", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    world.one.notify("notifications/message", { level: "info", data: "x" }, call.related);
    void world.one.ask("elicitation/create", { message: "?" }, call.related);
    call.answer({});
    await stream.done;
    const ids = stream.events.filter(({ data }) => data !== "").map(({ id }) => id);
    assert.deepEqual(
      ids.map((id) => id !== undefined),
      [false, false, true, true],
    );
    assert.equal(new Set(stream.events.flatMap(({ id }) => id ?? [])).size, 3, "every id is unique");
    for (const id of ids) if (id !== undefined) assert.match(id, /^[0-9a-z]+-[0-9a-z]+$/);
  });

  it("has ids that differ between the streams of a session", async () => {
    const world = await begun();
    const ids = new Set<string>();
    for (let n = 0; n < 3; n++) {
      const [stream, call] = await streaming(world, n);
      call.answer({});
      await stream.done;
      for (const { id } of stream.events) if (id !== undefined) ids.add(id);
    }
    assert.equal(ids.size, 6);
  });

  it("goes on while nobody is connected, and the response waits for Last-Event-ID", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    const id = stream.lastEventId;
    await stream.drop();
    assert.equal(call.cancelled, false, "a disconnect is no cancellation");
    call.answer({ late: true });
    await settle();
    const resumed = world.resume(id);
    await resumed.done;
    assert.deepEqual(resumed.messages, [{ jsonrpc: "2.0", id: "call", result: { late: true } }]);
  });

  it("may be resumed before the response, and then delivers it once", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    await stream.drop();
    const resumed = world.resume(stream.lastEventId);
    await settle();
    call.answer({ ok: true });
    await resumed.done;
    assert.equal(resumed.messages.length, 1);
    assert.equal(stream.messages.length, 1, "the progress; the response went elsewhere");
  });

  it("repeats what was sent but not proven to have arrived, and nothing that was", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    for (const message of ["a", "b", "c"]) void world.one.ask("elicitation/create", { message }, call.related);
    await settle();
    await stream.drop();
    const firstId = stream.events.filter(({ id, data }) => id !== undefined && data !== "")[0]?.id ?? "";
    const resumed = world.resume(firstId);
    await settle();
    const texts = (connection: Connection) =>
      connection.messages.map(({ params }) => (params as { message?: string }).message);
    assert.deepEqual(texts(resumed), ["b", "c"]);
    await resumed.drop();
    const again = world.resume(firstId);
    await settle();
    assert.deepEqual(texts(again), ["b", "c"]);
  });

  it("replays that stream only", async () => {
    const world = await begun();
    const [one, callOne] = await streaming(world, "one");
    const [two, callTwo] = await streaming(world, "two");
    await one.drop();
    await two.drop();
    callTwo.answer("of two");
    callOne.answer("of one");
    await settle();
    const resumed = world.resume(one.lastEventId);
    await resumed.done;
    assert.deepEqual(
      resumed.messages.map(({ id }) => id),
      ["one"],
    );
  });

  it("is taken over by a newer connection", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    const resumed = world.resume(stream.lastEventId);
    await stream.done;
    assert.equal(stream.error, undefined);
    call.answer({});
    await resumed.done;
    assert.equal(resumed.messages.length, 1);
  });

  it("refuses to resume once it is complete, so that no client comes back for ever", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    call.refuse(-32000, "no");
    await stream.done;
    const resumed = world.resume(stream.lastEventId);
    await resumed.done;
    assert.equal(refusedWith(resumed), 400);
  });

  it("loses its connection but not itself when the upstream asks for polling", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    world.one.owner?.closeStream?.("one", call.related);
    await stream.done;
    assert.equal(stream.events.at(-1)?.retryMs, 1_000);
    call.answer({ after: true });
    const resumed = world.resume(stream.lastEventId);
    await resumed.done;
    assert.deepEqual(resumed.messages, [{ jsonrpc: "2.0", id: "call", result: { after: true } }]);
  });

  it("ignores that wish in versions whose clients may have no event id", async () => {
    const world = await begun({ version: "2025-06-18" });
    const [stream, call] = await streaming(world);
    world.one.owner?.closeStream?.("one", call.related);
    await settle();
    assert.equal(stream.ended, false);
  });
});

describe("Last-Event-ID", () => {
  it("that is none of ours or unknown is answered 400, because 404 would end the session for its client", async () => {
    const world = await begun();
    for (const [id, status] of [
      ["", 400],
      ["no id at all", 400],
      ["-1", 400],
      [`${"z".repeat(99)}-1`, 400],
      ["abc-1", 400],
    ] as const) {
      const connection = world.resume(id);
      await connection.done;
      assert.equal(refusedWith(connection), status, id);
      assert.equal(connection.events.length, 0, "nothing is replayed");
    }
  });

  it("from beyond what was sent is refused", async () => {
    const world = await begun();
    const [stream] = await streaming(world);
    const resumed = world.resume(stream.lastEventId.replace(/-.*/, "-z"));
    await resumed.done;
    assert.equal(refusedWith(resumed), 400);
  });

  it("that has expired is refused, by age and by number", async () => {
    const world = await begun({ settings: { eventLog: { events: 4, bytes: 1_000_000, ageMs: 60_000 } } });
    const [old, oldCall] = await streaming(world, "old");
    const id = old.lastEventId;
    oldCall.answer({});
    await old.done;
    for (let n = 0; n < 4; n++) {
      const [stream, call] = await streaming(world, n);
      call.answer({});
      await stream.done;
    }
    const crowdedOut = world.resume(id);
    await crowdedOut.done;
    assert.equal(refusedWith(crowdedOut), 400);

    const [aged, agedCall] = await streaming(world, "aged");
    const agedId = aged.lastEventId;
    agedCall.answer({});
    await aged.done;
    await world.clock.advance(61_000);
    const resumed = world.resume(agedId);
    await resumed.done;
    assert.equal(refusedWith(resumed), 400);
  });

  it("is refused when what came after it is no longer complete", async () => {
    const world = await begun({ settings: { eventLog: { events: 4, bytes: 1_000_000, ageMs: 60_000 } } });
    const [stream, call] = await streaming(world);
    const primed = stream.lastEventId;
    for (let n = 0; n < 6; n++) void world.one.ask("elicitation/create", { message: `${n}` }, call.related);
    await settle();
    await stream.drop();
    const gap = world.resume(primed);
    await gap.done;
    assert.equal(refusedWith(gap), 400);
    const resumed = world.resume(stream.lastEventId.replace(/-.*/, "-3"));
    await settle();
    assert.equal(resumed.messages.length, 3);
  });

  it("from before a move names the stream it always named, and never an event of after it", async () => {
    const world = await begun();
    const [stream] = await streaming(world);
    await world.move();
    await streaming(world, "again");
    const resumed = world.resume(stream.lastEventId);
    await resumed.done;
    assert.deepEqual(
      resumed.messages.map(({ id }) => id),
      ["call"],
    );
  });
});

describe("the GET stream", () => {
  it("takes what belongs to no call, and keeps it for the next connection", async () => {
    const world = await begun();
    await world.request("ping");
    const [stream] = await streaming(world);
    world.one.notify("notifications/tools/list_changed");
    await settle();
    const get = world.listen();
    await settle();
    assert.deepEqual(
      get.messages.map(({ method }) => method),
      ["notifications/tools/list_changed"],
    );
    assert.equal(stream.messages.length, 1, "each message goes to one stream");
  });

  it("says the same list change once while nobody has read it", async () => {
    const world = await begun();
    await streaming(world);
    for (let n = 0; n < 5; n++) world.one.notify("notifications/tools/list_changed");
    world.one.notify("notifications/prompts/list_changed");
    const get = world.listen();
    await settle();
    assert.equal(get.messages.length, 2);
    world.one.notify("notifications/tools/list_changed");
    await settle();
    assert.equal(get.messages.length, 3, "a change after it was read is a new one");
  });

  it("is there once: the newest connection wins, and the cursor goes on", async () => {
    const world = await begun();
    await streaming(world);
    const first = world.listen();
    await settle();
    world.one.notify("notifications/tools/list_changed");
    await settle();
    const second = world.listen();
    await first.done;
    assert.equal(first.error, undefined);
    world.one.notify("notifications/prompts/list_changed");
    await settle();
    assert.deepEqual(
      [first, second].map(({ messages }) => messages.map(({ method }) => method)),
      [["notifications/tools/list_changed"], ["notifications/prompts/list_changed"]],
    );
    assert.equal(world.counts.get("troupe_session_stream_superseded_total"), 1);
  });

  it("is resumed like any other, and its priming events name positions", async () => {
    const world = await begun();
    await streaming(world);
    const first = world.listen();
    await settle();
    const primed = first.lastEventId;
    assert.notEqual(primed, "");
    world.one.notify("notifications/tools/list_changed");
    await settle();
    await first.drop();
    const second = world.listen();
    await settle();
    assert.equal(second.messages.length, 0);
    assert.notEqual(second.lastEventId, primed);
    await second.drop();
    const resumed = world.resume(primed);
    await settle();
    assert.equal(resumed.messages.length, 1, "what the first connection may have lost");
    await resumed.drop();
    const again = world.resume(second.lastEventId);
    await settle();
    assert.equal(again.messages.length, 0, "the second began after it");
  });

  it("forgets the oldest ephemeral messages first, and says how many", async () => {
    const world = await begun();
    await streaming(world);
    world.one.notify("notifications/tools/list_changed");
    for (let n = 0; n < 100; n++) world.one.notify("notifications/message", { level: "info", data: n });
    const get = world.listen();
    await settle();
    const data = get.messages.flatMap(({ params }) => (params as { data?: number } | undefined)?.data ?? []);
    assert.deepEqual([data.length, data[0], data.at(-1)], [64, 36, 99]);
    assert.equal(get.messages[0]?.method, "notifications/tools/list_changed");
    assert.equal(world.counts.get("troupe_session_ephemeral_dropped_total"), 36);
  });

  it("never holds more durable events than the log's bound, delivered ones going first", async () => {
    const world = await begun({
      settings: { eventLog: { events: 8, bytes: 1_000_000, ageMs: 600_000 } },
      state: { subscriptions: Array.from({ length: 40 }, (_, n) => `a://${n}`) },
    });
    const [stream, call] = await streaming(world);
    call.answer({});
    await stream.done;
    for (let n = 0; n < 40; n++) world.one.notify("notifications/resources/updated", { uri: `a://${n}` });
    assert.equal(world.session.sizes.events, 8);
    const get = world.listen();
    await settle();
    assert.deepEqual(
      get.messages.map(({ params }) => (params as { uri: string }).uri),
      Array.from({ length: 8 }, (_, n) => `a://${32 + n}`),
    );
    assert.equal(world.counts.get("troupe_session_events_dropped_total"), 32);
    const primed = get.events[0]?.id ?? "";
    await get.drop();
    const resumed = world.resume(primed);
    await settle();
    assert.equal(resumed.messages.length, 8, "its priming event names where it began");
  });
});

describe("the log", () => {
  it("gives up delivered events before one that still waits for its reader", async () => {
    const world = await begun({ settings: { eventLog: { events: 4, bytes: 1_000_000, ageMs: 60_000 } } });
    const [lost, lostCall] = await streaming(world, "lost");
    await lost.drop();
    lostCall.answer({ waits: true });
    for (let n = 0; n < 10; n++) {
      const [stream, call] = await streaming(world, n);
      call.answer({});
      await stream.done;
    }
    assert.equal(world.session.sizes.events, 4);
    const resumed = world.resume(lost.lastEventId);
    await resumed.done;
    assert.deepEqual(resumed.messages, [{ jsonrpc: "2.0", id: "lost", result: { waits: true } }]);
  });

  it("is bounded by bytes, but never gives up its newest event", async () => {
    const world = await begun({ settings: { eventLog: { events: 100, bytes: 1_000, ageMs: 60_000 } } });
    for (let n = 0; n < 3; n++) {
      const [stream, call] = await streaming(world, n);
      await stream.drop();
      call.answer({ text: "x".repeat(2_000) });
      await settle();
      assert.equal(world.session.sizes.events, 1);
      const resumed = world.resume(stream.lastEventId);
      await resumed.done;
      assert.equal(resumed.messages.length, 1);
    }
  });

  it("ends a reader that stalls at four times the bound, rather than skip an event", async () => {
    const streams = new Streams({
      mark: "m",
      priming: false,
      bounds: { events: 2, bytes: 1_000, ageMs: 60_000 },
      clock: new ManualClock(),
      count: () => {},
      wanted: () => false,
      write: () => Promise.resolve(),
      onWriteFailed: () => {},
      stored: undefined,
    });
    const stream = streams.open();
    const reader = streams.read(stream, new AbortController().signal, false);
    await reader.next();
    for (let n = 1; n <= 8; n++) streams.send(stream, `${n}`);
    assert.equal(streams.logged, 8, "held for the reader");
    streams.send(stream, "9");
    assert.equal(streams.logged, 8);
    assert.deepEqual(await reader.next(), { done: true, value: undefined });
    assert.throws(() => streams.resume("m1-0"), /unknown event id/);
    streams.resume("m1-7");
  });
});

describe("a slow reader", () => {
  it("holds its upstream back, and lets it go on when it has caught up", async () => {
    const world = await begun();
    const [stream, call] = await streaming(world);
    const waiting: (void | Promise<void>)[] = [];
    for (let n = 1; n <= 128; n++)
      waiting.push(world.one.notify("notifications/progress", { progress: n }, call.related));
    const waits = waiting.at(-1);
    assert.ok(waits instanceof Promise, "the sender is asked to wait");
    await waits;
    await settle();
    assert.equal(stream.messages.length, 129, "nothing was lost");
  });

  it("holds it back for two seconds at most", async () => {
    const world = await begun();
    const answer = world.request("tools/call", { name: "x" }, 1);
    await settle();
    const { related } = world.one.last("tools/call");
    const waiting: (void | Promise<void>)[] = [];
    for (let n = 0; n < 128; n++) waiting.push(world.one.notify("notifications/message", { level: "info" }, related));
    await answer;
    let over = false;
    void waiting.at(-1)?.then(() => {
      over = true;
    });
    await world.clock.advance(1_900);
    assert.equal(over, false);
    await world.clock.advance(200);
    assert.equal(over, true);
  });
});
