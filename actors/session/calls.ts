/**
 * The client's requests in flight, and the POSTs they came in.
 *
 * A POST (an exchange) is answered in plain JSON if all its requests are answered before anything else must be sent for
 * it and before `due`; otherwise it becomes a stream, and each response is an event of it. A call settles once: by its
 * response, or by the client's cancel, after which no response follows. Disconnects settle nothing (WIRE H8).
 *
 * At most some dozens of calls are in flight per session (`maxCalls`), so the table is an array: the usual one or two
 * are found faster than in a map, and an idle session holds nothing.
 */
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { RpcId } from "../../transports/upstream/contract.ts";
import type { PostAnswer, StoredCall } from "./contract.ts";
import type { EventStream, Streams } from "./streams.ts";

/** So that an idle session holds no array. Never written to. */
const NONE: ClientCall[] = [];

/** One POST with requests. */
export class Exchange {
  readonly batch: boolean;
  /** When it becomes a stream, on the worker's clock. */
  readonly due: number;
  /** Set once it is a stream. */
  stream: EventStream | undefined;
  /** Requests without response yet. */
  open: number;
  texts: string[] | undefined;
  readonly #resolve: (answer: PostAnswer) => void;
  readonly #reject: (error: TroupeError) => void;
  answered = false;

  constructor(
    batch: boolean,
    open: number,
    due: number,
    resolve: (answer: PostAnswer) => void,
    reject: (error: TroupeError) => void,
  ) {
    this.batch = batch;
    this.open = open;
    this.due = due;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** The POST of `stream`, which a former owner answered with it: `open` of its requests have no response yet. */
  static restored(stream: EventStream, open: number): Exchange {
    const nobody = (): void => {};
    const exchange = new Exchange(false, open, Number.POSITIVE_INFINITY, nobody, nobody);
    exchange.stream = stream;
    exchange.answered = true;
    return exchange;
  }

  answer(answer: PostAnswer): void {
    if (this.answered) return;
    this.answered = true;
    this.#resolve(answer);
  }

  fail(error: TroupeError): void {
    if (this.answered) return;
    this.answered = true;
    this.#reject(error);
  }
}

/**
 * No POST: the answer of its one call goes to `answered`, and what is sent in the course of it to the stream that
 * `elsewhere` names at that moment. See tasks.ts.
 */
export class DetachedExchange extends Exchange {
  /** What it is for. */
  readonly task: string;
  readonly elsewhere: () => EventStream;

  constructor(task: string, elsewhere: () => EventStream, answered: (text: string) => void) {
    const answer = (text: PostAnswer): void => {
      if (typeof text === "string") answered(text);
    };
    super(false, 1, Number.POSITIVE_INFINITY, answer, () => {});
    this.task = task;
    this.elsewhere = elsewhere;
  }
}

/** One request of the client in flight. */
export interface ClientCall {
  /** Names the call towards upstreams; unique in this activation of the session. */
  readonly related: number;
  readonly id: RpcId;
  readonly method: string;
  readonly params: Record<string, unknown> | undefined;
  readonly exchange: Exchange;
  /** The client's progress token. */
  readonly token: RpcId | undefined;
  /** The last progress that was passed on. */
  progress: number;
  /** The upstream that works on it. */
  upstream: string | undefined;
  settled: boolean;
}

/** The session, as its calls need it. */
export interface CallsOwner {
  /** Asked for only when a POST becomes a stream. */
  needStreams(): Streams;
  /** Calls go on although their POST was answered, with a stream, until `over`. */
  outlive(over: Promise<void>): void;
}

export class ClientCalls {
  readonly #owner: CallsOwner;
  #calls: ClientCall[] = NONE;
  #lastRelated = 0;
  /** Settles when no call is in flight; only while a POST has been answered with a stream. */
  #over: (() => void) | undefined;

  constructor(owner: CallsOwner) {
    this.#owner = owner;
  }

  get size(): number {
    return this.#calls.length;
  }
  /** Those that came in POSTs. */
  get posted(): number {
    return this.#calls.filter((call) => !isDetached(call)).length;
  }

  /** A number for a request of the session's own. */
  nextRelated(): number {
    return ++this.#lastRelated;
  }

