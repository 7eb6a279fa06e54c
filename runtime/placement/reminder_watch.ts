/**
 * Wakes actors whose reminders are due and that nobody keeps in memory.
 *
 * ## Normal operation
 * A resident actor fires its reminders itself (`actor/reminders.ts`). This is for the others: passivated, or owned by a
 * node that died or was stopped, up to a cluster that was down as a whole. The store's due index is divided into shards,
 * the shards over the active nodes by rendezvous hashing of the view. A node knows when the earliest of each of its
 * shards is due: it read the shard when it became its own, and is told of each change since. It sleeps until then, and
 * takes what is still due `GRACE_MS` later: a resident actor has moved its entry on by that time. Each actor taken is
 * woken by a call, through the router as any other, so it is activated wherever its placement says.
 *
 * ## What is guaranteed
 * Nobody depends on this node for it: an entry is put off when it is taken, for `HOLD_MS`, not removed. If the wake-up
 * fails or this node dies, the entry is due again and whoever has the shard then takes it. Two nodes that both think a
 * shard is theirs are handed different entries by the store. A change that was not heard of (a cut connection says so,
 * and all shards are read again) is found at the latest by the reading every `SWEEP_MS`.
 *
 * ## Cost
 * Without reminders: one reading of each shard every `SWEEP_MS`, spread over that time, by one node of the cluster,
 * whatever its size: with the 64 shards of Redis one script call in 7 s on average. At most
 * `MAX_WAKING` wake-ups of a node are on their way at once; what is due beyond that stays in the store.
 */
