/**
 * A session actor on the real actor host, with a clock that tests move and upstreams that tests script. No sockets, no
 * threads, no waiting: time passes only by `clock.advance`.
 */

import { Cancellation } from "../../../actors/cancellation/cancellation.ts";
import type { PostAnswer, SessionDescription, SessionEvent, SessionState } from "../../../actors/session/contract.ts";
import type { LiveSession } from "../../../actors/session/live_session.ts";
import { openSession } from "../../../actors/session/open.ts";
import { defineSession } from "../../../actors/session/session.ts";
import type { SessionSettings } from "../../../actors/session/settings.ts";
import type { UpstreamAccess } from "../../../actors/session/upstreams.ts";
import type { Clock } from "../../../runtime/actor/clock.ts";
import { decodeEnvelope, encodeState } from "../../../runtime/actor/codec.ts";
import type { Ref, WorkerServices } from "../../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../../runtime/actor/errors.ts";
import { Host, type RunnableDefinition } from "../../../runtime/actor/host.ts";
import { actorId, type Epoch, type Incarnation, type NodeId } from "../../../runtime/actor/ids.ts";
import {
  type HostMessage,
  HostMessageType,
  isHostMessage,
  Lane,
  type LeftMessage,
  type Message,
} from "../../../runtime/actor/message.ts";
import { makeRef } from "../../../runtime/actor/ref.ts";
import { DiagnosticEvents } from "../../../runtime/observe/events.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import {
  type Catalogue,
  type InitializeResult,
  RpcError,
  type RpcId,
  type SentRequest,
  type UpstreamClient,
  type UpstreamConfig,
  type UpstreamOwner,
  type UpstreamSession,
} from "../../../transports/upstream/contract.ts";

export type Json = Record<string, unknown>;

/** Lets everything that is ready to run, run. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 6; round++) await new Promise<void>((resolve) => setImmediate(resolve));
}

export class ManualClock implements Clock {
  #now = 1_000;
  #timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }
  wallNow(): number {
    return 1_700_000_000_000 + this.#now;
  }
  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }
  /** Moves time, runs the timers that come due in their order, and lets their effects happen. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
      await settle();
    }
    this.#now = until;
    await settle();
  }
}

/** A request as a scripted upstream sees it. */
export interface Received {
  method: string;
  params: Json | undefined;
  related: number;
  progress: boolean;
  /** Set when the session cancelled it. */
  cancelled: string | undefined | false;
  /** Its id at the upstream. */
  id: string;
  answer(result: unknown): void;
  refuse(code: number, message: string, data?: unknown): void;
}

type Handler = (params: Json | undefined, request: Received, upstream: FakeUpstream) => unknown;

/** A handler's wish to answer later, with `request.answer`. */
export const LATER = Symbol("later");

export class FakeUpstream {
  readonly name: string;
  capabilities: Json = { tools: {}, prompts: {}, resources: { subscribe: true }, logging: {}, completions: {} };
  protocolVersion = "2025-11-25";
  serverInfo: Json;
  instructions: string | undefined;
  /** Why it cannot be reached, if it cannot. */
  unreachable: string | undefined;
  /** What the answer to "what do you offer?" waits for. */
  slow: Promise<void> | undefined;
  describes = 0;
  /** What its stop waits for. */
  slowStop: Promise<void> | undefined;
  readonly handlers = new Map<string, Handler>();
  readonly requests: Received[] = [];
  readonly notified: { method: string; params: Json | undefined }[] = [];
  readonly closedFor: string[] = [];
  handshake: { protocolVersion: string; capabilities: Json; clientInfo: Json } | undefined;
  /** Whether its session outlives the owner, as over HTTP; `remembers`: what it knows, by session id. */
  resumable = false;
  readonly remembers = new Map<string, Map<string, Received>>();
  /** Answers of the client to questions that a former owner took, by the question's id. */
  readonly laterAnswers = new Map<RpcId, unknown>();
  keepRunning: () => boolean = () => false;
  starts = 0;
  owner: UpstreamOwner | undefined;
  client: FakeClient | undefined;

  constructor(name: string) {
    this.name = name;
    this.serverInfo = { name, version: "1.0.0", title: `The ${name}`, icons: [] };
  }

