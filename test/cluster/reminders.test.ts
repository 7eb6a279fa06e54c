/** Reminders on real nodes: spread without duplicates, after kill -9 of the owner, after the whole cluster was down. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { ReminderOptions } from "../../runtime/index.ts";
import { type RunningNode, startNode } from "../../runtime/index.ts";
import { silentLogger } from "../../runtime/observe/log.ts";
import { type Cluster, startCluster, TEST_SECRET } from "../harness/cluster.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { AlarmActor, type Run } from "./fixtures/alarm.ts";

describe("reminders", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  const folder = mkdtempSync(join(tmpdir(), "troupe-alarm-"));
  const log = join(folder, "runs");
  let cluster: Cluster;
  /** A node without the kind: it calls, and runs nothing. */
  let caller: RunningNode;

  const runs = (name: string): Run[] => {
    let text = "";
    try {
      text = readFileSync(log, "utf8");
    } catch {
      // Nothing has run yet.
    }
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as Run).filter((run) => run.name === name);
  };
  /** Answers the node that the actor is on. */
  const set = (key: string, name: string, options: ReminderOptions, stay: boolean): Promise<string> =>
    caller.actor(AlarmActor, key).with({ timeoutMs: 20_000, delivery: "dedup" }).set(name, options, stay);

  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      env: { ALARM_LOG: log },
      config: {
        extensions: [new URL("./fixtures/alarm.ts", import.meta.url)],
        cluster: { node_lease_ttl_ms: 2_000, node_lease_renew_ms: 500, node_lease_grace_ms: 200 },
      },
    });
    caller = await startNode(
      {
        gateway: { server: { bind_address: "127.0.0.1:0" } },
        node: { id: "caller" },
        workers: 0,
        mesh: { bind_address: "127.0.0.1:0", secret: TEST_SECRET },
        cluster: {
          kind: "redis",
          url: cluster.redis?.url ?? "",
          key_prefix: cluster.keyPrefix,
          node_lease_ttl_ms: 2_000,
          node_lease_renew_ms: 500,
          node_lease_grace_ms: 200,
        },
      },
      { log: silentLogger },
    );
  });
  after(async () => {
    await caller?.close();
    await cluster?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("cost an idle cluster next to nothing", async () => {
    const readings = async (): Promise<number> => {
      const stats = (await cluster.redis?.info("commandstats")) ?? "";
      return Number(/^cmdstat_zrangebyscore:calls=(\d+)/m.exec(stats)?.[1] ?? 0);
    };
    // What the joining of the nodes led to comes first: until a whole second adds nothing.
    let last = -1;
    const quiet = async (): Promise<boolean> => {
      const before = last;
      last = await readings();
      return last === before;
    };
    await waitUntil(quiet, 20_000, "the nodes to have read their shards", 1_000);
    const from = performance.now();
    await waitUntil(() => performance.now() - from > 5_000, 10_000, "five seconds to pass");
    const added = (await readings()) - last;
    assert.ok(added <= 8, `${added} readings in 5 s`);
  });

  it("of 30 actors on three nodes fire once for each time, resident or not", async () => {
    const keys = Array.from({ length: 30 }, (_, index) => `k${index}`);
    await Promise.all(keys.map((key, index) => set(key, "beat", { everyMs: 500, missed: "all" }, index % 2 === 0)));
    await waitUntil(() => runs("beat").length >= 30 * 12, 60_000, "twelve runs of each");
    await Promise.all(keys.map((key) => caller.actor(AlarmActor, key).clear()));
    const seen = runs("beat");
    const times = new Set(seen.map(({ key, dueMs }) => `${key} ${dueMs}`));
    assert.equal(times.size, seen.length, "a time ran twice");
    for (const key of keys) {
      const own = seen.filter((run) => run.key === key);
      assert.deepEqual(
        own.map(({ n }) => n),
        own.map((_, index) => index + 1),
        `${key}: a run is missing or was not stored`,
      );
      const dues = own.map(({ dueMs }) => dueMs);
      assert.ok(
        dues.every((dueMs, index) => index === 0 || dueMs - (dues[index - 1] ?? 0) === 500),
        `${key}: a time was left out`,
      );
    }
    assert.equal(new Set(seen.map(({ node }) => node)).size, 3, "all three nodes take part");
    const late = seen.map(({ lateMs }) => lateMs).sort((a, b) => a - b);
    console.log(
      `# late by ${late[late.length >> 1]} ms in the median, ${late.at(-1)} ms at most, of ${seen.length} runs`,
    );
  });

  it("fire on another node when their owner was killed before", async () => {
    const owners = await Promise.all(["v0", "v1", "v2", "v3"].map((key) => set(key, "will", { afterMs: 3_000 }, true)));
    const victim = cluster.ids.indexOf(owners[0] ?? "");
    await cluster.kill(victim);
    await waitUntil(() => runs("will").length >= 4, 30_000, "all four to fire");
    const seen = runs("will");
    assert.deepEqual(seen.map(({ key }) => key).sort(), ["v0", "v1", "v2", "v3"]);
    assert.notEqual(seen.find(({ key }) => key === "v0")?.node, owners[0]);
    await cluster.restart(victim);
  });

  it("fire after the whole cluster was killed and started again", async () => {
    await set("w", "phoenix", { afterMs: 2_500 }, true);
    for (const index of [0, 1, 2]) await cluster.kill(index);
    await Promise.all([0, 1, 2].map((index) => cluster.restart(index)));
    await waitUntil(() => runs("phoenix").length >= 1, 30_000, "it to fire");
    assert.equal(runs("phoenix").length, 1);
  });
});
