/** One cluster of Node.js and Deno nodes: each serves what the other owns, in both directions. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Cluster, type NodeInfo, startCluster } from "../harness/cluster.ts";
import { ask, callBody, openSession, post } from "../harness/mcp_requests.ts";
import { randomFetch } from "../harness/random_fetch.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { ANSWERS, connectV2 } from "./test_client.ts";

const PATH = "/mcp/exercise";

describe("a node on Node.js and a node on Deno", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster({
      nodes: 2,
      runtime: ["node", "deno"],
      mcpServers: { exercise: { module: new URL("./fixtures/exercise.mjs", import.meta.url) } },
    });
  });
  after(() => cluster?.close());

  it("see each other, and tell what they run on", async () => {
    for (const index of [0, 1]) {
      const nodes = await cluster.api<NodeInfo[]>(index, "nodes?active=true");
      const runtimes = nodes.map(({ runtime }) => runtime.split(" ")[0]).sort();
      assert.deepEqual(runtimes, ["deno", "node"]);
    }
  });

  for (const [owner, other] of [
    [0, 1],
    [1, 0],
  ] as const) {
    it(`node ${other} answers for a session of node ${owner}, until it is deleted`, async () => {
      const { headers } = await openSession(cluster.urls[owner] + PATH);
      const far = cluster.urls[other] + PATH;
      for (let n = 1; n <= 50; n++) {
        const reply = await post(far, callBody(n, "echo", { text: `call ${n}` }), headers);
        assert.deepEqual(reply.message?.result?.content, [{ type: "text", text: `call ${n}` }]);
      }
      const big = await post(far, callBody("big", "big", { bytes: 2_000_000 }), headers);
      assert.equal(big.message?.error, undefined);
      assert.equal(JSON.stringify(big.message?.result?.content).length > 2_000_000, true);
      assert.equal(Math.floor((await ask("DELETE", far, headers)).status / 100), 2);
      const afterwards = await post(cluster.urls[owner] + PATH, callBody(99, "echo", { text: "?" }), headers);
      assert.equal(afterwards.status, 404);
    });
  }

  it("hold a conversation over both, a random one for every request", async () => {
    const client = await connectV2(PATH, randomFetch(cluster.urls).fetch);
    try {
      for (let round = 0; round < 5; round++) {
        assert.equal((await client.call("elicit", { message: "who?" })).text, `accept ${ANSWERS.name}`);
        const seen: number[] = [];
        await client.call("progress", { steps: 4 }, { onprogress: ({ progress }) => void seen.push(progress) });
        assert.deepEqual(seen, [1, 2, 3, 4]);
      }
      await client.terminate();
    } finally {
      await client.close();
    }
  });
});