import type { Clock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import type { ActorId, Incarnation } from "../actor/ids.ts";
import { HOLD_MS } from "../actor/reminders.ts";
import type { Member, Reminders } from "../coordinator/contract.ts";
import type { Logger } from "../observe/log.ts";
import type { Counter, Metrics } from "../observe/metrics.ts";
import { rendezvous } from "./placement.ts";

/** A resident actor has this long to fire by itself. */
const GRACE_MS = 100;
const SWEEP_MS = 600_000;
/** Longest sleep: the wall clock may be set. */
const SLEEP_MS = 60_000;
/** Between two readings of one shard, at least. */
const PAUSE_MS = 100;
/** After a reading that failed. */
const RETRY_MS = 1_000;
const BATCH = 64;
const MAX_WAKING = 256;
/** Between two tries to wake an actor. */
const WAKE_RETRY_MS = 500;

export interface ReminderWatchOptions {
  reminders: Reminders;
  clock: Clock;
  self: () => Incarnation;
  /** Calls the actor: rejects with a `TroupeError` when it could not be reached within `timeoutMs`. */
  wake: (actor: ActorId, timeoutMs: number) => Promise<unknown>;
  log: Logger;
  metrics: Metrics;
}

/** One of this node's shards. */
interface Shard {
  /** When its earliest is due, on the wall clock, as far as known. */
  nextMs: number | null;
  /** When it was read last, and when it may be read again, on the monotonic clock. */
  readAt: number;
  restUntil: number;
  /** During a reading: what was told meanwhile. */
  reading: { told: (number | null)[] } | undefined;
}

export class ReminderWatch {
  readonly #options: ReminderWatchOptions;
  readonly #shards = new Map<number, Shard>();
  readonly #stopHints: () => void;
  readonly #woken: Counter;
  readonly #failed: Counter;
  /** Wake-ups on their way, and those that readings on their way may lead to. */
  #waking = 0;
  #cancelSleep: (() => void) | undefined;
  #stopped = false;

  constructor(options: ReminderWatchOptions) {
    this.#options = options;
    const { metrics, reminders } = options;
    this.#woken = metrics.counter("troupe_reminder_wakes_total", "Actors woken because a reminder was due");
    this.#failed = metrics.counter("troupe_reminder_wakes_failed_total", "Wake-ups that are left to a later try");
    this.#stopHints = reminders.onEarliest((shard, dueMs) => this.#told(shard, dueMs));
  }

  /** Which shards are this node's follows from who is in the cluster. */
  viewChanged(members: readonly Member[]): void {
    if (this.#stopped) return;
    const active = members.filter(({ liveness, state }) => liveness === "alive" && state === "active");
    const self = this.#options.self();
    for (let shard = 0; shard < this.#options.reminders.shards; shard++) {
      const mine = rendezvous(active, `reminders ${shard}`)?.incarnation === self;
      if (!mine) this.#shards.delete(shard);
      else if (!this.#shards.has(shard)) this.#shards.set(shard, unread());
    }
    this.#look();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopHints();
    this.#cancelSleep?.();
    this.#shards.clear();
  }

  #told(index: number | null, dueMs: number | null): void {
    if (index === null) {
      for (const [shard] of this.#shards) this.#shards.set(shard, unread());
    } else {
      const shard = this.#shards.get(index);
      if (shard === undefined) return;
      if (shard.reading === undefined) shard.nextMs = dueMs;
      else shard.reading.told.push(dueMs);
    }
    this.#look();
  }

  /** Reads the shards whose time has come, and sleeps until the next one's. */
  #look(): void {
    this.#cancelSleep?.();
    if (this.#stopped) return;
    const { clock } = this.#options;
    let sleepMs = SLEEP_MS;
    for (const [index, shard] of this.#shards) {
      if (shard.reading !== undefined) continue;
      const left = this.#left(index, shard);
      if (left > 0) sleepMs = Math.min(sleepMs, left);
      else if (this.#waking < MAX_WAKING) void this.#read(index, shard);
    }
    this.#cancelSleep = clock.after(sleepMs, () => this.#look());
  }

  /** How long until a shard is to be read, milliseconds. */
  #left(index: number, { nextMs, readAt, restUntil }: Shard): number {
    const { clock, reminders } = this.#options;
    const now = clock.now();
    // Half to whole: so that shards which were read at once at the start do not stay together.
    const sweepMs = (SWEEP_MS * (1 + index / reminders.shards)) / 2;
    const due = nextMs === null ? Number.POSITIVE_INFINITY : nextMs + GRACE_MS - clock.wallNow();
    return Math.max(Math.min(due, readAt + sweepMs - now), restUntil - now);
  }

  /** Never rejects. */
  async #read(index: number, shard: Shard): Promise<void> {
    const { reminders, clock, log } = this.#options;
    const wallNow = clock.wallNow();
    const reading: Shard["reading"] = { told: [] };
    shard.reading = reading;
    let restMs = PAUSE_MS;
    const limit = Math.min(BATCH, MAX_WAKING - this.#waking);
    this.#waking += limit;
    let unused = limit;
    try {
      const take = { shard: index, nowMs: wallNow - GRACE_MS, holdUntilMs: wallNow + HOLD_MS, limit };
      const { due, nextMs } = await reminders.take(take);
      // What was told during the reading may be older or newer than the answer: the earlier counts, and is looked at.
      const told = reading.told.filter((dueMs) => dueMs !== null);
      shard.nextMs = [...told, nextMs].reduce((a, b) => (a === null ? b : b === null ? a : Math.min(a, b)), null);
      unused -= due.length;
      for (const actor of due) void this.#wake(actor, clock.now() + HOLD_MS);
    } catch (error) {
      if (!TroupeError.is(error)) log.error("the due reminders could not be read", { shard: index, error });
      shard.nextMs = 0;
      restMs = RETRY_MS;
    }
    this.#waking -= unused;
    shard.readAt = clock.now();
    shard.restUntil = shard.readAt + restMs;
    shard.reading = undefined;
    this.#look();
  }

  /** Tries until the actor is awake or its entry is due again. Never rejects. */
  async #wake(actor: ActorId, deadline: number): Promise<void> {
    const { clock, log, wake } = this.#options;
    for (;;) {
      const left = deadline - clock.now();
      try {
        await wake(actor, Math.max(1, left));
        this.#woken.add();
        break;
      } catch (error) {
        const again = TroupeError.is(error) && left > WAKE_RETRY_MS && error.code !== "ended";
        if (!again || this.#stopped) {
          this.#failed.add();
          log.warn("an actor could not be woken for its reminder yet", { actor, error });
          break;
        }
      }
      await new Promise<void>((resolve) => {
        clock.after(WAKE_RETRY_MS, resolve);
      });
    }
    // Only then were shards left unread.
    if (this.#waking-- === MAX_WAKING) this.#look();
  }
}

function unread(): Shard {
  return { nextMs: 0, readAt: Number.NEGATIVE_INFINITY, restUntil: Number.NEGATIVE_INFINITY, reading: undefined };
}
