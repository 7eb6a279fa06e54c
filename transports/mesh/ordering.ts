/**
 * The receiving side of one lane: hands messages on in the order they were sent, waiting at a placeholder until the
 * transfer it stands for is complete.
 *
 * A frame is acknowledged when its last message was handed on, so what waits here is bounded by the sender's window; a
 * sender that does not keep to one is caught at `MAX_HELD_BYTES`. Acknowledgements are gathered until they are worth a
 * frame.
 */
import type { Message } from "../../runtime/actor/message.ts";

/** Bytes of frames that may wait behind a placeholder before the sender is found to ignore its window. */
const MAX_HELD_BYTES = 16 * 1024 * 1024;
/** Consumed bytes that are worth an acknowledgement; far below the smallest window, so a sender never starves. */
export const ACK_EVERY = 64 * 1024;

interface HeldFrame {
  values: readonly (Message | number)[];
  next: number;
  bytes: number;
}

export interface LaneOrderHooks {
  deliver(message: Message): void;
  /** The message of a complete transfer, or null while it is not complete. */
  take(transfer: number): Message | null;
  acknowledge(bytes: number): void;
}

export class LaneOrder {
  readonly #hooks: LaneOrderHooks;
  readonly #held: HeldFrame[] = [];
  #heldBytes = 0;
  #unacknowledged = 0;
  #delivering = false;

  constructor(hooks: LaneOrderHooks) {
    this.#hooks = hooks;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Takes the messages of a frame of `bytes`. False: the sender ignored its window. */
  receive(values: readonly (Message | number)[], bytes: number): boolean {
    this.#held.push({ values, next: 0, bytes });
    this.#heldBytes += bytes;
    this.proceed();
    return this.#heldBytes <= MAX_HELD_BYTES;
  }

  /** Hands on what can be: after a frame came, or a transfer became complete. */
  proceed(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let frame = this.#held[0]; frame !== undefined; frame = this.#held[0]) {
        if (!this.#finish(frame)) break;
        this.#held.shift();
        this.#heldBytes -= frame.bytes;
        this.#unacknowledged += frame.bytes;
      }
    } finally {
      this.#delivering = false;
    }
    if (this.#unacknowledged >= ACK_EVERY) {
      this.#hooks.acknowledge(this.#unacknowledged);
      this.#unacknowledged = 0;
    }
  }

  /** Whether every message of `frame` was handed on. */
  #finish(frame: HeldFrame): boolean {
    while (frame.next < frame.values.length) {
      const value = frame.values[frame.next];
      const message = typeof value === "number" ? this.#hooks.take(value) : value;
      if (message === null) return false;
      frame.next++;
      if (message !== undefined) this.#hooks.deliver(message);
    }
    return true;
  }
}
