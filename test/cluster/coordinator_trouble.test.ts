/**
 * Redis in trouble under a living cluster with live sessions: killed, emptied, failed over to a replica that lost the
 * last writes, slow, cut off from one node, full. While it lasts readiness tells the truth, no node ends and nothing
 * hangs; afterwards every session that a client was told of works on every node.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { ask, callBody, type OpenSession, openSession, post } from "../harness/mcp_requests.ts";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { LEASE, PATH, startTroubleCluster, type TroubleCluster } from "./trouble_kit.ts";

const SESSIONS = 6;
/** A node parks, and would be declared dead, well within this. */
const LONGER_THAN_LEASE_MS = LEASE.node_lease_ttl_ms + LEASE.node_lease_grace_ms + 2_000;

describe("redis in trouble under live sessions", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let trouble: TroubleCluster;
  let sessions: OpenSession[];
  before(async () => {
    trouble = await startTroubleCluster();
    sessions = await trouble.open(SESSIONS);
    // Every node learns where every session is.
    await trouble.allWell(sessions);
  });
  afterEach(async () => {
    trouble.noneEnded();
    // A test that failed must not fail the next.
    for (const proxy of trouble.proxies) proxy.heal();
    if (trouble.redis.pid === undefined) await trouble.redis.start();
    trouble.redis.thaw();
    await trouble.redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await trouble.redis.command("CONFIG", "SET", "maxmemory", "0");
  });
  after(() => trouble?.close());

  /** Calls all sessions at all nodes for that long; the answers, by status. */
  const callFor = async (ms: number): Promise<Map<number, number>> => {
    const statuses = new Map<number, number>();
    const end = performance.now() + ms;
    const loop = async (session: OpenSession, first: number): Promise<void> => {
      for (let node = first; performance.now() < end; node = (node + 1) % 3) {
        const { status } = await trouble.call(node, session);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await Promise.all(sessions.map((session, index) => loop(session, index % 3)));
    return statuses;
  };
  const down = async (ms: number): Promise<void> => {
    await trouble.redis.save();
    await trouble.redis.kill();
    const statuses = callFor(ms);
    await trouble.allUnready(/Redis at 127\.0\.0\.1:\d+|lease/);
    await statuses;
  };
  const incarnations = async (): Promise<string[]> => {
    const nodes = await trouble.cluster.api<{ incarnation: string; state: string }[]>(0, "nodes?active=true");
    return nodes.map(({ incarnation }) => incarnation).sort();
  };

  /** The others say that this node, alive in `before`, is dead. */
  const declaredDead = async (before: readonly string[], node: number): Promise<void> => {
    await waitUntil(
      async () => {
        const nodes = await trouble.cluster.api<{ id: string; incarnation: string; state: string }[]>(2, "nodes");
        const found = nodes.find(({ id, incarnation }) => id === `n${node}` && before.includes(incarnation));
        return found?.state === "dead";
      },
      30_000,
      `node ${node} to be declared dead`,
    );
  };

  it("killed and restarted with its data within the lease: calls of placed sessions never stop", async () => {
    const before = await incarnations();
    await trouble.redis.save();
    await trouble.redis.kill();
    const statuses = await callFor(LEASE.node_lease_ttl_ms / 4);
    await trouble.redis.start();
    assert.deepEqual([...statuses.keys()], [200]);
    await trouble.allWell(sessions);
    assert.deepEqual(await incarnations(), before);
  });

  it("killed for longer than the lease, restarted with its data: owners park, revive, and keep their sessions", async () => {
    const before = await incarnations();
    await down(LONGER_THAN_LEASE_MS);
    // Parked by now: refused at once, and said to be safe to repeat.
    const parked = await trouble.call(0, sessions[0] as OpenSession);
    assert.equal(parked.status, 503, parked.text);
    assert.match(parked.text, /"started":"no","retryable":true/);
    const initialize = await post(`${trouble.cluster.urls[1]}${PATH}`, {
      jsonrpc: "2.0",
      id: 1,
      method: "initialize",
      params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } },
    });
    assert.equal(initialize.status, 503, initialize.text);
    assert.equal(initialize.headers.get("mcp-session-id"), null);
    await trouble.redis.start();
    await trouble.allWell(sessions);
    assert.deepEqual(await incarnations(), before);
  });

  it("killed for longer than the lease, restarted empty: owners write back what they own", async () => {
    const before = await incarnations();
    await down(LONGER_THAN_LEASE_MS);
    await trouble.redis.restart({ empty: true });
    assert.doesNotMatch(await trouble.redis.info("keyspace"), /db0:/);
    await trouble.allWell(sessions);
    assert.deepEqual(await incarnations(), before);
  });

  it("emptied while it runs: owners write back what they own, and what was DELETEd stays ended", async () => {
    const ended = await openSession(`${trouble.cluster.urls[0]}${PATH}`);
    assert.equal((await ask("DELETE", `${trouble.cluster.urls[1]}${PATH}`, ended.headers)).status, 200);
    const statuses = callFor(LEASE.node_lease_ttl_ms / 2);
    await trouble.redis.flush();
    assert.deepEqual([...(await statuses).keys()], [200], "calls of placed sessions never stop");
    await trouble.allWell(sessions);
    for (const base of trouble.cluster.urls) {
      const reply = await post(`${base}${PATH}`, callBody("gone", "echo", { text: "?" }), ended.headers);
      assert.equal(reply.status, 404, reply.text);
    }
  });

  it("frozen for seconds, within the lease: calls of placed sessions never stop, nobody is declared dead", async () => {
    const before = await incarnations();
    trouble.redis.freeze();
    const statuses = await callFor(LEASE.node_lease_ttl_ms / 2);
    trouble.redis.thaw();
    assert.deepEqual([...statuses.keys()], [200]);
    await trouble.allWell(sessions);
    assert.deepEqual(await incarnations(), before);
  });

  it("slow, but within the operation timeout: everything works", async () => {
    for (const proxy of trouble.proxies) proxy.delay(100);
    const opened = await openSession(`${trouble.cluster.urls[0]}${PATH}`);
    const statuses = await callFor(LEASE.node_lease_ttl_ms);
    for (const proxy of trouble.proxies) proxy.heal();
    assert.deepEqual([...statuses.keys()], [200]);
    await trouble.allWell([...sessions, opened]);
  });

  it("slower than the operation timeout for longer than the lease: owners park and revive", async () => {
    for (const proxy of trouble.proxies) proxy.delay(1_000);
    const calls = callFor(LONGER_THAN_LEASE_MS);
    await trouble.allUnready(/Redis at 127\.0\.0\.1:\d+|lease/);
    await calls;
    for (const proxy of trouble.proxies) proxy.heal();
    await trouble.allWell(sessions);
  });

  it("out of memory: placed sessions are answered, nodes keep their lease and say that writes are refused", async () => {
    const before = await incarnations();
    await trouble.redis.command("CONFIG", "SET", "maxmemory", "1");
    await trouble.allUnready(/out of memory|maxmemory/);
    const statuses = await callFor(LONGER_THAN_LEASE_MS);
    assert.deepEqual([...statuses.keys()], [200]);
    await assert.rejects(openSession(`${trouble.cluster.urls[0]}${PATH}`), /answered 503/);
    // What frees memory is let through.
    const [leaving] = sessions.splice(0, 1);
    assert.equal((await ask("DELETE", `${trouble.cluster.urls[2]}${PATH}`, leaving?.headers)).status, 200);
    await trouble.redis.command("CONFIG", "SET", "maxmemory", "0");
    await trouble.allWell(sessions);
    assert.deepEqual(await incarnations(), before);
  });

  it("given an evicting policy while it runs: every node warns of it until it is taken back", async () => {
    const warned = async (expected: RegExp | undefined): Promise<void> => {
      for (const node of [0, 1, 2]) {
        await waitUntil(
          async () => {
            const { ready, warning } = await trouble.ready(node);
            assert.ok(ready);
            return expected === undefined ? warning === undefined : expected.test(warning ?? "");
          },
          20_000,
          `node ${node} to warn of ${expected}`,
        );
      }
    };
    await trouble.redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    await warned(/maxmemory-policy allkeys-lru.*CONFIG SET maxmemory-policy noeviction/);
    await trouble.redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await warned(undefined);
    await trouble.allWell(sessions);
  });

  it("unreachable from one node: the others take its sessions over, and it comes back as a new incarnation", async () => {
    const before = await incarnations();
    const [cutOff] = trouble.proxies;
    cutOff?.cut();
    await trouble.allUnready(/Redis at 127\.0\.0\.1:\d+|lease/, [0]);
    await declaredDead(before, 0);
    for (const node of [1, 2]) {
      for (const session of sessions) {
        await waitUntil(
          async () => (await trouble.call(node, session)).status === 200,
          30_000,
          `node ${node} to answer for ${session.id}`,
        );
      }
    }
    assert.ok((await trouble.ready(1)).ready && (await trouble.ready(2)).ready);
    cutOff?.heal();
    await trouble.allWell(sessions);
    const now = await incarnations();
    assert.equal(now.length, 3);
    assert.equal(now.filter((incarnation) => before.includes(incarnation)).length, 2);
  });

  it("silent to one node, whose packets are lost: the same", async () => {
    const before = await incarnations();
    const [, silenced] = trouble.proxies;
    silenced?.silence();
    await trouble.allUnready(/Redis at 127\.0\.0\.1:\d+|lease/, [1]);
    await declaredDead(before, 1);
    for (const session of sessions) {
      await waitUntil(
        async () => (await trouble.call(2, session)).status === 200,
        30_000,
        `node 2 to answer for ${session.id}`,
      );
    }
    silenced?.heal();
    await trouble.allWell(sessions);
  });
});

