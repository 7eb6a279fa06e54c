/** The rows about actors' lives: activations, what an idle one holds, the end of a worker, many more than fit. */
import { residentBytes } from "../harness/processes.ts";
import { startRedis } from "../harness/redis.ts";
import { firstLine, onNode, type Scale } from "./actors_calls.ts";
import { nodeConfig, type Setting, talker } from "./actors_systems.ts";
import { median } from "./figures.ts";
import { Inspector } from "./inspector.ts";

export interface LifeRow {
  row: string;
  what: string;
  value?: number;
  unit: string;
  /** Whatever else was seen. */
  seen?: unknown;
  error?: string;
}

interface Done {
  calls: number;
  seconds: number;
  failed: number;
  firstError?: string;
}

const IN_FLIGHT = 512;
const WARM_UP = 20_000;
const CRASHES = 5;
/** Actors that are active at once where many more are known. */
const MOST_RESIDENT = 50_000;
/** Readings of resident memory while calls wander over the known actors. */
const READINGS = 10;

export async function measureLives(setting: Setting, scale: Scale): Promise<LifeRow[]> {
  const rows: LifeRow[] = [];
  const row = async (name: string, what: string, unit: string, measure: (row: LifeRow) => Promise<void>) => {
    if (!scale.wanted(name)) return;
    const made: LifeRow = { row: name, what, unit };
    rows.push(made);
    try {
      await measure(made);
    } catch (error) {
      made.error = firstLine(error);
    }
  };
  await row("activate-memory", "activations, coordinator in memory", "/s", (made) =>
    onNode(setting, (node) => activations(made, node, scale.activations)),
  );
  await row("activate-redis", "activations, Redis", "/s", async (made) => {
    const redis = await startRedis();
    try {
      const cluster = { kind: "redis", url: redis.url };
      await onNode(setting, (node) => activations(made, node, scale.activations), cluster);
    } finally {
      await redis.stop();
    }
  });
  await row("idle-heap", "heap of an idle activation, worker and main thread, directory in Redis", "bytes", (made) =>
    idleHeap(made, setting, scale.activations),
  );
  for (const workers of [1, 2]) {
    await row(`crash-${workers}`, `end of a worker to first answer, ${workers} worker(s)`, "ms", (made) =>
      crashes(made, setting, workers),
    );
  }
  await row(
    "known",
    `${scale.known} actors with stored state, ${MOST_RESIDENT} of them active, calls by chance`,
    "calls/s",
    (made) => wander(made, setting, scale),
  );
  return rows;
}

type Talker = ReturnType<typeof talker>;

async function activations(row: LifeRow, node: Talker, count: number): Promise<void> {
  await node.ask({ ask: "activate", prefix: "warm", count: WARM_UP, inFlight: IN_FLIGHT });
  const done = await node.ask<Done>({ ask: "activate", prefix: "new", count, inFlight: IN_FLIGHT });
  row.value = done.calls / done.seconds;
  row.seen = done;
  refuse(done);
}

/** All threads' heaps after garbage collection, before and after; Node.js only, its inspector reads them. */
async function idleHeap(row: LifeRow, setting: Setting, count: number): Promise<void> {
  if (setting.runtime === "deno") throw new Error("read through Node.js' inspector only");
  const redis = await startRedis();
  const node = talker("./actors_node.mjs", { ...setting, flags: ["--inspect=127.0.0.1:0"] });
  try {
    await node.ask({ ask: "start", config: nodeConfig("only", 1, { kind: "redis", url: redis.url }) });
    const inspector = await Inspector.attach(node.stderr);
    await node.ask({ ask: "activate", prefix: "warm", count: WARM_UP, inFlight: IN_FLIGHT });
    const before = await inspector.heapsByThread();
    refuse(await node.ask<Done>({ ask: "activate", prefix: "new", count, inFlight: IN_FLIGHT }));
    const after = await inspector.heapsByThread();
    const threads = after.map((bytes, index) => Math.round((bytes - (before[index] ?? 0)) / count));
    row.value = threads.reduce((sum, bytes) => sum + bytes, 0);
    row.seen = { threads };
    row.what += ` (${threads.join(" + ")} by thread, main first)`;
    inspector.close();
  } finally {
    await node.close();
    await redis.stop();
  }
}

/** Each on a node of its own: a worker that crashes again and again is held back on purpose. */
async function crashes(row: LifeRow, setting: Setting, workers: number): Promise<void> {
  const times: { ms: number; noticed: number }[] = [];
  for (let crash = 0; crash < CRASHES; crash++) {
    await onNode(
      setting,
      async (node) => void times.push(await node.ask<{ ms: number; noticed: number }>({ ask: "crash" })),
      { kind: "single_node" },
      workers,
    );
  }
  row.value = median(times.map(({ ms }) => ms));
  row.seen = times;
}

async function wander(row: LifeRow, setting: Setting, { known, wander: calls }: Scale): Promise<void> {
  const use = async (node: Talker): Promise<void> => {
    const made = await node.ask<Done>({ ask: "create", count: known, inFlight: IN_FLIGHT });
    refuse(made);
    const resident: number[] = [];
    const rates: number[] = [];
    let failed = 0;
    let firstError: string | undefined;
    for (let reading = 0; reading < READINGS; reading++) {
      const share = Math.ceil(calls / READINGS);
      const done = await node.ask<Done>({ ask: "wander", known, calls: share, inFlight: IN_FLIGHT });
      failed += done.failed;
      firstError ??= done.firstError;
      rates.push(done.calls / done.seconds);
      resident.push(residentBytes(node.pid));
    }
    row.value = median(rates);
    const { residents } = await node.ask<{ residents: number }>({ ask: "residents" });
    const megabytes = resident.map((bytes) => Math.round(bytes / 1e6));
    row.seen = {
      createdPerSecond: made.calls / made.seconds,
      failed,
      firstError,
      known,
      residents,
      residentMB: megabytes,
    };
    row.what += ` (${residents} active at the end, ${failed} errors, resident MB over time: ${megabytes.join(", ")})`;
  };
  await onNode(setting, use, { kind: "single_node" }, 1, { overload: { residents: MOST_RESIDENT } });
}

function refuse({ failed, calls, firstError }: Done): void {
  if (failed > 0) throw new Error(`${failed} of ${calls} failed: ${firstError}`);
}
