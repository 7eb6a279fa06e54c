/**
 * When the event log is written: one write at a time, each with everything that changed before it began. What changes
 * within one turn of the event loop, and while a write is under way, shares the next write.
 *
 * Changes are numbered. `note` says that something changed and can wait for the next write; `need` asks for a write that
 * covers a change; `has` tells whether one is stored. While the store cannot be reached a write is tried again every
 * `RETRY_MS` for as long as this activation lives: readers wait, and the log's own bounds limit what piles up.
 */
import type { Clock } from "../../runtime/actor/clock.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";

const RETRY_MS = 250;

export interface JournalOptions {
  /** Stores the log as it is now. Rejects as `commit` does. */
  write: () => Promise<void>;
  /** More is stored than before. */
  onStored: () => void;
  /** A write failed. */
  onFailed: (error: unknown) => void;
  clock: Clock;
}

export class Journal {
  readonly #options: JournalOptions;
  #changes = 0;
  #needed = 0;
  #stored = 0;
  #running = false;
  #closed = false;

  constructor(options: JournalOptions) {
    this.#options = options;
  }

  /** Numbers a change. */
  note(): number {
    return ++this.#changes;
  }

  /** Asks for a write that covers `change`. */
  need(change: number): void {
    if (change > this.#needed) this.#needed = change;
    if (this.#running || this.#closed || this.has(this.#needed)) return;
    this.#running = true;
    // Later in this turn of the event loop more may change.
    queueMicrotask(() => void this.#run());
  }

  /** Whether `change` is stored. */
  has(change: number): boolean {
    return change <= this.#stored;
  }

  /** Nothing is written any more. */
  close(): void {
    this.#closed = true;
  }

  async #run(): Promise<void> {
    while (!this.#closed && !this.has(this.#needed)) {
      const upTo = this.#changes;
      try {
        await this.#options.write();
        this.#stored = upTo;
        this.#options.onStored();
      } catch (error) {
        this.#options.onFailed(error);
        // Somebody else owns the session: this activation stops.
        if (TroupeError.is(error, "fenced") || TroupeError.is(error, "conflict")) break;
        await new Promise<void>((resolve) => void this.#options.clock.after(RETRY_MS, resolve));
      }
    }
    this.#running = false;
  }
}
