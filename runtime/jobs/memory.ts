/**
 * The job queue of a single node: one plain structure (`JobsState`), and what is derived from it to act quickly. With a
 * `JobStorage` each change of a job is kept: verbs are acknowledged, and handlers begin, after that. Handed back to a new
 * queue, jobs that ran by then are run again, and the attempt counts.
 *
 * Times in the structure are wall clock, so that they mean something after a restart; waiting is done on the monotonic
 * clock.
 */
import type { Clock } from "../actor/clock.ts";
import type {
  AddOptions,
  Backoff,
  CancelOutcome,
  DeadOptions,
  JobCounts,
  JobDefinition,
  JobEvent,
  JobHandler,
  JobId,
  JobInfo,
  JobQueue,
  JobState,
  ProcessOptions,
  StopOptions,
  StopProcessing,
  WatchOptions,
} from "./contract.ts";
import { endOf, JobFeed } from "./feed.ts";
import {
  backoffDelay,
  checkConcurrency,
  checkLimit,
  checkName,
  jobId,
  MAX_COMPLETED,
  MAX_DEAD,
  MAX_NAMES,
  newJob,
  parseJobId,
  processedAlready,
  queueClosed,
  tooManyNames,
  tooManyUnfinished,
  unknownJob,
} from "./rules.ts";
import { DEFAULT_GRACE_MS, drainRuns, JobRun, type Outcome } from "./run.ts";

/** A job as it is kept. `data`, `result` and the progress' value are JSON text. */
export interface StoredJob {
  id: JobId;
  name: string;
  key: string;
  data: string;
  state: JobState;
  attempts: number;
  backoff: Backoff;
  keepMs: number;
  /** Attempts begun that count. */
  attempt: number;
  /** Starts ever, also those that do not count. */
  starts: number;
  failures: number;
  addedAt: number;
  /** While delayed: when it is due. */
  dueAt: number;
  finishedAt: number | null;
  progress: { n: number; value: string } | null;
  result: string | null;
  error: string | null;
  cancelled: boolean;
  /** Of two jobs in the same state, the one with the smaller number was there first. */
  order: number;
}

/** Where changes go, to be kept. */
export interface JobStorage {
  /** The job is like that from now on; `null`: it is gone. The object may change later, and is told again then. */
  changed(id: JobId, job: StoredJob | null): void;
  /** Settles when everything told so far is kept; rejects when it could not be. */
  saved(): Promise<void>;
}

/** All jobs, in any order. JSON. */
export interface JobsState {
  version: 1;
  jobs: StoredJob[];
}

export interface MemoryJobsOptions {
  clock: Clock;
  randomKey(): string;
  maxUnfinished: number;
  /** What an earlier queue's `state` was. */
  state?: JobsState;
  storage?: JobStorage;
}

/** The jobs of one name. */
interface Line {
  /** In the order of their turn. */
  waiting: Set<JobId>;
  delayed: Set<JobId>;
  active: Set<JobId>;
  /** Oldest first. */
  completed: Set<JobId>;
  dead: Set<JobId>;
  processor: Processor | null;
}

interface Processor {
  handler: JobHandler<unknown, unknown>;
  concurrency: number;
  runs: Map<JobId, JobRun>;
  stopping: Promise<void> | null;
}

export class MemoryJobs implements JobQueue {
  readonly #options: MemoryJobsOptions;
  readonly #jobs = new Map<JobId, StoredJob>();
  readonly #lines = new Map<string, Line>();
  readonly #timers = new Map<JobId, () => void>();
  readonly #feeds = new Map<JobId, Set<JobFeed>>();
  #last = 0;
  #first = 0;
  #closed = false;

  constructor(options: MemoryJobsOptions) {
    this.#options = options;
    const interrupted: JobId[] = [];
    const kept = structuredClone(options.state?.jobs ?? []).sort((a, b) => a.order - b.order);
    this.#first = Math.min(0, kept.at(0)?.order ?? 0);
    this.#last = Math.max(0, kept.at(-1)?.order ?? 0);
    for (const job of kept) {
      this.#jobs.set(job.id, job);
      this.#line(job.name)[job.state].add(job.id);
      if (job.state === "active") interrupted.push(job.id);
      if (job.state === "delayed") this.#dueIn(job, job.dueAt - options.clock.wallNow());
      if (job.state === "completed") this.#forgetIn(job, (job.finishedAt ?? 0) + job.keepMs - options.clock.wallNow());
    }
    // In reverse, because each goes to the front.
    for (const id of interrupted.reverse()) this.#interrupted(this.#known(id));
  }

