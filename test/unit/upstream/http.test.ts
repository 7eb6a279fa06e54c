import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { createUpstreamClient } from "../../../transports/upstream/client.ts";
import { RpcError, type UpstreamClient } from "../../../transports/upstream/contract.ts";
import { type HttpUpstream, startHttpUpstream } from "./http_upstream.ts";
import { HANDSHAKE, RecordingOwner, testServices, until, upstream } from "./kit.ts";

const clients: UpstreamClient[] = [];
const upstreams: HttpUpstream[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close("ended")));
  await Promise.all(upstreams.splice(0).map((one) => one.close()));
});

async function start(version: "v1" | "v2" = "v1") {
  const server = await startHttpUpstream(version);
  upstreams.push(server);
  return { server, ...connect(server.url) };
}

function connect(url: string) {
  const owner = new RecordingOwner();
  const client = createUpstreamClient(upstream({ kind: "http", url, headers: { "X-Api-Key": "configured" } }), {
    epoch: "e1",
    owner,
    handshake: { ...HANDSHAKE, capabilities: { elicitation: { form: {} } } },
    services: testServices(),
  });
  clients.push(client);
  const tool = async (name: string, args: Record<string, unknown>, related = 1, progress = false): Promise<string> => {
    const params = { name, arguments: args };
    const result = (await client.request("tools/call", params, { related, progress })) as {
      content: { text: string }[];
    };
    return result.content[0]?.text ?? "";
  };
  return { owner, client, tool };
}

