/**
 * The upstreams of one session: what they offer, and one client each, made with the first request that needs it.
 *
 * What an upstream offers is the same for all sessions of a worker, so it is kept once per worker: a session knows it
 * without asking and holds none of it. An upstream that could not be reached is probed again in the background, so one
 * that hangs does not hold up requests to the others.
 */
import type { ActivationContext, WorkerServices } from "../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../runtime/actor/errors.ts";
import type { LogFields } from "../../runtime/observe/log.ts";
import type {
  Catalogue,
  Handshake,
  UpstreamClient,
  UpstreamConfig,
  UpstreamOwner,
  UpstreamSession,
} from "../../transports/upstream/contract.ts";
import type { Principal, SessionState } from "./contract.ts";
import { sessionSettings } from "./settings.ts";

/** An upstream that could not be reached is probed again after this time, milliseconds. */
const PROBE_AGAIN_MS = 2_000;
/** The same warning is written at most this often, milliseconds. */
const WARN_EVERY_MS = 60_000;

/** How a session reaches upstreams. The actor uses `actors/server`; tests bring their own. */
export interface UpstreamAccess {
  /** What an upstream offers; answered from memory in the common case. Rejects when it cannot be reached. */
  describe(ctx: ActivationContext<unknown>, name: string): Promise<Catalogue>;
  /** Does no I/O. */
  open(
    config: UpstreamConfig,
    deps: {
      ctx: ActivationContext<unknown>;
      owner: UpstreamOwner;
      principal: Principal;
      handshake: Handshake;
      keepRunning: () => boolean;
      /** The connection of a former owner of the session. */
      resume: UpstreamSession | undefined;
    },
  ): UpstreamClient;
}

/** What a worker knows of its upstreams. Bounded by the number of configured upstreams. */
interface WorkerView {
  catalogues: Map<string, Catalogue>;
  /** Tools that say of themselves that they may be run twice. */
  repeatable: Map<string, ReadonlySet<string>>;
  failures: Map<string, { error: unknown; at: number }>;
  /** When each warning was written last; keys are upstream and a constant text. */
  warned: Map<string, number>;
}

const views = new WeakMap<WorkerServices, WorkerView>();

const NONE: readonly UpstreamClient[] = [];

export class SessionUpstreams {
  readonly #access: UpstreamAccess;
  readonly #ctx: ActivationContext<SessionState>;
  readonly #owner: UpstreamOwner;
  /** A session has few upstreams, and an array of one is smaller than a map. */
  #clients: readonly UpstreamClient[] = NONE;

  constructor(access: UpstreamAccess, ctx: ActivationContext<SessionState>, owner: UpstreamOwner) {
    this.#access = access;
    this.#ctx = ctx;
    this.#owner = owner;
  }

  /** Names, in order. */
  get names(): readonly string[] {
    return this.#ctx.state.upstreams;
  }

