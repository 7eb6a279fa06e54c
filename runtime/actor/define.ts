/**
 * How an actor is written: one object with typed methods, and what a method is given.
 *
 * A definition is plain code without identity: every worker loads the module that exports it, and a caller imports it
 * only for its types, its kind and the shape of its methods. No code is generated and no function crosses a thread.
 *
 * A method gets its context first, then the caller's arguments. A plain (async) function answers once; an
 * `async function*` answers a stream, which callers consume as an `AsyncIterable`. Methods named in `readOnly` promise not
 * to change state, so that in mode `reads` their turns overlap.
 */

import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { DiagnosticEvent } from "../observe/events.ts";
import type { Logger } from "../observe/log.ts";
import type { Clock } from "./clock.ts";
import type { AbortReason } from "./errors.ts";
import { type ActorId, type Epoch, type Incarnation, isKind, type NodeId } from "./ids.ts";
import type { Lane } from "./message.ts";

/**
 * Which turns of one activation may overlap.
 * - `serial` (default): one at a time.
 * - `reads`: methods named in `readOnly` overlap with each other, everything else is alone.
 * - `reentrant`: as `serial`, but a call whose chain already passes through this actor is let in.
 * - `concurrent(n)`: up to n at once.
 */
export type TurnMode = "serial" | "reads" | "reentrant" | { readonly concurrent: number };

/** Up to `limit` turns of one activation overlap. */
export function concurrent(limit: number): TurnMode {
  if (!Number.isInteger(limit) || limit < 1)
    throw new RangeError(`concurrent(n) needs a whole number from 1, got ${limit}`);
  return { concurrent: limit };
}

/**
 * Where a new activation goes. Plain data, because the node that decides may not be one that runs the kind.
 * - `prefer-local` (default): the node that was asked first; another one where that cannot run the kind.
 * - `least-loaded`: the less loaded of two random nodes.
 * - `hash`: by rendezvous hashing of the key over the nodes.
 * - `{ pinned }`: the less loaded of two random nodes that have all these labels.
 * - `{ colocate }`: the node of the actor of that kind with the same key; as `prefer-local` where that is nowhere yet.
 * - `node`: the node whose id follows the last `@` of the key; such actors need no directory, their node's membership
 *   owns them. They have no stored state.
 */
export type PlacementPolicy =
  | "prefer-local"
  | "least-loaded"
  | "hash"
  | "node"
  | { readonly pinned: Readonly<Record<string, string>> }
  | { readonly colocate: string };

/** What a worker offers to the actors on it. */
export interface WorkerServices {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly clock: Clock;
  readonly log: Logger;
  /** Plain data from the configuration, by name; the node's assembly decides which. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly processGuard: ProcessGuard;
  /** Where diagnostic events go. */
  readonly events: { readonly heard: boolean; emit(event: DiagnosticEvent): void };
  /**
   * Adds to a counter of the node's `/metrics`, named as there: `name` or `name{label="value"}`. Cheap; sums are handed over
   * every second.
   */
  count(series: string, by?: number): void;
}

/** Ends the process groups of a node that died or froze. See `transports/upstream/guard.ts`. */
export interface ProcessGuard {
  /** Resolves when the guard holds the process group `pid`, which must be its own group leader. */
  protect(pid: number): Promise<void>;
  /** The group has ended. */
  release(pid: number): void;
}

/**
 * What happens to times of a repeated reminder that nobody could run (the node was down, the actor busy): one run for all
 * of them (`coalesce`, default), one for each (`all`), or none (`skip`).
 */
export type MissedPolicy = "skip" | "coalesce" | "all";

/** When a reminder is due: once at `atMs` (wall clock) or after `afterMs`; with `everyMs` again and again from then on. */
export interface ReminderOptions {
  afterMs?: number;
  atMs?: number;
  /** From 100. Without `afterMs` and `atMs` the first time is a period from now. */
  everyMs?: number;
  /** For repeated ones. */
  missed?: MissedPolicy;
  /** Plain data that `onReminder` is given; stored with the actor's state. */
  data?: unknown;
}

