/**
 * Repeats of `dedup` and `durable` requests: an activation's memory of what it answered to which request id.
 *
 * A repeat that comes while the first still runs is attached to it; one that comes later gets the first answer. Only
 * successes are remembered: a request that failed had its say, and may be tried again. `durable` results are stored in
 * the same commit as the state they made, so they are there when another activation takes over.
 *
 * Bounds: `MAX_RESULTS` results, `KEEP_MS` long, whichever comes first; a repeat after that counts as new.
 */
import type { StoredResult } from "./codec.ts";
import type { Turn } from "./turn.ts";

const MAX_RESULTS = 1_024;
/** Ten minutes. */
const KEEP_MS = 600_000;

type Known = { value: unknown; wallMs: number; durable: boolean } | { first: Turn };

export class Repeats {
  /** Oldest first. */
  readonly #known = new Map<string, Known>();
  readonly #ids = new WeakMap<Turn, string>();

  constructor(stored: readonly StoredResult[]) {
    for (const [id, wallMs, value] of stored) this.#known.set(id, { value, wallMs, durable: true });
  }

  get(requestId: string, wallNow: number): Known | undefined {
    const known = this.#known.get(requestId);
    if (known === undefined || !("wallMs" in known) || wallNow - known.wallMs < KEEP_MS) return known;
    this.#known.delete(requestId);
    return undefined;
  }

  /** The first of its request. */
  begin(requestId: string, turn: Turn): void {
    this.#known.set(requestId, { first: turn });
    this.#ids.set(turn, requestId);
    if (this.#known.size <= MAX_RESULTS) return;
    for (const [id, known] of this.#known) {
      if ("first" in known) continue;
      this.#known.delete(id);
      return;
    }
  }

  /** A durable request succeeded; its result goes with the next commit. */
  store(requestId: string, wallMs: number, value: unknown): void {
    this.#known.delete(requestId);
    this.#known.set(requestId, { value, wallMs, durable: true });
  }

  /** The first of its request was answered. */
  settle(turn: Turn, succeeded: boolean, wallMs: number, value: unknown): void {
    const id = this.#ids.get(turn);
    if (id === undefined) return;
    const known = this.#known.get(id);
    const stored = known !== undefined && "durable" in known && known.durable;
    if (!succeeded) this.#known.delete(id);
    else if (!stored) this.#known.set(id, { value, wallMs, durable: false });
  }

  /** What a commit stores: durable results that are young enough. */
  stored(wallNow: number): StoredResult[] {
    const results: StoredResult[] = [];
    for (const [id, known] of this.#known) {
      if ("durable" in known && known.durable && wallNow - known.wallMs < KEEP_MS) {
        results.push([id, known.wallMs, known.value]);
      }
    }
    return results;
  }
}
