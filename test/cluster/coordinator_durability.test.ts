/**
 * What is left when Redis and the owner of a session die at the same moment: what Redis itself had on its disk. Living
 * owners write back what they own whatever Redis kept; this is about what only Redis holds.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openSession } from "../harness/mcp_requests.ts";
import { REDIS_MISSING, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { HEALED_MS, PATH, startTroubleCluster } from "./trouble_kit.ts";

const KEPT = [
  ["an append-only file, appendfsync always", ["--appendonly", "yes", "--appendfsync", "always"]],
  ["an append-only file, appendfsync everysec", ["--appendonly", "yes", "--appendfsync", "everysec"]],
] as const;

describe("kill -9 of Redis and of an owner at once", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  /** Two nodes, a session on each; node 0 and Redis die, Redis comes back. */
  const bothDie = async (args: readonly string[], then: (status: () => Promise<number>) => Promise<void>) => {
    const redis = await startRedis({ args });
    const trouble = await startTroubleCluster({ nodes: 2, redis });
    try {
      const { cluster } = trouble;
      const orphaned = await openSession(`${cluster.urls[0]}${PATH}`);
      const living = await openSession(`${cluster.urls[1]}${PATH}`);
      await Promise.all([redis.kill(), cluster.kill(0)]);
      await redis.start();
      await waitUntil(
        async () => (await trouble.call(1, living)).status === 200,
        HEALED_MS,
        "the living node's session to be answered",
      );
      await then(async () => (await trouble.statusOf(1, orphaned)).status);
    } finally {
      await trouble.close();
    }
  };

  for (const [name, args] of KEPT) {
    it(`loses no session with ${name}`, () =>
      bothDie(args, async (status) => {
        await waitUntil(
          async () => {
            const seen = await status();
            assert.notEqual(seen, 404, "the session must not be lost");
            return seen === 200;
          },
          HEALED_MS,
          "the dead node's session to be answered",
        );
      }));
  }

  it("with nothing kept: the dead node's session is unknown, and said to be, once the living have come back", () =>
    bothDie([], async (status) => {
      const seen = new Set<number>();
      await waitUntil(
        async () => {
          const now = await status();
          seen.add(now);
          return now === 404;
        },
        HEALED_MS,
        "the honest answer",
      );
      assert.deepEqual(
        [...seen].filter((one) => one !== 404 && one !== 503),
        [],
      );
    }));
});