/** A reminder as it is stored. */
export interface StoredReminder {
  readonly name: string;
  /** Its next time, on the wall clock. */
  readonly dueMs: number;
  readonly everyMs: number | undefined;
  readonly missed: MissedPolicy;
  readonly data: unknown;
}

/** What `onReminder` is given. */
export interface DueReminder {
  readonly name: string;
  readonly data: unknown;
  /** The time this run is for, on the wall clock; with `coalesce` the last of those it stands for. */
  readonly dueMs: number;
  /** How many times this run stands for. */
  readonly count: number;
}

/** An actor's reminders: durable from the next commit on, and then due also when the actor is not resident. */
export interface Reminders {
  /**
   * Sets the reminder of that name, in place of an earlier one. Throws `invalid_argument`, and `overloaded` beyond 256.
   */
  set(name: string, options: ReminderOptions): void;
  /** Whether there was one. */
  delete(name: string): boolean;
  list(): StoredReminder[];
}

/** What lives as long as an activation. */
export interface ActivationContext<State> {
  readonly self: ActorId;
  readonly key: string;
  /** The fencing token of this activation. */
  readonly epoch: Epoch;
  /** In memory; durable after `commit`. */
  state: State;
  /**
   * Writes `state` to the coordinator, fenced by this activation's epoch. Commits asked for while one is on its way are
   * merged into the next. Rejects with `fenced` when ownership was lost, `conflict`, `store_unavailable`.
   */
  commit(): Promise<void>;
  readonly reminders: Reminders;
  /** Ends the actor for good: stored state goes, a tombstone stays, this activation stops after the current turns. */
  end(): Promise<void>;
  /** Stops this activation when its running turns are done; stored state stays. */
  passivate(): void;
  /** Work that outlives its turn: until it settles the activation is busy, and is neither passivated nor moved. */
  waitUntil(work: PromiseLike<unknown>): void;
  /** A typed ref on another actor. */
  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D>;
  readonly worker: WorkerServices;
}

/**
 * When a timer runs: once after so many milliseconds, or again and again (the first time after `afterMs`, default
 * `everyMs`). Up to 25 ms late, and later while other turns run.
 */
export type TimerTime = number | { readonly afterMs?: number; readonly everyMs: number };

/** What a method is given. */
export interface ActorContext<State, Instance> extends ActivationContext<State> {
  /** What the definition's `instance` made for this activation. */
  readonly instance: Instance;
  /**
   * Fires when the caller cancelled, its deadline passed, its node died, or this activation must stop; `signal.reason`
   * is a `TroupeError`. Made when first read.
   */
  readonly signal: AbortSignal;
  /** On the worker's clock, milliseconds. */
  readonly deadline: number;
  /**
   * Runs `run` as a turn of this activation, in the background lane. It is gone with the activation. Returns what cancels
   * it. Throws `overloaded` beyond 1,024 timers, `invalid_argument`.
   */
  timer(when: TimerTime, run: (ctx: ActorContext<State, Instance>) => unknown): () => void;
}

/** What `onActivate` is given. */
export interface StartContext<State, Instance> extends ActorContext<State, Instance> {
  /** What the former activation's `onMigrate` returned; undefined after anything but a planned migration. */
  readonly migrated: unknown;
}

// biome-ignore lint/suspicious/noExplicitAny: the one place where a method of any arguments must be accepted
type Method<State, Instance> = (ctx: ActorContext<State, Instance>, ...args: any[]) => unknown;
export type MethodMap<State, Instance> = Record<string, Method<State, Instance>>;

/** Why an activation stops. */
export type DeactivateReason = AbortReason | "idle" | "ended" | "passivate" | "failed" | "moved";

