/**
 * Order where large messages take another way.
 *
 * A lane keeps the order of all that travels in it. A large message travels in chunks on the bulk socket, and a
 * *placeholder* (its transfer number) stands for it in its lane. Only messages with the same lane key must wait for it:
 * so the sender remembers, per key, the last transfer the receiver has not handed on, and puts a *mark* (that number,
 * negative) before every message with that key. The receiver keeps marked messages behind their transfer and lets all
 * others pass; a marked message whose transfer was handed on meanwhile waits for nothing.
 *
 * Bounds: what waits is not acknowledged, so it counts against the sender's window; a sender that does not keep to one is
 * caught at `MAX_WAITING_BYTES`. The sender's memory of keys is bounded by its transfers.
 */
import type { Message } from "../../runtime/actor/message.ts";

/** Bytes that may wait behind transfers of one lane before the sender is found to ignore its window. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** Consumed bytes that are worth an acknowledgement; far below the smallest window, so a sender never starves. */
export const ACK_EVERY = 64 * 1024;

/** The sender's side: which transfer the next message of a key must wait for. Keys are hashes; a collision waits too. */
export class TransferMarks {
  readonly #lastOfKey = new Map<number, number>();
  readonly #keyOf = new Map<number, number>();

  /** The transfer to wait for, or null. */
  behind(key: number): number | null {
    return this.#lastOfKey.size === 0 ? null : (this.#lastOfKey.get(key) ?? null);
  }

  began(key: number, transfer: number): void {
    this.#lastOfKey.set(key, transfer);
    this.#keyOf.set(transfer, key);
  }

  delivered(transfer: number): void {
    const key = this.#keyOf.get(transfer);
    if (key === undefined) return;
    this.#keyOf.delete(transfer);
    if (this.#lastOfKey.get(key) === transfer) this.#lastOfKey.delete(key);
  }
}

export interface LaneOrderHooks {
  deliver(message: Message): void;
  /** The message of a complete transfer, or null while it is not complete. */
  take(transfer: number): Message | null;
  acknowledge(bytes: number): void;
}

/** A placeholder that was met: what waits behind it, and whether it waits for another one itself. */
interface Transfer {
  itsTurn: boolean;
  behind: { item: Message | number; bytes: number }[];
}

/** The receiver's side of one lane. */
export class LaneOrder {
  readonly #hooks: LaneOrderHooks;
  readonly #transfers = new Map<number, Transfer>();
  #consumed = 0;
  /** Bytes of messages that wait behind transfers. */
  waitingBytes = 0;

  constructor(hooks: LaneOrderHooks) {
    this.#hooks = hooks;
  }

  /**
   * Takes what a frame of `bytes` carried; `ends[i]` is where item i ended in it. Throws when the sender broke a rule.
   */
  receive(items: readonly (Message | number)[], ends: readonly number[], bytes: number): void {
    let waiting = 0;
    let mark = 0;
    for (let index = 0; index < items.length; index++) {
      const item = items[index];
      if (item === undefined) continue;
      if (typeof item === "number" && item < 0) {
        mark = -item;
        continue;
      }
      const before = mark === 0 ? undefined : this.#transfers.get(mark);
      mark = 0;
      if (typeof item === "number") this.#meet(item, before === undefined);
      if (before !== undefined) {
        const size = (ends[index] ?? 0) - (ends[index - 1] ?? 0);
        before.behind.push({ item, bytes: size });
        waiting += size;
      } else if (typeof item === "number") this.complete(item);
      else this.#hooks.deliver(item);
    }
    this.waitingBytes += waiting;
    this.#consume(bytes - waiting);
    if (this.waitingBytes > MAX_WAITING_BYTES) throw new Error("more was sent than the window allows");
  }

  /** Transfer `id` may be complete: hands it on if it is its turn, and then what waited behind it. */
  complete(id: number): void {
    let consumed = 0;
    for (let next: number | null = id; next !== null; ) {
      const transfer = this.#transfers.get(next);
      const message: Message | null = transfer?.itsTurn === true ? this.#hooks.take(next) : null;
      if (transfer === undefined || message === null) break;
      this.#transfers.delete(next);
      this.#hooks.deliver(message);
      next = null;
      for (const { item, bytes } of transfer.behind) {
        consumed += bytes;
        if (typeof item === "number") {
          // The last one: what came later with that key waits behind this transfer.
          const turn = this.#transfers.get(item);
          if (turn !== undefined) turn.itsTurn = true;
          next = item;
        } else this.#hooks.deliver(item);
      }
    }
    this.waitingBytes -= consumed;
    if (consumed > 0) this.#consume(consumed);
  }

  #meet(transfer: number, itsTurn: boolean): void {
    if (this.#transfers.has(transfer)) throw new Error(`transfer ${transfer} has two places`);
    this.#transfers.set(transfer, { itsTurn, behind: [] });
  }

  #consume(bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed < ACK_EVERY) return;
    this.#hooks.acknowledge(this.#consumed);
    this.#consumed = 0;
  }
}
