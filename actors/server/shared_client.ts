/**
 * A session's way to an upstream that the node's sessions share, all of them or those of its principal: calls go to the node's server actor, and one stream
 * brings what the upstream sends to this session.
 *
 * It attaches with the first request and detaches after `idleStopMs` without one (unless notifications are wanted), so
 * an idle session costs the server actor nothing. When the stream ends, the connection is gone for this session: calls
 * in flight are rejected by the actor, and the next request attaches again.
 */
import type { ActivationContext, Ref } from "../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../runtime/actor/errors.ts";
import { Lane } from "../../runtime/actor/message.ts";
import {
  type ChannelClosed,
  type InitializeResult,
  RpcError,
  type UpstreamClient,
  type UpstreamConfig,
  type UpstreamOwner,
} from "../../transports/upstream/contract.ts";
import { errorObjectOf } from "../../transports/upstream/json_rpc.ts";
import type { Principal } from "../session/contract.ts";
import type { Answer, SharedEvent } from "./events.ts";
import { ServerActor, serverKey } from "./server.ts";

type Params = Record<string, unknown> | undefined;

export interface SharedClientDeps {
  ctx: ActivationContext<unknown>;
  owner: UpstreamOwner;
  principal: Principal;
  keepRunning?: (() => boolean) | undefined;
}

/** One attachment, from its start to its end. */
interface Attached {
  /** The epoch makes it unique among all activations, the counter within this one. */
  readonly id: string;
  readonly events: AsyncIterator<SharedEvent>;
  /** Requests of the upstream that the owner works on. */
  readonly questions: Map<number, AbortController>;
}

export class SharedUpstreamClient implements UpstreamClient {
  readonly name: string;
  readonly #config: UpstreamConfig;
  readonly #deps: SharedClientDeps;
  readonly #server: Ref<typeof ServerActor>;
  readonly #unbounded: Ref<typeof ServerActor>;
  readonly #control: Ref<typeof ServerActor>;
  readonly #waiting = new Map<number, (error: TroupeError) => void>();
  #attached: Attached | undefined;
  #starting: Promise<InitializeResult> | undefined;
  #result: InitializeResult | undefined;
  #ended: string | undefined;
  #count = 0;
  #inFlight = 0;
  #lastUsed = 0;
  #cancelIdle: (() => void) | undefined;

  constructor(config: UpstreamConfig, deps: SharedClientDeps) {
    this.name = config.name;
    this.#config = config;
    this.#deps = deps;
    this.#server = deps.ctx.actor(ServerActor, serverKey(config.name, deps.ctx.worker.nodeId));
    this.#unbounded = this.#server.with({ timeoutMs: Number.POSITIVE_INFINITY });
    this.#control = this.#server.with({ lane: Lane.Control });
  }

  get running(): boolean {
    return this.#result !== undefined;
  }

