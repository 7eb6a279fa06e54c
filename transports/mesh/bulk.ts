/**
 * Large messages, in chunks on their own socket.
 *
 * Sending: transfers take turns, a chunk each, so one of 60 MiB does not keep one of 100 KiB waiting; chunks in flight are
 * bounded by the window, which the receiver refills as they arrive. A transfer counts against `bulkQueueBytes` until the
 * receiver has *handed it on*, so that number bounds both sides' memory: a complete transfer may have to wait at the
 * receiver for its place in its lane, and its chunks are acknowledged on arrival (waiting for delivery instead could fill
 * the window with transfers that wait for one that has no window left).
 *
 * Receiving: holds transfers until their lane takes them, up to the bound the sender keeps to.
 */
import { BULK_THRESHOLD, chunkFrame } from "./frame.ts";
import { ACK_EVERY } from "./ordering.ts";

interface Outgoing {
  id: number;
  packed: Uint8Array;
  sent: number;
}

export class BulkSender {
  readonly #limit: number;
  readonly #window: number;
  /** Those with chunks to send, in turn. */
  readonly #sending: Outgoing[] = [];
  /** Sizes of those the receiver has not handed on. */
  readonly #undelivered = new Map<number, number>();
  #lastId = 0;
  #inFlight = 0;
  /** Bytes not handed on by the receiver yet. */
  bytes = 0;

  constructor(limit: number, window: number) {
    this.#limit = limit;
    this.#window = window;
  }

  /** Whether `bytes` more fit, for a message that may take `share` of the limit. One message alone always fits. */
  fits(bytes: number, share: number): boolean {
    return this.bytes === 0 || this.bytes + bytes <= this.#limit * share;
  }

  /** Takes a packed message; answers its transfer number. */
  begin(packed: Uint8Array): number {
    this.#lastId = (this.#lastId + 1) >>> 0;
    const id = this.#lastId;
    this.#sending.push({ id, packed, sent: 0 });
    this.#undelivered.set(id, packed.length);
    this.bytes += packed.length;
    return id;
  }

  /** The next chunk frame, or null when there is none or the receiver has given no credit for more. */
  nextFrame(): Buffer | null {
    if (this.#inFlight >= this.#window) return null;
    const transfer = this.#sending.shift();
    if (transfer === undefined) return null;
    const { id, packed, sent } = transfer;
    transfer.sent = Math.min(packed.length, sent + BULK_THRESHOLD);
    if (transfer.sent < packed.length) this.#sending.push(transfer);
    const frame = chunkFrame(id, packed.length, packed.subarray(sent, transfer.sent));
    this.#inFlight += frame.length;
    return frame;
  }

  /** The receiver took `bytes` of chunk frames. False: it claims more than it was sent. */
  acknowledged(bytes: number): boolean {
    this.#inFlight -= bytes;
    return this.#inFlight >= 0;
  }

  /** The receiver handed transfer `id` on. False: there is none. */
  delivered(id: number): boolean {
    const size = this.#undelivered.get(id);
    if (size === undefined) return false;
    this.#undelivered.delete(id);
    this.bytes -= size;
    return true;
  }
}

interface Incoming {
  bytes: Uint8Array;
  filled: number;
}

export class BulkReceiver {
  readonly #maxMessage: number;
  readonly #limit: number;
  readonly #transfers = new Map<number, Incoming>();
  #unacknowledged = 0;
  /** Bytes of transfers held, whole sizes. */
  bytes = 0;

  /** `limit`: bytes that may be held at once. */
  constructor(maxMessage: number, limit: number) {
    this.#maxMessage = maxMessage;
    this.#limit = limit;
  }

  /**
   * Takes a chunk. Answers whether that completed its transfer, and bytes to acknowledge now (0: not yet). Throws when
   * the sender broke a bound.
   */
  receive(transfer: number, total: number, piece: Uint8Array, frameBytes: number): { complete: boolean; ack: number } {
    let incoming = this.#transfers.get(transfer);
    if (incoming === undefined) {
      if (total > this.#maxMessage) throw new Error(`a transfer of ${total} bytes is larger than a message may be`);
      if (this.bytes + total > this.#limit) throw new Error(`transfers of more than ${this.#limit} bytes at once`);
      incoming = { bytes: new Uint8Array(total), filled: 0 };
      this.#transfers.set(transfer, incoming);
      this.bytes += total;
    }
    if (incoming.filled + piece.length > incoming.bytes.length) throw new Error("a transfer is longer than announced");
    incoming.bytes.set(piece, incoming.filled);
    incoming.filled += piece.length;
    this.#unacknowledged += frameBytes;
    const ack = this.#unacknowledged >= ACK_EVERY ? this.#unacknowledged : 0;
    if (ack > 0) this.#unacknowledged = 0;
    return { complete: incoming.filled === incoming.bytes.length, ack };
  }

  /** The bytes of a complete transfer, which is forgotten here; null while it is not complete. */
  take(transfer: number): Uint8Array | null {
    const incoming = this.#transfers.get(transfer);
    if (incoming === undefined || incoming.filled < incoming.bytes.length) return null;
    this.#transfers.delete(transfer);
    this.bytes -= incoming.bytes.length;
    return incoming.bytes;
  }
}
