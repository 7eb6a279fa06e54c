/**
 * What waits for an activation: three lanes, strictly by priority, bounded together.
 *
 * Over the bound a call is refused at once, never queued; control traffic (cancels, replies) does not pass through here
 * at all, so it can never wait behind requests. Lanes are made when first used: an idle actor has none.
 */
import type { Turn } from "./turn.ts";

/** Default bounds. */
export const MAILBOX_MESSAGES = 1_024;
export const MAILBOX_BYTES = 4 * 1024 * 1024;

/** What waits in the mailboxes of one thread together. */
export interface Queued {
  bytes: number;
}

export class Mailbox {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #queued: Queued;
  readonly #lanes: (Turn[] | undefined)[] = [undefined, undefined, undefined];
  #count = 0;
  #bytes = 0;

  /** Counts also to `queued`. */
  constructor(maxMessages: number, maxBytes: number, queued: Queued) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
    this.#queued = queued;
  }

  get size(): number {
    return this.#count;
  }

  /** False: full, nothing was queued. A single message over the byte bound is let into an empty mailbox. */
  push(turn: Turn): boolean {
    if (this.#count >= this.#maxMessages) return false;
    if (this.#count > 0 && this.#bytes + turn.bytes > this.#maxBytes) return false;
    const lane = this.#lanes[turn.lane];
    if (lane === undefined) this.#lanes[turn.lane] = [turn];
    else lane.push(turn);
    this.#count++;
    this.#bytes += turn.bytes;
    this.#queued.bytes += turn.bytes;
    return true;
  }

  /** The next turn that `admits` lets start; only the head of each lane is considered, so order holds within a lane. */
  shift(admits: (turn: Turn) => boolean): Turn | undefined {
    for (const lane of this.#lanes) {
      const head = lane?.[0];
      if (head === undefined) continue;
      if (!admits(head)) return undefined;
      lane?.shift();
      this.#removed(head);
      return head;
    }
    return undefined;
  }

  /** Takes out a turn that was cancelled or whose deadline passed. */
  remove(turn: Turn): boolean {
    const lane = this.#lanes[turn.lane];
    const index = lane?.indexOf(turn) ?? -1;
    if (index < 0) return false;
    lane?.splice(index, 1);
    this.#removed(turn);
    return true;
  }

  /** The methods of the first `limit` turns, in the order in which they would run. */
  methods(limit: number): string[] {
    const first: string[] = [];
    for (const lane of this.#lanes) {
      for (const turn of lane ?? []) {
        if (first.length === limit) return first;
        first.push(turn.message[6]);
      }
    }
    return first;
  }

  /** Empties it, in the order in which turns would have run. */
  takeAll(): Turn[] {
    const all = this.#lanes.flatMap((lane) => lane ?? []);
    this.#lanes.fill(undefined);
    this.#count = 0;
    this.#queued.bytes -= this.#bytes;
    this.#bytes = 0;
    return all;
  }

  #removed(turn: Turn): void {
    this.#count--;
    this.#bytes -= turn.bytes;
    this.#queued.bytes -= turn.bytes;
  }
}
