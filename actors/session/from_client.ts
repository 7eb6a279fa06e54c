/**
 * What the client sends, on whatever replica: POSTs with requests, notifications, and answers to requests of upstreams.
 *
 * A POST is checked whole before any of it takes effect. Its requests are then routed; their results settle the calls
 * they belong to, and the last one of a POST settles the POST (calls.ts).
 */
import { TroupeError } from "../../runtime/actor/errors.ts";
import {
  RpcError,
  type RpcErrorObject,
  type RpcNotification,
  type RpcRequest,
} from "../../transports/upstream/contract.ts";
import { type ClientCall, cancelledCall, Exchange } from "./calls.ts";
import { type CancelledRequest, Cancels } from "./cancels.ts";
import { LEGACY_VERSIONS, type PostAnswer } from "./contract.ts";
import { initialize, setLevel, subscribe, unsubscribe } from "./own_methods.ts";
import type { SessionParts } from "./parts.ts";
import { mayRepeat, outcomeUnknown } from "./repeat.ts";
import {
  errorText,
  type Incoming,
  isId,
  isObject,
  type Refused,
  RpcCode,
  readBody,
  refused,
  resultText,
} from "./rpc.ts";
import { joinScope } from "./scoped_call.ts";
import { SessionTasks } from "./tasks.ts";

type Params = Record<string, unknown> | undefined;

/** The one version with batches. */
const BATCH_VERSION = "2025-03-26";
const ACCEPTED: PostAnswer = { kind: "accepted" };
const PONG: Promise<unknown> = Promise.resolve({});

export class FromClient {
  readonly #parts: SessionParts;
  #greeted = false;
  #armed = false;
  #cancels: Cancels | undefined;

  /** `cancelled`: that of a former owner. */
  constructor(parts: SessionParts, cancelled: readonly CancelledRequest[]) {
    this.#parts = parts;
    if (cancelled.length > 0) this.#cancels = new Cancels(parts.ctx.worker.clock, cancelled);
  }

  /** Cancelled requests that may still come, for the next owner. */
  get cancelled(): readonly CancelledRequest[] {
    return this.#cancels?.list() ?? [];
  }

