/**
 * Repeats of `dedup` and `durable` requests: an activation's memory of what it answered to which request id.
 *
 * A repeat that comes while the first still runs is attached to it; one that comes later gets the first answer. Only
 * successes are remembered: a request that failed had its say, and may be tried again. `durable` results are stored in
 * the same commit as the state they made, so they are there when another activation takes over. A planned migration hands
 * all of them over.
 *
 * Bounds: `MAX_RESULTS` results, `KEEP_MS` long, whichever comes first; a repeat after that counts as new.
 */
import type { HandedResult, StoredResult } from "./codec.ts";
import type { Turn } from "./turn.ts";

const MAX_RESULTS = 1_024;
/** Ten minutes. */
const KEEP_MS = 600_000;

type Result = { value: unknown; wallMs: number; durable: boolean };
/** `pending`: what the first of a durable request came to, on its way to the store; not to be told before it is there. */
type Known = Result | { first: Turn; pending?: Result };

export class Repeats {
  /** Oldest first. */
  readonly #known = new Map<string, Known>();
  readonly #ids = new WeakMap<Turn, string>();
  /**
   * Results whose commit failed, of an activation that stops for it. A turn that still runs may commit what they made all
   * the same; then they are stored with it. At most as many as there were turns under way.
   */
  #failed: StoredResult[] | undefined;

  constructor(stored: readonly (StoredResult | HandedResult)[]) {
    for (const [id, wallMs, value, durable = true] of stored) this.#known.set(id, { value, wallMs, durable });
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
    const known = this.#known.get(requestId);
    const result = { value, wallMs, durable: true };
    this.#known.delete(requestId);
    this.#known.set(
      requestId,
      known !== undefined && "first" in known ? { first: known.first, pending: result } : result,
    );
  }

  /** The first of its request was answered. */
  settle(turn: Turn, succeeded: boolean, wallMs: number, value: unknown): void {
    const id = this.#ids.get(turn);
    if (id === undefined) return;
    const known = this.#known.get(id);
    if (!succeeded) {
      this.#known.delete(id);
      const pending = known !== undefined && "first" in known ? known.pending : undefined;
      if (pending === undefined) return;
      this.#failed ??= [];
      this.#failed.push([id, pending.wallMs, pending.value]);
    } else if (known !== undefined && "first" in known) {
      this.#known.set(id, known.pending ?? { value, wallMs, durable: false });
    }
  }

  /** What a successor is to know: every result that is young enough. No request is running any more. */
  handed(wallNow: number): HandedResult[] {
    const results: HandedResult[] = [];
    for (const [id, known] of this.#known) {
      if ("first" in known || wallNow - known.wallMs >= KEEP_MS) continue;
      results.push([id, known.wallMs, known.value, known.durable]);
    }
    return results;
  }

  /** What a commit stores: durable results that are young enough. */
  stored(wallNow: number): StoredResult[] {
    const results: StoredResult[] = [...(this.#failed ?? [])];
    for (const [id, known] of this.#known) {
      const result = "first" in known ? known.pending : known;
      if (result?.durable === true && wallNow - result.wallMs < KEEP_MS) {
        results.push([id, result.wallMs, result.value]);
      }
    }
    return results;
  }
}
