/** Actors placed by their key move to a node that joins, with what they have in memory, where `cluster.rebalance` is on. */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { type RunningNode, startNode } from "../../runtime/index.ts";
import { silentLogger } from "../../runtime/observe/log.ts";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { SpreadActor } from "./fixtures/spread.ts";

const KEYS = Array.from({ length: 12 }, (_, key) => `k${key}`);

describe("rebalancing", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let redis: RedisServer | undefined;
  const nodes: RunningNode[] = [];
  after(async () => {
    for (const node of nodes) await node.close();
    await redis?.stop();
  });

  it("brings actors to the node that their key belongs to", async () => {
    redis = await startRedis();
    const { url } = redis;
    const start = async (id: string): Promise<RunningNode> => {
      const config = {
        gateway: { server: { bind_address: "127.0.0.1:0" } },
        node: { id },
        workers: 0,
        cluster: { kind: "redis", url, key_prefix: "troupe-rebalance:", rebalance: true },
        extensions: [new URL("./fixtures/spread.ts", import.meta.url)],
      } as const;
      const node = await startNode({ ...config, extensions: [...config.extensions] }, { log: silentLogger });
      nodes.push(node);
      return node;
    };
    const one = await start("one");
    for (const key of KEYS) await one.actor(SpreadActor, key).bump();
    const two = await start("two");
    const places = await waitUntil(
      async () => {
        const found = await Promise.all(KEYS.map((key) => two.actor(SpreadActor, key).where()));
        return found.includes("two") ? found : undefined;
      },
      30_000,
      "actors on the second node",
      200,
    );
    assert.ok(places.includes("one"), "not all keys belong to it");
    for (const key of KEYS) assert.equal(await one.actor(SpreadActor, key).bump(), 2, "memory moved along");
  });
});
