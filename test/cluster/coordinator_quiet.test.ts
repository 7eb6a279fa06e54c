/**
 * The coordinator stays off the call path: twice the calls cost Redis no more commands. Counted by Redis itself, which
 * also counts what scripts do; what an idle cluster costs in the same time is subtracted.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { callBody, type OpenSession, openSession, post } from "../harness/mcp_requests.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";

const PATH = "/mcp/exercise";
const SESSIONS = 32;
const CALLS = 10_000;
const IDLE_MS = 4_000;
/** Beats of the nodes do not fall evenly into every window; a command per call would be thousands. */
const JITTER = 60;

describe("what calls cost the coordinator", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;
  let sessions: OpenSession[];
  /** Commands per millisecond of a cluster with these sessions and no calls. */
  let idleRate: number;

  /** All commands Redis has run, its own count. `INFO` counts for the next reading, on both sides alike. */
  const commands = async (): Promise<number> => {
    const stats = (await cluster.redis?.info("commandstats")) ?? "";
    return [...stats.matchAll(/^cmdstat_[^:]+:calls=(\d+)/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
  };

  /** Commands that `work` caused, beyond what the time alone costs. */
  const costOf = async (work: () => Promise<unknown>): Promise<number> => {
    const [begin, before] = [performance.now(), await commands()];
    await work();
    const [took, counted] = [performance.now() - begin, (await commands()) - before];
    return counted - idleRate * took;
  };

  /** That many calls over all sessions, half of them sent to a node that does not own the session. */
  const calls = async (count: number, tool: string, args: Record<string, unknown>, token?: string): Promise<void> => {
    let next = 0;
    const loop = async ({ headers }: OpenSession): Promise<void> => {
      for (let n = next++; n < count; n = next++) {
        const body = callBody(n, tool, args);
        const params = token === undefined ? body.params : { ...body.params, _meta: { progressToken: `${token}${n}` } };
        const reply = await post(`${cluster.urls[n % 2]}${PATH}`, { ...body, params }, headers);
        assert.equal(reply.status, 200, reply.text);
        if (token !== undefined) assert.match(String(reply.headers.get("content-type")), /event-stream/);
      }
    };
    await Promise.all(sessions.map(loop));
  };

  before(async () => {
    cluster = await startCluster({
      nodes: 2,
      mcpServers: { exercise: { module: new URL("./fixtures/exercise.mjs", import.meta.url) } },
      config: { cluster: { node_lease_ttl_ms: 3_000, node_lease_renew_ms: 500 } },
    });
    sessions = await Promise.all(Array.from({ length: SESSIONS }, () => openSession(`${cluster.urls[0]}${PATH}`)));
    // Starts every upstream and fills the other node's routes.
    await calls(SESSIONS * 8, "echo", { text: "warm" });
    const [begin, counted] = [performance.now(), await commands()];
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    idleRate = ((await commands()) - counted) / (performance.now() - begin);
  });
  after(() => cluster?.close());

  it(`is no more for ${2 * CALLS} unary calls than for ${CALLS}`, async () => {
    const once = await costOf(() => calls(CALLS, "echo", { text: "once" }));
    const twice = await costOf(() => calls(2 * CALLS, "echo", { text: "twice" }));
    console.log(
      `# Redis commands beyond idle (${(idleRate * 1_000).toFixed(1)}/s): ` +
        `${CALLS} unary calls ${once.toFixed(0)}, ${2 * CALLS} unary calls ${twice.toFixed(0)}`,
    );
    assert.ok(twice <= Math.max(once, 0) + JITTER, `${twice} commands after ${once}`);
  });

  it("is told for calls answered as event streams", async () => {
    const streamed = 1_000;
    const cost = await costOf(() => calls(streamed, "progress", { steps: 2 }, "p"));
    console.log(
      `# Redis commands beyond idle: ${streamed} calls answered as SSE ${cost.toFixed(0)} (${(cost / streamed).toFixed(2)} each)`,
    );
    // A stream's events are durable before their ids are sent. A commit is a script and the three commands it runs; these
    // short calls need one, and two where the stream was opened before the response came.
    assert.ok(cost >= streamed, `${cost} commands: the events of ${streamed} streams were not stored`);
    assert.ok(cost <= 8 * streamed, `${cost} commands for ${streamed} streams`);
  });
});
