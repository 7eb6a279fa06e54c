/**
 * A cluster of real node processes on loopback, for tests: `startCluster` starts the nodes and, for more than one, a
 * Redis of their own; the verbs are what happens to nodes in the field.
 *
 * Each node has one client port for life, so that a restarted node is found where it was. Ports are chosen free; a node
 * that finds its port taken is started again on another. Everything ends with `close`, or with the test process.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConfigInput } from "../../runtime/config/config.ts";
import { startLeash } from "./leash.ts";
import { type Exit, NodeProcess, type RuntimeName } from "./node_process.ts";
import { freePort } from "./ports.ts";
import { type RedisServer, startRedis } from "./redis.ts";
import { waitUntil } from "./wait.ts";

export interface ClusterOptions {
  /** Default 3. */
  nodes?: number;
  /** One for all, or one per node. Default: what the test runs on. */
  runtime?: RuntimeName | RuntimeName[];
  mcpServers?: ConfigInput["mcpServers"];
  /** A server to use; default: a new one for this cluster, or none for a single node. */
  redis?: RedisServer;
  /** Where node `index` finds it, when not at its own address: a proxy in between. */
  redisUrl?: (index: number) => string;
  keyPrefix?: string;
  /** Laid over every node's configuration, block by block. */
  config?: Omit<ConfigInput, "mcpServers">;
  /** Environment of the nodes. */
  env?: Record<string, string>;
  /** The `runtime` program; default the checkout's, which compiles as it loads. */
  bin?: string;
  /** Flags of the runtime itself, such as `--inspect=127.0.0.1:0`. */
  flags?: string[];
  /** Longest wait for all nodes to serve. Default 40 s, for a busy machine. */
  startMs?: number;
}

/** A node as `/api/cluster/nodes` tells it. */
export interface NodeInfo {
  id: string;
  incarnation: number | string;
  url: string;
  meshUrl: string;
  pid: number;
  runtime: string;
  state: string;
}

export interface Cluster {
  /** Origins of the nodes' client endpoints, by index. */
  readonly urls: readonly string[];
  /** Node ids, by index. */
  readonly ids: readonly string[];
  /** The Redis of the cluster; undefined for a single node without one. */
  readonly redis: RedisServer | undefined;
  readonly keyPrefix: string;
  /** The process behind a node; another one after `restart`. */
  node(index: number): NodeProcess;
  /** SIGKILL, and wait for the process to be gone. */
  kill(index: number): Promise<void>;
  freeze(index: number): void;
  thaw(index: number): void;
  /** SIGTERM, and how it ended. */
  stop(index: number): Promise<Exit>;
  /** Starts a node that ended, at its old address. Resolves when it serves. */
  restart(index: number): Promise<void>;
  /** Management data of a node: the `data` of `/api/cluster/<path>`. */
  api<T>(index: number, path: string): Promise<T>;
  waitUntil: typeof waitUntil;
  logs(index: number): string;
  close(): Promise<void>;
}

/** Shared by the nodes of one test cluster. */
export const TEST_SECRET = "a secret that only tests know";

