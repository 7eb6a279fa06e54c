/** Opens the job queue that goes with a coordinator. BullMQ is loaded only when Redis is asked for. */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import type { KeyValue } from "../coordinator/contract.ts";
import type { CoordinatorConfig } from "../coordinator/open.ts";
import { readRedisConfig } from "../coordinator/redis/settings.ts";
import { type Logger, silentLogger } from "../observe/log.ts";
import type { JobQueue } from "./contract.ts";
import { JobKeeper } from "./keeper.ts";
import { MemoryJobs } from "./memory.ts";
import { MAX_UNFINISHED } from "./rules.ts";

const DEFAULT_LOCK_MS = 30_000;

export interface JobQueueOptions {
  /** Default the system clock. Redis keeps time by its own and by BullMQ's. */
  clock?: Clock;
  /** Default: silent. */
  log?: Logger;
  /** On Redis: a job whose worker was silent for so long goes to another. Default 30,000; 100 to 3,600,000. */
  lockMs?: number;
  /** On `single_node`: keeps the jobs, so that they live as long as what keeps it. Default: as long as the process. */
  keyValue?: KeyValue;
  /** Waiting, delayed and running jobs of one name; more are refused. Default 100,000. */
  maxUnfinished?: number;
}

/**
 * Resolves with a queue that works. Rejects with a `TroupeError` of one readable sentence: `invalid_argument` for a
 * configuration that cannot be right, `store_unavailable` for a store that cannot be reached.
 */
export async function openJobQueue(config: CoordinatorConfig, options: JobQueueOptions = {}): Promise<JobQueue> {
  const { clock = systemClock(), log = silentLogger, lockMs = DEFAULT_LOCK_MS } = options;
  const { maxUnfinished = MAX_UNFINISHED } = options;
  checkRange("lockMs", lockMs, 100, 3_600_000);
  checkRange("maxUnfinished", maxUnfinished, 1, 10_000_000);
  if (config.kind === "single_node") {
    const { keyValue } = options;
    const memory = { clock, maxUnfinished, randomKey: randomUUID };
    if (keyValue === undefined && config.dir !== undefined) throw notKept(config.dir);
    if (keyValue === undefined) return new MemoryJobs(memory);
    const storage = new JobKeeper({ keyValue, clock, log });
    return new MemoryJobs({ ...memory, storage, state: await storage.load() });
  }
  const settings = readRedisConfig(config);
  const { BullJobs } = await import("./bullmq.ts");
  const jobs = new BullJobs({ settings, clock, log, lockMs, maxUnfinished, randomKey: randomUUID });
  await jobs.open();
  return jobs;
}

function notKept(dir: string): TroupeError {
  return new TroupeError(
    "invalid_argument",
    `the jobs of a single node are kept in ${dir} by that node: use its jobs(), or hand over its coordinator's keyValue`,
    { started: "no" },
  );
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new TroupeError(
    "invalid_argument",
    `job queue option ${name} is ${value}, must be a whole number from ${least} to ${most}`,
    { started: "no" },
  );
}
