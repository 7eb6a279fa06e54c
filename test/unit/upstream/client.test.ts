import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { CrashBackoff } from "../../../transports/upstream/backoff.ts";
import { createUpstreamClient, type UpstreamClientDeps } from "../../../transports/upstream/client.ts";
import { RpcError, type UpstreamConfig } from "../../../transports/upstream/contract.ts";
import { HANDSHAKE, ManualClock, RecordingOwner, ScriptedChannel, settle, stdioConfig, testServices } from "./kit.ts";

function scripted(overrides: Partial<UpstreamConfig> = {}, deps: Partial<UpstreamClientDeps> = {}) {
  const clock = new ManualClock();
  const services = testServices({ clock });
  const owner = new RecordingOwner();
  const channels: ScriptedChannel[] = [];
  const client = createUpstreamClient(stdioConfig("good", overrides), {
    epoch: "e7",
    owner,
    handshake: HANDSHAKE,
    services,
    open: () => {
      const channel = new ScriptedChannel();
      channels.push(channel);
      return channel;
    },
    ...deps,
  });
  const channel = (): ScriptedChannel => {
    const last = channels.at(-1);
    assert.ok(last !== undefined, "no channel was opened");
    return last;
  };
  return { client, clock, services, owner, channels, channel };
}

const call = (related: number, progress = false) => ({ related, progress });

function progressTokenOf(params: Record<string, unknown> | undefined): unknown {
  return (params?._meta as { progressToken: unknown } | undefined)?.progressToken;
}