  /** Everything there is to keep, as a copy. */
  get state(): JobsState {
    return { version: 1, jobs: structuredClone([...this.#jobs.values()]) };
  }

  async add<Data, Result>(
    definition: JobDefinition<Data, Result>,
    data: Data,
    options: AddOptions = {},
  ): Promise<{ id: JobId<Data, Result>; added: boolean }> {
    this.#open();
    const { randomKey, maxUnfinished, clock } = this.#options;
    const { delayMs, ...fresh } = newJob(definition, data, options, randomKey);
    const id = jobId(definition, fresh.key);
    if (this.#jobs.has(id)) {
      // Perhaps the first one is not kept yet.
      await this.#saved();
      return { id, added: false };
    }
    const line = this.#line(fresh.name);
    if (line.waiting.size + line.delayed.size + line.active.size >= maxUnfinished) {
      throw tooManyUnfinished(fresh.name, maxUnfinished);
    }
    const addedAt = clock.wallNow();
    const job: StoredJob = {
      ...fresh,
      state: "waiting",
      attempt: 0,
      starts: 0,
      failures: 0,
      addedAt,
      dueAt: addedAt + delayMs,
      finishedAt: null,
      progress: null,
      result: null,
      error: null,
      cancelled: false,
      order: 0,
    };
    this.#jobs.set(job.id, job);
    if (delayMs > 0) {
      this.#delay(job, delayMs);
    } else {
      this.#move(job, "waiting");
      this.#pump(job.name);
    }
    await this.#saved();
    return { id, added: true };
  }

  process<Data, Result>(
    definition: JobDefinition<Data, Result>,
    handler: JobHandler<Data, Result>,
    { concurrency = 1 }: ProcessOptions = {},
  ): StopProcessing {
    this.#open();
    const { name } = definition;
    checkName(name);
    checkConcurrency(name, concurrency);
    const line = this.#line(name);
    if (line.processor !== null) throw processedAlready(name);
    const processor: Processor = {
      handler: handler as JobHandler<unknown, unknown>,
      concurrency,
      runs: new Map(),
      stopping: null,
    };
    line.processor = processor;
    this.#pump(name);
    return (options) => {
      processor.stopping ??= this.#stop(line, processor, options);
      return processor.stopping;
    };
  }

  async get<Data = unknown, Result = unknown>(id: JobId<Data, Result> | string): Promise<JobInfo<Data, Result> | null> {
    this.#open();
    parseJobId(id);
    const job = this.#jobs.get(id);
    return job === undefined ? null : infoOf<Data, Result>(job);
  }

  async cancel(id: string): Promise<CancelOutcome> {
    this.#open();
    const { name } = parseJobId(id);
    const job = this.#jobs.get(id);
    if (job === undefined) return "not-found";
    if (job.state === "completed") return "finished";
    if (job.state !== "active") {
      this.#cancelled(job);
      await this.#saved();
      return "cancelled";
    }
    job.cancelled = true;
    this.#changed(job);
    this.#line(name).processor?.runs.get(id)?.stop("cancelled");
    await this.#saved();
    return "cancelling";
  }

  async *watch<Data = unknown, Result = unknown>(
    id: JobId<Data, Result> | string,
    { signal }: WatchOptions = {},
  ): AsyncGenerator<JobEvent<Result>, void, void> {
    this.#open();
    parseJobId(id);
    const job = this.#jobs.get(id);
    if (job === undefined) throw unknownJob(id);
    const feed = new JobFeed();
    if (job.progress !== null) {
      feed.progress({ start: job.starts, n: job.progress.n }, job.attempt, JSON.parse(job.progress.value));
    }
    const end = endOf(infoOf(job));
    if (end !== null) feed.end(end);
    const feeds = this.#feeds.get(id) ?? new Set();
    this.#feeds.set(id, feeds.add(feed));
    const abort = (): void => feed.fail(signal?.reason);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted === true) abort();
    try {
      for (;;) {
        const event = await feed.next();
        if (event === null) continue;
        yield event as JobEvent<Result>;
        if (event.type !== "progress") return;
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      feeds.delete(feed);
      if (feeds.size === 0 && this.#feeds.get(id) === feeds) this.#feeds.delete(id);
    }
  }

  async dead({ limit = 100, definition }: DeadOptions = {}): Promise<JobInfo[]> {
    this.#open();
    checkLimit(limit);
    return this.#linesOf(definition)
      .flatMap((line) => [...line.dead].slice(-limit))
      .map((id) => infoOf(this.#known(id)))
      .reverse()
      .sort((a, b) => (b.finishedAt ?? 0) - (a.finishedAt ?? 0))
      .slice(0, limit);
  }

  async retryDead(id: string): Promise<boolean> {
    this.#open();
    parseJobId(id);
    const job = this.#jobs.get(id);
    if (job?.state !== "dead") return false;
    Object.assign(job, { attempt: 0, failures: 0, finishedAt: null, error: null });
    this.#move(job, "waiting");
    this.#pump(job.name);
    await this.#saved();
    return true;
  }

  async counts(definition?: { readonly name: string }): Promise<JobCounts> {
    this.#open();
    const counts = { waiting: 0, delayed: 0, active: 0, dead: 0 };
    for (const line of this.#linesOf(definition)) {
      for (const state of ["waiting", "delayed", "active", "dead"] as const) counts[state] += line[state].size;
    }
    return counts;
  }

  async close(options: StopOptions = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const stops = [...this.#lines.values()].map((line) => {
      const { processor } = line;
      if (processor === null) return undefined;
      processor.stopping ??= this.#stop(line, processor, options);
      return processor.stopping;
    });
    await Promise.all(stops);
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    for (const feeds of this.#feeds.values()) for (const feed of feeds) feed.fail(queueClosed());
    await this.#saved();
  }

  async #stop(line: Line, processor: Processor, { graceMs = DEFAULT_GRACE_MS }: StopOptions = {}): Promise<void> {
    const left = await drainRuns(processor.runs.values(), this.#options.clock, graceMs);
    for (const run of left) {
      // What its handler still does comes too late to be heard.
      run.stop("fenced");
      this.#ended(processor, run, { kind: "given-back" });
    }
    if (line.processor === processor) line.processor = null;
  }

  #pump(name: string): void {
    const line = this.#line(name);
    const { processor } = line;
    if (processor === null) return;
    while (processor.stopping === null && processor.runs.size < processor.concurrency) {
      const [next] = line.waiting;
      if (next === undefined) return;
      this.#start(this.#known(next), processor);
    }
  }

  #start(job: StoredJob, processor: Processor): void {
    job.attempt += 1;
    job.starts += 1;
    this.#move(job, "active");
    const { id, name, key, attempt, attempts, addedAt, starts } = job;
    const run = new JobRun(
      { id, name, key, data: JSON.parse(job.data), attempt, attempts, addedAt },
      processor.handler,
      async (progress) => {
        job.progress = progress;
        this.#changed(job);
        for (const feed of this.#feeds.get(id) ?? []) {
          feed.progress({ start: starts, n: progress.n }, attempt, JSON.parse(progress.value));
        }
      },
      // A job that ends its process must have been counted. With the store away it runs all the same.
      this.#saved().catch(() => {}),
    );
    processor.runs.set(id, run);
    void run.outcome.then((outcome) => {
      if (outcome.kind !== "lost") this.#ended(processor, run, outcome);
    });
  }

  #ended(processor: Processor, run: JobRun, outcome: Exclude<Outcome, { kind: "lost" }>): void {
    const job = this.#known(run.job.id);
    processor.runs.delete(job.id);
    if (outcome.kind === "completed") {
      this.#completed(job, outcome.result);
    } else if (job.cancelled) {
      this.#cancelled(job);
    } else if (outcome.kind === "failed") {
      this.#failed(job, outcome.error, outcome.final);
    } else {
      job.attempt -= 1;
      this.#toFront(job);
    }
    this.#pump(job.name);
  }

  #completed(job: StoredJob, result: string): void {
    job.finishedAt = this.#options.clock.wallNow();
    job.result = result;
    job.error = null;
    this.#move(job, "completed");
    this.#tellEnd(job);
    this.#dropOldest(this.#line(job.name).completed, MAX_COMPLETED);
    if (this.#jobs.has(job.id)) this.#forgetIn(job, job.keepMs);
  }

  #failed(job: StoredJob, error: string, final: boolean): void {
    job.failures += 1;
    job.error = error;
    if (!final && job.attempt < job.attempts) this.#delay(job, backoffDelay(job.backoff, job.failures));
    else this.#die(job);
  }

  /** A job that ran when the state was kept: its worker is no more. */
  #interrupted(job: StoredJob): void {
    if (job.cancelled) {
      this.#cancelled(job);
    } else if (job.attempt >= job.attempts) {
      job.error = `its worker ended while it ran, in attempt ${job.attempt} of ${job.attempts}`;
      this.#die(job);
    } else {
      this.#toFront(job);
    }
  }

  #die(job: StoredJob): void {
    job.finishedAt = this.#options.clock.wallNow();
    this.#move(job, "dead");
    this.#tellEnd(job);
    this.#dropOldest(this.#line(job.name).dead, MAX_DEAD);
  }

