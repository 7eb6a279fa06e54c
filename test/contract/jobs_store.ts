/** What a test of the job queue is given: one store of some kind, and the faults one wants of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../runtime/actor/clock.ts";
import type { Coordinator } from "../../runtime/coordinator/contract.ts";
import { openCoordinator } from "../../runtime/coordinator/open.ts";
import type { JobDefinition, JobQueue } from "../../runtime/jobs/contract.ts";
import { type JobsState, MemoryJobs } from "../../runtime/jobs/memory.ts";
import { type JobQueueOptions, openJobQueue } from "../../runtime/jobs/open.ts";
import { MAX_UNFINISHED } from "../../runtime/jobs/rules.ts";
import type { RedisServer } from "../harness/redis.ts";
import { waitUntil, within } from "../harness/wait.ts";

export interface JobStore {
  /** Another queue on the same data. Where only one process can have the data, the same one again. */
  connect(options?: Pick<JobQueueOptions, "maxUnfinished">): Promise<JobQueue>;
  /** Starts a worker that takes one job of the definition and never finishes it. Resolves while it runs. */
  doomedWorker<Data>(definition: JobDefinition<Data, unknown>): Promise<{ kill(): Promise<void> }>;
  /** Everything is closed; what connects later finds the same jobs. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** How long a silent worker keeps its job, where silence is how one tells. */
export const LOCK_MS = 400;

export function memoryStore(): JobStore {
  let queue: MemoryJobs | null = null;
  let kept: JobsState | undefined;
  // What survives a process is what was written as text.
  const keep = (): void => {
    if (queue !== null) kept = JSON.parse(JSON.stringify(queue.state)) as JobsState;
  };
  const end = async (): Promise<void> => {
    await queue?.close({ graceMs: 0 });
    queue = null;
  };
  const connect = async ({ maxUnfinished = MAX_UNFINISHED } = {}): Promise<MemoryJobs> => {
    queue ??= new MemoryJobs({
      clock: systemClock(),
      randomKey: randomUUID,
      maxUnfinished,
      ...(kept === undefined ? {} : { state: kept }),
    });
    return queue;
  };
  return {
    connect,
    async doomedWorker(definition) {
      const jobs = await connect();
      await hang(jobs, definition);
      return {
        async kill() {
          keep();
          await end();
        },
      };
    },
    async restart() {
      keep();
      await end();
    },
    close: end,
  };
}

/** A single node with a folder. It dies by losing its store, so what was not kept by then is lost. */
export function dirStore(): JobStore {
  const dir = mkdtempSync(join(tmpdir(), "troupe-jobs-"));
  let open: { coordinator: Coordinator; queue: JobQueue } | null = null;
  const connect = async (options = {}): Promise<JobQueue> => {
    if (open === null) {
      const coordinator = await openCoordinator({ kind: "single_node", dir });
      const { keyValue } = coordinator;
      open = { coordinator, queue: await openJobQueue({ kind: "single_node", dir }, { ...options, keyValue }) };
    }
    return open.queue;
  };
  const end = async (how: "politely" | "killed"): Promise<void> => {
    const ended = open;
    open = null;
    if (how === "politely") await ended?.queue.close({ graceMs: 0 });
    await ended?.coordinator.close();
    // For the test's process only: what it says has nowhere to go.
    if (how === "killed") await ended?.queue.close({ graceMs: 0 }).catch(() => {});
  };
  return {
    connect,
    async doomedWorker(definition) {
      await hang(await connect(), definition);
      return { kill: () => end("killed") };
    },
    restart: () => end("politely"),
    async close() {
      await end("politely");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Resolves when a handler that never finishes by itself has a job. */
function hang<Data>(queue: JobQueue, definition: JobDefinition<Data, unknown>): Promise<void> {
  return new Promise((resolve) => {
    queue.process(definition, async (_job, { signal }) => {
      resolve();
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
  });
}

const WORKER = fileURLToPath(new URL("jobs_worker.ts", import.meta.url));
let stores = 0;

export function redisJobStore(server: RedisServer): JobStore & { prefix: string } {
  stores += 1;
  const prefix = `j${stores}:`;
  const queues: JobQueue[] = [];
  const workers: ChildProcess[] = [];
  const closeAll = async (): Promise<void> => {
    await Promise.all(queues.splice(0).map((queue) => queue.close({ graceMs: 0 })));
  };
  return {
    prefix,
    async connect(options = {}) {
      const queue = await openJobQueue(
        { kind: "redis", url: server.url, key_prefix: prefix, operation_timeout_ms: 5_000 },
        { ...options, lockMs: LOCK_MS },
      );
      queues.push(queue);
      return queue;
    },
    async doomedWorker({ name }) {
      const runtime = process.versions.deno === undefined ? ["--import", "tsx"] : ["run", "-A"];
      const args = [...runtime, WORKER, server.url, prefix, name, String(LOCK_MS)];
      const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
      workers.push(child);
      let said = "";
      child.stdout.on("data", (chunk: Uint8Array) => {
        said += new TextDecoder().decode(chunk);
      });
      await waitUntil(() => said.includes("running"), 15_000, "the worker process to take the job");
      return {
        async kill() {
          const ended = new Promise((resolve) => child.once("exit", resolve));
          if (child.pid !== undefined) process.kill(child.pid, "SIGKILL");
          await within(ended, 5_000, "the killed worker to end");
        },
      };
    },
    restart: closeAll,
    async close() {
      for (const child of workers) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await closeAll();
    },
  };
}
