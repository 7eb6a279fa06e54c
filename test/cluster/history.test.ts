/**
 * A history checker over real processes: many callers increment counters with delivery `durable` while nodes are killed
 * and frozen for longer than a lease, workers end, and sockets of the mesh and of the store are cut, as a seed decides.
 * Afterwards the history must be one that a single counter without faults could have: every acknowledged increment is
 * there exactly once, none twice, none that was said not to have begun, and each read saw all that was acknowledged
 * before it.
 */
import assert from "node:assert/strict";
import { connect, createServer, type Server, type Socket } from "node:net";
import { describe, it } from "node:test";
import { type RunningNode, startNode, TroupeError } from "../../runtime/index.ts";
import { silentLogger } from "../../runtime/observe/log.ts";
import { type Cluster, startCluster, TEST_SECRET } from "../harness/cluster.ts";
import type { RuntimeName } from "../harness/node_process.ts";
import { freePort } from "../harness/ports.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { chooseIndex, type Random, randomFrom, seedOf } from "../harness/seed.ts";
import { waitUntil } from "../harness/wait.ts";
import { HistoryCounter, Teller } from "./fixtures/history_counter.ts";

const COUNTERS = ["a", "b", "c", "d"];
const CALLERS = 12;
const LEASE = { node_lease_ttl_ms: 2_000, node_lease_renew_ms: 500, node_lease_grace_ms: 200 };
/** Longer than lease and grace. */
const FREEZE_MS = 3_000;
const CALL_MS = 10_000;
const SELF: RuntimeName = process.versions.deno === undefined ? "node" : "deno";

/** What callers were told. */
class History {
  readonly acknowledged = new Map<string, Set<string>>(COUNTERS.map((key) => [key, new Set()]));
  readonly notBegun = new Set<string>();
  readonly faults: string[] = [];
  unknown = 0;
  reads = 0;

  of(key: string): Set<string> {
    return this.acknowledged.get(key) as Set<string>;
  }

  get count(): number {
    return COUNTERS.reduce((sum, key) => sum + this.of(key).size, 0);
  }
}

