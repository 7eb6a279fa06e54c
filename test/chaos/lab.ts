/**
 * What a chaos run is made on: nodes, each in a network of its own where the machine allows, a Redis that keeps what it
 * acknowledged, an upstream and recorder outside of every fault, and the proxy; with the verbs of the faults.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ConfigInput } from "../../runtime/config/config.ts";
import { TEST_SECRET } from "../harness/cluster.ts";
import { type Leash, startLeash } from "../harness/leash.ts";
import { callBody, openSession, post } from "../harness/mcp_requests.ts";
import { NodeProcess, type RuntimeName } from "../harness/node_process.ts";
import { freePort } from "../harness/ports.ts";
import { type RedisServer, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { openCuts } from "./cuts.ts";
import { openNamespaces } from "./namespaces.ts";
import type { Network, NetworkOptions } from "./network.ts";
import { type RoutingProxy, startProxy } from "./proxy.ts";

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
/** Characters kept of what the ended processes of a node said. */
const LOG_KEPT = 2_000_000;
/** Longest wait for the cluster to be whole after a fault, milliseconds. */
const WHOLE_MS = 60_000;

export interface LabOptions {
  runtimes: readonly RuntimeName[];
  /** The `runtime` program; default the checkout's. */
  bin?: string;
  leaseMs: number;
  isolation: Isolation;
}

/** How nodes are isolated: `auto` takes namespaces where they can be made, else cuts. */
export const ISOLATIONS = ["auto", "namespaces", "cuts"] as const;
export type Isolation = (typeof ISOLATIONS)[number];

export class Lab {
  readonly redis: RedisServer;
  readonly proxy: RoutingProxy;
  readonly network: Network;
  readonly size: number;
  readonly #options: LabOptions;
  readonly #folder: string;
  readonly #leash: Leash;
  readonly #recorder: Recorder;
  readonly #processes: NodeProcess[];
  /** What earlier processes of a node said. */
  readonly #before: string[] = [];

  private constructor(parts: {
    options: LabOptions;
    folder: string;
    leash: Leash;
    network: Network;
    redis: RedisServer;
    recorder: Recorder;
    proxy: RoutingProxy;
    processes: NodeProcess[];
  }) {
    this.#options = parts.options;
    this.#folder = parts.folder;
    this.#leash = parts.leash;
    this.network = parts.network;
    this.redis = parts.redis;
    this.#recorder = parts.recorder;
    this.proxy = parts.proxy;
    this.#processes = parts.processes;
    this.size = parts.options.runtimes.length;
  }

