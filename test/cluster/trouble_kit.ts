/**
 * A cluster whose way to Redis can go wrong, one proxy per node, and what must hold whatever happens to it: every answer
 * comes in time, no node ends, readiness is true, and every acknowledged session works again.
 */
import assert from "node:assert/strict";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { ask, callBody, type OpenSession, openSession, post, type Reply } from "../harness/mcp_requests.ts";
import { type RedisServer, startRedis } from "../harness/redis.ts";
import { TcpProxy } from "../harness/tcp_proxy.ts";
import { waitUntil, within } from "../harness/wait.ts";

export const PATH = "/mcp/exercise";
export const LEASE = { node_lease_ttl_ms: 3_000, node_lease_renew_ms: 500, node_lease_grace_ms: 300 };
const OPERATION_MS = 600;
/** Longest time an answer may take while the store is in trouble: a few tries of one command, and the waits between. */
const ANSWER_MS = 10_000;
/** Until everything works again: the store is found, what is owned written back, one lease for first claims, and slack. */
export const HEALED_MS = 40_000;

export interface Ready {
  ready: boolean;
  reason: string | null;
  warning?: string;
}

export interface TroubleCluster {
  cluster: Cluster;
  redis: RedisServer;
  /** Between node `index` and Redis. */
  proxies: TcpProxy[];
  /** Sessions opened at every node in turn, each used once. */
  open(count: number): Promise<OpenSession[]>;
  /** One call at that node. Fails when it takes longer than `ANSWER_MS` or the session is lost. */
  call(node: number, session: OpenSession, text?: string): Promise<Reply>;
  /** The same, whatever the answer. */
  statusOf(node: number, session: OpenSession, text?: string): Promise<Reply>;
  /** Whether the node says it is ready, and why not. */
  ready(node: number): Promise<Ready>;
  /** Every node says that it is not ready, for that reason. */
  allUnready(reason: RegExp, nodes?: readonly number[]): Promise<void>;
  /** Every session is answered by every node, and every node is ready and takes new sessions. */
  allWell(sessions: readonly OpenSession[]): Promise<void>;
  /** The processes are those that were started. */
  noneEnded(): void;
  close(): Promise<void>;
}

export async function startTroubleCluster(
  options: { nodes?: number; cluster?: Record<string, unknown>; redis?: RedisServer } = {},
): Promise<TroubleCluster> {
  const count = options.nodes ?? 3;
  const redis = options.redis ?? (await startRedis());
  const proxies = await Promise.all(Array.from({ length: count }, () => TcpProxy.start(redis.port)));
  const cluster = await startCluster({
    nodes: count,
    redis,
    redisUrl: (index) => `redis://127.0.0.1:${proxies[index]?.port}`,
    mcpServers: { exercise: { module: new URL("./fixtures/exercise.mjs", import.meta.url) } },
    config: {
      cluster: { ...LEASE, operation_timeout_ms: OPERATION_MS, ...options.cluster },
      mcp: { configurations: { response: { stream_after_ms: 100 } } },
    },
  });
  const nodes = Array.from({ length: count }, (_, index) => index);
  const pids = nodes.map((node) => cluster.node(node).pid);
  const url = (node: number): string => `${cluster.urls[node]}${PATH}`;

  const statusOf: TroubleCluster["statusOf"] = (node, session, text = "here") =>
    within(
      post(url(node), callBody(text, "echo", { text }), session.headers),
      ANSWER_MS,
      `node ${node} to answer a call`,
    );
  const call: TroubleCluster["call"] = async (node, session, text = "here") => {
    const reply = await statusOf(node, session, text);
    assert.ok(reply.status === 200 || reply.status >= 500, `${reply.status} ${reply.text}`);
    if (reply.status === 200) assert.match(reply.text, new RegExp(text));
    return reply;
  };
  const ready: TroubleCluster["ready"] = async (node) => {
    const reply = await within(ask("GET", `${cluster.urls[node]}/ready`), 2_000, `node ${node} to tell its readiness`);
    assert.equal((await ask("GET", `${cluster.urls[node]}/health`)).status, 200);
    const told = JSON.parse(reply.text) as Ready;
    assert.equal(reply.status, told.ready ? 200 : 503);
    return told;
  };
  return {
    cluster,
    redis,
    proxies,
    call,
    statusOf,
    ready,
    open: (sessions) =>
      Promise.all(
        Array.from({ length: sessions }, async (_, index) => {
          const session = await waitUntil(() => openSession(url(index % count)), HEALED_MS, "a session to be opened");
          const used = async (): Promise<boolean> => (await call((index + 1) % count, session)).status === 200;
          await waitUntil(used, HEALED_MS, "the session to be used");
          return session;
        }),
      ),
    async allUnready(reason, which = nodes) {
      for (const node of which) {
        await waitUntil(
          async () => {
            const told = await ready(node);
            assert.match(told.reason ?? "none", reason);
            return !told.ready;
          },
          10_000,
          `node ${node} to be not ready because of ${reason}`,
        );
      }
    },
    async allWell(sessions) {
      for (const node of nodes) {
        await waitUntil(async () => (await ready(node)).ready, HEALED_MS, `node ${node} to be ready`);
        for (const session of sessions) {
          await waitUntil(
            async () => {
              const { status, text } = await call(node, session);
              assert.equal(status, 200, text);
              return true;
            },
            HEALED_MS,
            `session ${session.id} to be answered by node ${node}`,
          );
        }
        await waitUntil(() => openSession(url(node)), HEALED_MS, `node ${node} to take a new session`);
      }
    },
    noneEnded() {
      for (const node of nodes) {
        assert.ok(cluster.node(node).running, `node ${node} ended:\n${cluster.logs(node).slice(-2_000)}`);
        assert.equal(cluster.node(node).pid, pids[node]);
      }
    },
    async close() {
      await cluster.close();
      await Promise.all(proxies.map((proxy) => proxy.close()));
      await redis.stop();
    },
  };
}