async function failure(promise: Promise<unknown>): Promise<TroupeError> {
  const error = await promise.then(
    () => assert.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  assert.ok(TroupeError.is(error), String(error));
  return error;
}

for (const version of ["v1", "v2"] as const) {
  describe(`an upstream over Streamable HTTP (SDK ${version})`, () => {
    it("answers, and is sent the configured headers, its session id and the negotiated version", async () => {
      const { server, tool } = await start(version);
      assert.equal(await tool("echo", { text: "hello" }), "hello");
      const last = server.headers.at(-1);
      assert.equal(last?.["x-api-key"], "configured");
      assert.equal(last?.authorization, undefined);
      assert.equal(last?.["mcp-protocol-version"], "2025-11-25");
      assert.ok(server.sessions.has(String(last?.["mcp-session-id"])));
    });

    it("asks in the course of a call, tied to the call by the stream it asks on", async () => {
      const { owner, tool } = await start(version);
      owner.answer = async (_method, params) => ({ action: "accept", content: { said: params?.message } });
      const asked = ["one", "two", "three"].map((text, n) => tool("ask", { text }, n + 1));
      const answers = await Promise.all(asked);
      for (const [n, text] of ["one", "two", "three"].entries())
        assert.match(answers[n] ?? "", new RegExp(`"${text}"`));
      assert.deepEqual(owner.requests.map(({ params, related }) => [related, params?.message]).sort(), [
        [1, "one"],
        [2, "two"],
        [3, "three"],
      ]);
    });

    it("asks over the standalone stream when it asks outside of a call", async () => {
      const { owner, tool, client, server } = await start(version);
      owner.answer = async () => ({ action: "decline" });
      await client.start();
      await until("the standalone stream is open", () =>
        server.headers.some(({ accept }) => accept === "text/event-stream"),
      );
      assert.match(await tool("ask_aside", { text: "hi" }), /decline/);
      assert.equal(owner.requests.length, 1);
    });

    it("sends log lines and progress tied to their call", async () => {
      const { owner, tool } = await start(version);
      const [, token] = await Promise.all([tool("log", { text: "a" }, 1), tool("progress", {}, 2, true)]);
      assert.match(token, /^e1:\d+$/);
      assert.deepEqual(owner.notifications.map(({ method, related }) => [method, related]).sort(), [
        ["notifications/message", 1],
        ["notifications/progress", 2],
      ]);
    });

    it("is told of a cancel, and its stream is let go", async () => {
      const { client, tool } = await start(version);
      await tool("echo", { text: "up" });
      const seen = globalThis as { abortedCalls?: number };
      const before = seen.abortedCalls ?? 0;
      const call = tool("wait", {}, 5);
      call.catch(() => {});
      await tool("echo", { text: "behind it" }, 6);
      client.cancel(5, undefined);
      await assert.rejects(call, { code: "cancelled" });
      await until("the handler was aborted", () => (seen.abortedCalls ?? 0) > before);
    });

    it("gets DELETE at the end", async () => {
      const { client, server } = await start(version);
      await client.start();
      const [id] = server.sessions.keys();
      await client.close("ended");
      assert.deepEqual(server.deleted, [id]);
    });

    it("gets no DELETE when ownership moved", async () => {
      for (const reason of ["fenced", "drain"] as const) {
        const { client, server } = await start(version);
        await client.start();
        await client.close(reason);
        assert.equal(server.deleted.length, 0);
        assert.equal(server.sessions.size, 1);
      }
    });
  });
}

describe("an HTTP upstream in trouble", () => {
  it("that forgot the session: the call never started, and the next one opens a new session", async () => {
    const { owner, server, tool } = await start();
    await tool("echo", { text: "a" });
    server.sessions.clear();
    const error = await failure(tool("echo", { text: "b" }));
    assert.deepEqual([error.code, error.started], ["unavailable", "no"]);
    assert.match(error.message, /no longer knows the session/);
    assert.equal(owner.closed[0]?.reason, "closed");
    assert.equal(await tool("echo", { text: "c" }), "c");
  });

  it("that nobody listens for is named, and nothing was started", async () => {
    const server = await startHttpUpstream("v1");
    await server.close();
    const { tool } = connect(server.url);
    const error = await failure(tool("echo", { text: "a" }));
    assert.deepEqual([error.code, error.started], ["unavailable", "no"]);
    assert.match(error.message, /127\.0\.0\.1:\d+\/mcp cannot be reached: ECONNREFUSED/);
  });

  it("that answers a call with 500 fails that call only, outcome unknown", async () => {
    const { server, tool } = await start();
    await tool("echo", { text: "a" });
    server.override = (res) => void res.writeHead(500).end("boom");
    const error = await failure(tool("echo", { text: "b" }));
    assert.deepEqual([error.code, error.started], ["unavailable", "unknown"]);
    assert.match(error.message, /HTTP 500/);
    assert.equal(await tool("echo", { text: "c" }), "c");
  });

  it("that refuses a call with a JSON-RPC error is quoted", async () => {
    const { server, tool } = await start();
    await tool("echo", { text: "a" });
    server.override = (res) => {
      const error = { code: -32602, message: "bad params" };
      res.writeHead(400, { "content-type": "application/json" });
      res.end(JSON.stringify({ jsonrpc: "2.0", id: null, error }));
    };
    await assert.rejects(tool("echo", { text: "b" }), (error) => error instanceof RpcError && error.code === -32602);
  });

  it("that ends a stream without a response fails that call only", async () => {
    const { server, tool } = await start();
    await tool("echo", { text: "a" });
    server.override = (res) => void res.writeHead(200, { "content-type": "text/event-stream" }).end(": nothing\n\n");
    const error = await failure(tool("echo", { text: "b" }));
    assert.match(error.message, /ended the response stream without a response/);
    assert.equal(await tool("echo", { text: "c" }), "c");
  });

  it("that answers without end is cut off, and memory stays flat", async () => {
    const { server, tool, owner } = await start();
    await tool("echo", { text: "a" });
    const before = process.memoryUsage().rss;
    let sent = 0;
    server.override = (res) => {
      res.writeHead(200, { "content-type": "application/json" });
      const chunk = Buffer.alloc(1024 * 1024, "x");
      const more = (): void => {
        while (!res.destroyed) {
          sent += chunk.length;
          if (!res.write(chunk)) return void res.once("drain", more);
        }
      };
      more();
    };
    await failure(tool("echo", { text: "b" }));
    await until("the channel is closed", () => owner.closed.length > 0);
    assert.match(owner.closed[0]?.detail ?? "", /answer of more than 16777216 bytes/);
    assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken`);
    assert.ok(process.memoryUsage().rss - before < 192 * 1024 * 1024);
  });

  it("that floods is read no faster than its owner takes", async () => {
    const { server, tool, owner } = await start();
    await tool("echo", { text: "a" });
    let release = (): void => {};
    owner.onNotification = () =>
      new Promise<void>((resolve) => {
        release = resolve;
      });
    let sent = 0;
    let stuck = 0;
    server.override = (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      const params = { level: "info", data: "x".repeat(10_000) };
      const event = `data: ${JSON.stringify({ jsonrpc: "2.0", method: "notifications/message", params })}\n\n`;
      const more = (): void => {
        while (!res.destroyed) {
          sent += event.length;
          stuck = performance.now();
          if (!res.write(event)) return void res.once("drain", more);
        }
      };
      more();
    };
    const call = failure(tool("echo", { text: "b" }));
    await until("the upstream has to wait", () => stuck > 0 && performance.now() - stuck > 300, 20_000);
    assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken`);
    release();
    await clients[0]?.close("ended");
    await call;
  });
});
