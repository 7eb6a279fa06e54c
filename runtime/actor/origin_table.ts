/**
 * Things by the name of their call: (origin incarnation, origin thread, call id). Looked up for every message, so the
 * key is never glued together into a string.
 */
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
  readonly #incarnations = new Map<Incarnation, Map<number, T>[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(message: Named): T | undefined {
    return this.#incarnations.get(message[2])?.[message[3]]?.get(message[1]);
  }

  set(message: Named, value: T): void {
    const [, callId, incarnation, thread] = message;
    let threads = this.#incarnations.get(incarnation);
    if (threads === undefined) {
      threads = [];
      this.#incarnations.set(incarnation, threads);
    }
    let calls = threads[thread];
    if (calls === undefined) {
      calls = new Map();
      threads[thread] = calls;
    }
    if (!calls.has(callId)) this.#size++;
    calls.set(callId, value);
  }

  delete(message: Named): boolean {
    const deleted = this.#incarnations.get(message[2])?.[message[3]]?.delete(message[1]) ?? false;
    if (deleted) this.#size--;
    return deleted;
  }

  /** Forgets an origin node, which died; answers what it had. */
  takeAll(incarnation: Incarnation): T[] {
    const threads = this.#incarnations.get(incarnation) ?? [];
    this.#incarnations.delete(incarnation);
    const taken = threads.flatMap((calls) => (calls === undefined ? [] : [...calls.values()]));
    this.#size -= taken.length;
    return taken;
  }

  *values(): IterableIterator<T> {
    for (const threads of this.#incarnations.values()) {
      for (const calls of threads) if (calls !== undefined) yield* calls.values();
    }
  }
}
