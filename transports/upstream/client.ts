/**
 * One owner's connection to one upstream: the handshake, the ids, and what becomes of everything when it breaks.
 *
 * ## Correlation
 * Each request gets the id `<epoch>:<n>`, which is also its progress token: no answer or progress of an earlier life can
 * be taken for one of this life, and the client's own ids and tokens never reach the upstream. What the upstream sends
 * is tied to a call by, in this order: its progress token, the transport's word (HTTP stream, module handler), or, where
 * the transport cannot tell (stdio), by being the only call in flight. What belonged to a call that is over is dropped
 * when the connection is shared by several sessions, else passed on without a call.
 *
 * ## Life
 * `idle` → `starting` → `up` → `idle` … → `ended`. It starts with the first request and stops after `idleStopMs` without
 * one. When the connection breaks, calls in flight reject with `unavailable` (`started: "unknown"`; nothing that was
 * sent is ever sent again), and the next request starts it again, after a back-off (backoff.ts) within which requests
 * fail at once with `started: "no"`.
 *
 * ## Going on for a former owner
 * A connection that outlives its owner (HTTP) may be given to the next one: it starts with `ping` in place of the
 * handshake. An upstream that no longer knows the session (404, or an error in answer to `ping`) gets a new one, and the
 * owner is told (`onForgotten`). Requests of the former owner keep their ids, so their answers, progress and cancel
 * still fit; questions it took are answered once, and one that the upstream repeats is not asked again.
 *
 * ## Bounds
 * `MAX_IN_FLIGHT` calls and `MAX_INBOUND` requests of the upstream at once; over it `overloaded`, or a JSON-RPC error to
 * the upstream. A request that is never answered is the caller's to bound (`timeoutMs`, `cancel`). Late answers are
 * dropped and counted.
 */
import type { WorkerServices } from "../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../runtime/actor/errors.ts";
import { refusalSeries } from "../../runtime/observe/refusals.ts";
import { CrashBackoff } from "./backoff.ts";
import { type ChannelPast, openChannel } from "./channel.ts";
import {
  type Channel,
  type ChannelClosed,
  type ChannelMessageInfo,
  type Handshake,
  type InitializeResult,
  RpcError,
  type RpcId,
  type RpcMessage,
  type RpcRequest,
  type SentRequest,
  type UpstreamClient,
  type UpstreamConfig,
  type UpstreamOwner,
  type UpstreamSession,
} from "./contract.ts";
import { checkError, checkInitialize, errorObjectOf, requestMessage } from "./json_rpc.ts";

const MAX_IN_FLIGHT = 4_096;
const MAX_INBOUND = 256;
/** Progress tokens of calls that may have become tasks; the oldest goes first, and its task's progress is dropped. */
const MAX_TASK_TOKENS = 256;
/** In place of a call's number: the call is over. */
const STALE = Symbol("stale");
const OVERLOADED = -32000;
const METHOD_NOT_FOUND = -32601;

/** A place under `max_processes`, held while a connection is up or starting. */
export interface Permit {
  release(): void;
}

/** Where connections are counted. */
export interface Permits {
  /** Rejects with `overloaded` when there is no place, `started: "no"`. */
  acquire(): Promise<Permit>;
  /** A connection failed; for the node's figures. */
  failed(detail: string): void;
}

export interface UpstreamClientDeps {
  /** Of the activation that owns this client; becomes part of every id. */
  epoch: string;
  owner: UpstreamOwner;
  handshake: Handshake;
  services: WorkerServices;
  /** The connection of a former owner, to go on with. */
  resume?: UpstreamSession | undefined;
  /** Default: no limit. */
  permits?: Permits | undefined;
  /** True: do not stop it for being idle. */
  keepRunning?: (() => boolean) | undefined;
  /** Several sessions stand behind `owner`: what belongs to a call that is over belongs to nobody. */
  shared?: boolean;
  /** For tests. */
  open?: (config: UpstreamConfig, services: WorkerServices, past: ChannelPast) => Channel;
}

