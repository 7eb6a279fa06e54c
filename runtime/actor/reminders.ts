/**
 * Reminders of one actor: what it must be woken for, kept with its state.
 *
 * ## Normal operation
 * `set` and `delete` change the actor's table in memory; the next commit stores it, in the bytes of the state, and tells
 * the store when the earliest is due. Only what is stored fires. A resident actor fires from memory: a turn in the
 * background lane runs `onReminder`; when that succeeded, the reminder moves on to its next time (or goes) and the turn
 * ends with a commit, so what the handler did to the state and the reminder's progress become durable in one step. They
 * fire one after the other, the earliest first.
 *
 * ## When the actor is not resident
 * The store's due index wakes it (`placement/reminder_watch.ts`): being activated, or finding itself active already, is
 * all it takes, because the table decides what is due. So an entry that comes late, early or twice does no harm.
 *
 * ## What is guaranteed
 * *At least once.* A handler that failed is tried again, from 1 s on, at most a minute apart, until it succeeds or the
 * reminder is deleted; one whose node died before the commit runs again elsewhere. A second run for the same time happens
 * only then: the owner is fenced, and one activation fires a reminder once.
 * *By the wall clock* of the node that runs the actor: a clock that is set forward fires early, a stopped one late.
 *
 * ## Missed times
 * A repeated reminder may find that several of its times have passed, or that one passed more than `ON_TIME_MS` (or a
 * period, where that is shorter) ago: nobody could run it. `coalesce` runs once for all of them, `all` once for each,
 * oldest first and at most `MAX_CATCH_UP` of them, `skip` not at all. A time that is not missed always runs.
 *
 * ## Bounds
 * `MAX_REMINDERS` per actor; a further one throws `overloaded`.
 */
import type { Activation } from "./activation.ts";
import type { ReminderRow } from "./codec.ts";
import type { DueReminder, MissedPolicy, ReminderOptions, Reminders, StoredReminder } from "./define.ts";
import { TroupeError } from "./errors.ts";
import { Lane } from "./message.ts";
import type { Turn } from "./turn.ts";

/** The turn of a reminder that is due; its argument is the reminder's name. */
export const REMIND_TURN = "@remind";
/** The turn that the due index asks for. */
export const WAKE_TURN = "@wake";

/** How long the due index waits for an actor it woke before it may wake it again, milliseconds. */
export const HOLD_MS = 10_000;
const MAX_REMINDERS = 256;
const MAX_NAME = 128;
const MIN_EVERY_MS = 100;
const ON_TIME_MS = 1_000;
const MAX_CATCH_UP = 1_000;
/** After a failure: from, and to at most. */
const RETRY_MS = 1_000;
const RETRY_MOST_MS = 60_000;
/** After a turn that could not begin: the mailbox is full, or the node parked. */
const REFUSED_MS = 250;
/** Longest timer: a timer of the runtime holds no more than 24 days. */
const MAX_SLEEP_MS = 3_600_000;
const LATEST_MS = 8.64e15;

/** What a reminder that is due at `wallNow` comes to: the run to make (`count` 0: none), and its next time. */
export function occurrence(
  reminder: StoredReminder,
  wallNow: number,
): { dueMs: number; count: number; nextMs: number | null } {
  const { dueMs, everyMs, missed } = reminder;
  if (everyMs === undefined) return { dueMs, count: 1, nextMs: null };
  const passed = Math.floor((wallNow - dueMs) / everyMs) + 1;
  const last = dueMs + (passed - 1) * everyMs;
  switch (missed) {
    case "coalesce":
      return { dueMs: last, count: passed, nextMs: last + everyMs };
    case "skip": {
      const onTime = wallNow - last < Math.min(everyMs, ON_TIME_MS);
      return { dueMs: last, count: onTime ? 1 : 0, nextMs: last + everyMs };
    }
    case "all": {
      const first = dueMs + Math.max(0, passed - MAX_CATCH_UP) * everyMs;
      return { dueMs: first, count: 1, nextMs: first + everyMs };
    }
  }
}

interface Entry {
  readonly reminder: StoredReminder;
  /** A commit has it. */
  stored: boolean;
  failures: number;
  /** Wall clock; after a failure. */
  notBeforeMs: number;
}

/** What a commit takes with it. */
export interface ReminderCommit {
  entries: readonly Entry[];
  earliestMs: number | null;
  /** What the due index must be told; undefined: nothing, it says so already. */
  dueMs: number | null | undefined;
}

