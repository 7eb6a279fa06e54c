/**
 * What upstreams send, on its way to the client. Each message goes to exactly one stream (WIRE K6):
 * - progress, logging and requests in the course of a call: the stream of that call's POST, which becomes one;
 * - a request that its upstream could not tie to a call: the only call it works on, else the GET stream if somebody
 *   listens there, else the oldest call it works on, because a client without GET stream would never see it;
 * - everything else: the GET stream.
 */
import {
  type ChannelClosed,
  type InitializeResult,
  type ModuleMemory,
  RpcError,
  type RpcId,
  type UpstreamOwner,
  type UpstreamSession,
} from "../../transports/upstream/contract.ts";
import type { ClientCall } from "./calls.ts";
import { clientRefusal, severity } from "./capabilities.ts";
import { replaceToken } from "./client_requests.ts";
import { forgetConnection, memoryLost, moduleMemory, rememberConnection, sessionForgotten } from "./memory.ts";
import { restore, startForUpdates } from "./own_methods.ts";
import { PRIMING_VERSION, type SessionParts, withdrawn } from "./parts.ts";
import { RpcCode } from "./rpc.ts";
import { inTask } from "./tasks.ts";

type Params = Record<string, unknown> | undefined;

/** What a client is told to wait before it comes back after a deliberate close, milliseconds. */
const RETRY_MS = 1_000;
/** A crashed upstream whose notifications are wanted is started again after this time, milliseconds. */
const RESTART_MS = 1_000;
const PONG: Promise<unknown> = Promise.resolve({});