/** A client for one owner. Does no I/O before the first request. */
export function createUpstreamClient(config: UpstreamConfig, deps: UpstreamClientDeps): UpstreamClient {
  return new DirectUpstreamClient(config, deps);
}

interface Pending {
  readonly method: string;
  readonly related: number;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  cancelTimer: (() => void) | undefined;
}

/** A call that came before the connection was up. */
interface Waiting {
  readonly reject: (error: unknown) => void;
}

/** A connection, from its start to its end. */
class Connection {
  readonly channel: Channel;
  permit: Permit | undefined;
  /** When the handshake was done; undefined before. */
  upSince: number | undefined;
  closed: ChannelClosed | undefined;
  /** Requests of the upstream that the owner is working on. */
  readonly inbound = new Map<RpcId, AbortController>();
  /** Of these, those that a former owner took: the upstream may send them again. */
  taken: Set<RpcId> | undefined;

  constructor(channel: Channel, permit: Permit | undefined) {
    this.channel = channel;
    this.permit = permit;
  }
}

class DirectUpstreamClient implements UpstreamClient {
  readonly name: string;
  readonly #config: UpstreamConfig;
  readonly #deps: UpstreamClientDeps;
  readonly #prefix: string;
  readonly #backoff = new CrashBackoff();
  readonly #pending = new Map<string, Pending>();
  readonly #waiting = new Map<number, Waiting>();
  /** The calls that tokens belong to, see `#keepTaskToken`. */
  #taskTokens: Map<string, number> | undefined;
  #lastId = 0;
  #connection: Connection | undefined;
  /** The connection again, once it is up: all that the hot path looks at. */
  #up: Channel | undefined;
  #starting: Promise<InitializeResult> | undefined;
  #result: InitializeResult | undefined;
  #lastFailure = "";
  #lastUsed = 0;
  #cancelIdle: (() => void) | undefined;
  #ended: string | undefined;
  /** The connection of a former owner, until it goes on or is found to be gone. */
  #resume: UpstreamSession | undefined;
  /** Questions a former owner took, until the connection is up. */
  readonly #questions = new Map<RpcId, { controller: AbortController; answer: Promise<unknown> }>();
  /** Notifications the owner has not taken yet. */
  #behind = 0;

  constructor(config: UpstreamConfig, deps: UpstreamClientDeps) {
    this.name = config.name;
    this.#config = config;
    this.#deps = deps;
    this.#prefix = `${deps.epoch}:`;
    this.#resume = deps.resume;
  }

  get running(): boolean {
    return this.#up !== undefined;
  }