/** A way through which sockets can be cut. */
class Passage {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(port: number, to: number) {
    this.#server = createServer((from) => {
      const on = connect(to, "127.0.0.1");
      for (const [one, other] of [
        [from, on],
        [on, from],
      ] as const) {
        this.#sockets.add(one);
        one.pipe(other);
        one.on("error", () => {});
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
    }).listen(port, "127.0.0.1");
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/** A cluster of `runtimes`, and a node in this process that calls and runs no counter. */
async function withCluster(
  runtimes: RuntimeName[],
  body: (cluster: Cluster, caller: RunningNode, passage: Passage) => Promise<void>,
): Promise<void> {
  const cluster = await startCluster({
    nodes: runtimes.length,
    runtime: runtimes,
    config: { extensions: [new URL("./fixtures/history_counter.ts", import.meta.url)], cluster: LEASE },
  });
  const [inner, outer] = [await freePort(), await freePort()];
  const passage = new Passage(outer, inner);
  let caller: RunningNode | undefined;
  try {
    caller = await startNode(
      {
        gateway: { server: { bind_address: "127.0.0.1:0" } },
        node: { id: "caller" },
        workers: 0,
        mesh: {
          bind_address: `127.0.0.1:${inner}`,
          advertise_address: `127.0.0.1:${outer}`,
          direct: false,
          secret: TEST_SECRET,
        },
        cluster: { kind: "redis", url: cluster.redis?.url ?? "", key_prefix: cluster.keyPrefix, ...LEASE },
      },
      { log: silentLogger },
    );
    await body(cluster, caller, passage);
  } finally {
    await caller?.close();
    await passage.close();
    await cluster.close();
  }
}

/** Calls until `over`, one call after the other. */
async function call(
  caller: RunningNode,
  history: History,
  name: string,
  random: Random,
  over: () => boolean,
): Promise<void> {
  for (let n = 0; !over(); n++) {
    const key = COUNTERS[chooseIndex(random, COUNTERS.length)] ?? "a";
    const id = `${name}.${n}`;
    try {
      if (random() < 0.2) {
        const before = [...history.of(key)];
        const seen = new Set(await caller.actor(HistoryCounter, key).with({ timeoutMs: CALL_MS }).read());
        const missing = before.filter((each) => !seen.has(each));
        assert.deepEqual(missing, [], `a read of ${key} does not see what was acknowledged before it`);
        history.reads++;
      } else if (random() < 0.5) {
        await caller
          .actor(HistoryCounter, key)
          .with({ delivery: "durable", requestId: id, timeoutMs: CALL_MS })
          .add(id);
        history.of(key).add(id);
      } else {
        await caller.actor(Teller, name).with({ timeoutMs: CALL_MS }).tell(key, id);
        history.of(key).add(id);
      }
    } catch (error) {
      if (!TroupeError.is(error)) throw error;
      if (error.started === "no") history.notBegun.add(id);
      else history.unknown++;
      // Who is refused at once does not ask again at once.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

type Fault = (cluster: Cluster, caller: RunningNode, passage: Passage, node: number, random: Random) => Promise<void>;

const FAULTS: Record<string, Fault> = {
  "kill -9": async (cluster, _caller, _passage, node) => {
    await cluster.kill(node);
    await cluster.restart(node);
  },
  "a freeze": async (cluster, _caller, _passage, node) => {
    cluster.freeze(node);
    await new Promise((resolve) => setTimeout(resolve, FREEZE_MS));
    cluster.thaw(node);
  },
  "cut mesh sockets": async (_cluster, _caller, passage) => passage.cut(),
  "cut store sockets": async (cluster) => {
    await cluster.redis?.command("CLIENT", "KILL", "TYPE", "normal");
  },
  "a worker's end": async (cluster, caller, _passage, _node, random) => {
    const key = COUNTERS[chooseIndex(random, COUNTERS.length)] ?? "a";
    await caller
      .actor(HistoryCounter, key)
      .with({ timeoutMs: CALL_MS })
      .crash()
      .catch(() => {});
    // Where the end of a thread is no proof, the node has ended itself, for its supervisor to start it again.
    const start = performance.now();
    await waitUntil(() => performance.now() - start > 1_000, 2_000, "the worker to end");
    for (const index of cluster.ids.keys()) if (!cluster.node(index).running) await cluster.restart(index);
  },
};

/** Waits until some calls were acknowledged after a fault: the cluster works again. */
async function worksAgain(history: History): Promise<void> {
  const before = history.count;
  await waitUntil(() => history.count >= before + 2 * CALLERS, 40_000, "calls to be answered again");
}

/** `rounds` of every sort of fault. */
async function check(runtimes: RuntimeName[], rounds: number, seed: number): Promise<void> {
  const random = randomFrom(seed);
  await withCluster(runtimes, async (cluster, caller, passage) => {
    const history = new History();
    let over = false;
    const callers = Array.from({ length: CALLERS }, (_, index) =>
      call(caller, history, `c${index}`, randomFrom(seed + index + 1), () => over),
    );
    const failed = Promise.all(callers).then(() => {});
    const faults = async (): Promise<void> => {
      await worksAgain(history);
      for (let round = 0; round < rounds; round++) {
        for (const [what, fault] of Object.entries(FAULTS).sort(() => random() - 0.5)) {
          history.faults.push(what);
          await fault(cluster, caller, passage, chooseIndex(random, runtimes.length), random);
          await worksAgain(history);
        }
      }
    };
    try {
      await Promise.race([faults(), failed]);
    } finally {
      over = true;
    }
    await failed;
    let all = 0;
    for (const key of COUNTERS) {
      const ids = await waitUntil(
        () => caller.actor(HistoryCounter, key).with({ timeoutMs: CALL_MS }).read(),
        40_000,
        `the counter ${key}`,
      );
      all += ids.length;
      assert.equal(new Set(ids).size, ids.length, `${key} counted something twice`);
      const missing = [...history.of(key)].filter((id) => !ids.includes(id));
      assert.deepEqual(missing, [], `${key} lost what it had acknowledged`);
      const wrong = ids.filter((id) => history.notBegun.has(id));
      assert.deepEqual(wrong, [], `${key} counted what was said not to have begun`);
    }
    assert.ok(history.reads > 20 && history.count > 200, `${history.count} increments, ${history.reads} reads`);
    assert.equal(history.faults.length, rounds * Object.keys(FAULTS).length);
    console.log(
      `# ${runtimes.join(", ")}: ${history.count} increments acknowledged, ${all} counted, ${history.unknown} of ` +
        `unknown outcome, ${history.notBegun.size} never begun, ${history.reads} reads, ${history.faults.length} faults`,
    );
  });
}

describe("a counter in durable mode", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  const seed = seedOf("history");
  it(`counts every acknowledged increment once, whatever happens to its three nodes on ${SELF}`, () =>
    check([SELF, SELF, SELF], 2, seed));
  // The same cluster whichever runs the test: once is enough.
  if (SELF === "node") {
    it("does so on a cluster of Node.js and Deno nodes", () => check(["node", "deno", "deno"], 1, seed + 1_000));
  }
});