export class ReminderTable implements Reminders {
  readonly #activation: Activation;
  readonly #entries = new Map<string, Entry>();
  /** What the store's due index says; undefined: it must be told again. */
  #indexedMs: number | null | undefined;
  /** A turn is on its way. */
  #asked = false;
  /** A handler runs. */
  #running = false;
  #cancelTimer: (() => void) | undefined;

  /** With what is stored, or what another activation handed over. */
  constructor(activation: Activation, rows: readonly ReminderRow[]) {
    this.#activation = activation;
    for (const row of rows) this.#enter(fromRow(row), row[5] ?? true);
    // What was handed over may be ahead of what is stored.
    const handed = rows.some((row) => row[5] !== undefined);
    this.#indexedMs = handed ? undefined : this.earliestMs;
  }

  // For the actor

  set(name: string, options: ReminderOptions): void {
    const { id, host, definition } = this.#activation;
    const problem = problemOf(name, options) ?? (definition.onReminder === undefined ? "needs onReminder" : undefined);
    if (problem !== undefined) {
      throw new TroupeError("invalid_argument", `${id}: reminder ${JSON.stringify(name)} ${problem}`, {
        started: "no",
      });
    }
    if (this.#entries.size >= MAX_REMINDERS && !this.#entries.has(name)) {
      host.refused("alarms", id);
      throw new TroupeError("overloaded", `${id} has ${MAX_REMINDERS} reminders; delete some first`, { started: "no" });
    }
    const { atMs, everyMs, missed = "coalesce", data } = options;
    const dueMs = Math.ceil(atMs ?? host.clock.wallNow() + (options.afterMs ?? everyMs ?? 0));
    this.#enter({ name, dueMs, everyMs, missed, data }, false);
  }

  delete(name: string): boolean {
    return this.#entries.delete(name);
  }

  list(): StoredReminder[] {
    return [...this.#entries.values()].map(({ reminder }) => reminder);
  }

  // For the activation's commits

  /** When the earliest is due, stored or not. */
  get earliestMs(): number | null {
    let earliest: number | null = null;
    for (const { reminder } of this.#entries.values()) {
      if (earliest === null || reminder.dueMs < earliest) earliest = reminder.dueMs;
    }
    return earliest;
  }

  /** As stored with the state. */
  rows(): ReminderRow[] {
    return [...this.#entries.values()].map(({ reminder }) => toRow(reminder));
  }

  /** As handed to an activation that takes this one's place. */
  handed(): ReminderRow[] {
    return [...this.#entries.values()].map(({ reminder, stored }) => {
      const [name, dueMs, everyMs, missed, data] = toRow(reminder);
      return [name, dueMs, everyMs, missed, data, stored];
    });
  }

  /** A commit encodes the table as it is now. */
  committing(): ReminderCommit {
    const { earliestMs } = this;
    const dueMs = earliestMs === this.#indexedMs ? undefined : earliestMs;
    // Until its outcome is known nobody knows what the index says.
    if (dueMs !== undefined) this.#indexedMs = undefined;
    return { entries: [...this.#entries.values()], earliestMs, dueMs };
  }

  /** That commit is stored. */
  committed({ entries, earliestMs }: ReminderCommit): void {
    this.#indexedMs = earliestMs;
    for (const entry of entries) entry.stored = true;
    this.arm();
  }

  // Firing

  /** Sees to it that the earliest fires at its time. */
  arm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const { status, host } = this.#activation;
    if (this.#asked || this.#running || status === "stopping" || status === "stopped") return;
    const next = this.#next();
    if (next === undefined) return;
    const left = dueTime(next) - host.clock.wallNow();
    if (left <= 0) return this.#ask(next.reminder.name);
    this.#cancelTimer = host.clock.after(Math.min(left, MAX_SLEEP_MS), () => this.arm());
  }

  /** The activation stops. */
  disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** The turn of reminder `name`. */
  async run(name: string, turn: Turn): Promise<void> {
    const { host, definition, id } = this.#activation;
    const entry = this.#entries.get(name);
    const wallNow = host.clock.wallNow();
    if (entry === undefined || !entry.stored || dueTime(entry) > wallNow || this.#running) return;
    const { dueMs, count, nextMs } = occurrence(entry.reminder, wallNow);
    this.#running = true;
    try {
      if (count > 0) {
        host.services.count("troupe_reminders_fired_total");
        host.services.events.emit({ type: "reminded", actor: id, name, lateMs: wallNow - dueMs });
        if (definition.onReminder === undefined) throw new TypeError(`kind "${definition.kind}" has no onReminder`);
        const due: DueReminder = { name, data: entry.reminder.data, dueMs, count };
        await definition.onReminder(turn, due);
      }
      // Unless its own handler set or deleted it.
      if (this.#entries.get(name) === entry) {
        if (nextMs === null) this.#entries.delete(name);
        else this.#enter({ ...entry.reminder, dueMs: nextMs }, false);
      }
    } catch (error) {
      entry.failures++;
      const pause = Math.min(RETRY_MS * 2 ** (entry.failures - 1), RETRY_MOST_MS);
      entry.notBeforeMs = host.clock.wallNow() + pause;
      host.services.count("troupe_reminders_failed_total");
      host.services.log.warn("an actor's reminder failed and is tried again", { actor: id, reminder: name, error });
      throw error;
    } finally {
      this.#running = false;
    }
    if (definition.commitOnTurn !== true) await this.#commit();
  }

  /**
   * The due index woke this actor, perhaps by activating it. What is due fires by itself; an index entry that is wrong is
   * put right.
   */
  async woken(): Promise<void> {
    this.arm();
    const next = this.#next();
    if (next !== undefined && next.reminder.dueMs <= this.#activation.host.clock.wallNow() + HOLD_MS) return;
    this.#indexedMs = undefined;
    await this.#commit();
  }

  async #commit(): Promise<void> {
    try {
      await this.#activation.commit();
    } catch (error) {
      // What is in memory is ahead of what is stored: the next activation starts from what is stored.
      this.#activation.stop("failed");
      throw error;
    }
  }

  #ask(name: string): void {
    const { id, host } = this.#activation;
    this.#asked = true;
    const over = (): void => {
      this.#asked = false;
      this.arm();
    };
    host.calls
      .call(id, REMIND_TURN, [name], { lane: Lane.Background }, null)
      .then(over, () => void host.clock.after(REFUSED_MS, over));
  }

  #enter(reminder: StoredReminder, stored: boolean): void {
    this.#entries.set(reminder.name, { reminder, stored, failures: 0, notBeforeMs: 0 });
  }

  /** The stored one that is to fire next. */
  #next(): Entry | undefined {
    let next: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (entry.stored && (next === undefined || dueTime(entry) < dueTime(next))) next = entry;
    }
    return next;
  }
}