  start(): Promise<InitializeResult> {
    if (this.#up !== undefined && this.#result !== undefined) return Promise.resolve(this.#result);
    if (this.#starting !== undefined) return this.#starting;
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    const starting = this.#start().finally(() => {
      if (this.#starting === starting) this.#starting = undefined;
    });
    this.#starting = starting;
    return starting;
  }

  request(
    method: string,
    params: Record<string, unknown> | undefined,
    options: { related: number; progress: boolean; timeoutMs?: number },
  ): Promise<unknown> {
    if (this.#up !== undefined) {
      return new Promise((resolve, reject) => this.#send(method, params, options, resolve, reject));
    }
    return this.#requestWhenUp(method, params, options);
  }

  get session(): UpstreamSession | undefined {
    if (this.#up === undefined || this.#result === undefined) return this.#resume;
    return sessionOf(this.#up, this.#result);
  }

  async save(): Promise<void> {
    await this.#up?.save?.();
  }

  sent(related: number): SentRequest | undefined {
    if (this.#up?.session === undefined) return undefined;
    for (const [id, pending] of this.#pending) {
      if (pending.related === related) return { id, cursor: this.#up.cursorOf?.(id) };
    }
    return undefined;
  }

  async resumeRequest({ id, cursor }: SentRequest, { related }: { related: number }): Promise<unknown> {
    const lost = (detail: string): TroupeError =>
      new TroupeError("unavailable", `upstream ${this.name}: ${detail}`, { started: "unknown" });
    if (this.#resume === undefined || cursor === undefined) throw lost("its answer cannot be fetched again");
    const resumed = new Promise<unknown>((resolve, reject) => {
      const pending: Pending = { method: "", related, resolve, reject, cancelTimer: undefined };
      this.#pending.set(id as string, pending);
    });
    this.start().then(
      () => {
        if (!this.#pending.has(id as string)) return;
        this.#up?.resumeRequest?.(id, cursor);
      },
      (error) => {
        const pending = this.#pending.get(id as string);
        if (pending === undefined) return;
        this.#settled(id as string, pending);
        pending.reject(lost(error instanceof Error ? error.message : String(error)));
      },
    );
    return resumed;
  }

  resumeQuestion(id: RpcId, answer: Promise<unknown>): AbortSignal {
    const controller = new AbortController();
    this.#questions.set(id, { controller, answer });
    this.start().catch(() => {
      this.#questions.delete(id);
      controller.abort(new TroupeError("unavailable", `upstream ${this.name} cannot be reached`));
    });
    return controller.signal;
  }

  cancel(related: number, reason: string | undefined): void {
    const cancelled = (started: "no" | "unknown"): TroupeError =>
      new TroupeError("cancelled", `the call of ${this.name} was cancelled`, { started });
    const waiting = this.#waiting.get(related);
    if (waiting !== undefined) {
      this.#waiting.delete(related);
      return waiting.reject(cancelled("no"));
    }
    for (const [id, pending] of this.#pending) {
      if (pending.related !== related) continue;
      this.#settled(id, pending);
      this.#sendCancelled(id, reason);
      return pending.reject(cancelled("unknown"));
    }
  }

  notify(method: string, params: Record<string, unknown> | undefined): void {
    this.#up?.send(params === undefined ? { jsonrpc: "2.0", method } : { jsonrpc: "2.0", method, params });
  }

  async close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    if (reason !== "idle") this.#ended ??= reason;
    const connection = this.#connection;
    if (connection === undefined) return;
    const ending = connection.channel.close(reason);
    this.#onClose(connection, { reason: "closed", detail: `it was stopped (${reason})` });
    await ending;
  }

  #refusal(): TroupeError | undefined {
    if (this.#ended !== undefined) {
      return new TroupeError("unavailable", `upstream ${this.name}: its session let go of it (${this.#ended})`, {
        started: "no",
      });
    }
    const waitMs = Math.ceil(this.#backoff.waitMs(this.#deps.services.clock.now()));
    if (waitMs === 0) return undefined;
    return new TroupeError(
      "unavailable",
      `upstream ${this.name} failed (${this.#lastFailure}); it is started again in ${waitMs} ms at the earliest`,
      { started: "no", retryAfterMs: waitMs },
    );
  }

  async #requestWhenUp(
    method: string,
    params: Record<string, unknown> | undefined,
    options: { related: number; progress: boolean; timeoutMs?: number },
  ): Promise<unknown> {
    if (this.#waiting.size >= MAX_IN_FLIGHT) throw this.#overloaded();
    const { clock } = this.#deps.services;
    let cancelTimer = (): void => {};
    const cancelled = new Promise<never>((_, reject) => {
      this.#waiting.set(options.related, { reject });
      if (options.timeoutMs === undefined) return;
      cancelTimer = clock.after(options.timeoutMs, () => reject(this.#late(method, options.timeoutMs ?? 0, "no")));
    });
    const before = clock.now();
    try {
      await Promise.race([this.start(), cancelled]);
    } finally {
      cancelTimer();
      this.#waiting.delete(options.related);
    }
    if (this.#up === undefined) {
      throw new TroupeError("unavailable", `upstream ${this.name} ended as it came up (${this.#lastFailure})`, {
        started: "no",
      });
    }
    const rest = options.timeoutMs === undefined ? undefined : Math.max(1, options.timeoutMs - (clock.now() - before));
    return new Promise((resolve, reject) => {
      this.#send(method, params, { ...options, timeoutMs: rest }, resolve, reject);
    });
  }

  /** The progress token of a call that may become a task is that of the task (MCP, Tasks). */
  #keepTaskToken(id: string, related: number): void {
    this.#taskTokens ??= new Map();
    this.#taskTokens.set(id, related);
    for (const oldest of this.#taskTokens.keys()) {
      if (this.#taskTokens.size <= MAX_TASK_TOKENS) break;
      this.#taskTokens.delete(oldest);
    }
  }

  /** The hot path: the connection is up. */
  #send(
    method: string,
    params: Record<string, unknown> | undefined,
    options: { related: number; progress: boolean; timeoutMs?: number | undefined },
    resolve: (result: unknown) => void,
    reject: (error: unknown) => void,
  ): void {
    const channel = this.#up as Channel;
    if (this.#pending.size >= MAX_IN_FLIGHT || channel.congested === true) return reject(this.#overloaded());
    const { clock } = this.#deps.services;
    this.#lastUsed = clock.now();
    const id = this.#prefix + ++this.#lastId;
    const pending: Pending = { method, related: options.related, resolve, reject, cancelTimer: undefined };
    const { timeoutMs } = options;
    if (timeoutMs !== undefined) {
      pending.cancelTimer = clock.after(timeoutMs, () => {
        if (!this.#pending.delete(id)) return;
        this.#sendCancelled(id, "timeout");
        reject(this.#late(method, timeoutMs, "unknown"));
      });
    }
    this.#pending.set(id, pending);
    if (options.progress && params?.task !== undefined) this.#keepTaskToken(id, options.related);
    channel.send(requestMessage(id, method, params, options.progress));
  }

  async #start(): Promise<InitializeResult> {
    const { services, permits, owner } = this.#deps;
    const permit = await permits?.acquire();
    if (this.#ended !== undefined) {
      permit?.release();
      throw this.#refusal();
    }
    const resume = this.#resume;
    let channel: Channel;
    try {
      const memory = owner.memory?.(this.name);
      channel = (this.#deps.open ?? openChannel)(this.#config, services, { resume, memory });
    } catch (error) {
      permit?.release();
      throw this.#failed(error instanceof Error ? error.message : String(error), 0);
    }
    const connection = new Connection(channel, permit);
    this.#connection = connection;
    if (resume !== undefined) this.#takeQuestions(connection);
    try {
      const result = await this.#handshake(connection, resume);
      if (result === undefined) return await this.#forgotten(connection);
      this.#result = result;
      await owner.onConnected?.(this.name, sessionOf(channel, result));
      if (connection.closed !== undefined) throw new Error(connection.closed.detail);
      connection.upSince = services.clock.now();
      this.#up = channel;
      this.#resume = undefined;
      this.#lastUsed = connection.upSince;
      this.#watchIdle(this.#config.idleStopMs);
      if (resume === undefined) owner.onStarted?.(this.name, result);
      return result;
    } catch (error) {
      const { closed } = connection;
      this.#dispose(connection);
      if (this.#ended !== undefined) throw this.#refusal();
      if (closed?.reason === "closed") {
        throw new TroupeError("unavailable", `upstream ${this.name}: ${closed.detail}`, { started: "no" });
      }
      throw this.#failed(closed?.detail ?? (error instanceof Error ? error.message : String(error)), 0);
    }
  }

  /** The former owner's session is gone, and with it what was on its way there: a new one is begun. */
  async #forgotten(connection: Connection): Promise<InitializeResult> {
    this.#resume = undefined;
    // Not an end: nothing may reach a session that is not ours.
    void connection.channel.close("fenced");
    this.#dispose(connection);
    this.#deps.services.count("troupe_upstream_sessions_forgotten_total");
    this.#failAll(`upstream ${this.name} no longer knows the session`);
    this.#deps.owner.onForgotten?.(this.name);
    return this.#start();
  }

  #takeQuestions(connection: Connection): void {
    connection.taken = new Set(this.#questions.keys());
    for (const [id, { controller, answer }] of this.#questions) {
      connection.inbound.set(id, controller);
      this.#answerWith(connection, id, answer);
    }
    this.#questions.clear();
  }

  /**
   * `initialize` and `notifications/initialized`, or `ping` to a session that a former owner began: undefined when the
   * upstream does not know it. The connection's one handler of messages is set here.
   */
  #handshake(connection: Connection, resume: UpstreamSession | undefined): Promise<InitializeResult | undefined> {
    const { services, handshake } = this.#deps;
    const { channel } = connection;
    const id = `${this.#prefix}0`;
    const greeting = resume === undefined ? "initialize" : "ping";
    return new Promise((resolve, reject) => {
      const cancelTimer = services.clock.after(this.#config.startTimeoutMs, () => {
        reject(new Error(`it did not answer ${greeting} within ${this.#config.startTimeoutMs} ms`));
      });
      channel.onclose = (closed) => {
        cancelTimer();
        if (resume !== undefined && closed.forgotten === true) resolve(undefined);
        reject(new Error(closed.detail));
        this.#onClose(connection, closed);
      };
      channel.onlost = (lostId, lost) => {
        if (lostId === id) reject(new Error(lost.detail));
        const pending = this.#pending.get(lostId as string);
        if (pending === undefined) return;
        this.#settled(lostId as string, pending);
        const message = `upstream ${this.name}: ${lost.detail}`;
        pending.reject(new TroupeError("unavailable", message, { started: lost.started }));
      };
      channel.onclosestream = (requestId) => {
        const related = this.#pending.get(requestId as string)?.related;
        if (related !== undefined) this.#deps.owner.closeStream?.(this.name, related);
      };
      channel.onmessage = (message, info) => {
        if ("method" in message || message.id !== id) return this.#take(connection, message, info);
        cancelTimer();
        if (connection.upSince !== undefined) return;
        if (resume !== undefined) {
          const known = message.error === undefined || message.error.code === METHOD_NOT_FOUND;
          return resolve(known ? resume.greeting : undefined);
        }
        const result = checkInitialize(message);
        if (typeof result === "string") return reject(new Error(result));
        channel.setProtocolVersion?.(result.protocolVersion);
        channel.send({ jsonrpc: "2.0", method: "notifications/initialized" });
        resolve(result);
      };
      const request = { jsonrpc: "2.0", id, method: greeting } as const;
      channel.send(resume === undefined ? { ...request, params: { ...handshake } } : request);
    });
  }

  #take(connection: Connection, message: RpcMessage, info: ChannelMessageInfo): void {
    if (connection.closed !== undefined) return;
    try {
      this.#onMessage(connection, message, info);
    } catch (error) {
      // Whatever the owner's handler threw must not end the worker through the channel's event.
      this.#deps.services.log.error("an upstream's message could not be handled", { upstream: this.name, error });
    }
  }

  #onMessage(connection: Connection, message: RpcMessage, info: ChannelMessageInfo): void {
    if (!("method" in message)) {
      const id = message.id as string;
      const pending = this.#pending.get(id);
      if (pending === undefined) return this.#deps.services.count("troupe_upstream_late_answers_total");
      this.#settled(id, pending);
      if (this.#pending.size === 0) this.#lastUsed = this.#deps.services.clock.now();
      if (message.error !== undefined) pending.reject(new RpcError(checkError(message.error)));
      else if ("result" in message) pending.resolve(message.result);
      else pending.reject(this.#malformed());
    } else if (typeof message.method !== "string") {
      this.#deps.services.count("troupe_upstream_bad_messages_total");
    } else if ("id" in message) {
      this.#onRequest(connection, message, info);
    } else {
      this.#onNotification(connection, message.method, message.params, info);
    }
  }

  #onRequest(connection: Connection, request: RpcRequest, info: ChannelMessageInfo): void {
    const { channel, inbound } = connection;
    const { id, method, params } = request;
    if (method === "ping") return channel.send({ jsonrpc: "2.0", id, result: {} });
    // Its stream was resumed from before it.
    if (connection.taken?.delete(id) === true) return;
    const related = this.#related(info);
    if (related === STALE) {
      this.#deps.services.count("troupe_upstream_uncorrelated_total");
      const error = { code: OVERLOADED, message: `${method}: the call in whose course this was asked is over` };
      return channel.send({ jsonrpc: "2.0", id, error });
    }
    if (inbound.size >= MAX_INBOUND || inbound.has(id)) {
      const why = inbound.has(id) ? "its id is in use" : `${MAX_INBOUND} requests wait for the client already`;
      const error = { code: OVERLOADED, message: `${method} was refused: ${why}` };
      return channel.send({ jsonrpc: "2.0", id, error });
    }
    const controller = new AbortController();
    inbound.set(id, controller);
    const named = channel.session === undefined ? undefined : id;
    this.#answerWith(
      connection,
      id,
      this.#deps.owner.onRequest(this.name, method, params, related, controller.signal, named),
    );
  }

  #answerWith(connection: Connection, id: RpcId, settled: Promise<unknown>): void {
    const answer = (message: RpcMessage): void => {
      if (!connection.inbound.delete(id) || connection.closed !== undefined) return;
      this.#lastUsed = this.#deps.services.clock.now();
      connection.channel.send(message);
    };
    settled.then(
      (result) => answer({ jsonrpc: "2.0", id, result: result ?? {} }),
      (error) => answer({ jsonrpc: "2.0", id, error: errorObjectOf(error) }),
    );
  }

  #onNotification(
    connection: Connection,
    method: string,
    params: Record<string, unknown> | undefined,
    info: ChannelMessageInfo,
  ): void {
    const { owner, services } = this.#deps;
    let taken: void | Promise<void>;
    if (method === "notifications/progress") {
      const token = params?.progressToken;
      const known = typeof token === "string" ? token : "";
      const related = this.#pending.get(known)?.related ?? this.#taskTokens?.get(known);
      if (related === undefined) return services.count("troupe_upstream_late_progress_total");
      const { progressToken: _, ...rest } = params as Record<string, unknown>;
      taken = owner.onNotification(this.name, method, rest, related);
    } else if (method === "notifications/cancelled") {
      const id = params?.requestId as RpcId;
      const reason = typeof params?.reason === "string" ? params.reason : "the upstream no longer wants the answer";
      connection.inbound.get(id)?.abort(new TroupeError("cancelled", reason, { started: "unknown" }));
      // No answer is wanted any more.
      connection.inbound.delete(id);
      return;
    } else {
      const related = this.#related(info);
      if (related === STALE && !concernsAll(method)) return services.count("troupe_upstream_uncorrelated_total");
      taken = owner.onNotification(this.name, method, params, related === STALE ? undefined : related);
    }
    if (taken !== undefined) this.#wait(connection.channel, taken);
  }

  /** Reads nothing more until the owner has taken what it got. */
  #wait(channel: Channel, taken: Promise<void>): void {
    if (this.#behind++ === 0) channel.pause?.();
    const caughtUp = (): void => {
      if (--this.#behind === 0) channel.resume?.();
    };
    taken.then(caughtUp, caughtUp);
  }

  /** The call a message belongs to; undefined: unknown; `STALE`: one that is over, where that matters. */
  #related(info: ChannelMessageInfo): number | undefined | typeof STALE {
    const id = info.relatedRequestId;
    if (id !== undefined) {
      const related = this.#pending.get(id as string)?.related;
      return related === undefined && this.#deps.shared === true ? STALE : related;
    }
    if (this.#pending.size !== 1) return undefined;
    for (const pending of this.#pending.values()) return pending.related;
    return undefined;
  }

  #settled(id: string, pending: Pending): void {
    this.#pending.delete(id);
    pending.cancelTimer?.();
  }

  #sendCancelled(id: string, reason: string | undefined): void {
    const params = reason === undefined ? { requestId: id } : { requestId: id, reason };
    const send = (): void => this.#up?.send({ jsonrpc: "2.0", method: "notifications/cancelled", params });
    // A former owner's request may be cancelled before this one is connected.
    if (this.#up === undefined) this.#starting?.then(send, () => {});
    else send();
  }

  /** A connection is gone, by whoever's will. Runs once for each. */
  #onClose(connection: Connection, closed: ChannelClosed): void {
    if (connection.closed !== undefined) return;
    connection.closed = closed;
    if (this.#connection !== connection) return;
    const wasUp = connection.upSince !== undefined;
    this.#dispose(connection);
    if (!wasUp) return;
    const { services, owner } = this.#deps;
    if (closed.reason === "closed") this.#lastFailure = closed.detail;
    else this.#failed(closed.detail, services.clock.now() - (connection.upSince ?? 0));
    this.#failAll(`upstream ${this.name}: ${closed.detail}`);
    owner.onClosed(this.name, closed);
  }

  /** Nothing that was sent will be answered. */
  #failAll(message: string): void {
    for (const [id, pending] of [...this.#pending]) {
      this.#settled(id, pending);
      pending.reject(new TroupeError("unavailable", message, { started: "unknown" }));
    }
  }

  #dispose(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#up = undefined;
    this.#result = undefined;
    this.#cancelIdle?.();
    this.#cancelIdle = undefined;
    const { permit } = connection;
    for (const controller of connection.inbound.values()) {
      controller.abort(new TroupeError("unavailable", `upstream ${this.name} went away`, { started: "unknown" }));
    }
    connection.inbound.clear();
    connection.closed ??= { reason: "crashed", detail: "the handshake failed" };
    // The place is free once the process has ended, not before: the cap counts what runs.
    void connection.channel.close("ended").then(() => permit?.release());
  }

  #failed(detail: string, upMs: number): TroupeError {
    const { services, permits } = this.#deps;
    this.#lastFailure = detail;
    this.#backoff.failed(services.clock.now(), upMs);
    services.count("troupe_upstream_failures_total");
    services.log.warn("an upstream failed", { upstream: this.name, detail });
    permits?.failed(detail);
    return new TroupeError("unavailable", `upstream ${this.name} could not be started: ${detail}`, {
      started: "no",
      retryAfterMs: Math.ceil(this.#backoff.waitMs(services.clock.now())),
    });
  }

  #watchIdle(inMs: number): void {
    const { idleStopMs } = this.#config;
    if (idleStopMs === 0) return;
    const { clock } = this.#deps.services;
    this.#cancelIdle = clock.after(inMs, () => {
      const idleMs = clock.now() - this.#lastUsed;
      const busy = this.#pending.size > 0 || (this.#connection?.inbound.size ?? 0) > 0;
      if (busy || this.#deps.keepRunning?.() === true) this.#watchIdle(idleStopMs);
      else if (idleMs < idleStopMs) this.#watchIdle(idleStopMs - idleMs);
      else void this.close("idle");
    });
  }

  #overloaded(): TroupeError {
    this.#deps.services.count(refusalSeries("upstream"));
    return new TroupeError("overloaded", `upstream ${this.name} has more requests than it takes`, {
      started: "no",
      retryAfterMs: 100,
    });
  }

  #late(method: string, timeoutMs: number, started: "no" | "unknown"): TroupeError {
    const message = `upstream ${this.name} did not answer ${method} within ${Math.round(timeoutMs)} ms`;
    return new TroupeError("deadline_exceeded", message, { started });
  }

  #malformed(): TroupeError {
    this.#deps.services.count("troupe_upstream_bad_messages_total");
    return new TroupeError("protocol", `upstream ${this.name} sent an answer with neither result nor error`, {
      started: "yes",
    });
  }
}

/** What a successor needs to go on with `channel`; undefined where none can. */
function sessionOf({ session }: Channel, result: InitializeResult): UpstreamSession | undefined {
  if (session === undefined) return undefined;
  // Long, and told to nobody again.
  const { instructions: _, ...greeting } = result;
  const { sessionId, cursor } = session;
  return cursor === undefined ? { sessionId, greeting } : { sessionId, greeting, cursor };
}

/** Notifications about the server, whichever call they were sent in. */
function concernsAll(method: string): boolean {
  return method.endsWith("/list_changed") || method.endsWith("/updated") || method.endsWith("/complete");
}
