/**
 * The data path between the I/O thread and one worker: messages of one tick travel as one array (`batch.ts`).
 *
 * A thread hop costs a wake-up and a structured clone per *post*, so messages are collected and posted together when
 * the tick's code has run; throughput comes from that and from nothing else (SPIKES section 1). The post waits for
 * `setImmediate` rather than a microtask: replies are sent from promise continuations, a few microtasks apart, and a
 * microtask flush would post each of them alone (half the CPU per message at 64 in flight, no slower at 1). A tick with
 * very many posts the first of them earlier, `EARLY_POSTS` times `PER_POST`, so that the other thread has work while this
 * one makes more: else two threads that answer each other would take turns, and one of them would always be idle. Not all
 * of them, because Node.js hands over what arrives meanwhile in the same tick: two threads that answer each other at once
 * would keep this one's event loop from turning.
 *
 * ## What holds
 * - Messages arrive in the order they were sent, each exactly once, as long as both threads live. When the other
 *   thread dies, what it had not handled is gone; the worker's exit says so, not this port.
 * - A value that cannot be cloned makes `send` throw `invalid_argument`, naming actor and method, and the tick's other
 *   messages are not touched. What only the post itself finds (a `Proxy`) is answered like this: a call gets a failed
 *   reply through this side's own handler, a reply or stream item becomes a failed reply for the caller.
 * - A handler that throws does not lose the rest of the batch; its first error is thrown on afterwards.
 *
 * ## Bound
 * `queued` counts what was sent and not yet handled over there, through a counter both threads share. At `limit` a
 * *call* is refused with `overloaded`; everything else passes, because replies, credits, items and cancels are bounded
 * by the calls they belong to, and refusing them would break what was promised already.
 */

import { MessageChannel, type MessagePort } from "node:worker_threads";
import { encodeError, TroupeError } from "../../runtime/actor/errors.ts";
import { type CallMessage, isHostMessage, MessageType, type ReplyMessage } from "../../runtime/actor/message.ts";
import { BatchDecoder, BatchEncoder, type Carried } from "./batch.ts";
import { readyToClone } from "./cloneable.ts";

/** Calls waiting on one side of a port before more are refused. */
export const DEFAULT_PORT_LIMIT = 65_536;
/** Messages in a post that does not wait for the tick's end, and how many such posts a tick may have. */
const PER_POST = 128;
const EARLY_POSTS = 8;
/** What a refused caller is told to wait, milliseconds. */
const RETRY_AFTER_MS = 100;

export type { Carried } from "./batch.ts";

/** One end of a thread channel, as it is handed to the thread that will use it. `port` must be in its transfer list. */
export interface ThreadPortEnd {
  port: MessagePort;
  /** Two 32-bit cells: messages sent by side 0, and by side 1, that the other side has not handled. */
  unhandled: SharedArrayBuffer;
  side: 0 | 1;
}

export interface ThreadPortOptions {
  /** Default `DEFAULT_PORT_LIMIT`. */
  limit?: number;
}

/** Both ends of a new channel; the first stays, the second goes to the worker. */
export function createThreadChannel(): [ThreadPortEnd, ThreadPortEnd] {
  const { port1, port2 } = new MessageChannel();
  const unhandled = new SharedArrayBuffer(8);
  return [
    { port: port1, unhandled, side: 0 },
    { port: port2, unhandled, side: 1 },
  ];
}

/** A batching port for messages. */
export class ThreadPort {
  readonly #port: MessagePort;
  readonly #unhandled: Int32Array<SharedArrayBuffer>;
  readonly #side: 0 | 1;
  readonly #limit: number;
  readonly #encoder = new BatchEncoder();
  readonly #decoder = new BatchDecoder();
  #batch: Carried[] = [];
  #handler: ((message: Carried) => void) | undefined;
  #closed = false;
  /** The batch is posted when this tick's code has run. */
  #posting = false;
  /** Posts of this tick before its end. */
  #early = 0;
  /** Of the batch under way: whether handling a message failed, and why the first did. */
  #failed = false;
  #failure: unknown;

  constructor(end: ThreadPortEnd, options: ThreadPortOptions = {}) {
    this.#port = end.port;
    this.#unhandled = new Int32Array(end.unhandled);
    this.#side = end.side;
    this.#limit = options.limit ?? DEFAULT_PORT_LIMIT;
  }

  /** Messages sent from here that the other side has not handled yet. */
  get queued(): number {
    return this.#batch.length + Math.max(0, Atomics.load(this.#unhandled, this.#side));
  }

