/**
 * A link: everything between this node and one incarnation of a peer. Some lane sockets for small messages, one bulk
 * socket for large ones.
 *
 * - It is up when every socket is authenticated, and closed when any one is lost: half a link would reorder or lose.
 *   A peer that shuts down closes its sockets one by one after its last messages, so then each is read to its end first.
 * - Messages with one lane key use one lane and keep their order, large ones among them too (`ordering.ts`).
 * - Messages of one tick share a frame. The flush runs in `setImmediate`: after all that the same round of the event loop
 *   read, so that answers which settle some promises later still travel together. A tick with very many sends the
 *   first of them earlier, `EARLY_FLUSHES` times `PER_FLUSH`, so that the peer has work while this node makes more.
 * - A message is never dropped in silence. `send` refuses a call that does not fit; an answer that does not fit is
 *   replaced by a short error; and when even that does not fit, the link closes.
 */
import { encodeError, TroupeError } from "../../runtime/actor/errors.ts";
import { type Message, MessageType } from "../../runtime/actor/message.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import { BulkReceiver, BulkSender } from "./bulk.ts";
import {
  ackFrame,
  BULK_THRESHOLD,
  deliveredFrame,
  FrameType,
  packMessage,
  packNumber,
  readChunk,
  readNumber,
  unpackMessage,
  unpackMessages,
} from "./frame.ts";
import type { MeshCounters } from "./metrics.ts";
import type { MeshLimits } from "./options.ts";
import { LaneOrder, TransferMarks } from "./ordering.ts";
import { LaneQueue, Share, shareOf } from "./queue.ts";
import { CloseCode, type MeshSocket, type SocketEnd } from "./socket.ts";

export interface LinkHooks {
  message(message: Message): void;
  up(): void;
  /** Once, also for a link that never came up. */
  closed(wasUp: boolean, end: SocketEnd): void;
}

interface Lane {
  socket: MeshSocket | null;
  queue: LaneQueue;
  marks: TransferMarks;
  order: LaneOrder;
}

export interface LinkOptions {
  /** The dialer's number for it. */
  id: number;
  lanes: number;
  limits: MeshLimits;
  counters: MeshCounters;
  log: Logger;
  hooks: LinkHooks;
}

/** Messages that are sent without waiting for the tick's end, and how often a tick may do that. */
const PER_FLUSH = 64;
const EARLY_FLUSHES = 16;
/** An answer whose error fits where the answer does not. */
const LARGE_ANSWER = 1024;

export class Link {
  readonly id: number;
  readonly #options: LinkOptions;
  readonly #lanes: Lane[];
  readonly #bulkOut: BulkSender;
  readonly #bulkIn: BulkReceiver;
  #bulk: MeshSocket | null = null;
  /** `ending`: the peer shuts down; what it sent before is still read, nothing is sent to it any more. */
  #state: "forming" | "up" | "ending" | "closed" = "forming";
  /** Frames that came before the last socket was authenticated here; bounded by the sender's windows. */
  #early: [place: number, frame: Buffer][] = [];
  #flushing = false;
  #unsent = 0;
  /** Flushes of this tick before its end. */
  #earlyFlushes = 0;

