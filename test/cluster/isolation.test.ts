/**
 * What an extension's crash, endless loop or leak may take down: its worker, never the node's endpoints and lease. On Deno a
 * thread that has to be ended from outside proves nothing, so there the node ends itself for its supervisor.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type RunningNode, startNode, TroupeError } from "../../runtime/index.ts";
import { silentLogger } from "../../runtime/observe/log.ts";
import { type Cluster, startCluster, TEST_SECRET } from "../harness/cluster.ts";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { PoliteActor, RudeActor } from "./fixtures/rude_actor.ts";

const deno = process.versions.deno !== undefined;
const LEASE = { node_lease_ttl_ms: 6_000, node_lease_renew_ms: 1_000, node_lease_grace_ms: 500 };

describe("an extension", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let redis: RedisServer;
  let cluster: Cluster;
  let caller: RunningNode;
  before(async () => {
    redis = await startRedis();
    cluster = await startCluster({
      nodes: 1,
      redis,
      config: {
        workers: 2,
        node: { labels: { role: "host" } },
        cluster: LEASE,
        overload: { worker_heap_mb: 128 },
        extensions: [new URL("./fixtures/rude_actor.ts", import.meta.url)],
      },
    });
    caller = await startNode(
      {
        gateway: { server: { bind_address: "127.0.0.1:0" } },
        workers: 0,
        mesh: { bind_address: "127.0.0.1:0", secret: TEST_SECRET },
        cluster: { ...LEASE, kind: "redis", url: redis.url, key_prefix: cluster.keyPrefix },
      },
      { log: silentLogger },
    );
  });
  after(async () => {
    await caller?.close();
    await cluster?.close();
    await redis?.stop();
  });

  const incarnation = async (): Promise<unknown> =>
    (await cluster.api<{ id: string; incarnation: string }[]>(0, "nodes")).find(({ id }) => id === cluster.ids[0])
      ?.incarnation;
  const exits = async (): Promise<number> => {
    const text = await (await fetch(`${cluster.urls[0]}/metrics`)).text();
    return Number(/^troupe_worker_exits_total (\d+)/m.exec(text)?.[1] ?? 0);
  };
  const rude = (key: string) => caller.actor(RudeActor, key).with({ timeoutMs: 60_000 });
  /** All actors answer, wherever they are. */
  const answers = async (): Promise<boolean> => {
    const keys = Array.from({ length: 8 }, (_, index) => `p${index}`);
    const calls = keys.map((key) => caller.actor(PoliteActor, key).with({ timeoutMs: 2_000 }).hello());
    return (await Promise.all(calls)).every((text, index) => text === `hello from p${index}`);
  };
  const lost = (error: unknown): boolean => TroupeError.is(error, "unavailable") && error.started === "unknown";
  /** Runs `fault`, which ends one worker, and sees what is left. */
  const survives = async (fault: () => Promise<unknown>): Promise<void> => {
    await waitUntil(answers, 30_000, "everybody to answer before");
    const [was, ended] = [await incarnation(), await exits()];
    await fault();
    await waitUntil(async () => (await exits()) > ended, 60_000, "the worker to end");
    assert.equal((await fetch(`${cluster.urls[0]}/health`)).status, 200);
    await waitUntil(answers, 30_000, "everybody to answer again");
    assert.equal(await rude("again").hello(), "hello from again");
    assert.equal(await incarnation(), was, "the node kept its lease");
    assert.ok(cluster.node(0).running);
  };

  it("that throws where nobody catches takes its worker down, and that alone", async () => {
    await survives(() =>
      rude("a")
        .crash()
        .catch(() => {}),
    );
  });

  it("that rejects where nobody waits, likewise", async () => {
    await survives(() =>
      rude("b")
        .rejection()
        .catch(() => {}),
    );
  });

  it("that ends its thread, likewise; the call's outcome is unknown", async () => {
    await survives(() => assert.rejects(rude("c").exit(), lost));
  });

  it("that leaks is stopped by its worker's heap limit", async () => {
    await survives(() => assert.rejects(rude("d").leak(), lost));
    assert.match(cluster.logs(0), /heap|memory/i);
  });

  it("that loops for ever is warned of after 5 s and ended after 15 s", async () => {
    await waitUntil(answers, 30_000, "everybody to answer before");
    const begin = performance.now();
    const spin = async (): Promise<void> => {
      const outcome = assert.rejects(rude("e").spin(), lost);
      await waitUntil(async () => /does not turn/.test(cluster.logs(0)), 20_000, "the warning");
      assert.equal((await fetch(`${cluster.urls[0]}/ready`)).status, 200, "the node itself goes on");
      await outcome;
      assert.ok(performance.now() - begin > 14_000);
    };
    if (!deno) return await survives(spin);
    await spin();
    const { code } = await cluster.node(0).exited;
    assert.equal(code, 70, "the node ended itself");
    await cluster.restart(0);
    await waitUntil(answers, 30_000, "everybody to answer again");
  });

  it("that keeps ending its worker is tried again with growing pauses, then once a minute, and the log says why", async () => {
    // Five exits within a minute, the earlier tests' included.
    for (let round = 0; round < 12; round++) {
      if (/keeps ending/.test(cluster.logs(0))) break;
      await rude(`loop${round}`)
        .with({ timeoutMs: 20_000 })
        .exit()
        .catch(() => {});
    }
    await waitUntil(() => /keeps ending/.test(cluster.logs(0)), 30_000, "the circuit to open");
    assert.match(cluster.logs(0), /keeps ending.*code 3/s);
    assert.equal((await fetch(`${cluster.urls[0]}/health`)).status, 200);
    // The other worker takes what comes, as long as it lives.
    await waitUntil(answers, 30_000, "the other worker to answer");
  });
});