  on(method: string, handler: Handler): this {
    this.handlers.set(method, handler);
    return this;
  }
  get catalogue(): Catalogue {
    const { name, protocolVersion, capabilities, serverInfo, instructions } = this;
    return { name, protocolVersion, capabilities, serverInfo, ...(instructions === undefined ? {} : { instructions }) };
  }
  /** The last request of `method`. */
  last(method: string): Received {
    const found = this.requests.findLast((request) => request.method === method);
    if (found === undefined) throw new Error(`${this.name} got no ${method}`);
    return found;
  }
  count(method: string): number {
    return this.requests.filter((request) => request.method === method).length;
  }
  notify(method: string, params?: Json, related?: number): void | Promise<void> {
    return this.#connected().onNotification(this.name, method, params, related);
  }
  /** Asks the client something; the promise settles with its answer. */
  ask(method: string, params: Json, related?: number, signal = new AbortController().signal): Promise<unknown> {
    const id = this.resumable ? `question-${++this.#questions}` : undefined;
    return this.#connected().onRequest(this.name, method, params, related, signal, id);
  }
  #questions = 0;
  crash(): void {
    this.client?.crash();
  }

  #connected(): UpstreamOwner {
    if (this.owner === undefined) throw new Error(`${this.name} has no client`);
    return this.owner;
  }
}

/** Behaves as the real client does towards its owner: lazy start, `onStarted` before the first request, honest ends. */
class FakeClient implements UpstreamClient {
  readonly name: string;
  running = false;
  session: UpstreamSession | undefined;
  readonly #upstream: FakeUpstream;
  readonly #owner: UpstreamOwner;
  readonly #pending = new Map<Received, (error: unknown) => void>();
  /** Calls that wait for the start. */
  readonly #waiting = new Set<number>();
  #resume: UpstreamSession | undefined;
  #starting: Promise<InitializeResult> | undefined;

  constructor(upstream: FakeUpstream, owner: UpstreamOwner, resume: UpstreamSession | undefined) {
    this.name = upstream.name;
    this.#upstream = upstream;
    this.#owner = owner;
    this.#resume = resume;
    this.session = resume;
  }