export class FromUpstreams implements UpstreamOwner {
  readonly #parts: SessionParts;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  onConnected(upstream: string, session: UpstreamSession | undefined): void | Promise<void> {
    const parts = this.#parts;
    return parts.closed ? undefined : rememberConnection(parts, upstream, session);
  }

  memory(upstream: string): ModuleMemory | undefined {
    return moduleMemory(this.#parts, upstream);
  }

  onForgotten(upstream: string): void {
    const parts = this.#parts;
    if (!parts.closed) sessionForgotten(parts, upstream);
  }

  onStarted(upstream: string, greeting: InitializeResult): void {
    const parts = this.#parts;
    if (parts.closed) return;
    restore(parts, upstream, greeting);
  }

  onRequest(
    upstream: string,
    method: string,
    params: Params,
    related: number | undefined,
    signal: AbortSignal,
    question?: RpcId,
  ): Promise<unknown> {
    if (method === "ping") return PONG;
    const parts = this.#parts;
    const { worker, state } = parts.ctx;
    const refusal = clientRefusal(method, params, state.capabilities);
    if (refusal !== undefined) return Promise.reject(refusal);
    if (parts.closed || signal.aborted) return Promise.reject(withdrawn("the session or the request has ended"));
    const requests = parts.needRequests();
    if (requests.size >= parts.settings.maxClientRequests) {
      worker.count("troupe_session_client_requests_refused_total");
      const message = `${requests.size} requests wait for this client already`;
      return Promise.reject(new RpcError({ code: RpcCode.overloaded, message }));
    }
    worker.count("troupe_session_client_requests_total");
    const { calls, tasks } = parts;
    const call = tasks?.callOf(upstream, params) ?? calls?.byRelated(related) ?? this.#likelyCall(upstream);
    const stream = call === undefined ? parts.needStreams().standalone() : parts.needCalls().streamOf(call);
    const id = requests.nextId();
    const { token, params: sent } = replaceToken(inTask(call, params), id);
    const answer = parts.ask({ id, upstream, related: call?.related, stream, token, question }, () => signal);
    parts.needStreams().send(stream, JSON.stringify({ jsonrpc: "2.0", id, method, params: sent }));
    return answer;
  }

  onNotification(upstream: string, method: string, params: Params, related: number | undefined): void | Promise<void> {
    const parts = this.#parts;
    if (parts.closed) return;
    const call = parts.tasks?.callOf(upstream, params) ?? parts.calls?.byRelated(related);
    switch (method) {
      case "notifications/progress":
        return this.#progress(params, call);
      case "notifications/message":
        if (this.#silences(params?.level)) return;
        break;
      case "notifications/tools/list_changed":
      case "notifications/prompts/list_changed":
      case "notifications/resources/list_changed":
        parts.needRouter().listChanged(upstream, method);
        return this.#announce(method, undefined);
      case "notifications/resources/updated":
        if (this.#subscribed(params?.uri)) this.#announce(method, params);
        return;
      case "notifications/elicitation/complete":
        return this.#announce(method, params);
      case "notifications/tasks/status":
        return parts.tasks?.onStatus(upstream, params);
      case "notifications/cancelled":
        return;
    }
    const streams = parts.needStreams();
    const stream = call === undefined ? streams.standalone() : parts.needCalls().streamOf(call);
    return streams.sendEphemeral(stream, JSON.stringify({ jsonrpc: "2.0", method, params: inTask(call, params) }));
  }

  onClosed(upstream: string, closed: ChannelClosed): void {
    const parts = this.#parts;
    for (const request of parts.requests?.select((waiting) => waiting.upstream === upstream) ?? []) {
      parts.withdraw(request, "the server went away");
    }
    const { state, worker } = parts.ctx;
    if (!parts.closed) forgetConnection(parts, upstream);
    if (!parts.closed && closed.forgotten === true) memoryLost(parts, upstream);
    if (parts.closed || closed.reason === "closed" || state.subscriptions.length === 0) return;
    worker.clock.after(RESTART_MS, () => {
      if (!parts.closed) startForUpdates(parts, upstream);
    });
  }

  /** The upstream wants the client to poll: the connection of that call's POST is closed, its stream goes on (SEP-1699). */
  closeStream(_upstream: string, related: number): void {
    const parts = this.#parts;
    const call = parts.calls?.byRelated(related);
    // Without a priming event the client might have no id to come back with.
    if (call === undefined || parts.ctx.state.protocolVersion !== PRIMING_VERSION) return;
    parts.needStreams().closeConnection(parts.needCalls().streamOf(call), RETRY_MS);
  }

  /** MCP, Progress: the value must increase, and nothing follows the response. */
  #progress(params: Params, call: ClientCall | undefined): void | Promise<void> {
    if (call?.token === undefined) return;
    const parts = this.#parts;
    const value = params?.progress;
    if (typeof value !== "number" || !(value > call.progress)) {
      return parts.ctx.worker.count("troupe_session_progress_dropped_total");
    }
    call.progress = value;
    const stream = parts.needCalls().streamOf(call);
    const told = { ...inTask(call, params), progressToken: call.token };
    const text = JSON.stringify({ jsonrpc: "2.0", method: "notifications/progress", params: told });
    return parts.needStreams().sendEphemeral(stream, text);
  }

  /** Whether the client asked not to hear log messages of `level`. */
  #silences(level: unknown): boolean {
    const least = severity(this.#parts.ctx.state.logLevel);
    const rank = severity(level);
    return least !== undefined && rank !== undefined && rank < least;
  }

  /** Whether the client subscribed to `uri` or to what contains it ("might be a sub-resource", MCP, Resources). */
  #subscribed(uri: unknown): boolean {
    if (typeof uri !== "string") return false;
    const { ctx, subscribing } = this.#parts;
    if (subscribing?.has(uri) === true) return true;
    return ctx.state.subscriptions.some(
      (known) => uri === known || (uri.startsWith(known) && (known.endsWith("/") || uri[known.length] === "/")),
    );
  }

  /** To the GET stream, durable, unless the same waits there already. */
  #announce(method: string, params: Params): void {
    const streams = this.#parts.needStreams();
    streams.send(streams.standalone(), JSON.stringify({ jsonrpc: "2.0", method, params }), true);
  }

  #likelyCall(upstream: string): ClientCall | undefined {
    const { calls, streams } = this.#parts;
    const [oldest, second] = calls?.at(upstream) ?? [];
    return second !== undefined && streams?.listening === true ? undefined : oldest;
  }
}