  constructor(options: LinkOptions) {
    this.id = options.id;
    this.#options = options;
    const { limits } = options;
    const queueLimits = {
      bytes: limits.laneQueueBytes,
      messages: limits.laneQueueMessages,
      window: limits.windowBytes,
    };
    this.#lanes = Array.from({ length: options.lanes }, (_, index) => ({
      socket: null,
      queue: new LaneQueue(queueLimits),
      marks: new TransferMarks(),
      order: new LaneOrder({
        deliver: (message) => this.#deliver(message),
        take: (transfer) => this.#takeTransfer(transfer),
        acknowledge: (bytes) => this.#transmit(index, ackFrame(bytes)),
      }),
    }));
    this.#bulkOut = new BulkSender(limits.bulkQueueBytes, limits.windowBytes);
    const held = Math.max(limits.bulkQueueBytes * Share.Answer, limits.maxMessageBytes);
    this.#bulkIn = new BulkReceiver(limits.maxMessageBytes, held);
  }

  get up(): boolean {
    return this.#state === "up";
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  get lanes(): number {
    return this.#lanes.length;
  }

  /** Bytes that wait here: to be sent, or for their turn. */
  get queueBytes(): number {
    let bytes = this.#bulkOut.bytes + this.#bulkIn.bytes;
    for (const { queue, order } of this.#lanes) bytes += queue.bytes + order.waitingBytes;
    return bytes;
  }

  /** Bytes of messages that were not handed to their socket, or are large and were not handed on by the peer. */
  get pendingBytes(): number {
    return this.#lanes.reduce((sum, { queue }) => sum + queue.bytes, this.#bulkOut.bytes);
  }

  get sockets(): MeshSocket[] {
    return [...this.#lanes.map((lane) => lane.socket), this.#bulk].filter((socket) => socket !== null);
  }

  /** Adds an authenticated socket at its place (the number of lanes is the bulk socket's). False: that place is taken. */
  attach(place: number, socket: MeshSocket): boolean {
    if (this.#state !== "forming") return false;
    const lane = this.#lanes[place];
    if (lane !== undefined) {
      if (lane.socket !== null) return false;
      lane.socket = socket;
    } else {
      if (place !== this.#lanes.length || this.#bulk !== null) return false;
      this.#bulk = socket;
    }
    socket.owner = {
      frame: (frame) => this.#frame(place, frame),
      ended: (end) => this.#socketEnded(end),
    };
    if (!this.closed && this.sockets.length === this.#lanes.length + 1) this.#comeUp();
    return true;
  }

  /**
   * Queues `message`. Throws what `packMessage` throws, for messages towards an actor; an answer that cannot be packed
   * is replaced by its error.
   */
  send(laneKey: string, message: Message): "queued" | "no-link" | "overloaded" {
    if (this.#state !== "up") return "no-link";
    const key = hash(laneKey);
    const lane = this.#lanes[key % this.#lanes.length];
    if (lane === undefined) return "no-link";
    let packed: Buffer;
    try {
      packed = packMessage(message, this.#options.limits.maxMessageBytes);
    } catch (error) {
      if (!isAnswer(message) || !(error instanceof TroupeError)) throw error;
      return this.#sendError(lane, key, message, new TroupeError(error.code, error.message, { started: "yes" }));
    }
    const share = shareOf(message[0]);
    if (this.#queue(lane, key, packed, share)) return this.#queued();
    if (share === Share.Call) {
      this.#options.counters.overloaded.add();
      return "overloaded";
    }
    if (isAnswer(message) && packed.length > LARGE_ANSWER) {
      this.#options.counters.overloaded.add();
      const text = `an answer of ${packed.length} bytes did not fit in the queue to the caller's node`;
      return this.#sendError(lane, key, message, new TroupeError("overloaded", text, { started: "yes" }));
    }
    return this.#control(lane, key, packed);
  }

  /** Sends what waits, as far as credits go. */
  flush(): void {
    this.#unsent = 0;
    if (this.#state !== "up") return;
    for (let place = 0; place <= this.#lanes.length; place++) this.#flushPlace(place);
  }

  /** Pings every socket and cuts the link when one was silent too long. */
  heartbeat(now: number): void {
    for (const socket of this.sockets) {
      if (now - socket.lastHeard >= this.#options.limits.silenceMs) {
        return this.cut(`nothing heard for ${Math.round(now - socket.lastHeard)} ms`);
      }
      socket.ping();
    }
  }

  /** This node did not run for a while; silence in that time proves nothing about the peer. */
  forgiveSilence(now: number): void {
    for (const socket of this.sockets) socket.lastHeard = now;
  }

  close(code: number, reason: string): void {
    this.#close({ by: "self", code, reason }, code);
  }

  /** Closes without a closing handshake: the peer does not read. */
  cut(reason: string): void {
    const sockets = this.sockets;
    this.#close({ by: "self", code: CloseCode.Silent, reason }, null);
    for (const socket of sockets) socket.terminate(reason);
  }

  #comeUp(): void {
    this.#state = "up";
    this.#options.hooks.up();
    const early = this.#early;
    this.#early = [];
    for (const [place, frame] of early) this.#frame(place, frame);
  }

  #socketEnded(end: SocketEnd): void {
    const graceful = end.by === "peer" && end.code === CloseCode.Shutdown;
    if (graceful && (this.#state === "up" || this.#state === "ending")) {
      this.#state = "ending";
      if (this.sockets.some((socket) => !socket.over)) return;
    }
    this.#close(end, CloseCode.LinkClosed);
  }

  /** `code`: what the remaining sockets are closed with; null when the caller ends them. */
  #close(end: SocketEnd, code: number | null): void {
    if (this.#state === "closed") return;
    const wasUp = this.#state !== "forming";
    this.#state = "closed";
    this.#early = [];
    if (code !== null) for (const socket of this.sockets) socket.close(code, shortReason(end.reason));
    this.#options.hooks.closed(wasUp, end);
  }

  // Sending

  #queue(lane: Lane, key: number, packed: Buffer, share: number): boolean {
    const behind = lane.marks.behind(key);
    let inLane = packed;
    if (packed.length > BULK_THRESHOLD) {
      // The placeholder takes a message's place in the lane, so the lane bounds how many transfers there are.
      if (!this.#bulkOut.fits(packed.length, share) || !lane.queue.fits(2 * NUMBER_BYTES, share)) return false;
      const transfer = this.#bulkOut.begin(packed);
      lane.marks.began(key, transfer);
      inLane = packNumber(transfer);
    } else if (!lane.queue.fits(packed.length + NUMBER_BYTES, share)) return false;
    lane.queue.push(behind === null ? inLane : Buffer.concat([packNumber(-behind), inLane]));
    return true;
  }

  #sendError(lane: Lane, key: number, answer: Message, error: TroupeError): "queued" | "no-link" {
    const [, callId, incarnation, thread] = answer;
    const reply: Message = [MessageType.Reply, callId, incarnation, thread, encodeError(error), null];
    return this.#control(lane, key, packMessage(reply, this.#options.limits.maxMessageBytes));
  }

  #control(lane: Lane, key: number, packed: Buffer): "queued" | "no-link" {
    if (this.#queue(lane, key, packed, Share.Control)) return this.#queued();
    // Later, because whoever sends does not expect the link to close inside its call.
    queueMicrotask(() => this.close(CloseCode.Overflow, "the queue cannot even take answers and cancels"));
    return "no-link";
  }

  #queued(): "queued" {
    this.#options.counters.messagesSent.add();
    this.#unsent++;
    if (!this.#flushing) {
      this.#flushing = true;
      setImmediate(this.#endTick);
    } else if (this.#unsent >= PER_FLUSH && this.#earlyFlushes < EARLY_FLUSHES) {
      this.#earlyFlushes++;
      this.flush();
    }
    return "queued";
  }

  readonly #endTick = (): void => {
    this.#flushing = false;
    this.#earlyFlushes = 0;
    this.flush();
  };

  #flushPlace(place: number): void {
    const queue = this.#lanes[place]?.queue;
    if (queue === undefined) {
      for (let frame = this.#bulkOut.nextFrame(); frame !== null; frame = this.#bulkOut.nextFrame()) {
        this.#transmit(place, frame);
      }
      return;
    }
    for (let next = queue.nextFrame(); next !== null; next = queue.nextFrame()) this.#transmit(place, next.frame);
  }

  #transmit(place: number, frame: Buffer): void {
    this.#options.counters.framesSent.add();
    this.#options.counters.bytesSent.add(frame.length);
    (this.#lanes[place]?.socket ?? this.#bulk)?.send(frame);
  }

  // Receiving

  #frame(place: number, frame: Buffer): void {
    if (this.#state === "closed") return;
    if (this.#state === "forming") {
      this.#early.push([place, frame]);
      return;
    }
    this.#options.counters.framesReceived.add();
    this.#options.counters.bytesReceived.add(frame.length);
    try {
      this.#handle(place, frame);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.close(CloseCode.Protocol, reason);
    }
  }

  #handle(place: number, frame: Buffer): void {
    const lane = this.#lanes[place];
    const type = frame[0];
    if (type === FrameType.Ack) {
      const fine = (lane?.queue ?? this.#bulkOut).acknowledged(readNumber(frame));
      if (!fine) throw new Error("credit for more than was sent");
      return this.#flushPlace(place);
    }
    if (lane !== undefined) {
      if (type !== FrameType.Messages) throw new Error(`frame of type ${type} on a lane`);
      const { items, ends } = unpackMessages(frame.subarray(1));
      return lane.order.receive(items, ends, frame.length);
    }
    if (type === FrameType.Delivered) {
      const transfer = readNumber(frame);
      if (!this.#bulkOut.delivered(transfer)) throw new Error(`transfer ${transfer} was delivered but never begun`);
      for (const { marks } of this.#lanes) marks.delivered(transfer);
      return;
    }
    if (type !== FrameType.Chunk) throw new Error(`frame of type ${type} on the bulk socket`);
    const { transfer, total, piece } = readChunk(frame);
    const { complete, ack } = this.#bulkIn.receive(transfer, total, piece, frame.length);
    if (ack > 0) this.#transmit(place, ackFrame(ack));
    if (complete) for (const { order } of this.#lanes) order.complete(transfer);
  }

  #takeTransfer(transfer: number): Message | null {
    const bytes = this.#bulkIn.take(transfer);
    if (bytes === null) return null;
    this.#transmit(this.#lanes.length, deliveredFrame(transfer));
    return unpackMessage(bytes);
  }

  #deliver(message: Message): void {
    if (this.#state === "closed") return;
    this.#options.counters.messagesReceived.add();
    try {
      this.#options.hooks.message(message);
    } catch (error) {
      this.#options.log.error("mesh: handling a message failed", { error, type: message[0], call: message[1] });
    }
  }
}

/** A placeholder or a mark packs to at most this. */
const NUMBER_BYTES = 9;

function isAnswer(message: Message): boolean {
  return message[0] === MessageType.Reply || message[0] === MessageType.Item;
}

/** FNV-1a over UTF-16 units: spreads actor ids that differ in one character. */
function hash(key: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) value = Math.imul(value ^ key.charCodeAt(index), 0x01000193);
  return (value ^ (value >>> 15)) >>> 0;
}

/** A close frame carries at most 123 bytes of reason. */
export function shortReason(reason: string): string {
  return Buffer.from(reason)
    .subarray(0, 120)
    .toString()
    .replace(/\uFFFD+$/, "");
}
