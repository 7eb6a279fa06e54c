/** The jobs of one name on Redis: their BullMQ queue, its events while somebody listens, its worker while there is one. */
import {
  Queue,
  QueueEvents,
  type QueueEventsListener,
  type RedisOptions,
  UnrecoverableError,
  WaitingError,
  Worker,
} from "bullmq";
import type { Redis } from "ioredis";
import type { Clock } from "../actor/clock.ts";
import {
  type BullJob,
  bullId,
  infoOf,
  isReportedProgress,
  isReturned,
  type Payload,
  type Returned,
} from "./bullmq_payload.ts";
import type { JobCounts, JobHandler, JobInfo, JobState, StopOptions, StopProcessing } from "./contract.ts";
import type { JobFeed } from "./feed.ts";
import { backoffDelay } from "./rules.ts";
import { DEFAULT_GRACE_MS, drainRuns, JobRun } from "./run.ts";

/** For letting go of connections while the store may be away. */
const CLOSE_MS = 1_500;
const MAX_READS = 5;

export interface LineOptions {
  name: string;
  prefix: string;
  /** For commands that answer at once. */
  client: Redis;
  /** For connections that wait. */
  blocking: RedisOptions;
  clock: Clock;
  lockMs: number;
  onError(error: unknown): void;
}

/** Decides whether an event is for a listener, and applies it then. */
type Listener = { feed: JobFeed; hear: (eventId: string, apply: () => void) => void };

interface Processor {
  worker: Worker<Payload, Returned>;
  runs: Map<string, { run: JobRun; nonce: string }>;
  stopping: Promise<void> | null;
}

export class BullLine {
  readonly name: string;
  readonly queue: Queue<Payload, Returned>;
  readonly #options: LineOptions;
  readonly #listeners = new Map<string, Set<Listener>>();
  #events: Promise<QueueEvents> | null = null;
  #processor: Processor | null = null;

  constructor(options: LineOptions) {
    this.#options = options;
    this.name = options.name;
    this.queue = new Queue(options.name, this.sharedOptions);
    this.queue.on("error", options.onError);
  }

  /** For BullMQ objects on the connection for commands. */
  get sharedOptions() {
    const { client, prefix } = this.#options;
    return { connection: client, prefix, skipWaitingForReady: true, skipVersionCheck: true };
  }

  get processing(): boolean {
    return this.#processor !== null;
  }

  /** Where a wish to cancel the job is kept. */
  cancelKey(key: string): string {
    return `${this.#options.prefix}:cancelled/${this.name}/${key}`;
  }

  async job(key: string): Promise<BullJob | undefined> {
    return (await this.queue.getJob(bullId(key))) ?? undefined;
  }

  /** A job and its state, which BullMQ keeps apart, from one moment. */
  async read(key: string): Promise<{ job: BullJob; state: JobState } | undefined> {
    for (let reads = 0; ; reads += 1) {
      const job = await this.job(key);
      if (job === undefined) return undefined;
      if (job.finishedOn !== undefined) return { job, state: isReturned(job.returnvalue) ? "completed" : "dead" };
      const state = await this.queue.getJobState(bullId(key));
      if (state === "delayed" || state === "active") return { job, state };
      // It finished, or moved, between the two reads. One that keeps doing so is said to wait.
      const moved = state === "completed" || state === "failed" || state === "unknown";
      if (!moved || reads >= MAX_READS) return { job, state: "waiting" };
    }
  }

  async counts(): Promise<JobCounts> {
    const counts = await this.queue.getJobCounts("waiting", "delayed", "active", "failed");
    const { waiting = 0, delayed = 0, active = 0, failed = 0 } = counts;
    return { waiting, delayed, active, dead: failed };
  }

  /** The latest first. */
  async dead(limit: number): Promise<JobInfo[]> {
    const jobs: (BullJob | undefined)[] = await this.queue.getFailed(0, limit - 1);
    return jobs.flatMap((job) => (job === undefined ? [] : [infoOf(this.name, job, "dead")]));
  }

  // Events

  /** The id of the newest event. */
  async lastEvent(): Promise<string> {
    const [last] = await this.#options.client.xrevrange(this.queue.toKey("events"), "+", "-", "COUNT", 1);
    return last?.[0] ?? "0-0";
  }

