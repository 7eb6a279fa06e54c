/**
 * Upstream processes never outlive their owner: not when the node is killed, not when it is frozen. They have ended before
 * any other node sees it dead, so before a successor may start its own. The upstream here ignores SIGTERM and the end of
 * its input, and has a child of its own that does too.
 */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { type Cluster, type NodeInfo, startCluster } from "../harness/cluster.ts";
import { callBody, openSession, post } from "../harness/mcp_requests.ts";
import { alive, hasProc, processStat } from "../harness/processes.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";

const PATH = "/mcp/exercise";
const TTL_MS = 2_000;
const GRACE_MS = 300;
const missing = !redisAvailable() ? REDIS_MISSING : hasProc ? false : "needs /proc";

describe("upstream processes of a node that is gone", { skip: missing }, () => {
  let cluster: Cluster;
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "troupe-guard-"));
    cluster = await startCluster({
      nodes: 2,
      mcpServers: {
        exercise: {
          command: process.versions.deno === undefined ? process.execPath : "node",
          args: [fileURLToPath(new URL("./fixtures/exercise_stdio.mjs", import.meta.url))],
          env: { EXERCISE_PIDS: folder },
        },
      },
      config: {
        cluster: { node_lease_ttl_ms: TTL_MS, node_lease_renew_ms: TTL_MS / 4, node_lease_grace_ms: GRACE_MS },
      },
    });
  });
  afterEach(async () => {
    await cluster?.close();
    for (const pid of await upstreams()) if (alive(pid)) process.kill(pid, "SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });

  /** Process ids of every upstream ever started, and of their children. */
  const upstreams = async (): Promise<number[]> => (await readdir(folder)).map(Number);
  const living = async (): Promise<number[]> => (await upstreams()).filter(alive);

  /** Sessions on node 0, each with an upstream of its own that has answered. */
  const startUpstreams = async (sessions: number): Promise<void> => {
    const url = `${cluster.urls[0]}${PATH}`;
    const one = async (): Promise<void> => {
      const { headers } = await openSession(url);
      const reply = await post(url, callBody(1, "echo", { text: "hello" }), headers);
      assert.deepEqual(reply.message?.result?.content, [{ type: "text", text: "hello" }]);
    };
    await Promise.all(Array.from({ length: sessions }, one));
    assert.ok((await living()).length >= 2 * sessions, "each upstream and its child should be there");
  };

  /** Waits until node 1 sees the process `pid` dead; none of its upstreams may have lived just before. */
  const seenDead = async (pid: number): Promise<void> => {
    const { left } = await waitUntil(
      async () => {
        const left = await living();
        const nodes = await cluster.api<NodeInfo[]>(1, "nodes?active=true");
        return nodes.some((node) => node.pid === pid) ? undefined : { left };
      },
      TTL_MS + GRACE_MS + 10_000,
      "the other node to see it dead",
      5,
    );
    assert.deepEqual(left, [], "upstreams must have ended before their node is declared dead");
  };

  it("have ended when another node sees that theirs was killed", async () => {
    await startUpstreams(3);
    const { pid } = cluster.node(0);
    process.kill(pid, "SIGKILL");
    await seenDead(pid);
  });

  it("have ended when another node sees that theirs is frozen for longer than its lease, and stay ended when it wakes", async () => {
    await startUpstreams(2);
    const first = new Set(await upstreams());
    const { pid } = cluster.node(0);
    cluster.freeze(0);
    await seenDead(pid);
    assert.equal(processStat(pid)?.state, "T", "the node should still be frozen");
    cluster.thaw(0);
    // It either rejoins as a new incarnation or ends; it never carries on with what it lost.
    await waitUntil(
      async () =>
        !cluster.node(0).running ||
        (await cluster.api<NodeInfo[]>(1, "nodes?active=true")).some((node) => node.pid === pid),
      15_000,
      "the woken node to rejoin or to end",
    );
    assert.deepEqual([...first].filter(alive), []);
  });
});