  start(): Promise<InitializeResult> {
    if (this.#result !== undefined) return Promise.resolve(this.#result);
    if (this.#starting !== undefined) return this.#starting;
    if (this.#ended !== undefined)
      return Promise.reject(this.#unavailable(`its session let go of it (${this.#ended})`));
    const starting = this.#attach().finally(() => {
      this.#starting = undefined;
    });
    this.#starting = starting;
    return starting;
  }

  async request(
    method: string,
    params: Params,
    options: { related: number; progress: boolean; timeoutMs?: number },
  ): Promise<unknown> {
    const { related, progress, timeoutMs } = options;
    if (this.#attached === undefined || this.#result === undefined) await this.#attachFor(related);
    const attached = this.#attached;
    if (attached === undefined) throw this.#unavailable("it ended as it came up");
    const server = timeoutMs === undefined ? this.#unbounded : this.#server.with({ timeoutMs });
    this.#inFlight++;
    this.#lastUsed = this.#deps.ctx.worker.clock.now();
    try {
      const answer = await server.request(attached.id, method, params, related, progress);
      if ("error" in answer) throw new RpcError(answer.error);
      return answer.result;
    } finally {
      this.#inFlight--;
    }
  }

  cancel(related: number, reason: string | undefined): void {
    const waiting = this.#waiting.get(related);
    if (waiting !== undefined) {
      waiting(new TroupeError("cancelled", `the call of ${this.name} was cancelled`, { started: "no" }));
    } else if (this.#attached !== undefined) {
      // On the lane of the call itself, so that it cannot come first.
      this.#tell(this.#server.cancel(this.#attached.id, related, reason));
    }
  }

  notify(method: string, params: Params): void {
    if (this.#attached !== undefined) this.#tell(this.#server.notify(this.#attached.id, method, params));
  }

  async close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    if (reason !== "idle") this.#ended ??= reason;
    const attached = this.#attached;
    if (attached === undefined) return;
    this.#lost(attached, { reason: "closed", detail: `the session let go of it (${reason})` });
    // Losing ownership is no cancel: what the upstream does for this session it does to the end, for nobody.
    if (reason === "fenced") await attached.events.throw?.(new TroupeError("fenced", "the session's owner changed"));
    else if (reason === "drain") await attached.events.throw?.(new TroupeError("draining", "the session moves"));
    else await attached.events.return?.();
  }

  /** Attaches on behalf of a call, which may be cancelled meanwhile. */
  async #attachFor(related: number): Promise<void> {
    const cancelled = new Promise<never>((_, reject) => this.#waiting.set(related, reject));
    try {
      await Promise.race([this.start(), cancelled]);
    } finally {
      this.#waiting.delete(related);
    }
  }

  async #attach(): Promise<InitializeResult> {
    const { ctx, owner, principal } = this.#deps;
    const id = `${ctx.self}#${ctx.epoch}.${++this.#count}`;
    const events = this.#server.attach(id, principal)[Symbol.asyncIterator]();
    const attached: Attached = { id, events, questions: new Map() };
    this.#attached = attached;
    let first: SharedEvent | undefined;
    try {
      first = (await events.next()).value;
    } catch (error) {
      if (this.#attached === attached) this.#attached = undefined;
      throw error;
    }
    if (this.#attached !== attached || first?.kind !== "attached") {
      if (this.#attached === attached) this.#attached = undefined;
      void events.return?.();
      throw this.#unavailable("it ended as it came up");
    }
    await owner.onConnected?.(this.name, undefined);
    if (this.#attached !== attached) throw this.#unavailable("it ended as it came up");
    this.#result = first.result;
    this.#lastUsed = ctx.worker.clock.now();
    this.#watchIdle(this.#config.idleStopMs);
    void this.#read(attached);
    owner.onStarted?.(this.name, first.result);
    return first.result;
  }

  /** Takes events until the stream ends. The next one is asked for when the owner has taken the last. */
  async #read(attached: Attached): Promise<void> {
    let closed: ChannelClosed = { reason: "closed", detail: "the session did not keep up with it" };
    try {
      for (;;) {
        const { done, value } = await attached.events.next();
        if (done === true) break;
        if (this.#attached !== attached) return;
        if (value.kind === "closed") closed = value.closed;
        else await this.#take(attached, value);
      }
    } catch (error) {
      closed = { reason: "crashed", detail: error instanceof Error ? error.message : String(error) };
    }
    this.#lost(attached, closed);
  }

  #take(attached: Attached, event: SharedEvent): void | Promise<void> {
    const { owner, ctx } = this.#deps;
    try {
      switch (event.kind) {
        case "notification":
          return owner.onNotification(this.name, event.method, event.params, event.related);
        case "request":
          return this.#ask(attached, event);
        case "abort":
          attached.questions.get(event.id)?.abort(new TroupeError("cancelled", event.reason));
          attached.questions.delete(event.id);
          return;
        case "closeStream":
          return owner.closeStream?.(this.name, event.related);
        default:
          return;
      }
    } catch (error) {
      ctx.worker.log.error("an upstream's message could not be handled", { upstream: this.name, error });
    }
  }

  #ask(attached: Attached, event: SharedEvent & { kind: "request" }): void {
    const { id, method, params, related } = event;
    const controller = new AbortController();
    attached.questions.set(id, controller);
    const respond = (answer: Answer): void => {
      if (attached.questions.delete(id)) this.#tell(this.#control.respond(attached.id, id, answer));
    };
    this.#deps.owner.onRequest(this.name, method, params, related, controller.signal).then(
      (result) => respond({ result: result ?? {} }),
      (error) => respond({ error: errorObjectOf(error) }),
    );
  }

  #lost(attached: Attached, closed: ChannelClosed): void {
    if (this.#attached !== attached) return;
    const wasUp = this.#result !== undefined;
    this.#attached = undefined;
    this.#result = undefined;
    this.#cancelIdle?.();
    for (const controller of attached.questions.values()) {
      controller.abort(this.#unavailable("it went away"));
    }
    attached.questions.clear();
    if (wasUp) this.#deps.owner.onClosed(this.name, closed);
  }

  #watchIdle(inMs: number): void {
    const { idleStopMs } = this.#config;
    if (idleStopMs === 0) return;
    const { clock } = this.#deps.ctx.worker;
    this.#cancelIdle = clock.after(inMs, () => {
      const idleMs = clock.now() - this.#lastUsed;
      const busy = this.#inFlight > 0 || (this.#attached?.questions.size ?? 0) > 0;
      if (busy || this.#deps.keepRunning?.() === true) this.#watchIdle(idleStopMs);
      else if (idleMs < idleStopMs) this.#watchIdle(idleStopMs - idleMs);
      else void this.close("idle");
    });
  }

  /** For calls whose failure changes nothing: the actor's end is seen on the stream. */
  #tell(call: Promise<unknown>): void {
    call.catch((error) => {
      this.#deps.ctx.worker.log.debug("a shared upstream was not told", { upstream: this.name, error });
    });
  }

  #unavailable(detail: string): TroupeError {
    return new TroupeError("unavailable", `upstream ${this.name}: ${detail}`, { started: "no" });
  }
}
