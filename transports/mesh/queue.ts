/**
 * The sending side of one lane: packed messages that wait for their tick's frame, and for credit.
 *
 * Bounded three times over. Calls are refused at the limit, because a caller can be told so. Answers and stream items may
 * go half beyond it; above that a short error takes their place. Control messages, and those errors, may go to twice the
 * limit; a link that cannot even take these is broken, since a lost answer would be a silent hang.
 */
import { MessageType } from "../../runtime/actor/message.ts";
import { BULK_THRESHOLD, messagesFrame } from "./frame.ts";

/** How far beyond the limit of a queue a message may go. */
export const Share = { Call: 1, Answer: 1.5, Control: 2 } as const;

export function shareOf(type: number): number {
  if (type === MessageType.Call) return Share.Call;
  return type === MessageType.Reply || type === MessageType.Item ? Share.Answer : Share.Control;
}

export interface QueueLimits {
  bytes: number;
  messages: number;
  /** Bytes in flight without a credit. */
  window: number;
}

export class LaneQueue {
  readonly #limits: QueueLimits;
  #waiting: Buffer[] = [];
  /** Messages of `#waiting` before this one are sent. */
  #head = 0;
  #inFlight = 0;
  bytes = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get messages(): number {
    return this.#waiting.length - this.#head;
  }

  /** Whether `bytes` more fit, for a message that may take `share` of the limit. */
  fits(bytes: number, share: number): boolean {
    return (
      this.bytes + bytes <= this.#limits.bytes * share && this.messages < Math.floor(this.#limits.messages * share)
    );
  }

  push(packed: Buffer): void {
    this.#waiting.push(packed);
    this.bytes += packed.length;
  }

  /** The next frame, or null when nothing waits or the receiver has given no credit for more. */
  nextFrame(): { frame: Buffer; messages: number } | null {
    if (this.messages === 0 || this.#inFlight >= this.#limits.window) return null;
    let size = 0;
    let end = this.#head;
    while (end < this.#waiting.length) {
      const next = this.#waiting[end]?.length ?? 0;
      // The first message always goes; it is at most as large as a frame may be.
      if (size > 0 && size + next > BULK_THRESHOLD) break;
      size += next;
      end++;
    }
    const batch = this.#waiting.slice(this.#head, end);
    this.#head = end;
    // Forgetting what was sent costs a copy of the rest, so it is done when that is the smaller half.
    if (this.#head * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    this.bytes -= size;
    const frame = messagesFrame(batch, size);
    this.#inFlight += frame.length;
    return { frame, messages: batch.length };
  }

  /** The receiver consumed `bytes` of frames. False: it claims more than it was sent. */
  acknowledged(bytes: number): boolean {
    this.#inFlight -= bytes;
    return this.#inFlight >= 0;
  }
}
