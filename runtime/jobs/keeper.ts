/**
 * Keeps the jobs of a single node in its coordinator's key-value store, one entry a job, so that with `dir:` they outlive
 * the process.
 *
 * Changes of one turn of the loop are written together; a job that changes again while it is written is written again. An
 * entry that could not be written is tried again each second; who waits for it is told at once, with unknown outcome.
 */
import type { Clock } from "../actor/clock.ts";
import type { KeyValue } from "../coordinator/contract.ts";
import type { Logger } from "../observe/log.ts";
import type { JobId } from "./contract.ts";
import type { JobStorage, JobsState, StoredJob } from "./memory.ts";

const PREFIX = "jobs/";
/** Far more than bounds let there be; the store must not cut the list. */
const ALL = 100_000_000;
const AGAIN_MS = 1_000;

export interface KeeperOptions {
  keyValue: KeyValue;
  clock: Clock;
  log: Logger;
}

export class JobKeeper implements JobStorage {
  readonly #options: KeeperOptions;
  readonly #dirty = new Map<JobId, StoredJob | null>();
  #writing: Promise<void> = Promise.resolve();
  #upcoming: Promise<void> | null = null;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** What an earlier process kept. */
  async load(): Promise<JobsState> {
    const entries = await this.#options.keyValue.list(PREFIX, ALL);
    const text = new TextDecoder();
    return { version: 1, jobs: entries.map(({ value }) => JSON.parse(text.decode(value)) as StoredJob) };
  }

  changed(id: JobId, job: StoredJob | null): void {
    this.#dirty.set(id, job);
    if (this.#upcoming !== null) return;
    this.#upcoming = this.#writing
      .catch(() => {})
      .then(() => {
        this.#upcoming = null;
        this.#writing = this.#write();
        return this.#writing;
      });
    // Not everybody who changes a job waits for it.
    this.#upcoming.catch(() => {});
  }

  saved(): Promise<void> {
    return this.#upcoming ?? this.#writing;
  }

  async #write(): Promise<void> {
    const { keyValue, clock, log } = this.#options;
    const batch = [...this.#dirty];
    this.#dirty.clear();
    const writes = batch.map(async ([id, job]) => {
      if (job === null) await keyValue.delete(`${PREFIX}${id}`);
      else await keyValue.put(`${PREFIX}${id}`, new TextEncoder().encode(JSON.stringify(job)));
    });
    const outcomes = await Promise.allSettled(writes);
    const failure = outcomes.find((outcome) => outcome.status === "rejected");
    if (failure === undefined) return;
    log.warn("jobs could not be kept; trying again", { error: failure.reason });
    const failed = batch.filter((_, index) => outcomes[index]?.status === "rejected");
    clock.after(AGAIN_MS, () => {
      // What changed meanwhile is newer.
      for (const [id, job] of failed) if (!this.#dirty.has(id)) this.changed(id, job);
    });
    throw failure.reason;
  }
}
