/**
 * The due index in memory: when each actor's earliest reminder is due, and which is the earliest of all.
 *
 * A heap with entries that may be out of date: an entry counts only while the map still says the same. Out-of-date ones
 * go when they come to the top, and all at once when they outnumber the others.
 */
import type { ActorId } from "../../actor/ids.ts";
import type { DueBatch, Reminders } from "../contract.ts";
import type { Changes } from "./memory.ts";

type Entry = readonly [dueMs: number, actor: ActorId];
/** Out-of-date entries that are not worth cleaning up. */
const SLACK = 64;

export class DueIndex implements Reminders {
  readonly shards = 1;
  readonly #changes: Changes;
  readonly #dues = new Map<ActorId, number>();
  readonly #listeners = new Set<(shard: number | null, dueMs: number | null) => void>();
  #heap: Entry[] = [];

  constructor(changes: Changes) {
    this.#changes = changes;
  }

  /** For the file. */
  kept(actor: ActorId): number | undefined {
    return this.#dues.get(actor);
  }

  /** Puts back what `kept` told an earlier process. */
  restore(actor: ActorId, dueMs: number): void {
    this.#enter(actor, dueMs);
  }

  /** Enters when an actor's earliest reminder is due; `null`: it has none. */
  set(actor: ActorId, dueMs: number | null): void {
    if ((this.#dues.get(actor) ?? null) === dueMs) return;
    const before = this.#earliest();
    this.#enter(actor, dueMs);
    this.#changes.due(actor);
    const after = this.#earliest();
    if (after === before) return;
    this.#changes.announce(() => {
      for (const listener of [...this.#listeners]) listener(0, after);
    });
  }

  async take(request: { nowMs: number; holdUntilMs: number; limit: number }): Promise<DueBatch> {
    const due: ActorId[] = [];
    while (due.length < request.limit) {
      const earliest = this.#earliest();
      if (earliest === null || earliest > request.nowMs) break;
      const [, actor] = this.#heap[0] as Entry;
      due.push(actor);
      this.#enter(actor, request.holdUntilMs);
      this.#changes.due(actor);
    }
    return { due, nextMs: this.#earliest() };
  }

  onEarliest(listener: (shard: number | null, dueMs: number | null) => void): () => void {
    const entry: typeof listener = (shard, dueMs) => listener(shard, dueMs);
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  #earliest(): number | null {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined) return null;
      if (this.#dues.get(top[1]) === top[0]) return top[0];
      this.#pop();
    }
  }

  #enter(actor: ActorId, dueMs: number | null): void {
    if (dueMs === null) {
      this.#dues.delete(actor);
      return;
    }
    this.#dues.set(actor, dueMs);
    this.#push([dueMs, actor]);
    if (this.#heap.length <= 2 * this.#dues.size + SLACK) return;
    // Sorted is a heap.
    this.#heap = [...this.#dues].map(([name, due]): Entry => [due, name]).sort(([a], [b]) => a - b);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Entry;
      if (above[0] <= entry[0]) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let least = left;
      if (right !== undefined && right[0] < left[0]) {
        least = right;
        child += 1;
      }
      if (last[0] <= least[0]) break;
      heap[index] = least;
      index = child;
    }
    heap[index] = last;
  }
}
