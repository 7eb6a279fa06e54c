/** A cancel posted at a node that has nothing to do with the call reaches the upstream at once. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { CANCEL_UPSTREAM, measureCancels } from "../bench/cancels.ts";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";

/** Far above what it takes (test/bench/README.md), and far below any timer that it could be waiting for. */
const BOUND_MS = 250;
const skip = redisAvailable() ? false : REDIS_MISSING;

describe("a cancel posted at a third node", { skip }, () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster({ nodes: 3, mcpServers: { cancel: { module: CANCEL_UPSTREAM } } });
  });
  after(() => cluster?.close());

  it(`is seen by the upstream within ${BOUND_MS} ms`, async () => {
    const times = await measureCancels(cluster, "cancel", 20);
    // One of twenty may meet a busy machine.
    const [slowest, second] = times.sort((a, b) => b - a);
    assert.ok((second ?? 0) <= BOUND_MS, `slowest: ${slowest?.toFixed(1)} and ${second?.toFixed(1)} ms`);
  });
});