  /**
   * Queues `message` for the other thread. Throws `invalid_argument` for a value that cannot be cloned and, for a call
   * only, `overloaded` at the limit and `unavailable` when the port is closed; nothing was queued then. Any other
   * message to a closed port is dropped.
   */
  send(message: Carried): void {
    if (message[0] === MessageType.Call) this.#admit(message);
    if (this.#closed) return;
    let ready: Carried;
    try {
      ready = withReadyValues(message);
    } catch (error) {
      throw uncloneable(message, error);
    }
    const size = this.#batch.push(ready);
    if (!this.#posting) {
      this.#posting = true;
      setImmediate(this.#endTick);
    } else if (size >= PER_POST && this.#early < EARLY_POSTS) {
      this.#early++;
      this.#flush();
    }
  }

  /** Receives every message from the other side, in order. Must be set once; messages wait until it is. */
  onmessage(handler: (message: Carried) => void): void {
    this.#handler = handler;
    this.#port.on("message", this.#receive);
  }

  /** Posts what is queued and closes both ends. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#port.close();
  }

  #admit(call: CallMessage): void {
    if (this.#closed) {
      throw new TroupeError("unavailable", `the worker of ${call[4]} is gone`, { started: "no" });
    }
    if (this.queued < this.#limit) return;
    throw new TroupeError("overloaded", `${this.#limit} messages wait for the worker of ${call[4]}`, {
      started: "no",
      retryAfterMs: RETRY_AFTER_MS,
    });
  }

  readonly #endTick = (): void => {
    this.#posting = false;
    this.#early = 0;
    this.#flush();
  };

  #flush(): void {
    const batch = this.#batch;
    if (this.#closed || batch.length === 0) return;
    this.#batch = [];
    // Counted before the post: the other side may handle the batch before this line's thread runs again.
    Atomics.add(this.#unhandled, this.#side, batch.length);
    try {
      this.#port.postMessage(this.#encoder.encode(batch));
    } catch {
      this.#encoder.reset();
      Atomics.sub(this.#unhandled, this.#side, batch.length);
      this.#postOneByOne(batch);
    }
  }

  #postOneByOne(batch: readonly Carried[]): void {
    for (const message of batch) {
      Atomics.add(this.#unhandled, this.#side, 1);
      try {
        this.#port.postMessage(this.#encoder.encode([message]));
      } catch (error) {
        this.#encoder.reset();
        Atomics.sub(this.#unhandled, this.#side, 1);
        this.#refuse(message, error);
      }
    }
  }

  /** Lets whoever waits for `message` know that it could not be posted. */
  #refuse(message: Carried, cause: unknown): void {
    if (isHostMessage(message)) {
      // Plain data by construction, and nobody waits for an answer: a defect, thrown where the batch is not lost.
      queueMicrotask(() => {
        throw uncloneable(message, cause);
      });
      return;
    }
    const reply: ReplyMessage = [
      MessageType.Reply,
      message[1],
      message[2],
      message[3],
      encodeError(uncloneable(message, cause)),
      null,
    ];
    if (message[0] === MessageType.Call) {
      queueMicrotask(() => this.#handler?.(reply));
    } else {
      Atomics.add(this.#unhandled, this.#side, 1);
      this.#port.postMessage(this.#encoder.encode([reply]));
    }
  }

  readonly #receive = (batch: readonly unknown[]): void => {
    this.#failed = false;
    const handled = this.#decoder.decode(batch, this.#handle);
    Atomics.sub(this.#unhandled, 1 - this.#side, handled);
    if (this.#failed) throw this.#failure;
  };

  readonly #handle = (message: Carried): void => {
    try {
      this.#handler?.(message);
    } catch (error) {
      if (!this.#failed) this.#failure = error;
      this.#failed = true;
    }
  };
}

/** What `readyToClone` makes of a message. Of calls and answers only the values need a look. */
function withReadyValues(message: Carried): Carried {
  if (message[0] === MessageType.Call) {
    const args = readyToClone(message[7]);
    if (args === message[7]) return message;
    const copy: CallMessage = [...message];
    copy[7] = args;
    return copy;
  }
  if (message[0] !== MessageType.Reply || message[4] !== null) return readyToClone(message);
  const value = readyToClone(message[5]);
  return value === message[5] ? message : [message[0], message[1], message[2], message[3], null, value];
}

function uncloneable(message: Carried, cause: unknown): TroupeError {
  const what = describe(message);
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TroupeError("invalid_argument", `${what} cannot be sent to another thread: ${why}`, {
    started: message[0] === MessageType.Call ? "no" : "yes",
    cause,
  });
}

function describe(message: Carried): string {
  if (isHostMessage(message)) return `the message about ${message[1]}`;
  switch (message[0]) {
    case MessageType.Call:
      return `an argument of ${message[4]}.${message[6]}()`;
    case MessageType.Reply:
      return `the result of call ${message[1]}`;
    case MessageType.Item:
      return `a stream item of call ${message[1]}`;
    default:
      return `the message about ${message[4]}`;
  }
}