  begin(
    exchange: Exchange,
    id: RpcId,
    method: string,
    params: Record<string, unknown> | undefined,
    token: RpcId | undefined,
    related: number = ++this.#lastRelated,
  ): ClientCall {
    const call: ClientCall = {
      related,
      id,
      method,
      params,
      exchange,
      token,
      progress: Number.NEGATIVE_INFINITY,
      upstream: undefined,
      settled: false,
    };
    if (this.#calls.length === 0) this.#calls = [call];
    else this.#calls.push(call);
    return call;
  }

  /** A call that a former owner began, whose answer is to go to `exchange`'s stream. */
  restore(exchange: Exchange, { id, method, token, progress }: StoredCall, params: ClientCall["params"]): ClientCall {
    const call = this.begin(exchange, id, method, params, token);
    call.progress = progress ?? call.progress;
    this.outlive();
    return call;
  }

  /** Calls whose POST has become a stream. */
  streamed(): ClientCall[] {
    return this.#calls.filter((call) => call.exchange.stream !== undefined);
  }

  byId(id: RpcId): ClientCall | undefined {
    // A client may use any id, also one that the session chose for itself.
    for (const call of this.#calls) if (call.id === id && !isDetached(call)) return call;
    return undefined;
  }

  byRelated(related: number | undefined): ClientCall | undefined {
    if (related === undefined) return undefined;
    for (const call of this.#calls) if (call.related === related) return call;
    return undefined;
  }

  /** The calls that `upstream` works on, oldest first: those that came in POSTs, or the others if there are none. */
  at(upstream: string): ClientCall[] {
    const there = this.#calls.filter((call) => call.upstream === upstream);
    const posted = there.filter((call) => !isDetached(call));
    return posted.length > 0 ? posted : there;
  }

  /** The response of `call`. Ignored when it is settled already. */
  settle(call: ClientCall, text: string): void {
    if (!this.#remove(call)) return;
    const { exchange } = call;
    exchange.open--;
    if (exchange.stream !== undefined) {
      const streams = this.#owner.needStreams();
      streams.answered(exchange.stream, call.id);
      streams.send(exchange.stream, text);
    } else if (!exchange.batch) return exchange.answer(text);
    else {
      exchange.texts ??= [];
      exchange.texts.push(text);
    }
    this.#finish(exchange);
  }

  /** Ends `call` without a response. */
  abandon(call: ClientCall): void {
    if (!this.#remove(call)) return;
    const { exchange } = call;
    exchange.open--;
    if (exchange.stream !== undefined) this.#owner.needStreams().answered(exchange.stream, call.id);
    this.#finish(exchange);
  }

  /** The stream of the POST that `call` came in; makes it one. */
  streamOf(call: ClientCall): EventStream {
    return this.#toStream(call.exchange);
  }

  /** Makes streams of the POSTs that waited long enough. Returns when the next one is due. */
  flip(now: number): number | undefined {
    let next: number | undefined;
    for (const { exchange } of this.#calls) {
      if (exchange.stream !== undefined) continue;
      if (exchange.due <= now) this.#toStream(exchange);
      else if (next === undefined || exchange.due < next) next = exchange.due;
    }
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** The session stops here: POSTs without answer fail with `error`. */
  failAll(error: TroupeError): void {
    const calls = this.#calls;
    this.#none();
    for (const call of calls) {
      call.settled = true;
      call.exchange.fail(error);
    }
  }

  #none(): void {
    this.#calls = NONE;
    this.#over?.();
    this.#over = undefined;
  }

  /** The calls in flight go on though no POST waits for them. */
  outlive(): void {
    if (this.#over !== undefined) return;
    const over = new Promise<void>((resolve) => {
      this.#over = resolve;
    });
    this.#owner.outlive(over);
  }

  #remove(call: ClientCall): boolean {
    if (call.settled) return false;
    call.settled = true;
    if (this.#calls.length === 1) this.#none();
    else this.#calls.splice(this.#calls.indexOf(call), 1);
    return true;
  }

  #finish(exchange: Exchange): void {
    if (exchange.open > 0) return;
    if (exchange instanceof DetachedExchange) return;
    if (exchange.stream === undefined) {
      if (exchange.texts !== undefined) return exchange.answer(`[${exchange.texts.join(",")}]`);
      // Everything was cancelled, and a cancelled request has no response: a stream that ends at once says nothing.
      this.#toStream(exchange);
    }
    if (exchange.stream !== undefined) this.#owner.needStreams().end(exchange.stream);
  }

  #toStream(exchange: Exchange): EventStream {
    if (exchange.stream !== undefined) return exchange.stream;
    if (exchange instanceof DetachedExchange) return exchange.elsewhere();
    const streams = this.#owner.needStreams();
    const stream = streams.open(this.#calls.filter((call) => call.exchange === exchange).map(({ id }) => id));
    exchange.stream = stream;
    if (this.#calls.length > 0) this.outlive();
    for (const text of exchange.texts ?? []) streams.send(stream, text);
    exchange.texts = undefined;
    exchange.answer({ kind: "stream", stream: stream.id });
    return stream;
  }
}

function isDetached({ exchange }: ClientCall): boolean {
  return exchange instanceof DetachedExchange;
}

/** What a call that the client cancelled is rejected with inside the session. */
export function cancelledCall(): TroupeError {
  return new TroupeError("cancelled", "the client cancelled the request", { started: "yes" });
}