  /** The client of `name`; it starts with its first request. Throws `unavailable` when `name` is not configured. */
  client(name: string): UpstreamClient {
    const known = this.get(name);
    if (known !== undefined) return known;
    const { state } = this.#ctx;
    // Tasks of the client are not routed, so upstreams must not think it has them.
    const { tasks: _tasks, ...capabilities } = state.capabilities;
    const client = this.#access.open(this.#config(name), {
      ctx: this.#ctx,
      owner: this.#owner,
      principal: state.principal,
      handshake: { protocolVersion: state.protocolVersion, capabilities, clientInfo: state.clientInfo },
      keepRunning: () => state.subscriptions.length > 0,
      resume: state.connections?.[name],
    });
    this.#clients = [...this.#clients, client];
    return client;
  }

  /** Clients made so far, connected or not. */
  clients(): readonly UpstreamClient[] {
    return this.#clients;
  }

  /** Clients that are connected now. */
  *running(): IterableIterator<UpstreamClient> {
    for (const client of this.#clients) if (client.running) yield client;
  }

  get(name: string): UpstreamClient | undefined {
    for (const client of this.#clients) if (client.name === name) return client;
    return undefined;
  }

  /** What `name` offers, as far as this worker knows. */
  known(name: string): Catalogue | undefined {
    return this.#view().catalogues.get(name);
  }

  /** The tools of `name` that may be run twice, as far as this worker knows from a list. */
  repeatable(name: string): ReadonlySet<string> | undefined {
    return this.#view().repeatable.get(name);
  }

  /** Remembers which of these tools may be run twice; they are all that `name` has. */
  learnTools(name: string, tools: readonly Record<string, unknown>[]): ReadonlySet<string> {
    const names = repeatableNames(tools);
    this.#view().repeatable.set(name, names);
    return names;
  }

  /** The list of tools changed. */
  forgetTools(name: string): void {
    this.#view().repeatable.delete(name);
  }

  /** What `name` offers. Rejects when it cannot be reached, at once if that was so a moment ago. */
  describe(name: string): Promise<Catalogue> {
    const { catalogues, failures } = this.#view();
    const known = catalogues.get(name);
    if (known !== undefined) return Promise.resolve(known);
    const failure = failures.get(name);
    if (failure === undefined) return this.probe(name);
    if (this.#ctx.worker.clock.now() - failure.at >= PROBE_AGAIN_MS) this.probe(name).catch(() => {});
    return Promise.reject(failure.error);
  }

  /** As `describe`, but asks again, also when the answer seems known. */
  async probe(name: string): Promise<Catalogue> {
    const { clock } = this.#ctx.worker;
    const { catalogues, failures } = this.#view();
    const failure = failures.get(name);
    if (failure !== undefined) failure.at = clock.now();
    this.#config(name);
    try {
      const catalogue = await this.#access.describe(this.#ctx, name);
      catalogues.set(name, catalogue);
      failures.delete(name);
      return catalogue;
    } catch (error) {
      failures.set(name, { error, at: clock.now() });
      throw error;
    }
  }

  /** What the upstreams that can be reached offer, in order. The others are logged, and given to `failed`. */
  async describeAll(
    describe: (name: string) => Promise<Catalogue>,
    failed?: (error: unknown, name: string) => void,
  ): Promise<Catalogue[]> {
    const settled = await Promise.allSettled(this.names.map(describe));
    const catalogues: Catalogue[] = [];
    for (const [at, outcome] of settled.entries()) {
      const name = this.names[at] ?? "";
      if (outcome.status === "fulfilled") catalogues.push(outcome.value);
      else {
        failed?.(outcome.reason, name);
        this.warn(name, "an upstream cannot be reached, it is left out", outcome.reason);
      }
    }
    return catalogues;
  }

  async closeAll(reason: AbortReason | "idle" | "ended"): Promise<void> {
    const clients = this.#clients;
    this.#clients = NONE;
    await Promise.allSettled(clients.map((client) => client.close(reason)));
  }

  /** Logs a failure of an upstream, at most once a minute per worker, upstream and message (a constant text). */
  warn(upstream: string, message: string, error: unknown, fields?: LogFields): void {
    const { worker } = this.#ctx;
    const { warned } = this.#view();
    const key = `${upstream}\n${message}`;
    const now = worker.clock.now();
    const before = warned.get(key);
    if (before !== undefined && now - before < WARN_EVERY_MS) return;
    warned.set(key, now);
    worker.log.warn(message, error === undefined ? { upstream, ...fields } : { upstream, error, ...fields });
  }

  #view(): WorkerView {
    const { worker } = this.#ctx;
    let view = views.get(worker);
    if (view === undefined) {
      view = { catalogues: new Map(), repeatable: new Map(), failures: new Map(), warned: new Map() };
      views.set(worker, view);
    }
    return view;
  }

  #config(name: string): UpstreamConfig {
    const config = sessionSettings(this.#ctx.worker).upstreams.find((upstream) => upstream.name === name);
    if (config !== undefined) return config;
    throw new TroupeError("unavailable", `upstream "${name}" is not configured on this node`, { started: "no" });
  }
}

/** MCP, Tools: `annotations.readOnlyHint` and `annotations.idempotentHint`. */
function repeatableNames(tools: readonly Record<string, unknown>[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { name, annotations } of tools) {
    if (typeof name !== "string" || typeof annotations !== "object" || annotations === null) continue;
    const hints: { readOnlyHint?: unknown; idempotentHint?: unknown } = annotations;
    if (hints.readOnlyHint === true || hints.idempotentHint === true) names.add(name);
  }
  return names;
}
