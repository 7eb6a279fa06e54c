/**
 * The caller's side: every call this thread has made and that is not answered yet.
 *
 * ## What it guarantees
 * - Every call settles exactly once: by its answer, by its deadline, by its cancellation, or by the router's word that
 *   the actor's node or worker is gone. The callee enforces the deadline too and knows whether it had begun; the caller's
 *   own timer only fires `GRACE_MS` later, for the answer that never comes, and then says `started: "unknown"`.
 * - A cancel (signal, or the calling turn's own end) is sent to the actor; the call settles with the actor's word, or
 *   after `GRACE_MS` with `started: "unknown"`.
 * - Calls made in a turn inherit its remaining time and its cancellation, and carry its chain.
 * - `dedup` and `durable` calls are sent again, under one request id, when their activation or its node went away.
 * - At most `MAX_PENDING` calls wait at once; further ones are refused with `overloaded`.
 *
 * ## Streams
 * The consumer grants credit (`WINDOW` items at first, then as it takes them), so a producer is never more than a window
 * ahead. Leaving the loop cancels the producer; a consumer that lost its ownership leaves by `throw`, which tells the
 * producer so and is no cancel. Items and the end arrive in order because they travel on one lane.
 */

import { CallTable } from "./call_table.ts";
import type { Clock } from "./clock.ts";
import type { CallOptions } from "./define.ts";
import { type AbortReason, abortReasonOf, decodeError, TroupeError } from "./errors.ts";
import type { ActorId, Incarnation } from "./ids.ts";
import { Delivery, type ItemMessage, Lane, type Message, MessageType, type ReplyMessage } from "./message.ts";
import { Deadline, type DeadlineWheel } from "./wheel.ts";

/** Longest wait for a callee's word after a deadline or cancel, milliseconds. */
const GRACE_MS = 1_000;
const MAX_PENDING = 100_000;
/** Pause before a lost `dedup` or `durable` call is sent again: from, and to at most, milliseconds. */
const RESEND_MS = 50;
const RESEND_MOST_MS = 1_000;
/** Default time of a call, milliseconds. */
export const DEFAULT_TIMEOUT_MS = 60_000;
/** Items a stream's producer may be ahead of its consumer. */
const WINDOW = 64;
/** Budget of a stream without a deadline. */
export const NO_DEADLINE = 0;

/** Where calls of a thread come from and how they leave. */
export interface Origin {
  incarnation: Incarnation;
  readonly thread: number;
  readonly clock: Clock;
  readonly wheel: DeadlineWheel;
  /** Sends towards the actor. May throw a `TroupeError`: nothing was sent then. */
  send(message: Message): void;
  /** A call of `actor` was refused at a bound. */
  refused(reason: "pending", actor: ActorId): void;
}

/** The turn in which a call is made. */
export interface ParentTurn {
  readonly deadline: number;
  /** What this turn's nested calls carry as their chain. */
  readonly chainForCalls: readonly ActorId[];
  readonly abortedWith: TroupeError | null;
  /** Head of the list of calls that wait for their answer. */
  child: Child | null;
}

/** A call that a turn has made: a link of the turn's list of them. */
export interface Child {
  previousSibling: Child | null;
  nextSibling: Child | null;
  cancel(reason: AbortReason): void;
}

const NO_CHAIN: readonly ActorId[] = [];

export class Calls {
  readonly #origin: Origin;
  readonly #pending = new CallTable<Pending>();
  /** The call that is being sent. */
  #leaving: Leaving | undefined;
  #lastId: number;
  #lastRequest: number;