  static async open(options: LabOptions): Promise<Lab> {
    const count = options.runtimes.length;
    const folder = await mkdtemp(join(tmpdir(), "troupe-chaos-"));
    const leash = startLeash();
    // Every acknowledged write is on disk, so a restart of Redis loses nothing.
    const redis = await startRedis({
      args: ["--appendonly", "yes", "--appendfsync", "always", "--bind", "0.0.0.0", "--protected-mode", "no"],
    });
    const serverPort = await freePort();
    const processes: NodeProcess[] = [];
    const network = await openNetwork(options.isolation, {
      nodes: count,
      redisPort: redis.port,
      serverPort,
      pid: (node) => processes[node]?.pid ?? 0,
    });
    const recorder = await Recorder.start(network.host, serverPort, leash);
    const reached = Array.from({ length: count }, (_, node) => network.reaches(node));
    const proxy = await startProxy(folder, reached, leash);
    const lab = new Lab({ options, folder, leash, network, redis, recorder, proxy, processes });
    try {
      for (let node = 0; node < count; node++) {
        await writeFile(lab.#configFile(node), JSON.stringify(lab.#config(node), null, 2));
        lab.#launch(node);
      }
      await Promise.all(lab.#processes.map((process) => process.ready(60_000)));
      await lab.whole();
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  // Faults

  async kill(node: number): Promise<void> {
    await this.#process(node).kill();
  }

  freeze(node: number): void {
    this.#process(node).freeze();
  }

  thaw(node: number): void {
    this.#process(node).thaw();
  }

  /** SIGTERM, and the wait for its end. */
  async drain(node: number): Promise<void> {
    const { code, signal } = await this.#process(node).stop(60_000);
    if (code !== 0)
      throw new Error(`node ${node} drained and ended with ${code ?? signal}:\n${this.logs(node).slice(-6_000)}`);
  }

  async start(node: number): Promise<void> {
    this.#launch(node);
    await this.#process(node).ready(60_000);
  }

  running(node: number): boolean {
    return this.#process(node).running;
  }

  /** What the processes behind `node` said, oldest first. */
  logs(node: number): string {
    return (this.#before[node] ?? "") + this.#process(node).logs();
  }

  /** Resolves when every node is ready, and a session of each answers at each other one. */
  async whole(): Promise<void> {
    for (let node = 0; node < this.size; node++) {
      await waitUntil(
        async () =>
          (await fetch(`http://${this.network.reaches(node)}/ready`, { signal: AbortSignal.timeout(1_000) })).ok,
        WHOLE_MS,
        `node ${node} to be ready`,
        100,
      );
    }
    for (let owner = 0; owner < this.size; owner++) {
      await waitUntil(
        () => this.#answersEverywhere(owner),
        WHOLE_MS,
        `sessions of node ${owner} to answer everywhere`,
        200,
      );
    }
  }

  async #answersEverywhere(owner: number): Promise<boolean> {
    const url = (node: number): string => `http://${this.network.reaches(node)}/mcp/module`;
    const session = await openSession(url(owner));
    for (let node = 0; node < this.size; node++) {
      const reply = await post(url(node), callBody(1, "echo", { call: "whole" }), session.headers);
      if (reply.status !== 200) return false;
    }
    await fetch(url(owner), { method: "DELETE", headers: session.headers });
    return true;
  }

  executions(): Promise<Map<string, number>> {
    return this.#recorder.executions();
  }

  async close(): Promise<void> {
    for (const process of this.#processes) if (process.running) process.thaw();
    await Promise.all(this.#processes.map((process) => process.discard()));
    await this.proxy.close();
    this.#recorder.close();
    await this.redis.stop();
    await this.#leash.close();
    await this.network.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #process(node: number): NodeProcess {
    const process = this.#processes[node];
    if (process === undefined) throw new Error(`there is no node ${node}`);
    return process;
  }

  #launch(node: number): void {
    const { runtimes, bin } = this.#options;
    const command = {
      runtime: runtimes[node] ?? "node",
      bin,
      args: ["start", "--config", this.#configFile(node)],
      env: { CHAOS_RECORDER: this.#recorder.url },
      wrapper: this.network.wrapper(node),
    };
    if (this.#processes[node] !== undefined) this.#before[node] = this.logs(node).slice(-LOG_KEPT);
    this.#processes[node] = new NodeProcess(command, this.#leash);
  }

  #configFile(node: number): string {
    return join(this.#folder, `n${node}.yaml`);
  }

  /** YAML is a superset of JSON. */
  #config(node: number): ConfigInput {
    const { network } = this;
    const redis = `redis://${network.redis(node)}`;
    const { leaseMs } = this.#options;
    return {
      workers: 1,
      gateway: { server: { bind_address: network.binds(node) } },
      node: { id: `n${node}` },
      mesh: { ...network.mesh(node), secret: TEST_SECRET },
      cluster: { kind: "redis", url: redis, key_prefix: "chaos:", node_lease_ttl_ms: leaseMs },
      mcp: { configurations: { response: { stream_after_ms: 200 } } },
      mcpServers: {
        module: { module: file("./upstream.mjs") },
        stdio: {
          command: "node",
          args: [file("./upstream_stdio.mjs")],
          env: { CHAOS_RECORDER: this.#recorder.url },
          isolation: "shared",
        },
        http: { url: `http://${network.server(node)}/mcp` },
      },
    };
  }
}

async function openNetwork(isolation: Isolation, options: NetworkOptions): Promise<Network> {
  if (isolation === "cuts") return openCuts(options);
  try {
    return openNamespaces(options);
  } catch (error) {
    if (isolation === "namespaces") throw error;
    console.log(`No network namespaces for the nodes: ${(error as Error).message}`);
    return openCuts(options);
  }
}

/** The process that no fault hits. */
class Recorder {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #leash: Leash;

  private constructor(url: string, child: ChildProcess, leash: Leash) {
    this.url = url;
    this.#child = child;
    this.#leash = leash;
  }

  static async start(host: string, port: number, leash: Leash): Promise<Recorder> {
    const url = `http://${host}:${port}`;
    const env = { ...process.env, CHAOS_RECORDER: url, CHAOS_RECORDER_PORT: String(port) };
    const executable = process.versions.deno === undefined ? process.execPath : "node";
    const child = spawn(executable, [file("./upstream_http.mjs"), host], { env, stdio: ["ignore", "pipe", "inherit"] });
    if (child.pid !== undefined) leash.hold(child.pid);
    await new Promise<void>((resolve, reject) => {
      child.stdout.once("data", () => resolve());
      child.once("exit", (code) => reject(new Error(`the recorder ended with ${code}`)));
    });
    return new Recorder(url, child, leash);
  }

  async executions(): Promise<Map<string, number>> {
    const answer = (await (await fetch(`${this.url}/records`)).json()) as { executed: [string, number][] };
    return new Map(answer.executed);
  }

  close(): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    process.kill(pid, "SIGKILL");
    this.#leash.release(pid);
  }
}