  /** Resolves when no event from now on is missed. */
  openEvents(): Promise<unknown> {
    this.#events ??= this.#openEvents().catch((error: unknown) => {
      this.#events = null;
      throw error;
    });
    return this.#events;
  }

  async #openEvents(): Promise<QueueEvents> {
    const { blocking, prefix, onError } = this.#options;
    const lastEventId = await this.lastEvent();
    const events = new QueueEvents(this.name, { connection: { ...blocking }, prefix, lastEventId });
    events.on("error", onError);
    events.on("progress", ({ jobId, data }, eventId) =>
      this.#tell(jobId, eventId, (feed) => this.tellProgress(feed, data)),
    );
    events.on("completed", ({ jobId, returnvalue }, eventId) =>
      this.#tell(jobId, eventId, (feed) => feed.end(endOfReturned(returnvalue))),
    );
    events.on("failed", ({ jobId, failedReason }, eventId) =>
      this.#tell(jobId, eventId, (feed) => feed.end({ type: "dead", error: failedReason })),
    );
    events.on("removed", ({ jobId }, eventId) => this.#tell(jobId, eventId, (feed) => feed.end({ type: "cancelled" })));
    events.on<CancelListener, "cancel">("cancel", ({ jobId, nonce }) => {
      const running = this.#processor?.runs.get(jobId);
      if (running?.nonce === nonce) running.run.stop("cancelled");
    });
    return events;
  }

  /** Hands events of a job to `hear` from now on; returns what ends it. */
  listen(id: string, feed: JobFeed, hear: Listener["hear"]): () => void {
    const listener = { feed, hear };
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
    };
  }

  tellProgress(feed: JobFeed, reported: unknown): void {
    if (isReportedProgress(reported)) feed.progress(reported, reported.attempt, reported.value);
  }

  #tell(id: string, eventId: string, apply: (feed: JobFeed) => void): void {
    for (const { feed, hear } of this.#listeners.get(id) ?? []) hear(eventId, () => apply(feed));
  }

  // Processing

  process(handler: JobHandler<unknown, unknown>, concurrency: number): StopProcessing {
    const { name, blocking, prefix, lockMs, onError } = this.#options;
    const worker = new Worker<Payload, Returned>(name, (job, token = "") => this.#run(processor, handler, job, token), {
      connection: { ...blocking },
      prefix,
      concurrency,
      lockDuration: lockMs,
      stalledInterval: lockMs,
      // Attempts that ended with their worker are counted by `#run`.
      maxStalledCount: Number.MAX_SAFE_INTEGER,
      autorun: false,
      settings: {
        backoffStrategy: (failures, _type, _error, job) =>
          job === undefined ? 0 : backoffDelay((job.data as Payload).backoff, failures),
      },
    });
    const processor: Processor = { worker, runs: new Map(), stopping: null };
    this.#processor = processor;
    worker.on("error", onError);
    worker.on("lockRenewalFailed", (ids) => {
      for (const id of ids) processor.runs.get(id)?.run.stop("fenced");
    });
    worker.on("completed", (job, returned) => {
      // Not sooner: a successor of this worker would run it.
      if ("cancelled" in returned) void this.#forgetCancel(job.data.key);
    });
    void this.#startWorker(processor);
    return (options) => {
      processor.stopping ??= this.#stop(processor, options);
      return processor.stopping;
    };
  }

  /** Cancels must be heard before the first job runs. */
  async #startWorker(processor: Processor): Promise<void> {
    const { onError, clock } = this.#options;
    while (processor.stopping === null) {
      try {
        await this.openEvents();
        break;
      } catch (error) {
        onError(error);
        await new Promise<void>((resolve) => void clock.after(1_000, resolve));
      }
    }
    if (processor.stopping === null) await processor.worker.run().catch(onError);
  }

  async #run(
    processor: Processor,
    handler: JobHandler<unknown, unknown>,
    job: BullJob,
    token: string,
  ): Promise<Returned> {
    const id = job.id ?? "";
    const { key, data, attempts, from, nonce, v } = job.data;
    const start = job.attemptsStarted;
    const attempt = start - from;
    // Deliberately no last failure: one that understands it may come.
    if (v !== 1) throw new Error(`job ${this.name}/${key} was written by a version that this one does not know`);
    if (attempt > attempts) {
      throw new UnrecoverableError(`its worker ended while it ran, in attempt ${attempts} of ${attempts}`);
    }
    if (processor.stopping !== null) return await this.#giveBack(job, token);
    const run: JobRun = new JobRun(
      { id: `${this.name}/${key}`, name: this.name, key, data, attempt, attempts, addedAt: job.timestamp },
      handler,
      ({ n, value }) => job.updateProgress({ start, n, attempt, value: JSON.parse(value) }),
      this.#wasCancelled(key, nonce).then((cancelled) => {
        if (cancelled) run.stop("cancelled");
      }),
    );
    processor.runs.set(id, { run, nonce });
    const outcome = await run.outcome;
    processor.runs.delete(id);
    if (outcome.kind === "completed") return { v: 1, result: JSON.parse(outcome.result) };
    // It takes nothing from the job, and BullMQ lets go of it.
    if (outcome.kind === "lost") throw new WaitingError();
    if (outcome.kind === "cancelled" || (await this.#wasCancelled(key, nonce))) {
      job.opts.removeOnComplete = true;
      return { v: 1, cancelled: true };
    }
    if (outcome.kind === "given-back") return await this.#giveBack(job, token);
    if (outcome.final || attempt >= attempts) throw new UnrecoverableError(outcome.error);
    throw new Error(outcome.error);
  }

  async #giveBack(job: BullJob, token: string): Promise<never> {
    await job.updateData({ ...job.data, from: job.data.from + 1 });
    await job.moveToWait(token);
    throw new WaitingError();
  }

  async #wasCancelled(key: string, nonce: string): Promise<boolean> {
    // While the store is away nobody can have asked.
    return (await this.#options.client.get(this.cancelKey(key)).catch(() => null)) === nonce;
  }

  async #forgetCancel(key: string): Promise<void> {
    // What is left behind lapses by itself, and names this job only.
    await this.#options.client.del(this.cancelKey(key)).catch(this.#options.onError);
  }

  async #stop(processor: Processor, { graceMs = DEFAULT_GRACE_MS }: StopOptions = {}): Promise<void> {
    const { worker, runs } = processor;
    const { clock, onError } = this.#options;
    void worker.pause(true);
    const left = await drainRuns(
      [...runs.values()].map(({ run }) => run),
      clock,
      graceMs,
    );
    // Those keep their lock until it lapses; then another worker has them.
    for (const run of left) run.stop("fenced");
    await this.#letGo(worker.close(left.length > 0), () => worker.disconnect()).catch(onError);
    if (this.#processor === processor) this.#processor = null;
  }

  async close(options: StopOptions): Promise<void> {
    const { onError } = this.#options;
    const processor = this.#processor;
    if (processor !== null) {
      processor.stopping ??= this.#stop(processor, options);
      await processor.stopping;
    }
    const events = await this.#events?.catch(() => null);
    if (events) await this.#letGo(events.close(), () => events.disconnect()).catch(onError);
    await this.queue.close().catch(onError);
  }

  /** Waits for a polite goodbye, but not for a store that is away. */
  async #letGo(closing: Promise<void>, cut: () => Promise<void>): Promise<void> {
    let cancel = (): void => {};
    const late = new Promise<"late">((resolve) => {
      cancel = this.#options.clock.after(CLOSE_MS, () => resolve("late"));
    });
    const outcome = await Promise.race([closing, late]).finally(() => cancel());
    if (outcome === "late") await Promise.race([cut(), new Promise((resolve) => setTimeout(resolve, 100))]);
  }
}

interface CancelListener extends QueueEventsListener {
  cancel: (args: { jobId: string; nonce: string }, eventId: string) => void;
}

function endOfReturned(returned: unknown) {
  if (isReturned(returned) && "cancelled" in returned) return { type: "cancelled" } as const;
  return { type: "completed", result: isReturned(returned) && "result" in returned ? returned.result : null } as const;
}
