/**
 * How many activations of a thread run their `onActivate` at once: a reconnect storm becomes a queue instead of a crowd.
 * Calls of an activation that stands in line wait in its mailbox, within their own time and its bounds.
 *
 * A start that takes longer than `SLOT_MS` gives its place up and goes on without: it may be waiting for another actor
 * that stands in line behind it, and a line that waited for it then would never move.
 */
import type { Clock } from "./clock.ts";

/** Default for the number of places. */
const PLACES = 512;
const SLOT_MS = 1_000;

export class Starts {
  readonly #clock: Clock;
  readonly #places: number;
  #taken = 0;
  /** Oldest first, from `#head` on. Not bounded here: each is an actor that the node has placed already. */
  #line: (() => Promise<void>)[] = [];
  #head = 0;

  constructor(clock: Clock, places: number = PLACES) {
    this.#clock = clock;
    this.#places = places;
  }

  /** Runs `start`, which must not reject, when there is a place for it. */
  begin(start: () => Promise<void>): void {
    if (this.#taken < this.#places) this.#run(start);
    else this.#line.push(start);
  }

  #run(start: () => Promise<void>): void {
    this.#taken++;
    let holds = true;
    const give = (): void => {
      if (!holds) return;
      holds = false;
      cancel();
      this.#taken--;
      this.#next();
    };
    const cancel = this.#clock.after(SLOT_MS, give);
    void start().then(give);
  }

  #next(): void {
    const start = this.#line[this.#head];
    if (start === undefined) return;
    this.#head++;
    if (this.#head === this.#line.length) {
      this.#line = [];
      this.#head = 0;
    }
    this.#run(start);
  }
}