export interface ActorSpec<State, Instance, Methods extends MethodMap<NoInfer<State>, NoInfer<Instance>>> {
  /** `^[a-z][a-z0-9_-]{0,63}$`, unique in a cluster. */
  kind: string;
  /** Default `serial`. */
  mode?: TurnMode;
  /** Default `prefer-local`. */
  placement?: PlacementPolicy;
  state?: {
    /** State of an actor that has none stored. */
    initial: (key: string) => State;
    /** True: only `create` makes one, calls of an unknown key fail with `not_found`. `initial` then only gives the type. */
    required?: boolean;
    /** Version of the state's shape, a whole number from 1 (default). Raise it when the shape changes. */
    version?: number;
    /** Turns state that an older `version` stored into today's. Needed as soon as `version` is above 1. */
    upcast?: (stored: unknown, version: number) => State;
    /** Checks state when it is read, after `upcast`; any Standard Schema validator that answers synchronously. */
    schema?: StandardSchemaV1<unknown, State>;
  };
  /**
   * True: each turn of a method that is not in `readOnly` ends with a commit, and its answer waits for it. A turn that
   * throws commits nothing by itself.
   */
  commitOnTurn?: boolean;
  /**
   * Checks arguments before a turn starts, by method: a Standard Schema validator of the list of arguments (in zod:
   * `z.tuple([...])`) that answers synchronously. What it returns is what the method gets.
   */
  arguments?: { readonly [Name in keyof Methods & string]?: StandardSchemaV1<unknown, readonly unknown[]> };
  /** Makes what lives as long as the activation and is never stored: connections, caches. `onActivate` fills it in. */
  instance?: () => Instance;
  onActivate?: (ctx: StartContext<State, Instance>) => void | Promise<void>;
  /**
   * Runs when the actor is to go on at another node, between its last turn and `onDeactivate` (reason `moved`). State and
   * remembered answers move by themselves; what this returns, plain data, is the successor's `ctx.migrated`: for memory
   * that is not stored. An error, or 2 s without an answer, keeps the actor here; where this node shuts down it is
   * passivated then. Not run before a crash: what must not be lost belongs into the state.
   */
  onMigrate?: (ctx: ActorContext<State, Instance>) => unknown;
  /** Runs after the last turn. Must not wait for long: 2 s, then the activation is dropped. */
  onDeactivate?: (ctx: ActorContext<State, Instance>, reason: DeactivateReason) => void | Promise<void>;
  /**
   * Runs as a turn when a reminder is due. When it succeeds, the turn commits, and the reminder has had its run; when it
   * throws, the reminder is tried again. At least once: what it does outside should bear a repetition.
   */
  onReminder?: (ctx: ActorContext<State, Instance>, reminder: DueReminder) => void | Promise<void>;
  /** Bounds of the mailbox. Defaults 1,024 messages, 4 MiB of text and bytes in them. */
  mailbox?: { messages?: number; bytes?: number };
  /** An activation without turns for this long is passivated. Milliseconds; 0 (default) never. */
  idleMs?: number;
  /** Methods that do not change state; in mode `reads` their turns overlap. */
  readOnly?: readonly (keyof Methods & string)[];
  methods: Methods;
}

/** A checked definition. Also the type that refs are inferred from. */
export interface ActorDefinition<State, Instance, Methods extends MethodMap<NoInfer<State>, NoInfer<Instance>>>
  extends ActorSpec<State, Instance, Methods> {
  readonly mode: TurnMode;
  readonly placement: PlacementPolicy;
  readonly shapes: ReadonlyMap<string, MethodShape>;
}

/** What a caller must know about a method. */
export interface MethodShape {
  stream: boolean;
  readOnly: boolean;
}

// The variance of State and Instance makes any one definition unrelated to `ActorDefinition<unknown, …>`; a ref needs
// only these fields.
export interface AnyActorDefinition {
  readonly kind: string;
  readonly methods: object;
  readonly shapes: ReadonlyMap<string, MethodShape>;
  readonly placement: PlacementPolicy;
}

