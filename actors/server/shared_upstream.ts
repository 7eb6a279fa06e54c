/**
 * One connection to an upstream, shared by sessions of a node: all of them, or all of one principal.
 *
 * ## Nobody gets another's messages
 * Every call gets a number of this connection's own, from which the client makes the id and the progress token that the
 * upstream sees; sessions' own ids and tokens never reach it, so equal ones cannot collide. What the upstream sends goes
 * to the session whose call it belongs to. Where the transport cannot tell (stdio, or code that sends outside of its
 * handler's context) it goes to the only session with calls in flight; with several, a request is refused to the
 * upstream, and a log line is dropped, both counted as `troupe_upstream_uncorrelated_total`.
 *
 * ## What is common
 * - `resources/subscribe`: one subscription per URI, for as long as a session wants it; updates go to those who do.
 * - `logging/setLevel`: the most verbose level any session needs; each session gets only what its own level asks for.
 * - `…/list_changed` goes to everybody. `notifications/elicitation/complete` goes to whoever was asked.
 *
 * A session that goes away has its calls cancelled and its subscriptions given up. One that lost its owner (it moved, or
 * was fenced) gives up its subscriptions only: its calls end by themselves, and nobody gets their answers. When the connection breaks, every
 * session is told and detached; it attaches again with its next request, and then says again what it wants.
 */
import type { WorkerServices } from "../../runtime/actor/define.ts";
import { type AbortReason, abortReasonOf, isCancel, TroupeError } from "../../runtime/actor/errors.ts";
import { refusalSeries } from "../../runtime/observe/refusals.ts";
import { createUpstreamClient, type Permits } from "../../transports/upstream/client.ts";
import {
  type ChannelClosed,
  type InitializeResult,
  RpcError,
  type UpstreamClient,
  type UpstreamConfig,
  type UpstreamOwner,
} from "../../transports/upstream/contract.ts";
import { errorObjectOf } from "../../transports/upstream/json_rpc.ts";
import type { Answer, SharedEvent } from "./events.ts";
import { gatewayHandshake } from "./handshake.ts";
import { mostVerbose, wants } from "./log_levels.ts";
import { Outbox } from "./outbox.ts";

const MAX_SUBSCRIPTIONS = 10_000;
const MAX_ELICITATIONS = 1_024;

type Params = Record<string, unknown> | undefined;

/** A session attached to the connection. */
class Attachment {
  readonly id: string;
  readonly outbox = new Outbox();
  /** Its calls in flight: the session's number → the connection's. */
  readonly calls = new Map<number, number>();
  readonly subscriptions = new Set<string>();
  /** Requests of the upstream it has not answered, with the progress token each came with. */
  readonly asked = new Map<number, unknown>();
  level: string | undefined;

  constructor(id: string) {
    this.id = id;
  }
}

interface Call {
  readonly attachment: Attachment;
  readonly related: number;
}
interface Question {
  readonly attachment: Attachment;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: RpcError) => void;
}
interface Subscription {
  readonly sessions: Set<Attachment>;
  /** The upstream's answer to the first of them. */
  readonly made: Promise<Answer>;
}

export interface SharedUpstreamDeps {
  epoch: string;
  services: WorkerServices;
  permits: Permits;
  /** For tests. */
  client?: (owner: UpstreamOwner) => UpstreamClient;
}

export class SharedUpstream implements UpstreamOwner {
  readonly #config: UpstreamConfig;
  readonly #services: WorkerServices;
  readonly #client: UpstreamClient;
  readonly #attachments = new Map<string, Attachment>();
  /** Attachments with calls in flight. */
  readonly #busy = new Set<Attachment>();
  readonly #calls = new Map<number, Call>();
  readonly #questions = new Map<number, Question>();
  readonly #subscriptions = new Map<string, Subscription>();
  /** Who was asked to open a URL, by the id the upstream gave it. Bounded: the oldest goes first. */
  readonly #elicitations = new Map<string, Attachment>();
  #level: string | undefined;
  #lastNumber = 0;
  #attaching = 0;