function dueTime({ reminder, notBeforeMs }: Entry): number {
  return Math.max(reminder.dueMs, notBeforeMs);
}

const MISSED: readonly MissedPolicy[] = ["skip", "coalesce", "all"];

function problemOf(name: string, { afterMs, atMs, everyMs, missed }: ReminderOptions): string | undefined {
  if (name.length === 0 || name.length > MAX_NAME) return `needs a name of 1 to ${MAX_NAME} characters`;
  if (afterMs !== undefined && atMs !== undefined) return "has both afterMs and atMs; give one";
  if (afterMs === undefined && atMs === undefined && everyMs === undefined) return "needs afterMs, atMs or everyMs";
  if (afterMs !== undefined && !(afterMs >= 0 && afterMs <= LATEST_MS)) return `needs afterMs from 0, got ${afterMs}`;
  if (atMs !== undefined && !(atMs >= 0 && atMs <= LATEST_MS)) return `needs atMs as a wall clock time, got ${atMs}`;
  if (everyMs !== undefined && !(everyMs >= MIN_EVERY_MS && everyMs <= LATEST_MS)) {
    return `needs everyMs from ${MIN_EVERY_MS}, got ${everyMs}`;
  }
  if (missed !== undefined && !MISSED.includes(missed)) return `needs missed as one of ${MISSED.join(", ")}`;
  if (missed !== undefined && everyMs === undefined)
    return "has missed without everyMs; what comes once is never skipped";
  return undefined;
}

function toRow({ name, dueMs, everyMs, missed, data }: StoredReminder): ReminderRow {
  return [name, dueMs, everyMs ?? 0, MISSED.indexOf(missed), data ?? null];
}

function fromRow([name, dueMs, everyMs, missed, data]: ReminderRow): StoredReminder {
  return {
    name,
    dueMs,
    everyMs: everyMs === 0 ? undefined : everyMs,
    missed: MISSED[missed] ?? "coalesce",
    data: data ?? undefined,
  };
}
