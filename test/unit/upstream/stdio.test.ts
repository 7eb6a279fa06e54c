import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { createUpstreamClient } from "../../../transports/upstream/client.ts";
import {
  type ChannelClosed,
  RpcError,
  type UpstreamClient,
  type UpstreamConfig,
} from "../../../transports/upstream/contract.ts";
import { StdioChannel, type StdioOptions } from "../../../transports/upstream/stdio.ts";
import { CountingGuard, HANDSHAKE, isAlive, RecordingOwner, stdioConfig, testServices, until } from "./kit.ts";

// Timers of the clock keep nobody waiting, and a descendant is no child of this process: it alone would not keep it up.
let awake: ReturnType<typeof setInterval>;
before(() => {
  awake = setInterval(() => {}, 60_000);
});
after(() => clearInterval(awake));

const open: { close(reason: "ended"): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close("ended")));
});

function start(config: UpstreamConfig, options: StdioOptions = {}) {
  const guard = new CountingGuard();
  const services = testServices({ guard });
  const owner = new RecordingOwner();
  const channels: StdioChannel[] = [];
  const client: UpstreamClient = createUpstreamClient(config, {
    epoch: "e1",
    owner,
    handshake: HANDSHAKE,
    services,
    open: ({ name, transport }) => {
      assert.ok(transport.kind === "stdio");
      const channel = new StdioChannel(name, transport, services, { endMs: 500, terminateMs: 500, ...options });
      channels.push(channel);
      return channel;
    },
  });
  open.push(client);
  return { client, owner, guard, services, channels, pid: () => channels.at(-1)?.pid ?? -1 };
}

const call = { related: 1, progress: false };

