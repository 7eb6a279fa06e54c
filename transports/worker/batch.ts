/**
 * A tick's messages as one flat array, the form in which they cross a thread.
 *
 * Structured clone costs by the value: an array inside an array costs several times what a number costs, and a text is
 * copied, allocated and hashed again at every message. So messages are laid end to end without arrays of their own, what is
 * usual is left out, and a text that names something (actor, method, incarnation) is sent once: both sides keep the last
 * `NAMES` of them, in the same order, and a number stands for one that is kept. That order is all they need to agree on,
 * so whoever could not post a batch must `reset`: the next one tells the receiver to forget its names too.
 *
 * Only the two ends of one port read this, both from the same build; it is no protocol.
 */

import type { ActorId, Epoch, Incarnation } from "../../runtime/actor/ids.ts";
import {
  type CallMessage,
  type HostMessage,
  type ItemMessage,
  Lane,
  type Message,
  MessageType,
  type ReplyMessage,
} from "../../runtime/actor/message.ts";

/** What travels on the data path. */
export type Carried = Message | HostMessage;

/** Names kept per direction of a port. */
const NAMES = 2_048;

// The first number of a message: three bits of type, flags, and for a call the number of its arguments.
const TYPE = 0b111;
/** Anything but a call, an answer or an item: follows as it is. */
const RAW = 7;
/** Alone at the start of a batch: the receiver forgets its names. */
const RESET = 6;
/** Of the same origin as the message before. */
const SAME_ORIGIN = 1 << 3;
/** An answer that is an error. */
const FAILED = 1 << 4;
/** A call that names an epoch; one that has a chain; one whose lane, credit, request id and delivery are not the usual. */
const EPOCH = 1 << 4;
const CHAIN = 1 << 5;
const UNUSUAL = 1 << 6;
const ARGUMENTS = 7;
const MOST_ARGUMENTS = 1_000;

const NO_CHAIN: readonly ActorId[] = [];

export class BatchEncoder {
  readonly #places = new Map<string, number>();
  readonly #names: string[] = [];
  #next = 0;
  #reset = false;

  /** What was encoded last never arrived. */
  reset(): void {
    this.#places.clear();
    this.#names.length = 0;
    this.#next = 0;
    this.#reset = true;
  }