  start(): Promise<InitializeResult> {
    if (this.#upstream.unreachable !== undefined) {
      const message = `upstream ${this.name} could not be started: ${this.#upstream.unreachable}`;
      return Promise.reject(new TroupeError("unavailable", message, { started: "no" }));
    }
    if (this.running) return Promise.resolve(this.#upstream.catalogue);
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #start(): Promise<InitializeResult> {
    const { resumable, remembers, catalogue } = this.#upstream;
    const resumed = this.#resume !== undefined && remembers.has(this.#resume.sessionId);
    if (this.#resume !== undefined && !resumed) this.#owner.onForgotten?.(this.name);
    if (resumable && !resumed) {
      this.session = { sessionId: `remote-${remembers.size + 1}`, greeting: catalogue };
      remembers.set(this.session.sessionId, new Map());
    }
    await this.#owner.onConnected?.(this.name, resumable ? this.session : undefined);
    this.#resume = undefined;
    this.running = true;
    if (resumed) return catalogue;
    this.#upstream.starts++;
    this.#owner.onStarted?.(this.name, catalogue);
    return catalogue;
  }

  sent(related: number): SentRequest | undefined {
    const request = [...this.#pending.keys()].find((pending) => pending.related === related);
    return request === undefined || !this.#upstream.resumable ? undefined : { id: request.id, cursor: "c" };
  }

  async resumeRequest({ id }: SentRequest, { related }: { related: number }): Promise<unknown> {
    const known = this.#upstream.remembers.get(this.#resume?.sessionId ?? "");
    await this.start();
    const request = known?.get(String(id));
    if (request === undefined) throw new TroupeError("unavailable", "it is gone", { started: "unknown" });
    request.related = related;
    return new Promise((resolve, reject) => {
      this.#pending.set(request, reject);
      request.answer = (result) => {
        this.#pending.delete(request);
        resolve(result);
      };
    });
  }

  resumeQuestion(id: RpcId, answer: Promise<unknown>): AbortSignal {
    const controller = new AbortController();
    const { remembers, laterAnswers } = this.#upstream;
    if (!remembers.has(this.#resume?.sessionId ?? "")) controller.abort();
    answer.then(
      (result) => laterAnswers.set(id, result),
      () => {},
    );
    return controller.signal;
  }

  async request(method: string, params: Json | undefined, options: { related: number; progress: boolean }) {
    if (!this.running) {
      this.#waiting.add(options.related);
      await this.start();
      if (!this.#waiting.delete(options.related)) throw new TroupeError("cancelled", "cancelled", { started: "no" });
    }
    return new Promise<unknown>((resolve, reject) => {
      const request: Received = {
        method,
        params,
        related: options.related,
        progress: options.progress,
        cancelled: false,
        id: `${this.#upstream.requests.length + 1}`,
        answer: (result) => {
          this.#pending.delete(request);
          resolve(result);
        },
        refuse: (code, message, data) => {
          this.#pending.delete(request);
          reject(new RpcError({ code, message, data }));
        },
      };
      this.#pending.set(request, reject);
      this.#upstream.remembers.get(this.session?.sessionId ?? "")?.set(request.id, request);
      this.#upstream.requests.push(request);
      const handler = this.#upstream.handlers.get(method);
      if (handler === undefined) return request.refuse(-32601, `Method not found: ${method}`);
      try {
        const result = handler(params, request, this.#upstream);
        if (result !== LATER) request.answer(result);
      } catch (error) {
        this.#pending.delete(request);
        reject(error);
      }
    });
  }

  cancel(related: number, reason: string | undefined): void {
    this.#waiting.delete(related);
    for (const [request, reject] of this.#pending) {
      if (request.related !== related) continue;
      request.cancelled = reason;
      this.#pending.delete(request);
      reject(new TroupeError("cancelled", "cancelled", { started: "unknown" }));
    }
  }
  notify(method: string, params: Json | undefined): void {
    // As the real one: what cannot be sent is not kept.
    if (this.running) this.#upstream.notified.push({ method, params });
  }
  crash(): void {
    this.running = false;
    this.#fail(`upstream ${this.name}: it exited with code 1`);
    this.#owner.onClosed(this.name, { reason: "crashed", detail: "it exited with code 1" });
  }
  async close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    this.#upstream.closedFor.push(reason);
    if (!this.running) return;
    this.running = false;
    this.#fail(`upstream ${this.name} was stopped (${reason})`);
    this.#owner.onClosed(this.name, { reason: "closed", detail: `it was stopped (${reason})` });
    await this.#upstream.slowStop;
  }
  #fail(message: string): void {
    for (const [request, reject] of this.#pending) {
      this.#pending.delete(request);
      reject(new TroupeError("unavailable", message, { started: "unknown" }));
    }
  }
}

export interface WorldOptions {
  version?: string;
  capabilities?: Json;
  upstreams?: FakeUpstream[];
  prefixed?: boolean;
  settings?: Partial<SessionSettings>;
  /** A state to begin with instead of an opened one, as after a move. */
  state?: Partial<SessionState>;
}

type Definition = ReturnType<typeof defineSession>;

export const PRINCIPAL = "tester";
export const KEY = "session-1";

/** One session, its worker and its upstreams. */
export class World {
  readonly clock = new ManualClock();
  readonly upstreams: FakeUpstream[];
  readonly counts = new Map<string, number>();
  readonly warnings: string[] = [];
  readonly host: Host;
  readonly ref: Ref<Definition>;
  readonly #definition: Definition;
  /** The state as it was stored last. */
  stored: SessionState | undefined;
  commits = 0;
  ended = false;
  failCommits = false;
  /** What each commit waits for. */
  slowCommits: Promise<void> | undefined;
  live: LiveSession | undefined;
  #lastId = 0;
  #epoch = 0;

  constructor(options: WorldOptions = {}) {
    this.upstreams = options.upstreams ?? [new FakeUpstream("one")];
    const access: UpstreamAccess = {
      describe: async (_ctx, name) => {
        const upstream = this.upstream(name);
        upstream.describes++;
        await upstream.slow;
        if (upstream.unreachable === undefined) return upstream.catalogue;
        throw new TroupeError("unavailable", `upstream ${name} could not be started: ${upstream.unreachable}`, {
          started: "no",
        });
      },
      open: (config, { owner, handshake, keepRunning, resume }) => {
        const upstream = this.upstream(config.name);
        upstream.owner = owner;
        upstream.handshake = handshake;
        upstream.keepRunning = keepRunning;
        upstream.client = new FakeClient(upstream, owner, resume);
        return upstream.client;
      },
    };
    const definition = defineSession(access);
    // The tables' sizes are looked at from inside.
    const watched: Definition = {
      ...definition,
      onActivate: async (ctx) => {
        await definition.onActivate?.(ctx);
        this.live = ctx.instance.live;
      },
    };
    const settings: Partial<SessionSettings> = {
      upstreams: this.upstreams.map(({ name }) => configOf(name)),
      serverVersion: "9.9.9",
      ...options.settings,
    };
    const services: WorkerServices = {
      nodeId: "node-1" as NodeId,
      incarnation: "1" as Incarnation,
      clock: this.clock,
      log: { ...silentLogger, warn: (message) => void this.warnings.push(message) },
      settings: { session: settings },
      events: new DiagnosticEvents(),
      processGuard: { protect: () => Promise.resolve(), release() {} },
      count: (name, by = 1) => void this.counts.set(name, (this.counts.get(name) ?? 0) + by),
    };
    this.host = new Host({
      incarnation: "1" as Incarnation,
      thread: 1,
      clock: this.clock,
      definitions: new Map<string, RunnableDefinition>([
        ["session", watched as RunnableDefinition],
        ["cancellation", Cancellation as RunnableDefinition],
      ]),
      services,
      io: {
        commit: async (_actor, _epoch, version, bytes) => {
          await this.slowCommits;
          if (this.failCommits) throw new TroupeError("store_unavailable", "the store is away", { started: "no" });
          this.commits++;
          this.stored = decodeEnvelope(bytes).state as SessionState;
          return { outcome: "committed", version: version + 1 };
        },
        end: async () => {
          this.ended = true;
          return "done";
        },
      },
      send: (message) => this.#route(message),
      leaseDeadline: () => Number.POSITIVE_INFINITY,
    });
    this.#definition = watched;
    this.ref = makeRef(this.host.calls, this.#definition, KEY, null);
    const opening = openSession(this.#initialize(options), {
      principal: PRINCIPAL,
      upstreams: this.upstreams.map(({ name }) => name),
      prefixed: options.prefixed ?? this.upstreams.length > 1,
      now: this.clock.wallNow(),
    });
    if (opening.kind !== "opened") throw new Error(opening.body);
    this.#activate({ ...opening.state, ...options.state });
  }

  /** Another actor beside the session. */
  run(definition: { kind: string }, key: string): void {
    this.host.deliver([HostMessageType.Activate, actorId(definition.kind, key), "other" as Epoch, 0, null]);
  }

  upstream(name: string): FakeUpstream {
    const found = this.upstreams.find((upstream) => upstream.name === name);
    if (found === undefined) throw new Error(`no upstream ${name}`);
    return found;
  }
  /** The only upstream, or the first. */
  get one(): FakeUpstream {
    return this.upstreams[0] as FakeUpstream;
  }
  get session(): LiveSession {
    return this.live as LiveSession;
  }

  #initialize({ version = "2025-11-25", capabilities = {} }: WorldOptions): Json {
    const params = { protocolVersion: version, capabilities, clientInfo: { name: "test", version: "1" } };
    return { jsonrpc: "2.0", id: "init", method: "initialize", params };
  }

  /**
   * In place of a router: what is for this thread comes straight back. What the host gives back itself does not, but waits
   * for the next owner where the session leaves for one.
   */
  #route(message: Message | HostMessage): void {
    if (message[0] === HostMessageType.Left) return void this.#onLeft?.(message);
    if (isHostMessage(message) && message[0] !== HostMessageType.Through) return;
    if (this.#routed.has(message)) return void this.#givenBack.push(message);
    this.#routed.add(message);
    this.host.deliver(message);
  }
  readonly #routed = new WeakSet<Message | HostMessage>();
  readonly #givenBack: (Message | HostMessage)[] = [];
  #onLeft: ((message: LeftMessage) => void) | undefined;

  #activate(state: SessionState): void {
    const epoch = `epoch-${++this.#epoch}` as Epoch;
    const id = actorId("session", KEY);
    this.host.deliver([HostMessageType.Activate, id, epoch, 1, encodeState(state)]);
  }

  /** Stops the activation, and starts another from the stored state, as when a node died. */
  async move(reason: "fenced" | "drain" = "drain"): Promise<void> {
    const state = this.stored;
    if (state === undefined) throw new Error("nothing was stored");
    this.host.deliver([HostMessageType.Drop, actorId("session", KEY), reason]);
    await this.clock.advance(0);
    this.#activate(state);
    await settle();
  }

  /** Asks the session to go on elsewhere; resolves when it does, there with what was given back here. */
  async migrate(): Promise<void> {
    const id = actorId("session", KEY);
    const left = new Promise<LeftMessage>((resolve) => {
      this.#onLeft = resolve;
    });
    this.host.deliver([HostMessageType.Leave, id, `epoch-${this.#epoch}` as Epoch, 60_000, false]);
    const [, , , version, bytes, why] = await left;
    if (bytes === null) throw new Error(`the session stayed: ${why}`);
    await settle();
    const given = this.#givenBack.splice(0);
    this.host.deliver([HostMessageType.Activate, id, `epoch-${++this.#epoch}` as Epoch, version, bytes, true]);
    for (const message of given) this.host.deliver(message);
  }

  /** The handshake. */
  async initialize(options: WorldOptions = {}): Promise<Json> {
    const answer = await this.post(this.#initialize(options));
    await this.post({ jsonrpc: "2.0", method: "notifications/initialized" });
    return resultOf(answer) as Json;
  }

  /** A POST of one message or a batch, or of text. */
  post(body: unknown, call: { principal?: string; version?: string | null } = {}): Promise<PostAnswer> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const { principal = PRINCIPAL, version = null } = call;
    return this.ref.post(principal, version, text);
  }
  /** A request with an id of its own, unless one is given. */
  request(method: string, params?: Json, id: RpcId = ++this.#lastId): Promise<PostAnswer> {
    return this.post({ jsonrpc: "2.0", id, method, params });
  }
  notify(method: string, params?: Json): Promise<PostAnswer> {
    return this.post({ jsonrpc: "2.0", method, params });
  }
  /** A cancel as the gateway sends it: not held up by calls. */
  cancel(requestId: RpcId): Promise<PostAnswer> {
    const body = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } };
    return this.ref.with({ lane: Lane.Control }).post(PRINCIPAL, null, JSON.stringify(body));
  }
  /** The result of a request that is answered as JSON. */
  async ask(method: string, params?: Json): Promise<Json> {
    return resultOf(await this.request(method, params)) as Json;
  }
  describe(): Promise<SessionDescription> {
    return this.ref.describe();
  }

  /** Opens the stream that `answer` names. */
  open(answer: PostAnswer): Connection {
    if (typeof answer === "string" || answer.kind !== "stream") {
      throw new Error(`expected a stream, got ${JSON.stringify(answer)}`);
    }
    return this.connect(answer.stream, null);
  }
  /** The GET stream. */
  listen(): Connection {
    return this.connect(null, null);
  }
  resume(lastEventId: string): Connection {
    return this.connect(null, lastEventId);
  }
  connect(stream: string | null, lastEventId: string | null, principal = PRINCIPAL): Connection {
    return new Connection(this.ref.events({ principal, version: null, stream, lastEventId }));
  }
}

/** The client's end of one SSE connection. */
export class Connection {
  readonly events: SessionEvent[] = [];
  ended = false;
  error: unknown;
  readonly done: Promise<void>;
  readonly #iterator: AsyncIterator<SessionEvent>;
  #dropped = false;

