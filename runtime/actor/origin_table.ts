/**
 * Things by the name of their call: (origin incarnation, origin thread, call id). Looked up for every message, so the
 * key is never glued together into a string.
 */
import { CallTable } from "./call_table.ts";
import type { Incarnation } from "./ids.ts";

/** Any message that carries the name of its call. */
type Named = readonly [
  type: number,
  callId: number,
  originIncarnation: Incarnation,
  originThread: number,
  ...unknown[],
];

export class OriginTable<T> {
  readonly #incarnations = new Map<Incarnation, CallTable<T>[]>();
  /** The incarnation that was asked for last, and its threads: nearly always the next one's too. */
  #lastIncarnation: Incarnation | undefined;
  #lastThreads: CallTable<T>[] | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(message: Named): T | undefined {
    return this.#threadsOf(message[2])?.[message[3]]?.get(message[1]);
  }

  set(message: Named, value: T): void {
    const incarnation = message[2];
    let threads = this.#threadsOf(incarnation);
    if (threads === undefined) {
      threads = [];
      this.#incarnations.set(incarnation, threads);
      this.#lastThreads = threads;
    }
    let calls = threads[message[3]];
    if (calls === undefined) {
      calls = new CallTable();
      threads[message[3]] = calls;
    }
    if (calls.set(message[1], value)) this.#size++;
  }

  delete(message: Named): boolean {
    const deleted = this.#threadsOf(message[2])?.[message[3]]?.delete(message[1]) ?? false;
    if (deleted) this.#size--;
    return deleted;
  }

  /** Deletes and answers it. */
  take(message: Named): T | undefined {
    const calls = this.#incarnations.get(message[2])?.[message[3]];
    const value = calls?.get(message[1]);
    if (value === undefined) return undefined;
    calls?.delete(message[1]);
    this.#size--;
    return value;
  }

  /** Forgets an origin node, which died; answers what it had. */
  takeAll(incarnation: Incarnation): T[] {
    const threads = this.#incarnations.get(incarnation) ?? [];
    this.#incarnations.delete(incarnation);
    this.#lastIncarnation = undefined;
    const taken = threads.flatMap((calls) => (calls === undefined ? [] : [...calls.values()]));
    this.#size -= taken.length;
    return taken;
  }

  *values(): IterableIterator<T> {
    for (const threads of this.#incarnations.values()) {
      for (const calls of threads) if (calls !== undefined) yield* calls.values();
    }
  }

  #threadsOf(incarnation: Incarnation): CallTable<T>[] | undefined {
    if (incarnation !== this.#lastIncarnation) {
      this.#lastIncarnation = incarnation;
      this.#lastThreads = this.#incarnations.get(incarnation);
    }
    return this.#lastThreads;
  }
}
