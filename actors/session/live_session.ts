/**
 * A session while it is active on a worker: what comes from the client, what comes from its upstreams, and its end.
 */
import type { ActivationContext } from "../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../runtime/actor/errors.ts";
import type { CancelledRequest } from "./cancels.ts";
import { offerAgain } from "./client_requests.ts";
import { type EventsCall, keepsTasks, type PostAnswer, type SessionEvent, type SessionState } from "./contract.ts";
import { FromClient } from "./from_client.ts";
import { FromUpstreams } from "./from_upstreams.ts";
import { idleSweep, type SweptSession } from "./idle.ts";
import { restoreUpstreams, tellLostMemory } from "./memory.ts";
import { SessionParts } from "./parts.ts";
import { takeOver } from "./takeover.ts";
import type { UpstreamAccess } from "./upstreams.ts";

/** What a session that moves has in memory only. */
export interface HandedMemory {
  /** Cancelled requests that may still come. */
  cancelled: readonly CancelledRequest[];
}

export class LiveSession implements SweptSession {
  readonly #parts: SessionParts;
  readonly #client: FromClient;
  #lastUsed: number;
  #closing: Promise<void> | undefined;

  /** `ctx` must live as long as the activation; `handed`: what `prepareToMove` of the former owner answered. */
  constructor(ctx: ActivationContext<SessionState>, access: UpstreamAccess, handed: HandedMemory | undefined) {
    this.#parts = new SessionParts(ctx, access, FromUpstreams);
    this.#client = new FromClient(this.#parts, handed?.cancelled ?? []);
    this.#lastUsed = wholeMs(ctx.worker.clock.now());
    idleSweep(ctx.worker).add(this);
    // Where another activation had this session before.
    takeOver(this.#parts, this.#client);
    restoreUpstreams(this.#parts);
  }

  /** Calls in flight. */
  get calls(): number {
    return this.#parts.calls?.size ?? 0;
  }

  /** Streams that somebody reads. */
  get openStreams(): number {
    return this.#parts.streams?.readers ?? 0;
  }

  /** Sizes of the tables, for tests of their bounds. */
  get sizes(): { calls: number; requests: number; streams: number; events: number } {
    const { requests, streams } = this.#parts;
    return {
      calls: this.calls,
      requests: requests?.size ?? 0,
      streams: streams?.size ?? 0,
      events: streams?.logged ?? 0,
    };
  }

  /** Milliseconds since the last post or open stream. */
  idleMs(now: number): number {
    const { state, worker } = this.#parts.ctx;
    const used = this.calls > 0 || this.openStreams > 0 || keepsTasks(state, worker.clock.wallNow());
    return used ? 0 : now - this.#lastUsed;
  }

  upstreamStates(): { name: string; running: boolean }[] {
    const { ctx, upstreams } = this.#parts;
    return ctx.state.upstreams.map((name) => ({ name, running: upstreams?.get(name)?.running ?? false }));
  }

  /** One POST. The principal has been checked. */
  post(version: string | null, text: string, again: boolean): PostAnswer | Promise<PostAnswer> {
    this.#lastUsed = wholeMs(this.#parts.ctx.worker.clock.now());
    return this.#client.post(version, text, again);
  }

  /** One SSE connection: a stream that `post` named, one to resume, or the GET stream. */
  async *events(call: EventsCall, signal: AbortSignal): AsyncGenerator<SessionEvent, void, undefined> {
    const problem = this.#client.versionProblem(call.version);
    if (problem !== undefined) {
      throw new TroupeError("invalid_argument", problem, { started: "no", data: { reason: problem, status: 400 } });
    }
    const { clock } = this.#parts.ctx.worker;
    this.#lastUsed = wholeMs(clock.now());
    const streams = this.#parts.needStreams();
    const { stream, lastEventId } = call;
    const named = stream === null ? streams.standalone() : streams.find(stream);
    const source = lastEventId === null ? named : streams.resume(lastEventId);
    const anew = stream === null && lastEventId === null;
    if (anew) offerAgain(this.#parts, source);
    void tellLostMemory(this.#parts, source);
    try {
      yield* streams.read(source, signal, anew);
    } finally {
      this.#lastUsed = wholeMs(clock.now());
      // The client saw the death of its edge before this node did.
      const later = TroupeError.is(signal.reason, "caller_died") ? streams.listenedAfter(source) : undefined;
      if (later !== undefined) offerAgain(this.#parts, later);
    }
  }

  sweep(now: number): number {
    this.#parts.streams?.sweep();
    this.#parts.tasks?.sweep();
    if (this.#parts.ctx.state.log !== undefined) this.#parts.refreshLog();
    const idle = this.idleMs(now);
    if (idle === 0) this.#lastUsed = wholeMs(now);
    return idle;
  }

  expire(): void {
    const { ctx } = this.#parts;
    this.end().catch((error) => ctx.worker.log.warn("an idle session could not be ended", { session: ctx.key, error }));
  }

  /**
   * Ends the session for good. It has ended when that is stored: what waits fails then, and upstreams, which may take
   * their time to stop, are stopped by the end of the activation, not while a client waits for its DELETE. Only tasks that
   * work are cancelled before it, for as long as `abandon` waits.
   */
  async end(): Promise<void> {
    await this.#parts.tasks?.abandon();
    await this.#parts.ctx.end();
    void this.close("ended");
  }

  /**
   * Another node is to go on with this session: what that one starts from is stored first. Answers what is not stored and
   * goes along, undefined if nothing. Rejects when it cannot be stored.
   */
  async prepareToMove(): Promise<HandedMemory | undefined> {
    const { streams, ctx } = this.#parts;
    if (streams !== undefined || ctx.state.connections !== undefined || ctx.state.tasks !== undefined) {
      this.#parts.refreshLog();
      await ctx.commit();
    }
    const cancelled = this.#client.cancelled;
    return cancelled.length === 0 ? undefined : { cancelled };
  }

  /**
   * Stops everything of this activation; resolves when its upstreams have stopped. Never rejects. `reason` decides
   * whether upstreams see an end or only a silence; the first one counts.
   */
  close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  async #close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    const parts = this.#parts;
    parts.closed = true;
    idleSweep(parts.ctx.worker).delete(this);
    const code = reason === "ended" || reason === "idle" ? "ended" : "unavailable";
    const error = new TroupeError(code, `session ${parts.ctx.key} stopped here (${reason})`, { started: "yes" });
    parts.calls?.failAll(error);
    parts.tasks?.close();
    parts.streams?.close();
    // Before their questions fail: whoever goes on with this session has those still.
    const closed = parts.upstreams?.closeAll(reason);
    parts.requests?.failAll(error);
    await closed;
  }
}

/** Whole milliseconds fit into the object itself; fractions would be a heap number of their own. */
function wholeMs(ms: number): number {
  return Math.trunc(ms);
}
