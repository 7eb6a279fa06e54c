/**
 * Any replica, any request: three nodes, and every single HTTP request goes to one of them by chance. The statements are
 * made with both generations of the SDK's client, for a module upstream and for `server-everything` over stdio.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { ask, post } from "../harness/mcp_requests.ts";
import { type RandomFetch, randomFetch } from "../harness/random_fetch.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { seedOf } from "../harness/seed.ts";
import { waitUntil } from "../harness/wait.ts";
import { ANSWERS, type Connect, connectV1, connectV2, type TestClient } from "./test_client.ts";

const SOON_MS = 10_000;
const SESSIONS = 200;
const GENERATIONS: [string, Connect][] = [
  ["SDK v1 client", connectV1],
  ["SDK v2 client", connectV2],
];

describe("three nodes, a random one for every request", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;
  const seed = seedOf("any replica");
  /** A balancer of its own for each test, so that one test's requests do not shift another's. */
  const balancer = (): RandomFetch => randomFetch(cluster.urls, seed);

  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      mcpServers: {
        exercise: { module: new URL("./fixtures/exercise.mjs", import.meta.url) },
        everything: {
          command: process.versions.deno === undefined ? process.execPath : "node",
          args: [fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js")), "stdio"],
        },
      },
    });
  });
  after(() => cluster?.close());

  /** Runs `body` with a connected client, and closes it. */
  const withClient = async (
    connect: Connect,
    path: string,
    body: (client: TestClient, balance: RandomFetch) => Promise<void>,
  ): Promise<void> => {
    const balance = balancer();
    const client = await connect(path, balance.fetch);
    try {
      await body(client, balance);
    } finally {
      await client.close();
    }
  };

  /** The clients open their GET stream in the background. */
  const listening = (balance: RandomFetch) =>
    waitUntil(
      () => balance.routed.some((one) => one.method === "GET" && one.status === 200),
      SOON_MS,
      "the GET stream",
    );

  const notice = (client: TestClient, method: string, like: string, what: string) =>
    waitUntil(
      () => client.notices.find((one) => one.method === method && JSON.stringify(one.params).includes(like)),
      SOON_MS,
      `${what}; it got ${JSON.stringify(client.notices.slice(-5))}`,
    );

  for (const [generation, connect] of GENERATIONS) {
    describe(`${generation}, module upstream`, () => {
      const path = "/mcp/exercise";

      it("lists and calls tools, and tells a tool's failure", () =>
        withClient(connect, path, async (client, balance) => {
          assert.equal((await client.toolNames()).includes("echo"), true);
          for (let n = 0; n < 12; n++) assert.equal((await client.call("echo", { text: `${n}` })).text, `${n}`);
          const failed = await client.call("fail");
          assert.equal(failed.isError, true);
          assert.match(failed.text, /as asked/);
          assert.equal((await client.call("big", { bytes: 1_000_000 })).text.length, 1_000_000);
          await client.ping();
          const used = new Set(balance.routed.filter(({ method }) => method === "POST").map(({ node }) => node));
          assert.equal(used.size, 3, "the requests of this session should have met every node");
        }));

      it("lists and reads resources and templates", () =>
        withClient(connect, path, async (client) => {
          assert.deepEqual(await client.resourceUris(), ["note://fixed"]);
          assert.deepEqual(await client.templateUris(), ["note://number/{id}"]);
          assert.equal(await client.readResource("note://fixed"), "a fixed note");
          assert.equal(await client.readResource("note://number/7"), "note number 7");
          await assert.rejects(client.readResource("note://nowhere/1"));
        }));

      it("lists and gets prompts, and completes their arguments", () =>
        withClient(connect, path, async (client) => {
          assert.deepEqual(await client.promptNames(), ["greet"]);
          assert.equal(await client.promptText("greet", { name: "Ada" }), "Greet Ada.");
          assert.deepEqual(await client.complete("greet", "name", "A"), ["Ada", "Alan"]);
        }));

      it("sends log messages from the level the client set", () =>
        withClient(connect, path, async (client, balance) => {
          // Log messages are not kept for later: the stream must be there first.
          await listening(balance);
          await client.setLoggingLevel("warning");
          await client.call("log", { marker: "first" });
          await notice(client, "notifications/message", "first error", "the error of the first call");
          const said = client.notices.map(({ params }) => String(params.data));
          assert.deepEqual(said, ["first warning", "first error"]);
        }));

      it("tells subscribers of updates, and nobody after unsubscribe", () =>
        withClient(connect, path, async (client) => {
          const updated = "notifications/resources/updated";
          await client.subscribe("note://number/1");
          assert.equal((await client.call("touch", { uri: "note://number/1" })).text, "told");
          await notice(client, updated, "note://number/1", "the update of a subscribed resource");
          await client.unsubscribe("note://number/1");
          await client.subscribe("note://number/2");
          assert.equal((await client.call("touch", { uri: "note://number/1" })).text, "nobody to tell");
          await client.call("touch", { uri: "note://number/2" });
          await notice(client, updated, "note://number/2", "the update of the other resource");
          // The second update came after where a stray first one would have been.
          assert.equal(client.notices.filter(({ method }) => method === updated).length, 2);
        }));

      it("passes changed lists on", () =>
        withClient(connect, path, async (client) => {
          await client.call("change_lists");
          for (const list of ["tools", "prompts", "resources"]) {
            await notice(client, `notifications/${list}/list_changed`, "", `the changed ${list}`);
          }
        }));

      it("reports progress in order and in full, to the call that asked", () =>
        withClient(connect, path, async (client) => {
          const reported = async (steps: number): Promise<number[]> => {
            const seen: number[] = [];
            await client.call("progress", { steps }, { onprogress: ({ progress }) => void seen.push(progress) });
            return seen;
          };
          const both = await Promise.all([reported(5), reported(9)]);
          assert.deepEqual(both, [
            [1, 2, 3, 4, 5],
            [1, 2, 3, 4, 5, 6, 7, 8, 9],
          ]);
        }));

      it("brings the server's questions to the client and the answers back", () =>
        withClient(connect, path, async (client) => {
          for (let round = 0; round < 4; round++) {
            assert.equal((await client.call("elicit", { message: "who?" })).text, `accept ${ANSWERS.name}`);
            assert.equal((await client.call("sample", { prompt: "say" })).text, ANSWERS.model);
            assert.equal((await client.call("roots")).text, ANSWERS.root);
          }
        }));

      it("has the GET stream on one node, calls on another, and cancels from a third", async () => {
        const balance = balancer();
        let posts = 0;
        balance.steer((method) => (method === "GET" ? 0 : posts));
        posts = 1;
        const client = await connect(path, balance.fetch);
        try {
          await listening(balance);
          await client.call("change_lists");
          await notice(client, "notifications/tools/list_changed", "", "a notification on the other node's stream");

          const cancel = new AbortController();
          const call = client.call("wait", { name: "long", ms: 30_000 }, { signal: cancel.signal });
          const outcome = assert.rejects(call);
          await waitUntil(
            async () => (await client.call("state_of", { name: "long" })).text === "waiting",
            SOON_MS,
            "the call to run",
          );
          posts = 2;
          cancel.abort("no longer needed");
          await outcome;
          await waitUntil(
            async () => (await client.call("state_of", { name: "long" })).text === "cancelled",
            SOON_MS,
            "the cancellation to reach the handler",
          );
          const nodesOf = (method: string) =>
            new Set(balance.routed.filter((one) => one.method === method).map(({ node }) => node));
          assert.deepEqual([nodesOf("GET"), nodesOf("POST")], [new Set([0]), new Set([1, 2])]);
        } finally {
          await client.close();
        }
      });

      it("is unknown on every node after DELETE on one", () =>
        withClient(connect, path, async (client, balance) => {
          const headers = { "mcp-session-id": client.sessionId, "mcp-protocol-version": "2025-11-25" };
          await client.terminate();
          assert.equal(balance.routed.at(-1)?.method, "DELETE");
          for (const url of cluster.urls) {
            const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
            assert.equal((await post(url + path, ping, headers)).status, 404);
            assert.equal((await ask("GET", url + path, { ...headers, accept: "text/event-stream" })).status, 404);
            assert.equal((await ask("DELETE", url + path, headers)).status, 404);
          }
        }));
    });

    describe(`${generation}, server-everything over stdio`, () => {
      const path = "/mcp/everything";

      it("calls tools with plain, structured and long answers", () =>
        withClient(connect, path, async (client) => {
          assert.equal((await client.toolNames()).includes("get-sum"), true);
          for (let n = 0; n < 6; n++)
            assert.match((await client.call("get-sum", { a: n, b: 1 })).text, new RegExp(`\\b${n + 1}\\b`));
          assert.match((await client.call("get-tiny-image")).text, /\[image\]/);
          const steps: number[] = [];
          const onprogress = ({ progress }: { progress: number }) => void steps.push(progress);
          await client.call("trigger-long-running-operation", { duration: 0.2, steps: 4 }, { onprogress });
          assert.deepEqual(steps, [1, 2, 3, 4]);
        }));

      it("reads resources, gets prompts, completes arguments, sets the log level", () =>
        withClient(connect, path, async (client) => {
          assert.equal((await client.templateUris()).includes("demo://resource/dynamic/text/{resourceId}"), true);
          assert.match(await client.readResource("demo://resource/dynamic/text/3"), /^Resource 3:/);
          assert.match(await client.promptText("args-prompt", { city: "Oslo" }), /Oslo/);
          assert.deepEqual(await client.complete("completable-prompt", "department", "S"), ["Sales", "Support"]);
          await client.setLoggingLevel("error");
        }));

      it("tells subscribers of updates", () =>
        withClient(connect, path, async (client) => {
          const uri = "demo://resource/dynamic/text/5";
          await client.subscribe(uri);
          await client.call("toggle-subscriber-updates");
          await notice(client, "notifications/resources/updated", uri, "the update of a subscribed resource");
          await client.call("toggle-subscriber-updates");
          await client.unsubscribe(uri);
        }));

      it("brings the server's questions to the client and the answers back", () =>
        withClient(connect, path, async (client) => {
          assert.match((await client.call("trigger-elicitation-request")).text, new RegExp(`Name: ${ANSWERS.name}`));
          assert.match(
            (await client.call("trigger-sampling-request", { prompt: "say" })).text,
            new RegExp(ANSWERS.model),
          );
          assert.match((await client.call("get-roots-list")).text, new RegExp(ANSWERS.root));
        }));

      it("forgets a cancelled call and goes on", () =>
        withClient(connect, path, async (client) => {
          const cancel = new AbortController();
          const call = client.call(
            "trigger-long-running-operation",
            { duration: 20, steps: 2 },
            { signal: cancel.signal },
          );
          const outcome = assert.rejects(call);
          assert.match((await client.call("echo", { message: "meanwhile" })).text, /meanwhile/);
          cancel.abort("no longer needed");
          await outcome;
          assert.match((await client.call("echo", { message: "after" })).text, /after/);
        }));
    });
  }

  it("serves all upstreams at /mcp, with names that tell them apart", () =>
    withClient(connectV2, "/mcp", async (client) => {
      const names = await client.toolNames();
      const echoes = names.filter((name) => name.endsWith("echo"));
      assert.equal(echoes.length, 2, `one echo of each upstream among ${names.join(", ")}`);
      for (const name of echoes) {
        const args = name.includes("exercise") ? { text: "hello" } : { message: "hello" };
        assert.match((await client.call(name, args)).text, /hello/);
      }
    }));

  it(`serves ${SESSIONS} sessions at once without a failure`, async () => {
    const balance = balancer();
    const one = async (n: number): Promise<void> => {
      const connect = n % 2 === 0 ? connectV1 : connectV2;
      const client = await connect("/mcp/exercise", balance.fetch);
      try {
        assert.equal((await client.call("echo", { text: `session ${n}` })).text, `session ${n}`);
        assert.equal((await client.call("elicit", { message: `${n}` })).text, `accept ${ANSWERS.name}`);
        const seen: number[] = [];
        await client.call("progress", { steps: 3 }, { onprogress: ({ progress }) => void seen.push(progress) });
        assert.deepEqual(seen, [1, 2, 3]);
        assert.equal((await client.call("echo", { text: `again ${n}` })).text, `again ${n}`);
        await client.terminate();
      } finally {
        await client.close();
      }
    };
    const outcomes = await Promise.allSettled(Array.from({ length: SESSIONS }, (_, n) => one(n)));
    const failures = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [String(outcome.reason)] : []));
    assert.deepEqual(failures, []);
    const refused = balance.routed.filter(({ status }) => status !== undefined && status >= 400);
    assert.deepEqual(refused, []);
  });
});