  /** One POST. The principal has been checked. */
  post(version: string | null, text: string, again: boolean): PostAnswer | Promise<PostAnswer> {
    const parts = this.#parts;
    const { state, worker } = parts.ctx;
    const body = readBody(text, state.protocolVersion === BATCH_VERSION);
    if ("kind" in body) return body;
    const { messages } = body;
    if (again) {
      const found = this.#answering(messages);
      if (found !== undefined) return found;
    }
    const requests = messages.filter(isRequest);
    const initializes = requests[0]?.message.method === "initialize";
    const refusal = (initializes ? undefined : this.#versionRefusal(version)) ?? this.#requestRefusal(requests);
    if (refusal !== undefined) return refusal;
    if (requests.length === 0) return this.#acceptAll(messages);

    worker.count("troupe_session_requests_total", requests.length);
    // A slow `initialize` stays JSON, so that a failed one leaves no session behind.
    const waitMs = initializes ? Number.POSITIVE_INFINITY : parts.settings.streamAfterMs;
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(body.batch, requests.length, worker.clock.now() + waitMs, resolve, reject);
      for (const incoming of messages) {
        if (incoming.kind === "request") this.#begin(exchange, incoming.message, again);
        else this.#accept(incoming)?.catch((error) => worker.log.warn("a notification had no effect", { error }));
      }
      this.#arm(waitMs);
    });
  }

  /**
   * What is wrong with the version a client names, undefined if nothing. Only a version that is not served is refused
   * (WIRE J1): what holds is what the session negotiated, and clients are known to name another one of ours, or none.
   */
  versionProblem(version: string | null): string | undefined {
    if (version === null || version === this.#parts.ctx.state.protocolVersion) return undefined;
    if (LEGACY_VERSIONS.some((served) => served === version)) return undefined;
    return `Bad Request: MCP-Protocol-Version "${version}" is not served here; served are ${LEGACY_VERSIONS.join(", ")}`;
  }

  #versionRefusal(version: string | null): Refused | undefined {
    const problem = this.versionProblem(version);
    return problem === undefined ? undefined : refused(400, RpcCode.invalidRequest, problem);
  }

  /** Where a request of a body that comes again is being answered already, or was: its stream. */
  #answering(messages: readonly Incoming[]): PostAnswer | undefined {
    const { calls, streams } = this.#parts;
    for (const incoming of messages) {
      if (incoming.kind !== "request") continue;
      const { id } = incoming.message;
      const call = calls?.byId(id);
      const stream = call === undefined ? streams?.answering(id) : calls?.streamOf(call);
      if (stream !== undefined) return { kind: "stream", stream: stream.id };
    }
    return undefined;
  }

  #requestRefusal(requests: readonly { message: RpcRequest }[]): Refused | undefined {
    const [first] = requests;
    if (first === undefined) return undefined;
    const { calls, settings, ctx } = this.#parts;
    const { id, method } = first.message;
    if (method === "initialize" && (this.#greeted || ctx.state.initialized)) {
      return refused(400, RpcCode.invalidRequest, "Invalid Request: this session is initialized already", id);
    }
    const inFlight = (calls?.size ?? 0) < settings.maxCalls ? 0 : (calls?.posted ?? 0);
    if (inFlight >= settings.maxCalls) {
      ctx.worker.count("troupe_session_overloaded_total");
      const message = `this session has ${inFlight} requests in flight`;
      return refused(429, RpcCode.overloaded, message, requests.length === 1 ? id : null, { retryAfterMs: 1_000 });
    }
    const seen = requests.length > 1 ? new Set<unknown>() : undefined;
    for (const { message } of requests) {
      if (seen?.has(message.id) === true || calls?.byId(message.id) !== undefined) {
        const problem = `Invalid Request: id ${JSON.stringify(message.id)} is in use by a request in flight`;
        return refused(400, RpcCode.invalidRequest, problem);
      }
      seen?.add(message.id);
    }
    return undefined;
  }

  #acceptAll(messages: readonly Incoming[]): PostAnswer | Promise<PostAnswer> {
    const effects: Promise<void>[] = [];
    for (const incoming of messages) {
      const effect = this.#accept(incoming);
      if (effect !== undefined) effects.push(effect);
    }
    return effects.length === 0 ? ACCEPTED : Promise.all(effects).then(() => ACCEPTED);
  }

  /** A notification or response. A promise only if it must be stored before it is acknowledged. */
  #accept(incoming: Incoming): Promise<void> | undefined {
    if (incoming.kind === "notification") return this.#notified(incoming.message);
    const { requests, ctx } = this.#parts;
    if (incoming.kind === "response" && !(requests?.settle(incoming.message) ?? false)) {
      ctx.worker.count("troupe_session_stray_responses_total");
    }
    return undefined;
  }

  #notified({ method, params }: RpcNotification): Promise<void> | undefined {
    const { ctx, requests, upstreams } = this.#parts;
    switch (method) {
      case "notifications/initialized":
        if (ctx.state.initialized) return undefined;
        ctx.state.initialized = true;
        return ctx.commit();
      case "notifications/cancelled":
        this.#cancel(params);
        return undefined;
      case "notifications/progress": {
        const request = requests?.get(params?.progressToken);
        if (request?.token === undefined) return undefined;
        upstreams?.get(request.upstream)?.notify(method, { ...params, progressToken: request.token });
        return undefined;
      }
      default:
        // What only concerns a running upstream starts none; what we do not know goes where nobody else could be meant.
        if (method !== "notifications/roots/list_changed" && ctx.state.upstreams.length !== 1) return undefined;
        for (const client of upstreams?.running() ?? []) client.notify(method, params);
        return undefined;
    }
  }

  /** MCP, Cancellation: what is over is ignored, and `initialize` cannot be cancelled. */
  #cancel(params: Params): void {
    const { calls, ctx } = this.#parts;
    if (!isId(params?.requestId)) return;
    const call = calls?.byId(params.requestId);
    if (call?.method === "initialize") return;
    this.#cancels ??= new Cancels(ctx.worker.clock);
    this.#cancels.note(params.requestId, call !== undefined);
    if (call === undefined) return;
    this.#stopWork(call, typeof params?.reason === "string" ? params.reason : undefined, () => calls?.abandon(call));
  }

  /** Ends a call by `end`, and what works on it. */
  #stopWork(call: ClientCall, reason: string | undefined, end: () => void): void {
    const parts = this.#parts;
    parts.ctx.worker.count("troupe_session_cancelled_total");
    // Before the stream ends: the client learns that what the upstream asked it in the course of this call is moot.
    for (const request of parts.requests?.select(({ related }) => related === call.related) ?? []) {
      parts.withdraw(request, "the request it belonged to was cancelled");
    }
    end();
    for (const client of parts.upstreams?.clients() ?? []) client.cancel(call.related, reason);
  }

  #begin(exchange: Exchange, { id, method, params }: RpcRequest, again: boolean): void {
    const meta = params?._meta;
    const token = isObject(meta) && isId(meta.progressToken) ? meta.progressToken : undefined;
    const calls = this.#parts.needCalls();
    const call = calls.begin(exchange, id, method, params, token);
    if (this.#cancels?.take(id, again) === true && method !== "initialize") {
      this.#parts.ctx.worker.count("troupe_session_cancelled_total");
      return calls.abandon(call);
    }
    const leave = isObject(meta) ? this.#joinScope(call, meta) : undefined;
    let answer: Promise<unknown>;
    try {
      answer = again ? this.#answerAgain(call) : this.#answer(call, params);
    } catch (error) {
      leave?.();
      return this.#fail(call, error);
    }
    this.#settle(call, leave === undefined ? answer : answer.finally(leave));
  }

  #joinScope(call: ClientCall, meta: Record<string, unknown>): (() => void) | undefined {
    const { ctx } = this.#parts;
    return joinScope(ctx, ctx.worker.clock, meta, (reason) => {
      if (call.settled) return;
      const error = new TroupeError("cancelled", `the request's scope was cancelled: ${reason}`, { started: "yes" });
      this.#stopWork(call, reason, () => this.#fail(call, error));
    });
  }

  /**
   * Goes on with a call of a former owner: `answer` is fetched from where the call runs. Without one, and when it cannot
   * be fetched, the call is run again if its params are known and that is safe.
   */
  goOn(call: ClientCall, answer: Promise<unknown> | undefined): void {
    const { params } = call;
    const orAgain = (error: unknown): Promise<unknown> => {
      // What else it fails with is its answer, or the client's own cancel.
      if (params === undefined || !TroupeError.is(error, "unavailable")) throw error;
      return this.#answerAgain(call);
    };
    this.#settle(call, (answer ?? Promise.reject(outcomeUnknown())).catch(orAgain));
  }

  /** Runs a request that may have run before; rejects where that is not safe. */
  async #answerAgain(call: ClientCall): Promise<unknown> {
    const { worker } = this.#parts.ctx;
    const repeatable = await mayRepeat(this.#parts, call);
    if (call.settled) throw cancelledCall();
    if (!repeatable) throw outcomeUnknown();
    worker.count("troupe_session_calls_repeated_total");
    return this.#answer(call, call.params);
  }

  /** Goes on with the tasks of a former owner, see `SessionTasks.takeOver`. */
  takeOverTasks(): ClientCall[] {
    return this.#parts.ctx.state.tasks === undefined ? [] : this.#needTasks().takeOver();
  }

  #needTasks(): SessionTasks {
    this.#parts.tasks ??= new SessionTasks(this.#parts, {
      settle: (call, answer) => this.#settle(call, answer),
      stop: (call, reason) => this.#stopWork(call, reason, () => this.#parts.calls?.abandon(call)),
    });
    return this.#parts.tasks;
  }

  #settle(call: ClientCall, answer: Promise<unknown>): void {
    answer.then(
      (result) => this.#succeed(call, result),
      (error) => this.#fail(call, error),
    );
  }

  #answer(call: ClientCall, params: Params): Promise<unknown> {
    const parts = this.#parts;
    switch (call.method) {
      case "ping":
        return PONG;
      case "initialize":
        this.#greeted = true;
        return initialize(parts, call);
      case "logging/setLevel":
        return setLevel(parts, params);
      case "resources/subscribe":
        return subscribe(parts, call, params);
      case "resources/unsubscribe":
        return unsubscribe(parts, call, params);
      case "tools/call":
        if (params?.task !== undefined) return this.#needTasks().create(call, params);
        return parts.needRouter().route(call, call.method, params);
      case "tasks/list":
      case "tasks/get":
      case "tasks/result":
      case "tasks/cancel":
        return this.#needTasks().answer(call, params);
      default:
        return parts.needRouter().route(call, call.method, params);
    }
  }

  #succeed(call: ClientCall, result: unknown): void {
    if (call.settled) return;
    let text: string;
    try {
      text = resultText(call.id, result);
    } catch (error) {
      return this.#fail(call, error);
    }
    this.#parts.needCalls().settle(call, text);
  }

  #fail(call: ClientCall, error: unknown): void {
    if (call.settled) return;
    this.#parts.needCalls().settle(call, errorText(call.id, this.#describeError(call, error)));
  }

  #describeError(call: ClientCall, error: unknown): RpcErrorObject {
    if (error instanceof RpcError) return { code: error.code, message: error.message, data: error.data };
    if (!TroupeError.is(error)) {
      const { worker, key } = this.#parts.ctx;
      worker.log.error("a request failed unexpectedly", { session: key, method: call.method, error });
      return { code: RpcCode.internal, message: "Internal error" };
    }
    const { started, retryAfterMs } = error;
    const data = { code: error.code, started, retryable: started === "no", retryAfterMs };
    const { upstream } = call;
    const named = upstream === undefined || error.message.includes(upstream);
    const message = named ? error.message : `upstream "${upstream}": ${error.message}`;
    return { code: error.code === "overloaded" ? RpcCode.overloaded : RpcCode.internal, message, data };
  }

  /** One timer for all POSTs that wait, while any waits. */
  #arm(afterMs: number): void {
    const { calls, closed, ctx, settings } = this.#parts;
    if (this.#armed || closed || (calls?.size ?? 0) === 0 || afterMs === Number.POSITIVE_INFINITY) return;
    this.#armed = true;
    const { clock } = ctx.worker;
    clock.after(afterMs, () => {
      this.#armed = false;
      const now = clock.now();
      const next = this.#parts.calls?.flip(now);
      if (next !== undefined) this.#arm(Math.max(next - now, settings.streamAfterMs / 8));
    });
  }
}

function isRequest(incoming: Incoming): incoming is Extract<Incoming, { kind: "request" }> {
  return incoming.kind === "request";
}
