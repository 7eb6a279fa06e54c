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
 * ## Bounds
 * `MAX_IN_FLIGHT` calls and `MAX_INBOUND` requests of the upstream at once; over it `overloaded`, or a JSON-RPC error to
 * the upstream. A request that is never answered is the caller's to bound (`timeoutMs`, `cancel`). Late answers are
 * dropped and counted.
 */
import type { WorkerServices } from "../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../runtime/actor/errors.ts";
import { CrashBackoff } from "./backoff.ts";
import { openChannel } from "./channel.ts";
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
  type UpstreamClient,
  type UpstreamConfig,
  type UpstreamOwner,
} from "./contract.ts";
import { checkError, checkInitialize, errorObjectOf, requestMessage } from "./json_rpc.ts";

const MAX_IN_FLIGHT = 4_096;
const MAX_INBOUND = 256;
/** In place of a call's number: the call is over. */
const STALE = Symbol("stale");
const OVERLOADED = -32000;

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
  /** Default: no limit. */
  permits?: Permits | undefined;
  /** True: do not stop it for being idle. */
  keepRunning?: (() => boolean) | undefined;
  /** Several sessions stand behind `owner`: what belongs to a call that is over belongs to nobody. */
  shared?: boolean;
  /** For tests. */
  open?: (config: UpstreamConfig, services: WorkerServices) => Channel;
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
  /** Notifications the owner has not taken yet. */
  #behind = 0;

  constructor(config: UpstreamConfig, deps: UpstreamClientDeps) {
    this.name = config.name;
    this.#config = config;
    this.#deps = deps;
    this.#prefix = `${deps.epoch}:`;
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
    channel.send(requestMessage(id, method, params, options.progress));
  }

  async #start(): Promise<InitializeResult> {
    const { services, permits, owner } = this.#deps;
    const permit = await permits?.acquire();
    if (this.#ended !== undefined) {
      permit?.release();
      throw this.#refusal();
    }
    let channel: Channel;
    try {
      channel = (this.#deps.open ?? openChannel)(this.#config, services);
    } catch (error) {
      permit?.release();
      throw this.#failed(error instanceof Error ? error.message : String(error), 0);
    }
    const connection = new Connection(channel, permit);
    this.#connection = connection;
    try {
      const result = await this.#handshake(connection);
      connection.upSince = services.clock.now();
      this.#result = result;
      this.#up = channel;
      this.#lastUsed = connection.upSince;
      this.#watchIdle(this.#config.idleStopMs);
      owner.onStarted?.(this.name, result);
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

  /** `initialize` and `notifications/initialized`; the connection's one handler of messages is set here. */
  #handshake(connection: Connection): Promise<InitializeResult> {
    const { services, handshake } = this.#deps;
    const { channel } = connection;
    const id = `${this.#prefix}0`;
    return new Promise((resolve, reject) => {
      const cancelTimer = services.clock.after(this.#config.startTimeoutMs, () => {
        reject(new Error(`it did not answer initialize within ${this.#config.startTimeoutMs} ms`));
      });
      channel.onclose = (closed) => {
        cancelTimer();
        reject(new Error(closed.detail));
        this.#onClose(connection, closed);
      };
      channel.onlost = (lostId, lost) => {
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
        const result = checkInitialize(message);
        if (typeof result === "string") return reject(new Error(result));
        channel.setProtocolVersion?.(result.protocolVersion);
        channel.send({ jsonrpc: "2.0", method: "notifications/initialized" });
        resolve(result);
      };
      channel.send({ jsonrpc: "2.0", id, method: "initialize", params: { ...handshake } });
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
    const answer = (message: RpcMessage): void => {
      if (!inbound.delete(id) || connection.closed !== undefined) return;
      this.#lastUsed = this.#deps.services.clock.now();
      channel.send(message);
    };
    this.#deps.owner.onRequest(this.name, method, params, related, controller.signal).then(
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
      const pending = typeof token === "string" ? this.#pending.get(token) : undefined;
      if (pending === undefined) return services.count("troupe_upstream_late_progress_total");
      const { progressToken: _, ...rest } = params as Record<string, unknown>;
      taken = owner.onNotification(this.name, method, rest, pending.related);
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
    this.#up?.send({ jsonrpc: "2.0", method: "notifications/cancelled", params });
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
    const message = `upstream ${this.name}: ${closed.detail}`;
    for (const [id, pending] of [...this.#pending]) {
      this.#settled(id, pending);
      pending.reject(new TroupeError("unavailable", message, { started: "unknown" }));
    }
    owner.onClosed(this.name, closed);
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

/** Notifications about the server, whichever call they were sent in. */
function concernsAll(method: string): boolean {
  return method.endsWith("/list_changed") || method.endsWith("/updated") || method.endsWith("/complete");
}
