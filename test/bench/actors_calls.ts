/** The rows about calls: between two processes, across threads, on one worker. */
import { nodeConfig, type Pair, type PairSystem, type Setting, talker } from "./actors_systems.ts";
import { cpuOf } from "./cpu.ts";
import { median } from "./figures.ts";
import type { PeerProcess } from "./peer_process.ts";

export interface Scale {
  /** Of one window. */
  seconds: number;
  /** Windows per row; what is told is the median. */
  rounds: number;
  activations: number;
  known: number;
  wander: number;
  wanted(row: string): boolean;
}

export interface CallRow {
  row: string;
  what: string;
  /** Calls a second, `IN_FLIGHT` at a time. */
  rate?: number;
  /** Microseconds of CPU of all processes per call, in the same windows. */
  cpu?: number;
  /** Microseconds of one call after the other. */
  p50?: number;
  p99?: number;
  windows: Window[];
  error?: string;
}

interface Window {
  calls: number;
  seconds: number;
  cpu: number;
}

const IN_FLIGHT = 512;
const WARM_UP_SECONDS = 1.5;

/** All pairs run at once and take turns, so that what else happens on the machine meets them alike. */
export async function measurePairs(systems: readonly PairSystem[], scale: Scale): Promise<CallRow[]> {
  const rows: CallRow[] = [];
  const running: { row: CallRow; pair: Pair }[] = [];
  try {
    for (const { row: name, what, start } of systems.filter(({ row }) => scale.wanted(row))) {
      const row: CallRow = { row: name, what, windows: [] };
      rows.push(row);
      try {
        running.push({ row, pair: await start() });
      } catch (error) {
        row.error = firstLine(error);
      }
    }
    for (let round = 0; round < scale.rounds; round++) {
      for (let turn = 0; turn < running.length; turn++) {
        const { row, pair } = running[(turn + round) % running.length] as { row: CallRow; pair: Pair };
        await attempt(row, () => flooded(row, pair.caller, pair.also, pair.pids(), scale.seconds));
      }
    }
    for (const { row, pair } of running)
      await attempt(row, () => sequential(row, pair.caller, pair.also, scale.seconds));
  } finally {
    for (const { pair } of running) await pair.close();
  }
  return rows;
}

/** Across the two threads of one node, on one worker, and the ceiling of the former. */
export async function measureThreads(setting: Setting, scale: Scale): Promise<CallRow[]> {
  const rows: CallRow[] = [];
  if (scale.wanted("port")) {
    const ceiling = talker("./actors_ports.mjs", setting);
    const candidates: CallRow[] = [];
    try {
      for (const batches of [1, 2, 8]) {
        const what = `ceiling: MessagePort, the same tuples, ${batches} arrays in flight`;
        const row: CallRow = { row: "port", what, windows: [] };
        candidates.push(row);
        await windows(row, ceiling, { batches }, scale);
      }
    } finally {
      await ceiling.close();
    }
    // The ceiling is what a port can do at its best.
    candidates.sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0));
    if (candidates[0] !== undefined) rows.push(candidates[0]);
  }
  if (scale.wanted("threads")) {
    const row: CallRow = { row: "threads", what: "Troupe, from the main thread to actors on a worker", windows: [] };
    rows.push(row);
    await onNode(setting, async (node) => {
      await node.ask({ ask: "check", prefix: "near" });
      await windows(row, node, { prefix: "near" }, scale);
      await sequential(row, node, { prefix: "near" }, scale.seconds);
    });
  }
  if (scale.wanted("same-worker")) {
    const row: CallRow = { row: "same-worker", what: "Troupe, between actors of one worker", windows: [] };
    rows.push(row);
    await onNode(setting, async (node) => {
      await windows(row, node, {}, scale, "inside");
      const { p50, p99 } = await node.ask<{ p50: number; p99: number }>({ ask: "inside", seconds: 1, inFlight: 1 });
      Object.assign(row, { p50, p99 });
    });
  }
  return rows;
}

/** A node of its own with one worker. */
export async function onNode(
  setting: Setting,
  use: (node: PeerProcess) => Promise<void>,
  cluster: object = { kind: "single_node" },
  workers = 1,
  more: object = {},
): Promise<void> {
  const node = talker("./actors_node.mjs", setting);
  try {
    await node.ask({ ask: "start", config: nodeConfig("only", workers, cluster, more) });
    await use(node);
  } finally {
    await node.close();
  }
}

async function windows(row: CallRow, caller: PeerProcess, also: object, scale: Scale, ask = "flood"): Promise<void> {
  for (let round = 0; round < scale.rounds; round++) {
    await flooded(row, caller, also, [caller.pid], scale.seconds, ask);
  }
}

/** One window, after a warm-up where it is the row's first. */
async function flooded(
  row: CallRow,
  caller: PeerProcess,
  also: object,
  pids: number[],
  seconds: number,
  ask = "flood",
): Promise<void> {
  if (row.windows.length === 0) await caller.ask({ ask, ...also, seconds: WARM_UP_SECONDS, inFlight: IN_FLIGHT });
  const before = cpuOf(pids);
  const seen = await caller.ask<{ calls: number; seconds: number }>({ ask, ...also, seconds, inFlight: IN_FLIGHT });
  row.windows.push({ ...seen, cpu: (cpuOf(pids) - before) / seen.calls });
  row.rate = median(row.windows.map((window) => window.calls / window.seconds));
  row.cpu = median(row.windows.map((window) => window.cpu));
}

async function sequential(row: CallRow, caller: PeerProcess, also: object, seconds: number): Promise<void> {
  const { p50, p99 } = await caller.ask<{ p50: number; p99: number }>({ ask: "sequence", ...also, seconds });
  Object.assign(row, { p50, p99 });
}

/** A peer that fails under load is a row that says so, not the end of the run. */
async function attempt(row: CallRow, measure: () => Promise<void>): Promise<void> {
  if (row.error !== undefined) return;
  try {
    await measure();
  } catch (error) {
    row.error = firstLine(error);
  }
}

export function firstLine(error: unknown): string {
  return ((error as Error).message.split("\n")[0] ?? "").slice(0, 200);
}