  #delay(job: StoredJob, ms: number): void {
    job.dueAt = this.#options.clock.wallNow() + ms;
    this.#move(job, "delayed");
    this.#dueIn(job, ms);
  }

  #dueIn(job: StoredJob, ms: number): void {
    this.#timer(job.id, ms, () => {
      this.#move(job, "waiting");
      this.#pump(job.name);
    });
  }

  #forgetIn(job: StoredJob, ms: number): void {
    if (ms <= 0) this.#forget(job);
    else this.#timer(job.id, ms, () => this.#forget(job));
  }

  #timer(id: JobId, ms: number, callback: () => void): void {
    const cancel = this.#options.clock.after(Math.max(0, ms), () => {
      this.#timers.delete(id);
      callback();
    });
    this.#timers.set(id, cancel);
  }

  #cancelled(job: StoredJob): void {
    for (const feed of this.#feeds.get(job.id) ?? []) feed.end({ type: "cancelled" });
    this.#forget(job);
  }

  #tellEnd(job: StoredJob): void {
    const end = endOf(infoOf(job));
    if (end !== null) for (const feed of this.#feeds.get(job.id) ?? []) feed.end(end);
  }

  #forget(job: StoredJob): void {
    this.#timers.get(job.id)?.();
    this.#timers.delete(job.id);
    this.#line(job.name)[job.state].delete(job.id);
    this.#jobs.delete(job.id);
    this.#options.storage?.changed(job.id, null);
  }

  #dropOldest(ids: Set<JobId>, most: number): void {
    const [oldest] = ids;
    if (ids.size > most && oldest !== undefined) this.#forget(this.#known(oldest));
  }

  /** To the end of the line of that state. */
  #move(job: StoredJob, state: JobState): void {
    const line = this.#line(job.name);
    line[job.state].delete(job.id);
    job.state = state;
    this.#last += 1;
    job.order = this.#last;
    line[state].add(job.id);
    this.#changed(job);
  }

  /** Rare, so it may cost the length of the line. */
  #toFront(job: StoredJob): void {
    const line = this.#line(job.name);
    line[job.state].delete(job.id);
    job.state = "waiting";
    this.#first -= 1;
    job.order = this.#first;
    line.waiting = new Set([job.id, ...line.waiting]);
    this.#changed(job);
  }

  #changed(job: StoredJob): void {
    this.#options.storage?.changed(job.id, job);
  }

  #saved(): Promise<void> {
    return this.#options.storage?.saved() ?? Promise.resolve();
  }

  #line(name: string): Line {
    const found = this.#lines.get(name);
    if (found !== undefined) return found;
    if (this.#lines.size >= MAX_NAMES) throw tooManyNames(name);
    const line: Line = {
      waiting: new Set(),
      delayed: new Set(),
      active: new Set(),
      completed: new Set(),
      dead: new Set(),
      processor: null,
    };
    this.#lines.set(name, line);
    return line;
  }

  #linesOf(definition: { readonly name: string } | undefined): Line[] {
    if (definition === undefined) return [...this.#lines.values()];
    const line = this.#lines.get(definition.name);
    return line === undefined ? [] : [line];
  }

  #known(id: JobId): StoredJob {
    const job = this.#jobs.get(id);
    if (job === undefined) throw unknownJob(id);
    return job;
  }

  #open(): void {
    if (this.#closed) throw queueClosed();
  }
}

/** Whoever names the types vouches for them: the store has JSON. */
function infoOf<Data, Result>(job: StoredJob): JobInfo<Data, Result> {
  const { name, key, state, attempt, attempts, error, addedAt, finishedAt, progress, result } = job;
  return {
    id: `${name}/${key}`,
    name,
    key,
    data: JSON.parse(job.data),
    state,
    attempt,
    attempts,
    progress: progress === null ? null : JSON.parse(progress.value),
    result: result === null ? null : JSON.parse(result),
    error,
    addedAt,
    finishedAt,
  };
}
