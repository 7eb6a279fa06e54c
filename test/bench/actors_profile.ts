/**
 * Where the time of an actor call goes: CPU profiles of all threads of Troupe's nodes under the load of `bench:actors`.
 *
 * Usage: `tsx test/bench/actors_profile.ts [--row threads|same-worker|processes|activate] [--workers 1] [--seconds 3]
 * [--count 100000] [--redis]`; `count` are the actors that `activate` makes. Prints, per thread, the busiest places and functions by self time, and writes `results/*.cpuprofile` for a viewer.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startLeash } from "../harness/leash.ts";
import { startRedis } from "../harness/redis.ts";
import { buildForTalkers, nodeConfig, startTroupe, talker } from "./actors_systems.ts";
import { printHotspots } from "./hotspots.ts";
import { type CpuProfile, Inspector } from "./inspector.ts";
import type { PeerProcess } from "./peer_process.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const IN_FLIGHT = 512;

const { values } = parseArgs({
  options: {
    row: { type: "string", default: "threads" },
    workers: { type: "string", default: "1" },
    seconds: { type: "string", default: "3" },
    count: { type: "string", default: "100000" },
    redis: { type: "boolean", default: false },
  },
});
const leash = startLeash();
const setting = { runtime: "node", leash, flags: ["--inspect=127.0.0.1:0"] } as const;

async function profile(nodes: Record<string, PeerProcess>, caller: PeerProcess, question: object): Promise<void> {
  const seconds = Number(values.seconds);
  await caller.ask({ prefix: "warm", ...question, seconds: 1.5, inFlight: IN_FLIGHT });
  const inspectors = await Promise.all(Object.values(nodes).map((node) => Inspector.attach(node.stderr)));
  let calls = 0;
  const load = async (): Promise<void> => {
    calls = (await caller.ask<{ calls: number }>({ prefix: "timed", ...question, seconds, inFlight: IN_FLIGHT })).calls;
  };
  const profiles: Map<string, CpuProfile>[] = [];
  // One inspector's profile surrounds the other's, so that all cover the same load.
  const nested = inspectors.reduce<() => Promise<void>>(
    (inner, inspector, index) => async () => {
      profiles[index] = await inspector.profile(inner);
    },
    load,
  );
  await nested();
  await mkdir(RESULTS, { recursive: true });
  for (const [index, name] of Object.keys(nodes).entries()) {
    for (const [title, cpu] of profiles[index] ?? []) {
      printHotspots(`${name}, ${title}`, cpu, calls);
      const file = `actors-${values.row}-${name}-${title.replaceAll(/\W+/g, "_")}.cpuprofile`;
      await writeFile(`${RESULTS}${file}`, JSON.stringify(cpu));
    }
  }
  for (const inspector of inspectors) inspector.close();
}

try {
  await buildForTalkers();
  if (values.row === "processes") {
    const pair = await startTroupe(setting, Number(values.workers));
    await profile({ owner: pair.owner, caller: pair.caller }, pair.caller, { ask: "flood", ...pair.also });
    await pair.close();
  } else {
    const node = talker("./actors_node.mjs", setting);
    const redis = values.redis ? await startRedis() : undefined;
    const cluster = redis === undefined ? { kind: "single_node" } : { kind: "redis", url: redis.url };
    await node.ask({ ask: "start", config: nodeConfig("only", 1, cluster) });
    const questions: Record<string, object> = {
      threads: { ask: "flood", prefix: "near" },
      "same-worker": { ask: "inside" },
      activate: { ask: "activate", count: Number(values.count) },
    };
    const question = questions[values.row];
    if (question === undefined) throw new Error(`--row: expected ${Object.keys(questions)} or processes`);
    await profile({ node }, node, question);
    await node.close();
    await redis?.stop();
  }
} finally {
  await leash.close();
}