describe("redis failed over", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let trouble: TroubleCluster;
  let replica: RedisServer;
  before(async () => {
    const primary = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
    trouble = await startTroubleCluster({ redis: primary });
    replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(primary.port)] });
    await primary.followedBy(replica);
  });
  after(async () => {
    await trouble?.close();
    await replica?.stop();
  });

  it("to a replica that lost the last writes, behind the same address: nothing acknowledged is lost", async () => {
    const old = await trouble.open(3);
    const deleted = await openSession(`${trouble.cluster.urls[0]}${PATH}`);
    await trouble.redis.followedBy(replica);
    // From here on nothing reaches it.
    await replica.command("REPLICAOF", "NO", "ONE");
    const late = await trouble.open(3);
    assert.equal((await ask("DELETE", `${trouble.cluster.urls[1]}${PATH}`, deleted.headers)).status, 200);
    await trouble.redis.kill();
    for (const proxy of trouble.proxies) proxy.leadTo(replica.port);
    await trouble.allWell([...old, ...late]);
    for (const base of trouble.cluster.urls) {
      const reply = await post(`${base}${PATH}`, callBody("gone", "echo", { text: "?" }), deleted.headers);
      assert.equal(reply.status, 404, reply.text);
    }
    trouble.noneEnded();
  });
});
