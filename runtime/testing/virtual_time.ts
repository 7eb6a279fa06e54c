/**
 * Virtual time: one queue of events, run one by one, with everything that a run leaves to chance drawn from one seed.
 *
 * An event runs, then every promise that it settled is followed to its end (one turn of the real event loop), then the
 * clock jumps to the next event. So code with promises is as deterministic as code without: the same seed gives the same
 * events in the same order, as long as nothing in it waits for real I/O or a real timer.
 */

/** Uniform numbers in [0, 1). */
export type Random = () => number;

/** Mulberry32: small, fast, and good enough to choose faults with. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Events for each turn of the real event loop. */
const EVENTS_PER_TURN = 64;

interface Entry {
  at: number;
  order: number;
  /** Undefined: it was cancelled. */
  run: (() => void) | undefined;
}

export class VirtualTime {
  readonly random: Random;
  /** Milliseconds since the start of the run. */
  now = 0;
  /** Events run so far. */
  events = 0;
  readonly #heap: Entry[] = [];
  #order = 0;
  #trace = 0x811c9dc5;

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  /** Runs `run` after `ms`; what is due at the same time runs in the order in which it was asked for. */
  after(ms: number, run: () => void): () => void {
    const entry: Entry = { at: this.now + Math.max(0, ms), order: this.#order++, run };
    this.#push(entry);
    return () => {
      entry.run = undefined;
    };
  }

  /** Between `from` and `to`. */
  between(from: number, to: number): number {
    return from + this.random() * (to - from);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  /** When the next event is due; undefined when there is none. */
  get next(): number | undefined {
    while (this.#heap.length > 0 && this.#heap[0]?.run === undefined) this.#pop();
    return this.#heap[0]?.at;
  }

  /** Runs the next event and what follows from it. False: there is none before or at `until`. */
  async step(until: number): Promise<boolean> {
    const ran = this.#runNext(until);
    if (ran) await settled();
    return ran;
  }

  /**
   * Runs events until `at`, or until `goOn` answers false, or one throws. As `step` does, but the real event loop turns
   * once for many events, with every promise followed to its end between two of them.
   */
  run(until: number, goOn: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let over = false;
      let turns = 0;
      const turn = (): void => {
        turns--;
        if (over) return;
        try {
          over = !goOn() || !this.#runNext(until);
        } catch (error) {
          over = true;
          return reject(error);
        }
        if (over) return resolve();
        if (turns === 0) plan();
      };
      const plan = (): void => {
        turns = EVENTS_PER_TURN;
        for (let count = 0; count < EVENTS_PER_TURN; count++) setImmediate(turn);
      };
      plan();
    });
  }

  /** False: there is no event before or at `until`. */
  #runNext(until: number): boolean {
    const { next } = this;
    if (next === undefined || next > until) {
      this.now = Math.max(this.now, Math.min(until, next ?? until));
      return false;
    }
    const entry = this.#pop() as Entry;
    this.now = Math.max(this.now, entry.at);
    this.events++;
    entry.run?.();
    return true;
  }

  /** Puts a line into the trace's hash. */
  mark(line: string): void {
    let hash = this.#trace;
    for (let index = 0; index < line.length; index++) hash = Math.imul(hash ^ line.charCodeAt(index), 0x01000193);
    this.#trace = hash;
  }

  /** What all lines marked so far amount to, as eight hex digits. */
  get traceHash(): string {
    return (this.#trace >>> 0).toString(16).padStart(8, "0");
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Entry;
      if (before(above, entry)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let least = left;
      if (right !== undefined && before(right, left)) {
        least = right;
        child += 1;
      }
      if (before(last, least)) break;
      heap[index] = least;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function before(one: Entry, other: Entry): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}

/** Resolves when every promise reaction that can run now has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