  encode(messages: readonly Carried[]): unknown[] {
    const batch: unknown[] = [];
    if (this.#reset) batch.push(RESET);
    this.#reset = false;
    let incarnation: Incarnation | undefined;
    let thread = -1;
    for (const message of messages) {
      const type = message[0];
      const named = type === MessageType.Call || type === MessageType.Reply || type === MessageType.Item;
      if (!named || (type === MessageType.Call && message[7].length > MOST_ARGUMENTS)) {
        batch.push(RAW, message);
        continue;
      }
      const same = message[3] === thread && message[2] === incarnation;
      const origin = same ? SAME_ORIGIN : 0;
      if (type === MessageType.Call) this.#call(batch, message, origin);
      else if (type === MessageType.Item) this.#answer(batch, message, type | origin, message[4]);
      else if (message[4] === null) this.#answer(batch, message, type | origin, message[5]);
      else this.#answer(batch, message, type | origin | FAILED, message[4]);
      if (same) continue;
      incarnation = message[2];
      thread = message[3];
    }
    return batch;
  }

  #call(batch: unknown[], message: CallMessage, origin: number): void {
    const [epoch, args, lane, credit, chain] = [message[5], message[7], message[9], message[10], message[11]];
    const delivery = message[13];
    const usual = lane === Lane.Normal && credit === 0 && delivery === 0;
    const flags = origin | (usual ? 0 : UNUSUAL) | (chain.length === 0 ? 0 : CHAIN) | (epoch === "" ? 0 : EPOCH);
    batch.push(MessageType.Call | flags | (args.length << ARGUMENTS), message[1]);
    if (origin === 0) batch.push(this.#name(message[2]), message[3]);
    batch.push(this.#name(message[4]));
    if (epoch !== "") batch.push(this.#name(epoch));
    batch.push(this.#name(message[6]), message[8]);
    if (chain.length > 0) {
      batch.push(chain.length);
      for (let index = 0; index < chain.length; index++) batch.push(this.#name(chain[index] as ActorId));
    }
    if (!usual) batch.push(lane, credit, message[12], delivery);
    for (let index = 0; index < args.length; index++) batch.push(args[index]);
  }

  #answer(batch: unknown[], message: ReplyMessage | ItemMessage, head: number, value: unknown): void {
    batch.push(head, message[1]);
    if ((head & SAME_ORIGIN) === 0) batch.push(this.#name(message[2]), message[3]);
    batch.push(value);
  }

  /** The place of a name that the receiver has, or the name itself, which it then keeps at the next place. */
  #name(name: string): string | number {
    const place = this.#places.get(name);
    if (place !== undefined) return place;
    const forgotten = this.#names[this.#next];
    if (forgotten !== undefined) this.#places.delete(forgotten);
    this.#names[this.#next] = name;
    this.#places.set(name, this.#next);
    this.#next = (this.#next + 1) % NAMES;
    return name;
  }
}

export class BatchDecoder {
  readonly #names: string[] = [];
  #next = 0;
  #batch: readonly unknown[] = [];
  #at = 0;

  /** Hands on what `batch` holds, one by one. Answers how many there were. `handle` must not throw. */
  decode(batch: readonly unknown[], handle: (message: Carried) => void): number {
    this.#batch = batch;
    this.#at = 0;
    if (batch[0] === RESET) {
      this.#names.length = 0;
      this.#next = 0;
      this.#at = 1;
    }
    let count = 0;
    let incarnation = "" as Incarnation;
    let thread = 0;
    while (this.#at < batch.length) {
      count++;
      const head = this.#take() as number;
      const type = head & TYPE;
      if (type === RAW) {
        handle(this.#take() as Carried);
        continue;
      }
      const id = this.#take() as number;
      if ((head & SAME_ORIGIN) === 0) {
        incarnation = this.#name() as Incarnation;
        thread = this.#take() as number;
      }
      if (type === MessageType.Call) handle(this.#call(head, id, incarnation, thread));
      else {
        const value = this.#take();
        if (type === MessageType.Item) handle([type, id, incarnation, thread, value]);
        else if ((head & FAILED) === 0) handle([MessageType.Reply, id, incarnation, thread, null, value]);
        else handle([MessageType.Reply, id, incarnation, thread, value as ReplyMessage[4], null]);
      }
    }
    this.#batch = [];
    return count;
  }

  #call(head: number, id: number, incarnation: Incarnation, thread: number): CallMessage {
    const actor = this.#name() as ActorId;
    const epoch = (head & EPOCH) === 0 ? "" : (this.#name() as Epoch);
    const method = this.#name();
    const budget = this.#take() as number;
    let lane: Lane = Lane.Normal;
    let credit = 0;
    let requestId = "";
    let delivery: CallMessage[13] = 0;
    const chain = (head & CHAIN) === 0 ? NO_CHAIN : this.#chain();
    if ((head & UNUSUAL) !== 0) {
      lane = this.#take() as Lane;
      credit = this.#take() as number;
      requestId = this.#take() as string;
      delivery = this.#take() as CallMessage[13];
    }
    const args: unknown[] = [];
    for (let left = head >> ARGUMENTS; left > 0; left--) args.push(this.#take());
    const type = MessageType.Call;
    return [
      type,
      id,
      incarnation,
      thread,
      actor,
      epoch,
      method,
      args,
      budget,
      lane,
      credit,
      chain,
      requestId,
      delivery,
    ];
  }

  #chain(): readonly ActorId[] {
    const chain: ActorId[] = [];
    for (let left = this.#take() as number; left > 0; left--) chain.push(this.#name() as ActorId);
    return chain;
  }

  #take(): unknown {
    return this.#batch[this.#at++];
  }

  #name(): string {
    const given = this.#take() as string | number;
    if (typeof given === "number") return this.#names[given] as string;
    this.#names[this.#next] = given;
    this.#next = (this.#next + 1) % NAMES;
    return given;
  }
}