  constructor(iterable: AsyncIterable<SessionEvent>) {
    this.#iterator = iterable[Symbol.asyncIterator]();
    this.done = this.#consume();
  }
  /** Cuts the connection. */
  async drop(): Promise<void> {
    this.#dropped = true;
    await this.#iterator.return?.();
    await settle();
  }
  /** The session's node learns that the edge of the connection has died. */
  async edgeDied(): Promise<void> {
    this.#dropped = true;
    await this.#iterator.throw?.(new TroupeError("caller_died", "the edge died"));
    await settle();
  }
  /** What was said, without the signs of opening. */
  get messages(): Json[] {
    return this.events.filter(({ data }) => data !== "").map(({ data }) => JSON.parse(data) as Json);
  }
  get lastEventId(): string {
    return this.events.findLast(({ id }) => id !== undefined)?.id ?? "";
  }
  async #consume(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#iterator.next();
        if (done === true) break;
        this.events.push(value);
      }
    } catch (error) {
      if (!this.#dropped) this.error = error;
    }
    this.ended = true;
  }
}

export function paramsOf(message: Json | undefined): Json {
  return (message?.params ?? {}) as Json;
}
export function resultOf(answer: PostAnswer): unknown {
  return messageOf(answer).result;
}
export function errorOf(answer: PostAnswer): { code: number; message: string; data?: Json } {
  return messageOf(answer).error as { code: number; message: string; data?: Json };
}
export function messageOf(answer: PostAnswer): Json {
  if (typeof answer === "string") return JSON.parse(answer) as Json;
  if (answer.kind === "refused") return JSON.parse(answer.body) as Json;
  throw new Error(`expected a body, got ${JSON.stringify(answer)}`);
}
/** The HTTP status of a refusal; undefined when it was answered otherwise. */
export function statusOf(answer: PostAnswer): number | undefined {
  return typeof answer === "object" && answer.kind === "refused" ? answer.status : undefined;
}
/** How a POST was answered; `json` for a plain body. */
export function kindOf(answer: PostAnswer | undefined): string | undefined {
  return typeof answer === "string" ? "json" : answer?.kind;
}

function configOf(name: string): UpstreamConfig {
  return {
    name,
    transport: { kind: "http", url: "http://127.0.0.1:1/mcp", headers: {} },
    isolation: "session",
    idleStopMs: 0,
    maxProcesses: 1,
    startTimeoutMs: 1_000,
  };
}
