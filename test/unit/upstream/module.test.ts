import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { createUpstreamClient } from "../../../transports/upstream/client.ts";
import type { UpstreamClient, UpstreamConfig } from "../../../transports/upstream/contract.ts";
import { HANDSHAKE, RecordingOwner, testServices, until, upstream } from "./kit.ts";

const open: UpstreamClient[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.close("ended")));
});

function config(file: string, overrides: Partial<UpstreamConfig> = {}): UpstreamConfig {
  return upstream({ kind: "module", module: new URL(`./fixtures/${file}`, import.meta.url).href }, overrides);
}

function start(file: string, overrides: Partial<UpstreamConfig> = {}) {
  const owner = new RecordingOwner();
  const handshake = { ...HANDSHAKE, capabilities: { sampling: {}, elicitation: { form: {} } } };
  const client = createUpstreamClient(config(file, overrides), {
    epoch: "e1",
    owner,
    handshake,
    services: testServices(),
    shared: overrides.isolation === "shared",
  });
  open.push(client);
  const tool = async (name: string, args: Record<string, unknown>, related = 1, progress = false): Promise<string> => {
    const params = { name, arguments: args };
    const result = (await client.request("tools/call", params, { related, progress })) as {
      content: { text: string }[];
    };
    return result.content[0]?.text ?? "";
  };
  return { client, owner, tool };
}

for (const version of ["v1", "v2"]) {
  describe(`an in-process server written with the SDK ${version}`, () => {
    const file = `server_${version}.mjs`;

    it("answers", async () => {
      const { client, tool } = start(file);
      assert.match(String((await client.start()).serverInfo.name), new RegExp(`^${version}`));
      assert.equal(await tool("echo", { text: "hello" }), "hello");
    });

    it("asks in the course of a call, and is answered", async () => {
      const { owner, tool } = start(file);
      owner.answer = async (_method, params) => ({ action: "accept", content: { said: params?.message } });
      const [one, two] = await Promise.all([tool("ask", { text: "one" }, 1), tool("ask", { text: "two" }, 2)]);
      assert.match(one, /"said":"one"/);
      assert.match(two, /"said":"two"/);
      assert.deepEqual(owner.requests.map(({ params, related }) => [params?.message, related]).sort(), [
        ["one", 1],
        ["two", 2],
      ]);
    });

    it("that asks outside of its handler's context is still tied to the call when sessions share it", async () => {
      const { owner, tool } = start(file, { isolation: "shared" });
      owner.answer = async (_method, params) => ({ action: "accept", content: { said: params?.message } });
      await Promise.all([tool("ask_aside", { text: "one" }, 1), tool("ask_aside", { text: "two" }, 2)]);
      assert.deepEqual(owner.requests.map(({ params, related }) => [params?.message, related]).sort(), [
        ["one", 1],
        ["two", 2],
      ]);
    });

    it("sends log lines and progress tied to their call", async () => {
      const { owner, tool } = start(file);
      const [, token] = await Promise.all([tool("log", { text: "a" }, 1), tool("progress", {}, 2, true)]);
      assert.match(token, /^e1:\d+$/);
      assert.deepEqual(owner.notifications.map(({ method, related }) => [method, related]).sort(), [
        ["notifications/message", 1],
        ["notifications/progress", 2],
      ]);
    });

    it("learns of a cancel through its handler's signal", async () => {
      const { client, tool } = start(file);
      await client.start();
      const seen = globalThis as { abortedCalls?: number };
      const before = seen.abortedCalls ?? 0;
      const call = tool("wait", {}, 5);
      call.catch(() => {});
      await until("the call is on its way", () => client.running);
      await tool("echo", { text: "behind it" }, 6);
      client.cancel(5, "not needed");
      await assert.rejects(call, { code: "cancelled" });
      await until("the handler was aborted", () => (seen.abortedCalls ?? 0) > before);
    });

    it("may ask for its client's stream to be closed", async () => {
      const { owner, tool } = start(file);
      assert.equal(await tool("close_stream", {}, 9), "closed");
      assert.deepEqual(owner.closedStreams, [9]);
    });
  });
}

describe("a module that cannot be used", () => {
  const cases: [file: string, message: RegExp][] = [
    ["module_half_memory.mjs", /module_half_memory\.mjs: it exports snapshot as a function and restore as undefined/],
    ["module_throws.mjs", /module_throws\.mjs: its default export threw: no licence/],
    [
      "module_not_a_factory.mjs",
      /its default export is an object that is no server; export a function that returns an McpServer/,
    ],
    ["module_no_default.mjs", /its default export is undefined; export a function/],
    ["module_returns_nothing.mjs", /its default export returned undefined; return a new McpServer/],
    ["module_broken.mjs", /module_broken\.mjs cannot be loaded: .*does_not_exist/],
    ["module_missing.mjs", /module_missing\.mjs cannot be loaded/],
  ];
  for (const [file, message] of cases) {
    it(`is named with what to do about it: ${file}`, async () => {
      const { client } = start(file);
      await assert.rejects(client.start(), (error: Error & { started?: string }) => {
        assert.match(error.message, message);
        assert.equal(error.started, "no");
        return true;
      });
    });
  }
});
