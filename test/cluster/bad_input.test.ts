/**
 * Bad input, end to end: clients that send what they must not, and upstreams that misbehave. Each gets its specified
 * answer, everybody else is served meanwhile, and memory stays flat.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import {
  ask,
  callBody,
  initializeBody,
  type OpenSession,
  openSession,
  post,
  type Reply,
} from "../harness/mcp_requests.ts";
import { residentBytes } from "../harness/processes.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { within } from "../harness/wait.ts";

const START_TIMEOUT_MS = 2_000;
/** Longest time an answer about a broken upstream may take: its start time-out, on a busy machine. */
const PATIENCE_MS = START_TIMEOUT_MS + 6_000;
const MAX_BODY = 256 * 1024;
/** A window of rubbish is 28 MB; this much of it may stay, and it may take so many windows for the heap to settle. */
const SETTLED_MB = 6;
const WINDOWS = 10;
/** What a node may grow by while an upstream floods it, bytes; the flood is hundreds of megabytes a second. */
const GROWTH = 96 * 1024 * 1024;

const node = process.versions.deno === undefined ? process.execPath : "node";
const rude = (how: string) => ({
  command: node,
  args: [fileURLToPath(new URL("./fixtures/rude.mjs", import.meta.url)), how],
  start_timeout_ms: START_TIMEOUT_MS,
});