/** Starts the nodes and waits until each serves and all see each other. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const count = options.nodes ?? 3;
  const leash = startLeash();
  const folder = await mkdtemp(join(tmpdir(), "troupe-test-"));
  const closers: (() => Promise<unknown>)[] = [() => leash.close(), () => rm(folder, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    let server = options.redis;
    if (server === undefined && count > 1) {
      const redis = await startRedis();
      closers.push(() => redis.stop());
      const pid = /^process_id:(\d+)/m.exec(await redis.info("server"))?.[1];
      if (pid !== undefined) leash.hold(Number(pid));
      server = redis;
    }
    const keyPrefix = options.keyPrefix ?? `troupe-test-${process.pid}-${Math.random().toString(36).slice(2, 8)}:`;
    const members = new Members(options, folder, leash, server?.url, keyPrefix);
    closers.push(() => members.discard());
    await members.startAll(count);
    return { ...members.verbs(), redis: server, keyPrefix, waitUntil, close };
  } catch (error) {
    await close();
    throw error;
  }
}

class Members {
  readonly #options: ClusterOptions;
  readonly #folder: string;
  readonly #leash: ReturnType<typeof startLeash>;
  readonly #redisUrl: string | undefined;
  readonly #keyPrefix: string;
  readonly #processes: NodeProcess[] = [];
  readonly #ports: number[] = [];
  readonly #urls: string[] = [];
  readonly #ids: string[] = [];

  constructor(
    options: ClusterOptions,
    folder: string,
    leash: ReturnType<typeof startLeash>,
    redisUrl: string | undefined,
    keyPrefix: string,
  ) {
    this.#options = options;
    this.#folder = folder;
    this.#leash = leash;
    this.#redisUrl = redisUrl;
    this.#keyPrefix = keyPrefix;
  }

  async startAll(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, (_, index) => this.#startFirst(index)));
    await this.#seeEachOther();
  }

  verbs(): Omit<Cluster, "redis" | "keyPrefix" | "waitUntil" | "close"> {
    const node = (index: number): NodeProcess => {
      const found = this.#processes[index];
      if (found === undefined) throw new Error(`there is no node ${index}`);
      return found;
    };
    return {
      urls: this.#urls,
      ids: this.#ids,
      node,
      kill: (index) => node(index).kill(),
      freeze: (index) => node(index).freeze(),
      thaw: (index) => node(index).thaw(),
      stop: (index) => node(index).stop(),
      restart: async (index) => {
        if (node(index).running) throw new Error(`node ${index} runs; stop or kill it first`);
        await this.#launch(index).ready(this.#startMs());
        await this.#seeEachOther();
      },
      api: (index, path) => managementData(this.#urls[index] ?? "", path),
      logs: (index) => node(index).logs(),
    };
  }

  async discard(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.discard()));
  }

  #startMs(): number {
    return this.#options.startMs ?? 40_000;
  }

  async #startFirst(index: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      this.#ports[index] = port;
      this.#urls[index] = `http://127.0.0.1:${port}`;
      this.#ids[index] = `n${index}`;
      await writeFile(this.#configFile(index), JSON.stringify(this.#configOf(index), null, 2));
      const process = this.#launch(index);
      try {
        await process.ready(this.#startMs());
        return;
      } catch (error) {
        if (attempt === 3 || !/in use|EADDRINUSE/i.test(process.logs())) throw error;
      }
    }
  }

  #launch(index: number): NodeProcess {
    const runtimes = this.#options.runtime ?? (process.versions.deno === undefined ? "node" : "deno");
    const runtime = (Array.isArray(runtimes) ? runtimes[index] : runtimes) ?? "node";
    const launched = new NodeProcess(
      {
        runtime,
        args: ["start", "--config", this.#configFile(index)],
        env: this.#options.env,
        bin: this.#options.bin,
        flags: this.#options.flags,
      },
      this.#leash,
    );
    this.#processes[index] = launched;
    return launched;
  }

  #configFile(index: number): string {
    return join(this.#folder, `n${index}.yaml`);
  }

  /** YAML is a superset of JSON. */
  #configOf(index: number): ConfigInput {
    const over = this.#options.config ?? {};
    return {
      workers: 1,
      // Tests that kill a worker do not time its successor.
      spare_worker: false,
      ...over,
      gateway: {
        ...over.gateway,
        server: { bind_address: `127.0.0.1:${this.#ports[index]}`, ...over.gateway?.server },
      },
      node: { id: this.#ids[index] ?? "", ...over.node },
      mesh: { bind_address: "127.0.0.1:0", secret: TEST_SECRET, ...over.mesh },
      cluster: {
        ...(this.#redisUrl === undefined
          ? { kind: "single_node" }
          : { kind: "redis", url: this.#redisUrlOf(index), key_prefix: this.#keyPrefix }),
        ...over.cluster,
      },
      // A busy machine is no reason for a test to be refused; what overload does has its own tests.
      overload: { loop_delay_ms: 0, ...over.overload },
      mcpServers: this.#options.mcpServers ?? {},
    };
  }

  #redisUrlOf(index: number): string | undefined {
    return this.#options.redisUrl?.(index) ?? this.#redisUrl;
  }

  /** A request may go to any node from now on, so every node must know every other. */
  async #seeEachOther(): Promise<void> {
    const running = this.#processes.flatMap((process, index) => (process.running ? [index] : []));
    for (const index of running) {
      await waitUntil(
        async () => {
          const nodes = await managementData<NodeInfo[]>(this.#urls[index] ?? "", "nodes?active=true");
          return running.every((other) => nodes.some(({ pid }) => pid === this.#processes[other]?.pid));
        },
        20_000,
        `node ${index} to see nodes ${running.join(", ")}`,
        50,
      );
      await waitUntil(
        async () => (await fetch(`${this.#urls[index]}/ready`)).status === 200,
        20_000,
        `node ${index} to be ready`,
        50,
      );
    }
  }
}

async function managementData<T>(base: string, path: string): Promise<T> {
  const response = await fetch(`${base}/api/cluster/${path}`);
  const body = (await response.json()) as { success: boolean; data: T };
  if (!response.ok || !body.success)
    throw new Error(`GET /api/cluster/${path}: ${response.status} ${JSON.stringify(body)}`);
  return body.data;
}