/** Options of one call. */
export interface CallOptions {
  signal?: AbortSignal;
  /** Default 60,000, or what is left of the calling turn's own time where that is less. */
  timeoutMs?: number;
  /** Default normal. */
  lane?: Lane;
  /**
   * Default `at-most-once`. `dedup` and `durable` are for unary methods: the call is resent within its time when its
   * answer is lost, and takes effect once (dedup: as long as the activation lives; durable: also over crashes).
   */
  delivery?: "at-most-once" | "dedup" | "durable";
  /** Names the request for `dedup` and `durable`, so that a caller's own retry counts as the same. Default a fresh one. */
  requestId?: string;
}

type RefMethod<M> = M extends (ctx: never, ...args: infer Args) => infer Answer
  ? [Answer] extends [never]
    ? (...args: Args) => Promise<never>
    : Answer extends AsyncIterable<infer Item>
      ? (...args: Args) => AsyncIterable<Item>
      : (...args: Args) => Promise<Awaited<Answer>>
  : never;

/** A typed handle on an actor; calling it is location-transparent. */
export type Ref<D extends AnyActorDefinition> = { readonly [K in keyof D["methods"]]: RefMethod<D["methods"][K]> } & {
  readonly id: ActorId;
  /** The same ref, whose calls take these options. */
  with(options: CallOptions): Ref<D>;
};

/** What may call actors: a node, or an actor's context. */
export interface ActorCaller {
  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D>;
}

/** A node as its own code sees it: it may also make actors whose kind needs stored state. */
export interface ActorSystem extends ActorCaller {
  /**
   * Makes actor `key` with `state`, owned by this node, in one step: when it resolves, owner and state are stored.
   * Rejects with `already_exists`, `overloaded`, or `unavailable` (`started: "unknown"`: it may exist).
   */
  create<State>(
    definition: AnyActorDefinition & { readonly state?: { initial: (key: string) => State } },
    key: string,
    state: State,
    options?: CallOptions,
  ): Promise<void>;
}

const AsyncGeneratorFunction = Object.getPrototypeOf(async function* () {});

/** Defines an actor kind. Throws `TypeError` when the kind or a method name cannot be used. */
export function defineActor<
  State = undefined,
  Instance = undefined,
  Methods extends MethodMap<NoInfer<State>, NoInfer<Instance>> = MethodMap<NoInfer<State>, NoInfer<Instance>>,
>(spec: ActorSpec<State, Instance, Methods>): ActorDefinition<State, Instance, Methods> {
  if (!isKind(spec.kind)) throw new TypeError(`actor kind must match ^[a-z][a-z0-9_-]{0,63}$, got "${spec.kind}"`);
  if (spec.onReminder !== undefined && spec.placement === "node") {
    throw new TypeError(`${spec.kind}: actors placed by "node" have no stored state, so they cannot have reminders`);
  }
  const shapes = new Map<string, MethodShape>();
  for (const [name, method] of Object.entries(spec.methods)) {
    if (typeof method !== "function") throw new TypeError(`${spec.kind}.${name} is not a function`);
    if (name === "id" || name === "with" || name === "then") {
      throw new TypeError(`${spec.kind}.${name}: a method cannot be named "${name}", refs use that name`);
    }
    if (name.startsWith("@")) {
      throw new TypeError(`${spec.kind}.${name}: a method's name cannot start with "@", the runtime's own turns do`);
    }
    shapes.set(name, {
      stream: Object.getPrototypeOf(method) === AsyncGeneratorFunction,
      readOnly: spec.readOnly?.includes(name) ?? false,
    });
  }
  return Object.freeze({ ...spec, mode: spec.mode ?? "serial", placement: spec.placement ?? "prefer-local", shapes });
}