  constructor(origin: Origin, firstId: number) {
    this.#origin = origin;
    this.#lastId = firstId;
    this.#lastRequest = firstId;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** One unary call. */
  call(
    actor: ActorId,
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    parent: ParentTurn | null,
  ): Promise<unknown> {
    if (options.delivery === undefined || options.delivery === "at-most-once") {
      return this.#once(actor, method, args, options, parent, "", Delivery.AtMostOnce);
    }
    return this.#repeated(actor, method, args, options, parent);
  }

  /** Sends a call with one request id until it is answered or its time is over. */
  async #repeated(
    actor: ActorId,
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    parent: ParentTurn | null,
  ): Promise<unknown> {
    const { clock, incarnation, thread } = this.#origin;
    const requestId = options.requestId ?? `${incarnation}.${thread}.${++this.#lastRequest}`;
    const delivery = options.delivery === "durable" ? Delivery.Durable : Delivery.Dedup;
    const deadline = clock.now() + this.#budget(options.timeoutMs ?? DEFAULT_TIMEOUT_MS, parent);
    // Whether a try that was lost may have begun: then no later failure may say that the call did not.
    let mayHaveBegun = false;
    for (let pause = RESEND_MS; ; pause = Math.min(pause * 2, RESEND_MOST_MS)) {
      const left = { ...options, timeoutMs: deadline - clock.now() };
      try {
        return await this.#once(actor, method, args, left, parent, requestId, delivery);
      } catch (error) {
        const lost = TroupeError.is(error) && (LOST.has(error.code) || isUnplaced(error));
        if (!lost || clock.now() + pause >= deadline || options.signal?.aborted === true) {
          throw mayHaveBegun ? asUnknown(error) : error;
        }
        mayHaveBegun ||= error.started !== "no";
      }
      await new Promise<void>((resolve) => {
        clock.after(pause, resolve);
      });
    }
  }

