/**
 * The systems whose calls between two processes are compared: how each is started, and the process that calls. In all of
 * them the caller is a process of its own beside the one that has the actors, and both count as the system's CPU.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { builtPackage } from "../harness/built_package.ts";
import type { Leash } from "../harness/leash.ts";
import type { RuntimeName } from "../harness/node_process.ts";
import { freePort } from "../harness/ports.ts";
import { processesMarked } from "../harness/processes.ts";
import { startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { startPostgres } from "./actors_postgres.ts";
import { PeerProcess } from "./peer_process.ts";

const PEERS = fileURLToPath(new URL("./actor_peers/", import.meta.url));
const DENO = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));

export interface Pair {
  /** Takes `{ ask: "flood", seconds, inFlight, ...also }` and `{ ask: "sequence", seconds, ...also }`. */
  caller: PeerProcess;
  also: Readonly<Record<string, unknown>>;
  /** Roots of its process trees. */
  pids: () => number[];
  close(): Promise<void>;
}

export interface PairSystem {
  row: string;
  what: string;
  start(): Promise<Pair>;
}

export interface Setting {
  /** What Troupe and the ceilings run on; peers always run on Node.js. */
  runtime: RuntimeName;
  leash: Leash;
  /** Flags for Troupe's processes. */
  flags?: readonly string[];
}

/** Builds the package; the benchmark's processes, which get this one's environment, load it. */
export async function buildForTalkers(): Promise<void> {
  const program = pathToFileURL(await builtPackage());
  process.env.TROUPE_BUILT = new URL("../dist/runtime/index.js", program).href;
}

/** A process of the benchmark that takes questions. */
export function talker(file: string, { runtime, leash, flags = [] }: Setting): PeerProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return runtime === "deno"
    ? new PeerProcess(DENO, ["run", "-A", "--node-modules-dir=manual", ...flags, path], leash, true)
    : new PeerProcess(process.execPath, [...flags, path], leash, true);
}

export function nodeConfig(id: string, workers: number, cluster: object, more: object = {}): object {
  const anywhere = { bind_address: "127.0.0.1:0" };
  return { node: { id }, gateway: { server: anywhere }, mesh: anywhere, workers, cluster, ...more };
}

export function pairSystems(setting: Setting): PairSystem[] {
  return [
    { row: "ws", what: "ceiling: bare ws, the same tuples, batched per tick", start: () => startCeiling(setting) },
    { row: "troupe-0", what: "Troupe, actors on the nodes' main threads", start: () => startTroupe(setting, 0) },
    { row: "troupe-1", what: "Troupe, actors on a worker of the other node", start: () => startTroupe(setting, 1) },
    { row: "effect", what: "Effect Cluster, two runners over sockets", start: () => startEffect(setting) },
    { row: "rivet", what: "RivetKit, its local engine, a connection per actor", start: () => startRivet(setting) },
  ];
}

/** Closes what was started when a later step fails, so that a peer that does not run leaves nothing behind. */
async function pairing<P extends Omit<Pair, "close">>(
  start: (later: (close: () => Promise<void>) => void) => Promise<P>,
): Promise<P & Pick<Pair, "close">> {
  const closes: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closes.splice(0).reverse()) await one();
  };
  try {
    return { ...(await start((one) => closes.push(one))), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function startCeiling(setting: Setting): Promise<Pair> {
  return pairing(async (later) => {
    const [server, caller] = [talker("./actors_ws.mjs", setting), talker("./actors_ws.mjs", setting)];
    later(() => server.close());
    later(() => caller.close());
    await caller.ask({ ask: "connect", ...(await server.ask<object>({ ask: "serve" })) });
    return { caller, also: {}, pids: () => [server.pid, caller.pid] };
  });
}

export function startTroupe(setting: Setting, workers: number): Promise<Pair & { owner: PeerProcess }> {
  return pairing(async (later) => {
    const redis = await startRedis();
    later(() => redis.stop());
    const cluster = { kind: "redis", url: redis.url };
    const [owner, caller] = [talker("./actors_node.mjs", setting), talker("./actors_node.mjs", setting)];
    later(() => owner.close());
    later(() => caller.close());
    await owner.ask({ ask: "start", config: nodeConfig("owner", workers, cluster) });
    await caller.ask({ ask: "start", config: nodeConfig("caller", workers, cluster) });
    // The first to call an actor gets it: from now on they live at the owner.
    await owner.ask({ ask: "check", prefix: "far" });
    await caller.ask({ ask: "check", prefix: "far" });
    return { owner, caller, also: { prefix: "far" }, pids: () => [owner.pid, caller.pid, redis.pid ?? 0] };
  });
}

function startEffect({ leash }: Setting): Promise<Pair> {
  return pairing(async (later) => {
    requirePeers();
    const postgres = await startPostgres(leash);
    later(() => postgres.close());
    const start = async (): Promise<PeerProcess> => {
      const runner = new PeerProcess(process.execPath, [join(PEERS, "effect_runner.mjs")], leash, true);
      later(() => runner.close());
      await runner.ask({ ask: "start", port: await freePort(), database: postgres.database });
      return runner;
    };
    const [owner, caller] = [await start(), await start()];
    // The shards are dealt out again some seconds after the second runner joined.
    await waitUntil(() => caller.ask({ ask: "find" }), 30_000, "shards on both runners", 1_000);
    return { caller, also: {}, pids: () => [owner.pid, caller.pid, postgres.pid] };
  });
}

function startRivet({ leash }: Setting): Promise<Pair> {
  return pairing(async (later) => {
    requirePeers();
    // The server starts its engine, which stays when the server ends: this mark in its environment finds it again.
    const mark = `bench-${process.pid}`;
    const marked = (): number[] => processesMarked("TROUPE_BENCH_RIVET", mark);
    const folder = mkdtempSync(join(tmpdir(), "troupe-rivet-"));
    later(async () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
    const port = await freePort();
    const settings = [`TROUPE_BENCH_RIVET=${mark}`, `HOME=${folder}`, `RIVET_RUN_ENGINE_PORT=${port}`];
    const file = join(PEERS, "rivet_server.mjs");
    const server = new PeerProcess("/usr/bin/env", [...settings, process.execPath, file], leash);
    later(async () => {
      const end = (): boolean => {
        for (const pid of marked()) process.kill(pid, "SIGKILL");
        return marked().length === 0;
      };
      await waitUntil(end, 10_000, "the engine to end");
    });
    later(() => server.close());
    await server.listening(port);
    const caller = new PeerProcess(process.execPath, [join(PEERS, "rivet_client.mjs")], leash, true);
    later(() => caller.close());
    // The engine answers before it knows the server.
    const start = () => caller.ask({ ask: "start", endpoint: `http://127.0.0.1:${port}` });
    await waitUntil(start, 45_000, "the engine to answer for the server's actors", 500);
    for (const pid of marked()) leash.hold(pid);
    return { caller, also: {}, pids: () => [caller.pid, ...marked()] };
  });
}

/** Says what to do if the peers are not there. */
function requirePeers(): void {
  if (existsSync(join(PEERS, "node_modules", "effect"))) return;
  throw new Error("not installed; run: npm ci --ignore-scripts --prefix test/bench/actor_peers");
}
