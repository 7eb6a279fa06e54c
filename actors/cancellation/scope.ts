/**
 * Who has joined a cancellation scope, which parents it follows, and whether it is cancelled: the decisions of the
 * cancellation actor, without turns.
 */

/** One who joined. */
export interface Joiner {
  /** Resolves with the reason when the scope is cancelled, with undefined when the joiner left. */
  readonly over: Promise<string | undefined>;
}

interface Entry extends Joiner {
  settle(reason: string | undefined): void;
}

/** Follows a parent until `signal` fires; `inForce` resolves when a cancel of the parent will be heard. */
export type Follow = (parent: string, signal: AbortSignal, inForce: () => void) => Promise<void>;

export const MAX_JOINERS = 4_000;
/** Parents that the joiners of one scope may name between them. */
export const MAX_PARENTS = 8;

export class CancellationScopeState {
  /** Why, once it is cancelled. The first reason stays. */
  reason: string | undefined;
  readonly #joiners = new Set<Entry>();
  readonly #parents = new Map<string, { stop: AbortController; inForce: Promise<void> }>();
  #follow: Follow = async () => {};
  #onDeserted: (() => void) | undefined;

  /** Called once: how a parent is followed. */
  open(follow: Follow): void {
    this.#follow = follow;
  }

  get joined(): number {
    return this.#joiners.size;
  }

  /** Undefined: full. */
  join(): Joiner | undefined {
    if (this.#joiners.size >= MAX_JOINERS) return undefined;
    let settle: Entry["settle"] = () => {};
    const over = new Promise<string | undefined>((resolve) => {
      settle = resolve;
    });
    const joiner: Entry = { over, settle };
    this.#joiners.add(joiner);
    if (this.reason !== undefined) settle(this.reason);
    return joiner;
  }

  leave(joiner: Joiner): void {
    for (const entry of this.#joiners) {
      if (entry !== joiner) continue;
      this.#joiners.delete(entry);
      entry.settle(undefined);
    }
    if (this.#joiners.size > 0) return;
    this.#onDeserted?.();
    // Nobody is left who would want to know.
    this.close();
  }

  /** Resolves when a cancel of `parent` will be heard. Undefined: too many parents. */
  follow(parent: string): Promise<void> | undefined {
    const known = this.#parents.get(parent);
    if (known !== undefined) return known.inForce;
    if (this.#parents.size >= MAX_PARENTS) return undefined;
    const stop = new AbortController();
    const inForce = new Promise<void>((resolve, reject) => {
      this.#follow(parent, stop.signal, resolve).then(resolve, (error) => {
        this.#parents.delete(parent);
        reject(error);
      });
    });
    // Whoever waits for it hears of a failure; maybe nobody does any more.
    inForce.catch(() => {});
    this.#parents.set(parent, { stop, inForce });
    return inForce;
  }

  /** Tells everybody. False: it was cancelled before. */
  cancel(reason: string): boolean {
    if (this.reason !== undefined) return false;
    this.reason = reason;
    for (const joiner of this.#joiners) joiner.settle(reason);
    return true;
  }

  /** Resolves when the last joiner has left. */
  deserted(): Promise<void> {
    if (this.#joiners.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onDeserted = resolve;
    });
  }

  /** Follows nobody any more. */
  close(): void {
    for (const { stop } of this.#parents.values()) stop.abort();
    this.#parents.clear();
  }
}