  constructor(config: UpstreamConfig, deps: SharedUpstreamDeps) {
    this.#config = config;
    this.#services = deps.services;
    this.#client =
      deps.client?.(this) ??
      createUpstreamClient(config, {
        epoch: deps.epoch,
        owner: this,
        handshake: gatewayHandshake(),
        services: deps.services,
        permits: deps.permits,
        keepRunning: () => this.#subscriptions.size > 0,
        shared: true,
      });
  }

  get sessions(): number {
    return this.#attachments.size;
  }

  /** Whether nobody is attached or about to be, and nothing runs. */
  get idle(): boolean {
    return this.#attachments.size === 0 && this.#attaching === 0 && !this.#client.running;
  }

  start(): Promise<InitializeResult> {
    return this.#client.start();
  }

  close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    return this.#client.close(reason);
  }

  /** A session's attachment, from its first event to its last. `id` is never used twice. */
  async *attach(id: string, signal: AbortSignal): AsyncGenerator<SharedEvent> {
    this.#attaching++;
    const result = await this.#client.start().finally(() => {
      this.#attaching--;
    });
    if (signal.aborted || !this.#client.running) return;
    const attachment = new Attachment(id);
    this.#attachments.set(id, attachment);
    signal.addEventListener("abort", () => attachment.outbox.close(), { once: true });
    try {
      yield { kind: "attached", result };
      for (;;) {
        const events = await attachment.outbox.take();
        if (events === undefined) return;
        yield* events;
      }
    } finally {
      this.#detach(attachment, isCancelled(signal));
    }
  }

  /** One call of a session. Rejects with `TroupeError` only; an error of the upstream is an answer. */
  async request(id: string, method: string, params: Params, related: number, options: RequestOptions): Promise<Answer> {
    const attachment = this.#attachment(id);
    switch (method) {
      case "logging/setLevel":
        attachment.level = typeof params?.level === "string" ? params.level : undefined;
        return this.#applyLevel();
      case "resources/subscribe":
        return this.#subscribe(attachment, String(params?.uri));
      case "resources/unsubscribe":
        return this.#unsubscribe(attachment, String(params?.uri));
      default:
        return this.#call(attachment, method, params, related, options);
    }
  }

  cancel(id: string, related: number, reason: string | undefined): void {
    const number = this.#attachments.get(id)?.calls.get(related);
    if (number !== undefined) this.#client.cancel(number, reason);
  }

  notify(id: string, method: string, params: Params): void {
    const attachment = this.#attachments.get(id);
    if (attachment === undefined) return;
    if (method === "notifications/progress") {
      // The token is the upstream's own; only who was given it may use it.
      const token = params?.progressToken;
      if (token === undefined || ![...attachment.asked.values()].includes(token)) return;
    }
    this.#client.notify(method, params);
  }

  /** A session's answer to a request of the upstream. */
  respond(id: string, question: number, answer: Answer): void {
    const asked = this.#questions.get(question);
    if (asked === undefined || asked.attachment.id !== id) return;
    this.#forgetQuestion(question, asked.attachment);
    if ("error" in answer) asked.reject(new RpcError(answer.error));
    else asked.resolve(answer.result);
  }

  async onRequest(
    _upstream: string,
    method: string,
    params: Params,
    related: number | undefined,
    signal: AbortSignal,
  ): Promise<unknown> {
    const target = this.#target(related);
    if (target === undefined) {
      this.#services.count("troupe_upstream_uncorrelated_total");
      throw refusal(
        `${method}: which session this belongs to cannot be told, ${this.#busy.size} have calls in flight; ` +
          `set "isolation": "session" for upstream ${this.#config.name}`,
      );
    }
    const { attachment } = target;
    const id = ++this.#lastNumber;
    const meta = params?._meta as { progressToken?: unknown } | undefined;
    return new Promise<unknown>((resolve, reject) => {
      if (!attachment.outbox.push({ kind: "request", id, method, params, related: target.related })) {
        return reject(refusal(`${method}: the session does not keep up`));
      }
      this.#questions.set(id, { attachment, resolve, reject });
      attachment.asked.set(id, meta?.progressToken);
      this.#rememberElicitation(params?.elicitationId, attachment);
      signal.addEventListener("abort", () => {
        if (!this.#questions.has(id)) return;
        this.#forgetQuestion(id, attachment);
        attachment.outbox.push({ kind: "abort", id, reason: reasonOf(signal) });
        reject(refusal(`${method}: cancelled`));
      });
    });
  }

  onNotification(_upstream: string, method: string, params: Params, related: number | undefined): void {
    if (method.endsWith("/list_changed")) {
      for (const attachment of this.#attachments.values()) this.#mustTake(attachment, method, params);
    } else if (method === "notifications/resources/updated") {
      const uri = String(params?.uri);
      for (const attachment of this.#attachments.values()) {
        if (isSubscribed(attachment.subscriptions, uri)) this.#mustTake(attachment, method, params);
      }
    } else if (method === "notifications/elicitation/complete") {
      const id = String(params?.elicitationId);
      const attachment = this.#elicitations.get(id);
      this.#elicitations.delete(id);
      if (attachment !== undefined) this.#mustTake(attachment, method, params);
    } else {
      const target = this.#target(related);
      if (target === undefined) return this.#services.count("troupe_upstream_uncorrelated_total");
      const { attachment } = target;
      if (method === "notifications/message" && !wants(attachment.level, params?.level)) return;
      if (!attachment.outbox.push({ kind: "notification", method, params, related: target.related })) {
        this.#services.count("troupe_upstream_dropped_notifications_total");
      }
    }
  }

  closeStream(_upstream: string, related: number): void {
    const call = this.#calls.get(related);
    call?.attachment.outbox.push({ kind: "closeStream", related: call.related });
  }

  onClosed(_upstream: string, closed: ChannelClosed): void {
    this.#level = undefined;
    this.#subscriptions.clear();
    this.#elicitations.clear();
    for (const attachment of [...this.#attachments.values()]) {
      attachment.subscriptions.clear();
      attachment.outbox.push({ kind: "closed", closed });
      attachment.outbox.close();
      this.#attachments.delete(attachment.id);
    }
  }

  async #call(
    attachment: Attachment,
    method: string,
    params: Params,
    related: number,
    { progress, signal }: RequestOptions,
  ): Promise<Answer> {
    const number = ++this.#lastNumber;
    const cancel = (): void => {
      if (isCancelled(signal)) this.#client.cancel(number, reasonOf(signal));
    };
    this.#calls.set(number, { attachment, related });
    attachment.calls.set(related, number);
    this.#busy.add(attachment);
    signal.addEventListener("abort", cancel, { once: true });
    try {
      return await this.#ask(method, params, number, progress);
    } finally {
      signal.removeEventListener("abort", cancel);
      this.#calls.delete(number);
      attachment.calls.delete(related);
      if (attachment.calls.size === 0) this.#busy.delete(attachment);
    }
  }

  /** A call on the connection; the upstream's error becomes an answer. */
  async #ask(method: string, params: Params, number = ++this.#lastNumber, progress = false): Promise<Answer> {
    try {
      return { result: await this.#client.request(method, params, { related: number, progress }) };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return { error: errorObjectOf(error) };
    }
  }

  /** The session a message belongs to. */
  #target(related: number | undefined): { attachment: Attachment; related: number | undefined } | undefined {
    if (related !== undefined) return this.#calls.get(related);
    if (this.#busy.size !== 1) return undefined;
    for (const attachment of this.#busy) return { attachment, related: onlyKey(attachment.calls) };
    return undefined;
  }

  #attachment(id: string): Attachment {
    const attachment = this.#attachments.get(id);
    if (attachment !== undefined) return attachment;
    throw new TroupeError("unavailable", `upstream ${this.#config.name}: the session is not attached to it`, {
      started: "no",
    });
  }

  /** For what a session must not miss: one that has no room for it is detached, and will start over. */
  #mustTake(attachment: Attachment, method: string, params: Params): void {
    if (attachment.outbox.push({ kind: "notification", method, params, related: undefined })) return;
    attachment.outbox.close();
  }

  async #applyLevel(): Promise<Answer> {
    const level = mostVerbose([...this.#attachments.values()].map((attachment) => attachment.level));
    if (level === this.#level || level === undefined) return { result: {} };
    const before = this.#level;
    this.#level = level;
    const answer = await this.#ask("logging/setLevel", { level });
    if ("error" in answer && this.#level === level) this.#level = before;
    return answer;
  }

  async #subscribe(attachment: Attachment, uri: string): Promise<Answer> {
    let subscription = this.#subscriptions.get(uri);
    if (subscription === undefined) {
      if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS) {
        this.#services.count(refusalSeries("upstream"));
        const message = `upstream ${this.#config.name}: ${MAX_SUBSCRIPTIONS} resources are subscribed to already`;
        throw new TroupeError("overloaded", message, { started: "no", retryAfterMs: 1_000 });
      }
      subscription = { sessions: new Set(), made: this.#ask("resources/subscribe", { uri }) };
      this.#subscriptions.set(uri, subscription);
    }
    // At once, so that an update that follows the upstream's answer closely is not missed.
    subscription.sessions.add(attachment);
    attachment.subscriptions.add(uri);
    const undo = (): void => {
      subscription.sessions.delete(attachment);
      attachment.subscriptions.delete(uri);
      if (this.#subscriptions.get(uri) === subscription && subscription.sessions.size === 0) {
        this.#subscriptions.delete(uri);
      }
    };
    try {
      const answer = await subscription.made;
      if ("error" in answer) undo();
      return answer;
    } catch (error) {
      undo();
      throw error;
    }
  }

  async #unsubscribe(attachment: Attachment, uri: string): Promise<Answer> {
    attachment.subscriptions.delete(uri);
    const subscription = this.#subscriptions.get(uri);
    if (subscription === undefined) return { result: {} };
    subscription.sessions.delete(attachment);
    if (subscription.sessions.size > 0) return { result: {} };
    this.#subscriptions.delete(uri);
    return this.#ask("resources/unsubscribe", { uri });
  }

  #detach(attachment: Attachment, cancelCalls: boolean): void {
    attachment.outbox.close();
    if (this.#attachments.get(attachment.id) === attachment) this.#attachments.delete(attachment.id);
    if (cancelCalls) {
      for (const number of [...attachment.calls.values()]) this.#client.cancel(number, "the session went away");
    }
    for (const [id, question] of [...this.#questions]) {
      if (question.attachment !== attachment) continue;
      this.#forgetQuestion(id, attachment);
      question.reject(refusal("the session went away"));
    }
    for (const [id, asked] of [...this.#elicitations]) if (asked === attachment) this.#elicitations.delete(id);
    const quietly = (answer: Promise<Answer>): void => {
      answer.catch((error) => {
        this.#services.log.debug("a shared upstream was not told that a session left", { error });
      });
    };
    for (const uri of [...attachment.subscriptions]) quietly(this.#unsubscribe(attachment, uri));
    if (attachment.level !== undefined && this.#client.running) quietly(this.#applyLevel());
  }

  #forgetQuestion(id: number, attachment: Attachment): void {
    this.#questions.delete(id);
    attachment.asked.delete(id);
  }

  #rememberElicitation(id: unknown, attachment: Attachment): void {
    if (typeof id !== "string") return;
    if (this.#elicitations.size >= MAX_ELICITATIONS) {
      for (const oldest of this.#elicitations.keys()) {
        this.#elicitations.delete(oldest);
        break;
      }
    }
    this.#elicitations.set(id, attachment);
  }
}

export interface RequestOptions {
  progress: boolean;
  /** Fires when the session no longer wants the answer. */
  signal: AbortSignal;
}

/** An update may be about a part of what was subscribed to (MCP, Resources, Subscriptions). */
function isSubscribed(subscriptions: ReadonlySet<string>, uri: string): boolean {
  if (subscriptions.has(uri)) return true;
  for (const subscribed of subscriptions) if (uri.startsWith(`${subscribed.replace(/\/$/, "")}/`)) return true;
  return false;
}

function onlyKey(map: ReadonlyMap<number, unknown>): number | undefined {
  if (map.size !== 1) return undefined;
  for (const key of map.keys()) return key;
  return undefined;
}

function refusal(message: string): RpcError {
  return new RpcError({ code: -32000, message });
}

/** Whether the end of what `signal` belongs to is a cancel, and not a loss of ownership. */
function isCancelled({ reason }: AbortSignal): boolean {
  return !TroupeError.is(reason) || isCancel(abortReasonOf(reason));
}

function reasonOf(signal: AbortSignal): string {
  const { reason } = signal;
  return reason instanceof Error ? reason.message : "cancelled";
}