async function failure(promise: Promise<unknown>): Promise<TroupeError> {
  const error = await promise.then(
    () => assert.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  assert.ok(TroupeError.is(error), String(error));
  return error;
}

describe("an upstream over stdio", () => {
  it("starts with the first request and answers it", async () => {
    const { client, owner } = start(stdioConfig());
    assert.equal(client.running, false);
    assert.deepEqual(await client.request("echo", { a: 1 }, call), { echo: { a: 1 } });
    assert.equal(client.running, true);
    assert.equal(owner.starts, 1);
  });

  it("answers with the upstream's own JSON-RPC error", async () => {
    const { client } = start(stdioConfig());
    await assert.rejects(client.request("fail", {}, call), (error) => {
      assert.ok(error instanceof RpcError);
      assert.deepEqual([error.code, error.message, error.data], [-32099, "no", { why: "asked to" }]);
      return true;
    });
  });

  it("gets the base environment and what is configured, nothing else", async () => {
    process.env.TROUPE_TEST_LEAK = "leaked";
    const { client } = start(stdioConfig("good", {}, { CONFIGURED: "yes" }));
    const env = (await client.request("env", {}, call)) as Record<string, string>;
    delete process.env.TROUPE_TEST_LEAK;
    assert.equal(env.CONFIGURED, "yes");
    assert.equal(env.PATH, process.env.PATH);
    assert.equal(env.TROUPE_TEST_LEAK, undefined);
  });

  it("is protected before its command runs, and released when its group has ended", async () => {
    const { client, guard, pid } = start(stdioConfig());
    await client.start();
    assert.ok(guard.held.has(pid()));
    await client.close("ended");
    assert.equal(guard.held.size, 0);
    assert.equal(isAlive(pid()), false);
  });

  it("is not run when the guard does not answer", async () => {
    const services = testServices({
      guard: { protect: () => Promise.reject(new Error("no guard")), release() {} },
    });
    const { transport } = stdioConfig();
    assert.ok(transport.kind === "stdio");
    const channel = new StdioChannel("fixture", transport, services, { endMs: 100, terminateMs: 100 });
    open.push(channel);
    const closed = await new Promise<ChannelClosed>((resolve) => {
      channel.onclose = resolve;
    });
    assert.match(closed.detail, /process guard does not answer: no guard/);
  });

  it("names a command that does not exist", async () => {
    const config = stdioConfig();
    assert.ok(config.transport.kind === "stdio");
    const { client } = start({ ...config, transport: { ...config.transport, command: "troupe-no-such-command" } });
    const error = await failure(client.request("echo", {}, call));
    assert.equal(error.code, "unavailable");
    assert.equal(error.started, "no");
    assert.match(error.message, /upstream fixture .*command not found: troupe-no-such-command \(exit code 127\)/);
  });

  it("names a working directory that does not exist", async () => {
    const config = stdioConfig();
    assert.ok(config.transport.kind === "stdio");
    const { client } = start({ ...config, transport: { ...config.transport, cwd: "/no/such/folder" } });
    assert.match((await failure(client.start())).message, /working directory does not exist: \/no\/such\/folder/);
  });

  it("that crashes on start says why, without the secrets it was given", async () => {
    const { client } = start(stdioConfig("crash", {}, { API_KEY: "hunter2-very-secret" }));
    const { message, started } = await failure(client.request("echo", {}, call));
    assert.equal(started, "no");
    assert.match(message, /exit code 3; its last words: cannot go on, my key is \[redacted\]/);
    assert.doesNotMatch(message, /hunter2/);
  });

  it("that exits in the middle of a call fails the call as of unknown outcome, and starts again after a back-off", async () => {
    const { client, owner } = start(stdioConfig());
    const error = await failure(client.request("exit", {}, call));
    assert.deepEqual([error.code, error.started], ["unavailable", "unknown"]);
    assert.match(error.message, /exit code 5/);
    assert.equal(owner.closed[0]?.reason, "crashed");
    const refused = await failure(client.request("echo", {}, call));
    assert.equal(refused.started, "no");
    assert.match(refused.message, /exit code 5.*started again in \d+ ms/);
    let answer: unknown;
    const again = (): void =>
      void client.request("echo", {}, call).then((value) => {
        answer = value;
      }, again);
    setTimeout(again, refused.retryAfterMs);
    await until("it answers again", () => answer !== undefined);
    assert.deepEqual(answer, { echo: {} });
  });

  it("is heard to its last word when it answers and exits at once", async () => {
    const { client } = start(stdioConfig());
    assert.deepEqual(await client.request("exit/after", {}, call), { last: true });
  });

  it("that prints a banner is tolerated", async () => {
    const { client, services } = start(stdioConfig("banner"));
    assert.deepEqual(await client.request("echo", {}, call), { echo: {} });
    assert.equal(services.counts.get("troupe_upstream_bad_messages_total"), 20);
  });

  it("that prints nothing but garbage is closed", async () => {
    const { client } = start(stdioConfig("garbage"));
    assert.match((await failure(client.start())).message, /100 lines in a row that are not JSON-RPC/);
  });

  it("that never answers the handshake is given up after the start timeout", async () => {
    const { client, guard } = start(stdioConfig("mute", { startTimeoutMs: 300 }));
    assert.match((await failure(client.start())).message, /did not answer initialize within 300 ms/);
    await until("the process has ended", () => guard.held.size === 0);
  });

  it("that speaks a version nobody knows is refused by name", async () => {
    const { client } = start(stdioConfig("future"));
    assert.match((await failure(client.start())).message, /speaks MCP version "2031-01-01"/);
  });

  it("that never answers a call leaves the caller its timeout, and is told of the cancel", async () => {
    const { client } = start(stdioConfig());
    await client.start();
    const error = await failure(client.request("never", {}, { ...call, timeoutMs: 50 }));
    assert.deepEqual([error.code, error.started], ["deadline_exceeded", "unknown"]);
  });

  it("passes a message of several megabytes, and closes on a longer line than allowed", async () => {
    const { client } = start(stdioConfig(), { maxLineBytes: 4 * 1024 * 1024 });
    const long = (await client.request("long", { length: 3_000_000 }, call)) as string;
    assert.equal(long.length, 3_000_000);
    const error = await failure(client.request("long", { length: 5_000_000 }, call));
    assert.match(error.message, /line of more than 4194304 bytes/);
  });

  it("that ignores SIGTERM and forks is ended with its whole group", async () => {
    const { client, pid } = start(stdioConfig("deaf"));
    const { child } = (await client.request("fork", {}, call)) as { child: number };
    const leader = pid();
    assert.ok(isAlive(leader) && isAlive(child));
    await client.close("ended");
    assert.deepEqual([isAlive(leader), isAlive(child)], [false, false]);
  });

  it("whose leader dies takes the rest of its group along", async () => {
    const { client, pid, guard } = start(stdioConfig());
    const { child } = (await client.request("fork", {}, call)) as { child: number };
    process.kill(pid(), "SIGKILL");
    await until("the descendant has ended", () => !isAlive(child));
    await until("the group is released", () => guard.held.size === 0);
  });

  it("that floods is read no faster than its owner takes, and memory stays flat", async () => {
    const { client, owner } = start(stdioConfig());
    await client.start();
    let taken = 0;
    const releases: (() => void)[] = [];
    owner.onNotification = () => {
      taken++;
      return new Promise<void>((resolve) => releases.push(resolve));
    };
    const before = process.memoryUsage().rss;
    const answering = client.request("flood", { count: 60_000 }, call) as Promise<{ sent: number }>;
    let last = { taken: -1, at: 0 };
    await until("nothing more is taken while the owner is behind", () => {
      if (taken !== last.taken) last = { taken, at: performance.now() };
      return taken > 0 && performance.now() - last.at > 300;
    });
    // What was on its way is a piece of the pipe.
    assert.ok(taken < 500, `${taken} notifications were handed to an owner that takes none`);
    owner.onNotification = () => {
      taken++;
      return new Promise<void>((resolve) => setImmediate(resolve));
    };
    for (const release of releases) release();
    assert.equal((await answering).sent, 60_000);
    assert.equal(taken, 60_000);
    const grown = (process.memoryUsage().rss - before) / 1024 / 1024;
    assert.ok(grown < 64, `memory grew by ${grown.toFixed(0)} MiB for 60 MB of notifications`);
  });

  it("that does not read its input is congested first, then closed", async () => {
    const { client } = start(stdioConfig(), { maxQueuedBytes: 1024 * 1024 });
    await client.request("stop reading", {}, call);
    const text = "z".repeat(256 * 1024);
    const calls: Promise<unknown>[] = [];
    let refused: unknown;
    for (let n = 0; n < 64 && refused === undefined; n++) {
      const one = client.request("echo", { text }, { related: 10 + n, progress: false });
      one.catch((error) => {
        refused ??= error;
      });
      calls.push(one);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(TroupeError.is(refused, "overloaded"), String(refused));
    for (let n = 0; n < 64 && client.running; n++) client.notify("notifications/x", { text });
    const outcomes = await Promise.allSettled(calls);
    const last = outcomes.find((outcome) => outcome.status === "rejected" && outcome.reason.code === "unavailable");
    assert.ok(last?.status === "rejected");
    assert.match(last.reason.message, /does not read its input/);
  });

  it("asks its client, and gets the answer", async () => {
    const { client, owner } = start(stdioConfig());
    owner.answer = async (_method, params) => ({ text: `${params?.prompt}!` });
    assert.deepEqual(await client.request("ask", { prompt: "hi" }, { related: 7, progress: false }), {
      answer: { text: "hi!" },
    });
    assert.deepEqual(owner.requests[0]?.related, 7);
  });

  it("that no longer wants an answer aborts the request's signal", async () => {
    const { client, owner } = start(stdioConfig());
    owner.answer = () => new Promise(() => {});
    await client.request("ask/cancel", {}, call);
    assert.equal(owner.requests[0]?.signal.aborted, true);
    assert.match(String(owner.requests[0]?.signal.reason.message), /changed my mind/);
  });

  it("sees progress tokens of ours only, and its progress comes back without them", async () => {
    const { client, owner } = start(stdioConfig());
    const params = { _meta: { progressToken: "the client's", other: 1 } };
    const { token } = (await client.request("progress", params, { related: 4, progress: true })) as { token: string };
    assert.match(token, /^e1:\d+$/);
    assert.deepEqual(
      owner.notifications,
      [1, 2, 3].map((progress) => ({ method: "notifications/progress", params: { progress }, related: 4 })),
    );
  });
});
