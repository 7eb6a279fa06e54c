/**
 * The job queue on Redis: BullMQ does the keeping, ordering, locking and waking; this file gives it the contract.
 *
 * ## Mapping
 * Each job name is a BullMQ queue, because a BullMQ worker takes every job of its queue. All their keys carry the hash
 * tag `{jobs}`. What the contract knows about a job and BullMQ does not travels in its data (`Payload`). The dead-letter
 * list is BullMQ's failed set.
 *
 * ## Attempts
 * BullMQ counts failures and stalls apart. Here every start counts (`attemptsStarted`), less `from`: the starts before a
 * `retryDead` and those that a shutting-down worker gave back. So BullMQ's own limit on stalls is switched off.
 *
 * ## Cancel
 * The wish is stored under a key of its own before anything else, and each start looks there first: a worker that takes
 * over from a dead one meets it. A running handler hears of it through the queue's event stream, which resumes where it
 * broke off.
 *
 * ## Connections
 * One for all verbs, which fails at once while the store is away instead of queueing. Beside it one for the events of
 * each name that is watched or processed, and two for each that is processed; those wait and reconnect by themselves.
 */
import { QueueEventsProducer } from "bullmq";
import { Redis } from "ioredis";
import type { Clock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import type { RedisSettings } from "../coordinator/redis/settings.ts";
import type { Logger } from "../observe/log.ts";
import { BullLine, type LineOptions } from "./bullmq_line.ts";
import { bullId, infoOf, isExpired, newer, type Payload } from "./bullmq_payload.ts";
import type {
  AddOptions,
  CancelOutcome,
  DeadOptions,
  JobCounts,
  JobDefinition,
  JobEvent,
  JobHandler,
  JobId,
  JobInfo,
  JobQueue,
  ProcessOptions,
  StopOptions,
  StopProcessing,
  WatchOptions,
} from "./contract.ts";
import { endOf, JobFeed } from "./feed.ts";
import {
  checkConcurrency,
  checkLimit,
  checkName,
  jobId,
  MAX_COMPLETED,
  MAX_DEAD,
  MAX_KEEP_MS,
  MAX_NAMES,
  newJob,
  parseJobId,
  processedAlready,
  queueClosed,
  tooManyNames,
  tooManyUnfinished,
  unknownJob,
} from "./rules.ts";

/** A cancel that nobody came to carry out is forgotten after that. */
const CANCEL_KEPT_MS = 15 * 86_400_000;
/** How long the number of unfinished jobs may be reused between two looks. */
const BACKLOG_KNOWN_MS = 1_000;
/** A watcher that heard nothing for so long looks for itself. */
const LOOK_AGAIN_MS = 5_000;
const RETRY_MS = 1_000;

export interface BullJobsOptions {
  settings: RedisSettings;
  clock: Clock;
  log: Logger;
  randomKey(): string;
  maxUnfinished: number;
  /** After so long without word from its worker a job is handed to another. */
  lockMs: number;
}

export class BullJobs implements JobQueue {
  readonly #options: BullJobsOptions;
  readonly #client: Redis;
  readonly #prefix: string;
  readonly #lines = new Map<string, BullLine>();
  readonly #registered = new Set<string>();
  readonly #backlogs = new Map<string, { until: number; size: number }>();
  readonly #feeds = new Set<JobFeed>();
  #closing: Promise<void> | null = null;

  constructor(options: BullJobsOptions) {
    this.#options = options;
    this.#prefix = `${options.settings.prefix}{jobs}`;
    this.#client = new Redis({
      ...connectionOptions(options.settings),
      connectionName: `${options.settings.prefix}jobs`,
      lazyConnect: true,
      commandTimeout: options.settings.timeoutMs,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
    });
    this.#client.on("error", logOnce(options.log, "the job queue's connection to Redis failed"));
  }

  /** Throws `store_unavailable` with a readable reason; everything is closed then. */
  async open(): Promise<void> {
    try {
      await this.#client.connect();
    } catch (error) {
      this.#client.disconnect();
      const { address } = this.#options.settings;
      const reason = error instanceof Error ? error.message : String(error);
      throw new TroupeError("store_unavailable", `the job queue cannot reach Redis at ${address} (${reason})`, {
        started: "no",
        cause: error,
      });
    }
  }

  async add<Data, Result>(
    definition: JobDefinition<Data, Result>,
    data: Data,
    options: AddOptions = {},
  ): Promise<{ id: JobId<Data, Result>; added: boolean }> {
    const job = newJob(definition, data, options, this.#options.randomKey);
    const line = this.#line(job.name);
    await this.#register(job.name);
    await this.#admit(line);
    const payload: Payload = {
      v: 1,
      key: job.key,
      data: JSON.parse(job.data),
      attempts: job.attempts,
      backoff: job.backoff,
      keepMs: job.keepMs,
      from: 0,
      nonce: this.#options.randomKey(),
    };
    const store = (): Promise<unknown> =>
      this.#ask(`adding ${job.id}`, () =>
        line.queue.add(job.name, payload, {
          jobId: bullId(job.key),
          delay: job.delayMs,
          attempts: job.attempts,
          backoff: { type: "troupe" },
          removeOnComplete: job.keepMs === 0 ? true : { age: MAX_KEEP_MS / 1_000, count: MAX_COMPLETED },
          removeOnFail: { count: MAX_DEAD },
          stackTraceLimit: 1,
        }),
      );
    const id = jobId(definition, job.key);
    await store();
    // A random key was never used before.
    if (options.key === undefined) return { id, added: true };
    const look = () => this.#ask(`adding ${job.id}`, () => line.job(job.key));
    let there = await look();
    if (there !== undefined && there.data.nonce !== payload.nonce && isExpired(there)) {
      await this.#ask(`adding ${job.id}`, () => line.queue.remove(bullId(job.key)));
      await store();
      there = await look();
    }
    // One that is gone already was ours, and ran.
    return { id, added: there === undefined || there.data.nonce === payload.nonce };
  }

  process<Data, Result>(
    definition: JobDefinition<Data, Result>,
    handler: JobHandler<Data, Result>,
    { concurrency = 1 }: ProcessOptions = {},
  ): StopProcessing {
    const { name } = definition;
    checkName(name);
    checkConcurrency(name, concurrency);
    const line = this.#line(name);
    if (line.processing) throw processedAlready(name);
    this.#register(name).catch(logOnce(this.#options.log, `registering the job name ${name} failed`));
    return line.process(handler as JobHandler<unknown, unknown>, concurrency);
  }

  async get<Data = unknown, Result = unknown>(id: JobId<Data, Result> | string): Promise<JobInfo<Data, Result> | null> {
    const { name, key } = parseJobId(id);
    const line = this.#line(name);
    return await this.#ask(`reading ${id}`, async () => {
      const found = await line.read(key);
      if (found === undefined || isExpired(found.job)) return null;
      return infoOf<Data, Result>(name, found.job, found.state);
    });
  }

  async cancel(id: string): Promise<CancelOutcome> {
    const { name, key } = parseJobId(id);
    const line = this.#line(name);
    return await this.#ask(`cancelling ${id}`, async () => {
      const found = await line.read(key);
      if (found === undefined || isExpired(found.job)) return "not-found";
      if (found.state === "completed") return "finished";
      const { nonce } = found.job.data;
      await this.#client.set(line.cancelKey(key), nonce, "PX", CANCEL_KEPT_MS);
      if ((await line.queue.remove(bullId(key))) === 1) {
        await this.#client.del(line.cancelKey(key));
        return "cancelled";
      }
      const producer = new QueueEventsProducer(name, line.sharedOptions);
      try {
        await producer.publishEvent({ eventName: "cancel", jobId: bullId(key), nonce }, 10_000);
      } finally {
        await producer.close();
      }
      return "cancelling";
    });
  }

  async *watch<Data = unknown, Result = unknown>(
    id: JobId<Data, Result> | string,
    { signal }: WatchOptions = {},
  ): AsyncGenerator<JobEvent<Result>, void, void> {
    const { name, key } = parseJobId(id);
    const line = this.#line(name);
    const feed = new JobFeed();
    this.#feeds.add(feed);
    const abort = (): void => feed.fail(signal?.reason);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted === true) abort();
    // Events that are older than what is read below belong to the past, perhaps to an earlier job with this key.
    let since: string | null = null;
    const held: [string, () => void][] = [];
    const unlisten = line.listen(bullId(key), feed, (eventId, apply) => {
      if (since === null) held.push([eventId, apply]);
      else if (newer(eventId, since)) apply();
    });
    try {
      await this.#ask(`watching ${id}`, () => line.openEvents());
      const start = await this.#ask(`watching ${id}`, () => line.lastEvent());
      await this.#ask(`watching ${id}`, () => this.#look(line, key, feed));
      since = start;
      for (const [eventId, apply] of held) if (newer(eventId, start)) apply();
      for (;;) {
        const pause = this.#pause(LOOK_AGAIN_MS);
        const event = await feed.next(pause.over).finally(pause.cancel);
        if (event === null) {
          await this.#look(line, key, feed).catch(() => {});
          continue;
        }
        yield event as JobEvent<Result>;
        if (event.type !== "progress") return;
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      unlisten();
      this.#feeds.delete(feed);
    }
  }

  async dead({ limit = 100, definition }: DeadOptions = {}): Promise<JobInfo[]> {
    checkLimit(limit);
    return await this.#ask("listing dead jobs", async () => {
      const lines = await this.#linesOf(definition);
      const lists = await Promise.all(lines.map((line) => line.dead(limit)));
      return lists
        .flat()
        .sort((a, b) => (b.finishedAt ?? 0) - (a.finishedAt ?? 0))
        .slice(0, limit);
    });
  }

  async retryDead(id: string): Promise<boolean> {
    const { name, key } = parseJobId(id);
    const line = this.#line(name);
    return await this.#ask(`retrying ${id}`, async () => {
      const found = await line.read(key);
      if (found?.state !== "dead") return false;
      const { job } = found;
      await job.updateData({ ...job.data, from: job.attemptsStarted });
      try {
        await job.retry("failed", { resetAttemptsMade: true });
        return true;
      } catch (error) {
        // Somebody else was first.
        if ((await line.read(key))?.state !== "dead") return false;
        throw error;
      }
    });
  }

  async counts(definition?: { readonly name: string }): Promise<JobCounts> {
    return await this.#ask("counting jobs", async () => {
      const lines = await this.#linesOf(definition);
      const total = { waiting: 0, delayed: 0, active: 0, dead: 0 };
      for (const counts of await Promise.all(lines.map((line) => line.counts()))) {
        for (const state of ["waiting", "delayed", "active", "dead"] as const) total[state] += counts[state];
      }
      return total;
    });
  }

  close(options: StopOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  async #close(options: StopOptions): Promise<void> {
    await Promise.all([...this.#lines.values()].map((line) => line.close(options)));
    for (const feed of this.#feeds) feed.fail(queueClosed());
    this.#client.disconnect();
  }

  /** Hands the watcher what is stored about the job now. */
  async #look(line: BullLine, key: string, feed: JobFeed): Promise<void> {
    const found = await line.read(key);
    if (found === undefined || isExpired(found.job)) {
      feed.fail(unknownJob(`${line.name}/${key}`));
      return;
    }
    line.tellProgress(feed, found.job.progress);
    const end = endOf(infoOf(line.name, found.job, found.state));
    if (end !== null) feed.end(end);
  }

  /** Refuses when there are too many unfinished jobs. Others may add meanwhile, so the bound is kept within a second's worth. */
  async #admit(line: BullLine): Promise<void> {
    const { clock, maxUnfinished } = this.#options;
    let backlog = this.#backlogs.get(line.name);
    if (backlog === undefined || backlog.until <= clock.now() || backlog.size >= maxUnfinished) {
      const { waiting, delayed, active } = await this.#ask(`adding to ${line.name}`, () => line.counts());
      backlog = { until: clock.now() + BACKLOG_KNOWN_MS, size: waiting + delayed + active };
      this.#backlogs.set(line.name, backlog);
    }
    if (backlog.size >= maxUnfinished) throw tooManyUnfinished(line.name, maxUnfinished);
    backlog.size += 1;
  }

  /** Makes the name known to `dead` and `counts` on every node. */
  async #register(name: string): Promise<void> {
    if (this.#registered.has(name)) return;
    await this.#ask(`registering the job name ${name}`, async () => {
      const names = `${this.#prefix}:names`;
      const isNew = (await this.#client.sismember(names, name)) === 0;
      if (isNew && (await this.#client.scard(names)) >= MAX_NAMES) throw tooManyNames(name);
      if (isNew) await this.#client.sadd(names, name);
    });
    this.#registered.add(name);
  }

  #line(name: string): BullLine {
    if (this.#closing !== null) throw queueClosed();
    const found = this.#lines.get(name);
    if (found !== undefined) return found;
    if (this.#lines.size >= MAX_NAMES) throw tooManyNames(name);
    const { settings, clock, log, lockMs } = this.#options;
    const options: LineOptions = {
      name,
      prefix: this.#prefix,
      client: this.#client,
      blocking: { ...connectionOptions(settings), maxRetriesPerRequest: null },
      clock,
      lockMs,
      onError: logOnce(log.with({ job: name }), "the job queue has trouble"),
    };
    const line = new BullLine(options);
    this.#lines.set(name, line);
    return line;
  }

  async #linesOf(definition: { readonly name: string } | undefined): Promise<BullLine[]> {
    if (definition !== undefined) {
      checkName(definition.name);
      return [this.#line(definition.name)];
    }
    const names = new Set([...this.#lines.keys(), ...(await this.#client.smembers(`${this.#prefix}:names`))]);
    return [...names].map((name) => this.#line(name));
  }

  #pause(ms: number): { over: Promise<void>; cancel: () => void } {
    let cancel = (): void => {};
    const over = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(ms, resolve);
    });
    return { over, cancel };
  }

  /** Runs a verb; what the store or the connection throws becomes `store_unavailable`. */
  async #ask<T>(what: string, verb: () => Promise<T>): Promise<T> {
    if (this.#closing !== null) throw queueClosed();
    try {
      return await verb();
    } catch (error) {
      if (TroupeError.is(error)) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      const notSent = reason.startsWith("Stream isn't writeable");
      throw new TroupeError(
        "store_unavailable",
        `${what}: ${notSent ? `not connected to Redis at ${this.#options.settings.address}` : reason}`,
        { started: notSent ? "no" : "unknown", cause: error },
      );
    }
  }
}

function connectionOptions(settings: RedisSettings) {
  const { host, port, username, password, database, tls, timeoutMs } = settings;
  return {
    ...{ host, port, username, password, db: database },
    ...(tls ? { tls: { servername: host } } : {}),
    connectTimeout: timeoutMs,
    retryStrategy: (times: number) => Math.min(50 * times, RETRY_MS) * (0.5 + Math.random() / 2),
  };
}

/** Connections repeat themselves while a store is away; the log gets each message once until another comes. */
function logOnce(log: Logger, message: string): (error: unknown) => void {
  let last = "";
  return (error) => {
    const text = error instanceof Error ? error.message : String(error);
    if (text === last) return;
    last = text;
    log.warn(message, { error });
  };
}