async function failure(promise: Promise<unknown>): Promise<TroupeError> {
  const error = await promise.then(
    () => assert.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  assert.ok(TroupeError.is(error), String(error));
  return error;
}

describe("ids and progress tokens", () => {
  it("contain the epoch and are never used twice", async () => {
    const { client, channel } = scripted();
    await client.start();
    for (const related of [1, 2, 3])
      client.request("x", { _meta: { progressToken: 1 } }, call(related, true)).catch(() => {});
    const requests = channel().requests("x");
    const ids = requests.map(({ id }) => id);
    assert.deepEqual(ids, ["e7:1", "e7:2", "e7:3"]);
    assert.deepEqual(
      requests.map(({ params }) => progressTokenOf(params)),
      ids,
    );
  });

  it("of the client never reach the upstream, whether progress is wanted or not", async () => {
    const { client, channel } = scripted();
    await client.start();
    client.request("x", { a: 1, _meta: { progressToken: "client", trace: "t" } }, call(1)).catch(() => {});
    assert.deepEqual(channel().requests("x")[0]?.params, { a: 1, _meta: { trace: "t" } });
  });

  it("of a call that became a task are the task's, after its answer too, the newest 256 of them", async () => {
    const { client, channel, owner } = scripted();
    await client.start();
    const progress = (nth: number) =>
      channel().receive({
        jsonrpc: "2.0",
        method: "notifications/progress",
        params: { progressToken: `e7:${nth}`, progress: nth },
      });
    for (let nth = 1; nth <= 257; nth++) {
      const made = client.request("tools/call", { task: {} }, call(nth, true));
      channel().answer(`e7:${nth}`, { task: { taskId: `t${nth}` } });
      await made;
    }
    for (const nth of [1, 2, 257]) progress(nth);
    assert.deepEqual(
      owner.notifications.map(({ related }) => related),
      [2, 257],
    );
  });

  it("of an earlier life are nobody's: late answers and progress are dropped and counted", async () => {
    const { client, channel, owner, services } = scripted();
    await client.start();
    const answered = client.request("x", undefined, call(1));
    channel().answer("e6:1", "stale");
    channel().receive({
      jsonrpc: "2.0",
      method: "notifications/progress",
      params: { progressToken: "e6:1", progress: 1 },
    });
    channel().answer("e7:1", "fresh");
    channel().answer("e7:1", "twice");
    assert.equal(await answered, "fresh");
    assert.equal(owner.notifications.length, 0);
    assert.equal(services.counts.get("troupe_upstream_late_answers_total"), 2);
    assert.equal(services.counts.get("troupe_upstream_late_progress_total"), 1);
  });
});

describe("what the upstream sends", () => {
  it("belongs to the call the transport names", async () => {
    const { client, channel, owner } = scripted();
    await client.start();
    for (const related of [11, 12]) client.request("x", undefined, call(related)).catch(() => {});
    channel().receive({ jsonrpc: "2.0", method: "notifications/message", params: {} }, { relatedRequestId: "e7:2" });
    assert.equal(owner.notifications[0]?.related, 12);
  });

  it("belongs to the only call in flight when the transport cannot tell, and to none of several", async () => {
    const { client, channel, owner } = scripted();
    await client.start();
    const note = { jsonrpc: "2.0", method: "notifications/message", params: {} } as const;
    channel().receive(note);
    client.request("x", undefined, call(11)).catch(() => {});
    channel().receive(note);
    client.request("x", undefined, call(12)).catch(() => {});
    channel().receive(note);
    assert.deepEqual(
      owner.notifications.map(({ related }) => related),
      [undefined, 11, undefined],
    );
  });

  it("in the course of a call that is over is refused when sessions share the connection", async () => {
    const { client, channel, owner, services } = scripted({}, { shared: true });
    await client.start();
    const first = client.request("x", undefined, call(1));
    channel().answer("e7:1", {});
    await first;
    client.request("x", undefined, call(2)).catch(() => {});
    const over = { relatedRequestId: "e7:1" };
    channel().receive({ jsonrpc: "2.0", id: 5, method: "sampling/createMessage" }, over);
    channel().receive({ jsonrpc: "2.0", method: "notifications/message", params: {} }, over);
    assert.equal(owner.requests.length + owner.notifications.length, 0);
    assert.ok(channel().sent.some((message) => "error" in message && message.id === 5));
    assert.equal(services.counts.get("troupe_upstream_uncorrelated_total"), 2);
    channel().receive({ jsonrpc: "2.0", method: "notifications/tools/list_changed" }, over);
    assert.equal(owner.notifications.length, 1, "what concerns everybody is passed on");
  });

  it("is answered, with the owner's error where it has one", async () => {
    const { client, channel, owner } = scripted();
    await client.start();
    owner.answer = async (method) => {
      if (method === "roots/list") throw new RpcError({ code: -32601, message: "no roots", data: 1 });
      return { ok: true };
    };
    channel().receive({ jsonrpc: "2.0", id: "a", method: "sampling/createMessage", params: {} });
    channel().receive({ jsonrpc: "2.0", id: "b", method: "roots/list" });
    channel().receive({ jsonrpc: "2.0", id: "c", method: "ping" });
    await settle();
    const answers = channel().sent.filter((message) => !("method" in message));
    assert.deepEqual(answers.map((message) => JSON.stringify(message)).sort(), [
      '{"jsonrpc":"2.0","id":"a","result":{"ok":true}}',
      '{"jsonrpc":"2.0","id":"b","error":{"code":-32601,"message":"no roots","data":1}}',
      '{"jsonrpc":"2.0","id":"c","result":{}}',
    ]);
  });

  it("is bounded: too many requests at once are refused, the others go on", async () => {
    const { client, channel, owner } = scripted();
    await client.start();
    owner.answer = () => new Promise(() => {});
    for (let id = 0; id < 300; id++) channel().receive({ jsonrpc: "2.0", id, method: "sampling/createMessage" });
    assert.equal(owner.requests.length, 256);
    assert.equal(channel().sent.filter((message) => "error" in message).length, 44);
  });

  it("that the owner's handler chokes on does not break the connection", async () => {
    const { client, channel, owner } = scripted();
    await client.start();
    owner.onNotification = () => {
      throw new Error("bug");
    };
    channel().receive({ jsonrpc: "2.0", method: "notifications/message", params: {} });
    const answered = client.request("x", undefined, call(1));
    channel().answer("e7:1", 1);
    assert.equal(await answered, 1);
  });

  it("waits while the owner is behind", async () => {
    const { client, channel, owner } = scripted();
    await client.start();
    const releases: (() => void)[] = [];
    owner.onNotification = () => new Promise<void>((resolve) => releases.push(resolve));
    const note = { jsonrpc: "2.0", method: "notifications/message", params: {} } as const;
    channel().receive(note);
    channel().receive(note);
    assert.equal(channel().paused, true);
    releases[0]?.();
    await settle();
    assert.equal(channel().paused, true);
    releases[1]?.();
    await settle();
    assert.equal(channel().paused, false);
  });
});

describe("a call", () => {
  it("of a congested upstream is refused before it is sent", async () => {
    const { client, channel } = scripted();
    await client.start();
    channel().congested = true;
    const error = await failure(client.request("x", undefined, call(1)));
    assert.deepEqual([error.code, error.started], ["overloaded", "no"]);
    assert.equal(channel().requests("x").length, 0);
  });

  it("is bounded by the caller's time, and the upstream is told", async () => {
    const { client, channel, clock } = scripted();
    await client.start();
    const failed = failure(client.request("x", undefined, { ...call(1), timeoutMs: 500 }));
    await clock.advance(501);
    assert.equal((await failed).code, "deadline_exceeded");
    assert.deepEqual(channel().notified("notifications/cancelled"), [{ requestId: "e7:1", reason: "timeout" }]);
  });

  it("that is cancelled rejects at once, and the upstream is told; an unknown one is ignored", async () => {
    const { client, channel } = scripted();
    await client.start();
    const failed = failure(client.request("x", undefined, call(4)));
    client.cancel(99, "nothing");
    client.cancel(4, "changed my mind");
    assert.equal((await failed).code, "cancelled");
    assert.deepEqual(channel().notified("notifications/cancelled"), [{ requestId: "e7:1", reason: "changed my mind" }]);
  });

  it("that is cancelled while the upstream starts was never started", async () => {
    const { client, channel } = scripted(
      {},
      { open: undefined, permits: { acquire: () => new Promise(() => {}), failed() {} } },
    );
    const failed = failure(client.request("x", undefined, call(4)));
    client.cancel(4, undefined);
    assert.deepEqual([(await failed).code, (await failed).started], ["cancelled", "no"]);
    assert.throws(channel, /no channel/);
  });

  it("gets an honest word about its outcome when the connection breaks", async () => {
    const { client, channel, owner } = scripted();
    await client.start();
    const failed = failure(client.request("x", undefined, call(1)));
    channel().end({ reason: "crashed", detail: "it ended with signal SIGSEGV" });
    const error = await failed;
    assert.deepEqual([error.code, error.started], ["unavailable", "unknown"]);
    assert.match(error.message, /fixture.*SIGSEGV/);
    assert.deepEqual(owner.closed, [{ reason: "crashed", detail: "it ended with signal SIGSEGV" }]);
  });

  it("with a malformed answer fails as such", async () => {
    const { client, channel } = scripted();
    await client.start();
    const failed = failure(client.request("x", undefined, call(1)));
    channel().receive({ jsonrpc: "2.0", id: "e7:1" });
    assert.equal((await failed).code, "protocol");
  });
});

describe("start and stop", () => {
  it("says the handshake, then initialized, and lets the owner speak first", async () => {
    const { client, channel, owner } = scripted();
    owner.onStarted = () => void client.request("logging/setLevel", { level: "debug" }, call(1000)).catch(() => {});
    client.request("tools/call", {}, call(1)).catch(() => {});
    await settle();
    const methods = channel().sent.map((message) => ("method" in message ? message.method : "answer"));
    assert.deepEqual(methods, ["initialize", "notifications/initialized", "logging/setLevel", "tools/call"]);
    assert.deepEqual(channel().requests("initialize")[0]?.params, HANDSHAKE);
  });

  it("starts once for many callers", async () => {
    const { client, channels } = scripted();
    await Promise.all([client.start(), client.start(), client.start()]);
    assert.equal(channels.length, 1);
  });

  it("backs off 250 ms, doubling to 30 s, and starts afresh after 30 s of health", () => {
    const backoff = new CrashBackoff();
    assert.equal(backoff.waitMs(0), 0);
    const waits = Array.from({ length: 9 }, () => {
      backoff.failed(0, 0);
      return backoff.waitMs(0);
    });
    assert.deepEqual(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    backoff.failed(0, 29_999);
    assert.equal(backoff.waitMs(0), 30_000);
    backoff.failed(0, 30_000);
    assert.equal(backoff.waitMs(0), 250);
  });

  it("fails fast within the back-off, naming upstream, last end and when it may start again", async () => {
    const { client, channel, channels, clock } = scripted();
    await client.start();
    channel().end({ reason: "crashed", detail: "it ended with exit code 9" });
    const error = await failure(client.request("x", undefined, call(1)));
    assert.deepEqual([error.code, error.started, error.retryAfterMs], ["unavailable", "no", 250]);
    assert.match(error.message, /upstream fixture failed \(it ended with exit code 9\).*250 ms/);
    assert.equal(channels.length, 1);
    await clock.advance(250);
    await client.start();
    assert.equal(channels.length, 2);
  });

  it("stops when idle, but not while a call is in flight or notifications are wanted", async () => {
    let wanted = true;
    const { client, channel, channels, clock, owner } = scripted({ idleStopMs: 1_000 }, { keepRunning: () => wanted });
    const first = client.request("x", undefined, call(1));
    await settle();
    await clock.advance(5_000);
    assert.equal(client.running, true, "a call is in flight");
    channel().answer("e7:1", 1);
    await first;
    await clock.advance(5_000);
    assert.equal(client.running, true, "notifications are wanted");
    wanted = false;
    await clock.advance(1_000);
    assert.equal(client.running, false);
    assert.deepEqual(channel().closedFor[0], "idle");
    assert.equal(owner.closed[0]?.reason, "closed");
    await client.start();
    assert.equal(channels.length, 2, "it starts again without a back-off");
  });

  it("counts idle time from the last answer", async () => {
    const { client, channel, clock } = scripted({ idleStopMs: 1_000 });
    const first = client.request("x", undefined, call(1));
    await settle();
    await clock.advance(900);
    channel().answer("e7:1", 1);
    await first;
    await clock.advance(900);
    assert.equal(client.running, true);
    await clock.advance(100);
    assert.equal(client.running, false);
  });

  it("gives its place back when its process has ended, not before", async () => {
    let held = 0;
    const permits = {
      acquire: async () => {
        held++;
        return { release: () => void held-- };
      },
      failed() {},
    };
    const { client, channel } = scripted({}, { permits });
    await client.start();
    let ended = (): void => {};
    const gone = new Promise<void>((resolve) => {
      ended = resolve;
    });
    channel().close = () => gone;
    const closing = client.close("ended");
    await settle();
    assert.equal(held, 1);
    ended();
    await closing;
    await settle();
    assert.equal(held, 0);
  });

  it("is over for good after its session let go", async () => {
    const { client } = scripted();
    await client.start();
    await client.close("fenced");
    const error = await failure(client.request("x", undefined, call(1)));
    assert.deepEqual([error.code, error.started], ["unavailable", "no"]);
  });
});