  #once(
    actor: ActorId,
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    parent: ParentTurn | null,
    requestId: string,
    delivery: Delivery,
  ): Promise<unknown> {
    const budget = this.#budget(options.timeoutMs ?? DEFAULT_TIMEOUT_MS, parent);
    const refusal = this.#refusal(actor, method, options.signal, parent, budget);
    if (refusal !== null) return Promise.reject(refusal);
    const id = ++this.#lastId;
    const lane = options.lane ?? Lane.Normal;
    let answer: ReplyMessage | ItemMessage | undefined;
    try {
      answer = this.#send(id, actor, method, args, budget, lane, 0, parent, requestId, delivery);
    } catch (error) {
      return Promise.reject(error);
    }
    if (answer !== undefined) {
      if (answer[0] === MessageType.Item) return Promise.reject(unexpectedStream(actor));
      return answer[4] === null ? Promise.resolve(answer[5]) : Promise.reject(decodeError(answer[4]));
    }
    return new Promise((resolve, reject) => {
      const pending = new PendingCall(this, id, actor, parent, options.signal, resolve, reject);
      this.#await(pending, budget);
    });
  }

  /**
   * Sends a call. Answers its answer where that came before this is over: the actor is on this thread and its method
   * waited for nothing. Then nothing is kept for the call. Throws what the origin's `send` throws.
   */
  #send(
    id: number,
    actor: ActorId,
    method: string,
    args: readonly unknown[],
    budget: number,
    lane: Lane,
    credit: number,
    parent: ParentTurn | null,
    requestId: string,
    delivery: Delivery,
  ): ReplyMessage | ItemMessage | undefined {
    const origin = this.#origin;
    const leaving: Leaving = { id, answer: undefined, outer: this.#leaving };
    this.#leaving = leaving;
    try {
      origin.send([
        MessageType.Call,
        id,
        origin.incarnation,
        origin.thread,
        actor,
        "",
        method,
        args,
        budget === Number.POSITIVE_INFINITY ? NO_DEADLINE : budget,
        lane,
        credit,
        parent === null ? NO_CHAIN : parent.chainForCalls,
        requestId,
        delivery,
      ]);
    } finally {
      this.#leaving = leaving.outer;
    }
    return leaving.answer;
  }

  /** A stream; the call is made when the consumer asks for the first item. */
  stream(
    actor: ActorId,
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    parent: ParentTurn | null,
  ): AsyncIterableIterator<unknown> {
    return new PendingStream(this, actor, parent, options, method, args);
  }

  /** An answer or a stream's item has arrived. Late ones are dropped. */
  receive(message: ReplyMessage | ItemMessage): void {
    const pending = this.#pending.get(message[1]);
    if (pending === undefined) {
      for (let leaving = this.#leaving; leaving !== undefined; leaving = leaving.outer) {
        if (leaving.id === message[1]) leaving.answer ??= message;
      }
      return;
    }
    settleWith(pending, message);
  }

  /** Fails everything: this thread's node lost its identity. */
  failAll(error: TroupeError): void {
    for (const pending of [...this.#pending.values()]) pending.fail(error);
  }

  /** @internal */
  open(stream: PendingStream, method: string, args: readonly unknown[], options: CallOptions): void {
    const { actor, parent } = stream;
    const { timeoutMs, lane = Lane.Normal, signal } = options;
    const budget = timeoutMs === undefined ? Number.POSITIVE_INFINITY : this.#budget(timeoutMs, parent);
    const refusal = this.#refusal(actor, method, signal, parent, budget);
    if (refusal !== null) return stream.fail(refusal);
    stream.id = ++this.#lastId;
    let answer: ReplyMessage | ItemMessage | undefined;
    try {
      answer = this.#send(stream.id, actor, method, args, budget, lane, WINDOW, parent, "", Delivery.AtMostOnce);
    } catch (error) {
      return stream.fail(error);
    }
    if (answer === undefined) this.#await(stream, budget);
    else settleWith(stream, answer);
  }

  /** @internal */
  forget(pending: Pending): void {
    this.#pending.delete(pending.id);
    this.#origin.wheel.remove(pending);
    if (pending.parent !== null) removeChild(pending.parent, pending);
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener("abort", pending.onAbort);
  }

  /** @internal */
  sendCancel(pending: Pending, reason: AbortReason): void {
    const { incarnation, thread } = this.#origin;
    this.#origin.send([MessageType.Cancel, pending.id, incarnation, thread, pending.actor, reason]);
  }

  /** @internal Starts the wait for the callee's last word. */
  grace(pending: Pending): void {
    this.#origin.wheel.remove(pending);
    pending.deadline = this.#origin.clock.now() + GRACE_MS;
    this.#origin.wheel.add(pending);
  }

  /** @internal */
  sendCredit(pending: Pending, count: number): void {
    const { incarnation, thread } = this.#origin;
    this.#origin.send([MessageType.Credit, pending.id, incarnation, thread, pending.actor, count]);
  }

  #refusal(
    actor: ActorId,
    method: string,
    signal: AbortSignal | undefined,
    parent: ParentTurn | null,
    budget: number,
  ): TroupeError | null {
    if (signal?.aborted === true || (parent !== null && parent.abortedWith !== null)) {
      return new TroupeError("cancelled", `${actor}.${method} was not sent: the caller had cancelled`, {
        started: "no",
      });
    }
    if (!(budget > 0)) {
      return new TroupeError("deadline_exceeded", `${actor}.${method} was not sent: no time was left`, {
        started: "no",
      });
    }
    if (this.#pending.size >= MAX_PENDING) {
      this.#origin.refused("pending", actor);
      return new TroupeError("overloaded", `${MAX_PENDING} calls of this thread wait for an answer`, {
        started: "no",
        retryAfterMs: 1_000,
      });
    }
    return null;
  }

  /** Of `timeoutMs`, what the calling turn has left. */
  #budget(timeoutMs: number, parent: ParentTurn | null): number {
    return parent === null ? timeoutMs : Math.min(timeoutMs, parent.deadline - this.#origin.clock.now());
  }

  /** From now on `pending` is settled by its answer, its deadline or its cancellation. */
  #await(pending: Pending, budget: number): void {
    this.#pending.set(pending.id, pending);
    if (budget !== Number.POSITIVE_INFINITY) {
      pending.deadline = this.#origin.clock.now() + budget + GRACE_MS;
      this.#origin.wheel.add(pending);
    }
    if (pending.parent !== null) addChild(pending.parent, pending);
    if (pending.signal !== undefined) {
      pending.onAbort = () => pending.cancel("cancelled");
      pending.signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    // The method may have run until its first wait, and ended its caller meanwhile.
    const { signal, parent } = pending;
    if (signal?.aborted === true || (parent !== null && parent.abortedWith !== null)) pending.cancel("cancelled");
  }
}

function settleWith(pending: Pending, message: ReplyMessage | ItemMessage): void {
  if (message[0] === MessageType.Item) pending.item(message[4]);
  else if (message[4] === null) pending.settle(message[5]);
  else pending.fail(decodeError(message[4]));
}

/** A call on its way out, and those whose sending led to it. */
interface Leaving {
  readonly id: number;
  answer: ReplyMessage | ItemMessage | undefined;
  readonly outer: Leaving | undefined;
}

function unexpectedStream(actor: ActorId): TroupeError {
  return new TroupeError("protocol", `${actor} answered a unary call with a stream`);
}

// The calls of a turn are a list through the calls themselves: a set would cost each of them a hash and an entry.

function addChild(parent: ParentTurn, child: Child): void {
  child.nextSibling = parent.child;
  if (parent.child !== null) parent.child.previousSibling = child;
  parent.child = child;
}

/** One that is not in the list is left alone. */
function removeChild(parent: ParentTurn, child: Child): void {
  const { previousSibling: previous, nextSibling: next } = child;
  if (previous === null) {
    if (parent.child !== child) return;
    parent.child = next;
  } else {
    previous.nextSibling = next;
  }
  if (next !== null) next.previousSibling = previous;
  child.previousSibling = null;
  child.nextSibling = null;
}

/** What is known of a call when its last try says that it did not begin, and an earlier one may have. */
function asUnknown(error: unknown): unknown {
  if (!TroupeError.is(error) || error.started !== "no") return error;
  const { code, message, retryAfterMs, data } = error;
  return new TroupeError(code, message, { started: "unknown", retryAfterMs, data, cause: error });
}

abstract class Pending extends Deadline implements Child {
  id = 0;
  previousSibling: Child | null = null;
  nextSibling: Child | null = null;
  readonly calls: Calls;
  readonly actor: ActorId;
  readonly parent: ParentTurn | null;
  readonly signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  protected cancelled: AbortReason | undefined;

  constructor(calls: Calls, actor: ActorId, parent: ParentTurn | null, signal: AbortSignal | undefined) {
    super();
    this.calls = calls;
    this.actor = actor;
    this.parent = parent;
    this.signal = signal;
  }

  abstract settle(value: unknown): void;
  abstract fail(error: unknown): void;
  abstract item(value: unknown): void;

  cancel(reason: AbortReason): void {
    if (this.cancelled !== undefined) return;
    this.cancelled = reason;
    this.calls.grace(this);
    this.calls.sendCancel(this, reason);
  }

  override expired(): void {
    const error =
      this.cancelled === undefined
        ? new TroupeError("deadline_exceeded", `${this.actor} did not answer within the deadline`)
        : new TroupeError("cancelled", `${this.actor} did not confirm the cancellation`);
    // The callee may still be at it: tell it to stop.
    if (this.cancelled === undefined) this.calls.sendCancel(this, "deadline");
    this.fail(error);
  }
}

class PendingCall extends Pending {
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    calls: Calls,
    id: number,
    actor: ActorId,
    parent: ParentTurn | null,
    signal: AbortSignal | undefined,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    super(calls, actor, parent, signal);
    this.id = id;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  override settle(value: unknown): void {
    this.calls.forget(this);
    this.#resolve(value);
  }

  override fail(error: unknown): void {
    this.calls.forget(this);
    this.#reject(error);
  }

  override item(): void {
    this.fail(unexpectedStream(this.actor));
  }
}

type Waiting = { resolve: (result: IteratorResult<unknown>) => void; reject: (error: unknown) => void };

/** The consumer's end of a stream. One `next` at a time, as `for await` does. */
class PendingStream extends Pending implements AsyncIterableIterator<unknown> {
  readonly #options: CallOptions;
  readonly #method: string;
  readonly #args: readonly unknown[];
  #state: "fresh" | "open" | "done" = "fresh";
  #items: unknown[] = [];
  #head = 0;
  #taken = 0;
  #error: unknown;
  #failed = false;
  #waiting: Waiting | undefined;

  constructor(
    calls: Calls,
    actor: ActorId,
    parent: ParentTurn | null,
    options: CallOptions,
    method: string,
    args: readonly unknown[],
  ) {
    super(calls, actor, parent, options.signal);
    this.#options = options;
    this.#method = method;
    this.#args = args;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<unknown>> {
    if (this.#state === "fresh") {
      this.#state = "open";
      this.calls.open(this, this.#method, this.#args, this.#options);
    }
    if (this.#head < this.#items.length) {
      const value = this.#items[this.#head];
      this.#items[this.#head++] = undefined;
      if (this.#head === this.#items.length) {
        this.#items = [];
        this.#head = 0;
      }
      if (++this.#taken >= WINDOW / 2 && this.#state === "open") {
        this.calls.sendCredit(this, this.#taken);
        this.#taken = 0;
      }
      return Promise.resolve({ done: false, value });
    }
    if (this.#state === "done") {
      if (!this.#failed) return Promise.resolve({ done: true, value: undefined });
      this.#failed = false;
      return Promise.reject(this.#error);
    }
    if (this.#waiting !== undefined) {
      return Promise.reject(new TypeError("the stream is being read already: one next() at a time"));
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Ends the stream early and tells the producer. */
  return(): Promise<IteratorResult<unknown>> {
    return this.#leave("cancelled");
  }

  /** As `return`; the producer is told why if the error is `fenced`, `draining` or `caller_died`, else of a cancel. */
  throw(error?: unknown): Promise<IteratorResult<unknown>> {
    return this.#leave(TroupeError.is(error) ? abortReasonOf(error) : "cancelled");
  }

  #leave(reason: AbortReason): Promise<IteratorResult<unknown>> {
    if (this.#state === "open") {
      this.calls.sendCancel(this, reason);
      this.#finish();
      this.#waiting?.resolve({ done: true, value: undefined });
      this.#waiting = undefined;
    }
    this.#state = "done";
    this.#items = [];
    this.#failed = false;
    return Promise.resolve({ done: true, value: undefined });
  }

  override item(value: unknown): void {
    if (this.#waiting !== undefined) {
      const { resolve } = this.#waiting;
      this.#waiting = undefined;
      if (++this.#taken >= WINDOW / 2) {
        this.calls.sendCredit(this, this.#taken);
        this.#taken = 0;
      }
      resolve({ done: false, value });
    } else {
      this.#items.push(value);
    }
  }

  override settle(): void {
    this.#finish();
    this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  override fail(error: unknown): void {
    this.#finish();
    if (this.#waiting !== undefined) {
      this.#waiting.reject(error);
      this.#waiting = undefined;
    } else {
      this.#failed = true;
      this.#error = error;
    }
  }

  #finish(): void {
    this.#state = "done";
    this.calls.forget(this);
  }
}

const LOST: ReadonlySet<string> = new Set(["unavailable", "fenced"]);

/** The coordinator could not say where the actor is; a handler's own failed commit comes as `started: "yes"`. */
function isUnplaced(error: TroupeError): boolean {
  return error.code === "store_unavailable" && error.started === "no";
}