describe("bad input to a cluster", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;
  /** A session that must be served through all of it. */
  let bystander: OpenSession;

  const everywhere = (path: string): string[] => cluster.urls.map((url) => url + path);

  before(async () => {
    cluster = await startCluster({
      nodes: 2,
      mcpServers: {
        good: { module: new URL("./fixtures/exercise.mjs", import.meta.url) },
        crash: rude("crash"),
        garbage: rude("garbage"),
        silent: rude("silent"),
        flood: rude("flood"),
        endless: rude("endless"),
      },
      config: { gateway: { server: { max_body_bytes: MAX_BODY } } },
    });
    bystander = await openSession(`${cluster.urls[0]}/mcp/good`);
  });
  after(() => cluster?.close());

  /** One call of the bystander on each node. */
  const othersAreServed = async (): Promise<void> => {
    for (const url of everywhere("/mcp/good")) {
      const reply = await within(
        post(url, callBody(1, "echo", { text: "still here" }), bystander.headers),
        5_000,
        "a call",
      );
      assert.deepEqual(reply.message?.result?.content, [{ type: "text", text: "still here" }]);
    }
  };

  describe("from a client", () => {
    const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
    const refused = (reply: Reply, status: number, code?: number): void => {
      assert.equal(reply.status, status, `${reply.status} ${reply.text.slice(0, 300)}`);
      if (code !== undefined) assert.equal(reply.message?.error?.code, code, reply.text);
    };

    it("what is not JSON, not JSON-RPC, too large, or of the wrong type is refused as specified", async () => {
      for (const url of everywhere("/mcp/good")) {
        const { headers } = bystander;
        refused(await post(url, "{oh no", headers), 400, -32700);
        refused(await post(url, { hello: "world" }, headers), 400, -32600);
        refused(await post(url, callBody(1, "echo", { text: "x".repeat(MAX_BODY) }), headers), 413);
        refused(await post(url, ping, { ...headers, "content-type": "text/plain" }), 415);
        refused(await post(url, ping, { ...headers, accept: "application/json" }), 406);
        refused(await ask("GET", url, { ...headers, accept: "application/json" }), 406);
      }
      await othersAreServed();
    });

    it("sessions that nobody has, versions that nobody knows, batches and missing ids are refused as specified", async () => {
      for (const url of everywhere("/mcp/good")) {
        const { headers } = bystander;
        refused(await post(url, ping, { ...headers, "mcp-session-id": "made-up" }), 404);
        refused(await post(url, ping), 400);
        refused(await post(url, ping, { ...headers, "mcp-protocol-version": "1999-12-31" }), 400);
        refused(await post(url, [ping, { ...ping, id: 2 }], headers), 400, -32600);
        refused(await post(url, initializeBody(), { origin: "https://evil.example" }), 403);
      }
      await othersAreServed();
    });

    it("an upstream that is not configured is unknown", async () => {
      for (const url of everywhere("/mcp/nothing")) refused(await post(url, initializeBody()), 404);
    });

    it("a session of somebody else does not exist, on any node, by any method", async () => {
      const path = "/mcp/good";
      const owner = { authorization: "Bearer one" };
      const session = await openSession(cluster.urls[0] + path, owner);
      const strangers: Record<string, string>[] = [{ authorization: "Bearer two" }, {}];
      for (const url of everywhere(path)) {
        for (const stranger of strangers) {
          const headers = { ...session.headers, authorization: "", ...stranger };
          const bare = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ""));
          const foreign = await post(url, ping, headers);
          const unknown = await post(url, ping, { ...headers, "mcp-session-id": "made-up" });
          refused(foreign, 404);
          assert.equal(foreign.text, unknown.text, "nothing may tell a foreign session from none");
          refused(await ask("GET", url, { ...bare, accept: "text/event-stream" }), 404);
          refused(await ask("DELETE", url, bare), 404);
        }
        const own = await post(url, callBody(2, "echo", { text: "mine" }), session.headers);
        assert.deepEqual(own.message?.result?.content, [{ type: "text", text: "mine" }]);
      }
    });
  });

  describe("from an upstream", () => {
    /** What a client is told when it wants to use a broken upstream: an error that names it, in time. */
    const complaint = async (name: string): Promise<string> => {
      const url = `${cluster.urls[1]}/mcp/${name}`;
      const hello = await within(post(url, initializeBody()), PATIENCE_MS, `an answer to initialize at ${name}`);
      if (hello.message?.error !== undefined) return hello.message.error.message;
      const headers = { "mcp-session-id": hello.headers.get("mcp-session-id") ?? "" };
      await post(url, { jsonrpc: "2.0", method: "notifications/initialized" }, headers);
      const list = { jsonrpc: "2.0", id: 2, method: "tools/list", params: {} };
      const reply = await within(post(url, list, headers), PATIENCE_MS, `an answer to tools/list at ${name}`);
      assert.ok(reply.message?.error !== undefined, `an error, not ${reply.text.slice(0, 300)}`);
      return reply.message.error.message;
    };

    for (const [name, mentions] of [
      ["crash", /exit|ended|crash|3/i],
      ["garbage", /JSON|garbage|time|start/i],
      ["silent", /answer|time|start/i],
      ["endless", /line|long|limit|large|time|start/i],
    ] as const) {
      it(`${name}: its own clients are told so, all others are served meanwhile`, async () => {
        const told = complaint(name);
        for (let n = 0; n < 5; n++) await othersAreServed();
        const message = await told;
        assert.match(message, new RegExp(name), "the message names the upstream");
        assert.match(message, mentions);
        await othersAreServed();
      });
    }

    it("flood: it cannot drown those who do not listen to it, nor the node", async () => {
      const url = `${cluster.urls[0]}/mcp/flood`;
      const before = residentBytes(cluster.node(0).pid);
      const { headers } = await openSession(url);
      const list = { jsonrpc: "2.0", id: 2, method: "tools/list", params: {} };
      await within(post(url, list, headers), PATIENCE_MS, "the flooding upstream to answer").catch(() => {});
      for (let n = 0; n < 20; n++) await othersAreServed();
      const ended = await ask("DELETE", url, headers);
      assert.ok(ended.status < 300, `DELETE was answered ${ended.status} ${ended.text}`);
      const grown = residentBytes(cluster.node(0).pid) - before;
      assert.ok(grown < GROWTH, `the node grew by ${Math.round(grown / 1e6)} MB`);
    });

    it("at /mcp: the others' tools are there although some upstreams are broken", async () => {
      const url = `${cluster.urls[0]}/mcp`;
      const { headers } = await within(openSession(url), 5 * PATIENCE_MS, "a session over all upstreams");
      const list = { jsonrpc: "2.0", id: 2, method: "tools/list", params: {} };
      const reply = await within(post(url, list, headers), 5 * PATIENCE_MS, "the list of tools");
      const names = ((reply.message?.result?.tools ?? []) as { name: string }[]).map(({ name }) => name);
      assert.ok(
        names.some((name) => name.endsWith("echo")),
        `${reply.text.slice(0, 300)}`,
      );
    });
  });

  it("leaves memory flat", async () => {
    const url = `${cluster.urls[0]}/mcp/good`;
    const rubbish = async (rounds: number): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        await Promise.all([
          ...Array.from({ length: 8 }, () => post(url, "{".repeat(100_000), bystander.headers)),
          ...Array.from({ length: 8 }, () => post(url, "x".repeat(MAX_BODY + 1), bystander.headers).catch(() => {})),
          ...Array.from({ length: 8 }, (_, n) =>
            post(url, initializeBody(), { "mcp-session-id": `made-up-${round}-${n}` }),
          ),
          ...Array.from({ length: 8 }, (_, n) => post(url, callBody(n, "no such tool"), bystander.headers)),
        ]);
      }
    };
    const resident = (): number[] => cluster.urls.map((_, index) => residentBytes(cluster.node(index).pid));
    const growth: number[][] = [];
    // A heap grows until it settles; a leak grows in every window, by what the window sent or more.
    for (let window = 0; window < WINDOWS; window++) {
      const before = resident();
      await rubbish(10);
      growth.push(resident().map((bytes, index) => Math.round((bytes - (before[index] ?? 0)) / 1e6)));
      if (window > 0 && growth.at(-1)?.every((megabytes) => megabytes < SETTLED_MB)) break;
    }
    const settled = growth.slice(1).some((nodes) => nodes.every((megabytes) => megabytes < SETTLED_MB));
    assert.ok(settled, `each window of rubbish made the nodes grow, MB: ${JSON.stringify(growth)}`);
    await othersAreServed();
  });
});
