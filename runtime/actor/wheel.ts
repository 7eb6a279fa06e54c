/**
 * Deadlines of many calls on one timer: a hashed timing wheel.
 *
 * Every call has a deadline and nearly none is ever reached, so adding and removing must cost next to nothing: entries
 * are links of a doubly linked list per slot, and one timer runs only while the wheel is not empty. A deadline fires at
 * its time or up to one tick (25 ms) later, never earlier.
 */
import type { Clock } from "./clock.ts";

/** Something with a deadline. Subclasses say what happens when it passes. */
export abstract class Deadline {
  /** On the wheel's clock, milliseconds. Do not change while on a wheel. */
  deadline = 0;
  /** Links of the slot's list; null when on no wheel. */
  before: Deadline | null = null;
  after: Deadline | null = null;
  abstract expired(): void;
}

class Slot extends Deadline {
  constructor() {
    super();
    this.before = this;
    this.after = this;
  }
  override expired(): void {}
}

const TICK_MS = 25;
const SLOTS = 1024;

export class DeadlineWheel {
  readonly #clock: Clock;
  readonly #slots: Slot[] = Array.from({ length: SLOTS }, () => new Slot());
  /** Number of the tick that was processed last. */
  #tick: number;
  #size = 0;
  #stopTimer: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#tick = Math.floor(clock.now() / TICK_MS);
  }

  get size(): number {
    return this.#size;
  }

  /** Adds an entry that is on no wheel. */
  add(entry: Deadline): void {
    if (this.#size === 0) this.#tick = Math.floor(this.#clock.now() / TICK_MS);
    const tick = Math.max(Math.ceil(entry.deadline / TICK_MS), this.#tick + 1);
    const slot = this.#slots[tick % SLOTS] as Slot;
    const last = slot.before as Deadline;
    entry.before = last;
    entry.after = slot;
    last.after = entry;
    slot.before = entry;
    this.#size++;
    if (this.#stopTimer === undefined) this.#arm();
  }

  /** Removes an entry; one that is on no wheel is left alone. */
  remove(entry: Deadline): void {
    const { before, after } = entry;
    if (before === null || after === null) return;
    before.after = after;
    after.before = before;
    entry.before = null;
    entry.after = null;
    this.#size--;
  }

  #arm(): void {
    this.#stopTimer = this.#clock.after(TICK_MS, () => {
      this.#stopTimer = undefined;
      this.#advance();
      if (this.#size > 0 && this.#stopTimer === undefined) this.#arm();
    });
  }

  #advance(): void {
    const now = this.#clock.now();
    const target = Math.floor(now / TICK_MS);
    // After a long pause one turn around the wheel meets every entry.
    const first = Math.max(this.#tick + 1, target - SLOTS + 1);
    this.#tick = target;
    for (let tick = first; tick <= target; tick++) {
      const slot = this.#slots[tick % SLOTS] as Slot;
      // `expired` may take others off the wheel or put them elsewhere on it, so no link is followed across it.
      const due: Deadline[] = [];
      for (let entry = slot.after as Deadline; entry !== slot; entry = entry.after as Deadline) {
        if (entry.deadline <= now) due.push(entry);
      }
      for (const entry of due) {
        if (entry.before === null || entry.deadline > now) continue;
        this.remove(entry);
        entry.expired();
      }
    }
  }
}
