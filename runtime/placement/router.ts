/**
 * The switch of a node: every message between its threads, and between it and other nodes, passes here, on the I/O
 * thread.
 *
 * ## Where a call goes
 * Local table → route cache → directory. While an actor is being looked up (or given up, or moved, see migration.ts) its
 * calls wait in order behind that. A receiver that does not run the actor answers `NotHere`; the origin then looks it up
 * again, or goes where the receiver says that it handed the actor over to, with the same call: a call is resent only when
 * it provably did not begin.
 *
 * ## Order
 * Calls of one caller to one actor begin in the order in which they were made, also while it moves:
 * - *One place.* All calls of a node to an actor are in one place (a thread, or one peer). They go to another place only
 *   when none is left in the old one that may still come back. A place gives back what it did not begin at once, so this
 *   is a short wait: an activation that has stopped gives its calls back before its actor is claimed again.
 * - *One activation.* A call to a peer names the epoch it is meant for. A peer that gave one back gives back all that
 *   come after it, because it takes no call for another epoch than the one it runs. Where the origin does not know the
 *   epoch yet (a peer that is to claim the actor), one call goes ahead, and the others wait for the peer's `Here`.
 * - What came back and what waits goes on in the order of the call ids of each origin.
 * Nodes never wait for each other in a circle: what a node does not run it gives back without waiting for its own calls,
 * and one that is asked to claim an actor does not wait for the peer that it asks itself.
 *
 * ## What it guarantees
 * - Every call that enters leaves: by its answer, or by an error made here when the thread or node that had it is gone
 *   (`started: "unknown"`), or could not be reached (`started: "no"`). For that, each call is on record from when it is
 *   sent until its answer passes.
 * - Calls from an origin that went away are cancelled (`callerDied`), streams included.
 * - Bounds: calls on record, calls waiting per actor, calls waiting per unreachable node, cached routes. At a bound a
 *   call is refused with `overloaded`; the route cache forgets what was used longest ago.
 *
 * It never looks into arguments or results.
 */
import type { Clock } from "../actor/clock.ts";
import { storedPartOf } from "../actor/codec.ts";
import type { DeactivateReason, PlacementPolicy } from "../actor/define.ts";
import { type AbortReason, decodeError, encodeError, TroupeError } from "../actor/errors.ts";
import { type ActorId, type Epoch, type Incarnation, keyOf, kindOf, type NodeId } from "../actor/ids.ts";
import {
  type CallMessage,
  type CancelMessage,
  type CreditMessage,
  type DeactivatedMessage,
  type HereMessage,
  type HostMessage,
  HostMessageType,
  IO_THREAD,
  type ItemMessage,
  isHostMessage,
  Lane,
  type LeftMessage,
  type Message,
  MessageType,
  type NotHereMessage,
  type ReplyMessage,
  type ThroughMessage,
} from "../actor/message.ts";
import { OriginTable } from "../actor/origin_table.ts";
import type { HeldRecord, Owner, StoredState } from "../coordinator/contract.ts";
import type { DiagnosticEvents } from "../observe/events.ts";
import type { Logger } from "../observe/log.ts";
import type { Counter, Metrics } from "../observe/metrics.ts";
import { REFUSALS_HELP, REFUSALS_METRIC, type RefusalReason } from "../observe/refusals.ts";
import type { ShutGates, ShutReason } from "./admission.ts";
import type { DirectoryClient, Resolution } from "./directory.ts";
import { Migration, type MoveOptions, type MoveOutcome } from "./migration.ts";
import type { Peers } from "./peers.ts";

/** What the router knows of a kind. */
export interface KindInfo {
  placement: PlacementPolicy;
  /** Only `create` makes one. */
  requireState: boolean;
  /** Version of its state's shape; default 1. */
  stateVersion?: number;
  /** On the I/O thread; only for Troupe's own. */
  io: boolean;
}

/** A thread of this node that runs actors. */
export interface HostThread {
  send(message: Message | HostMessage): void;
}

export interface RouterOptions {
  nodeId: NodeId;
  incarnation: Incarnation;
  clock: Clock;
  kinds: ReadonlyMap<string, KindInfo>;
  directory: DirectoryClient;
  peers: Peers;
  /** The living incarnation of a node, by the view this node has. */
  incarnationOf: (nodeId: NodeId) => Incarnation | undefined;
  isDead: (incarnation: Incarnation) => boolean;
  /** The node for a new actor, or undefined when none can run it. See `placement.ts`. */
  choose: (kind: string, key: string, policy: PlacementPolicy) => Incarnation | undefined;
  /** A peer told how busy it is. */
  onLoad: (peer: Incarnation, load: number) => void;
  events: DiagnosticEvents;
  /** `workers: 0`: the I/O thread runs ordinary actors too. */
  actorsOnIoThread: boolean;
  log: Logger;
  metrics: Metrics;
  limits?: Partial<typeof LIMITS>;
  without?: readonly RouterGuard[];
}

/** Guards that the simulation removes one by one, to show that each is needed. Never set outside of it. */
export type RouterGuard = "redirect-order" | "frame-incarnation";

const LIMITS = { calls: 200_000, waitingPerActor: 1_024, waitingPerPeer: 4_096, routes: 100_000, attempts: 5 };

/** How long calls wait for a worker to run again before they are refused, milliseconds: longer than a restart takes. */
const THREAD_BACK_MS = 5_000;
/** When a caller that a shut gate refused should come back, milliseconds: memory is given back more slowly. */
const SHUT_RETRY_MS: Readonly<Record<ShutReason, number>> = { loop_delay: 1_000, heap: 2_000 };
/** How long an actor that could not be activated is not tried again, milliseconds. */
const FAILED_MS = 100;
/** Beyond this many, a failed actor is simply tried again. */
const MAX_FAILED = 1_024;

/** Cached routes looked at to find one without calls on their way, when there are too many. */
const ROUTE_LOOKS = 16;

/** Where calls of this router are: a thread or a peer. */
interface Place {
  readonly at: number | Incarnation;
  /** Calls that were sent there, or wait for its link, and are neither answered nor given back. */
  away: number;
  /** Who waits for those of them that were sent after that one. */
  waits: { after: number; left: number; done: () => void } | undefined;
  /** The call that asks a peer to claim the actor, and those that wait until it is known under which epoch. */
  asking: { call: Inflight; queue: Queue } | undefined;
}

interface LocalActor extends Place {
  readonly at: number;
  readonly owner: Owner;
  /** Whether the directory has a record of it. */
  readonly listed: boolean;
  /** Set when it turned out to be somebody else's, and its host was told to stop it. */
  lost: { readonly stopped: Promise<void>; tell(): void } | undefined;
}

interface Route extends Place {
  readonly at: Incarnation;
  /** Under which the peer runs the actor; `""` while that is not known. */
  epoch: Epoch | "";
  /**
   * The last epochs under which a call to this actor was given back, by whichever peer: none runs any more, whatever the
   * directory or a peer says. A store that lost a transfer names the old owner, which sends calls on to the new one.
   */
  refused: readonly Epoch[];
}

/** Calls that wait for their actor to have a place. */
interface Queue {
  calls: Inflight[];
  /** The epoch that is being given up here. Peers' calls for it may wait here too, none of them has been sent back. */
  leaving: Epoch | undefined;
  /** They wait for a peer that was asked to claim the actor; nothing is looked up. */
  readonly asks: boolean;
}

/** `from`: the state is what the activation under that epoch handed over. */
type Found = Resolution & { from?: Epoch };

/** A call on record. */
interface Inflight {
  readonly message: CallMessage;
  /** Undefined while it waits here. */
  place: Place | undefined;
  /** Its number among all calls sent; 0 while it waits for a link. */
  sent: number;
  /** How often it was looked up, or came back. */
  attempts: number;
  settled: boolean;
  /** Until when its waiting time here was charged to its budget. */
  since: number;
}

export class Router {
  readonly #options: RouterOptions;
  readonly #limits: typeof LIMITS;
  #incarnation: Incarnation;
  readonly #threads = new Map<number, HostThread>();
  readonly #residents = new Map<number, number>();
  readonly #local = new Map<ActorId, LocalActor>();
  /** Least recently used first. */
  readonly #routes = new Map<ActorId, Route>();
  readonly #calls = new OriginTable<Inflight>();
  /** Actors being looked up or given up, with the calls that wait for it. */
  readonly #queues = new Map<ActorId, Queue>();
  /** Actors that could not be activated just now; their calls get that answer until it is tried again. */
  readonly #failed = new Map<ActorId, TroupeError>();
  readonly #waitingForPeer = new Map<Incarnation, Inflight[]>();
  /** The alive members, once the view has changed. */
  #alive: ReadonlySet<Incarnation> | undefined;
  /** What waits for a worker to run again. */
  readonly #threadless = new Set<() => void>();
  /** Places of peers whose actors are not in the directory: the node's membership owns them. */
  readonly #nodes = new Map<Incarnation, Place>();
  #sends = 0;
  /** Declared dead, and not joined again yet. */
  #fenced = false;
  readonly #forwarded: Counter;
  readonly #resent: Counter;
  readonly #lost: Counter;
  readonly #dropped: Counter;
  readonly #migration: Migration;
  #draining = false;
  #stopped = false;
  /** Threads that take no new work. */
  #gates: ShutGates = new Map();
  /** Why no actor can start here now. */
  #full: ShutReason | undefined;
  /** Calls on record beyond which a new one is looked at more closely: below 0 while a gate is shut. */
  #callLimit: number;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#callLimit = this.#limits.calls;
    this.#incarnation = options.incarnation;
    const { metrics } = options;
    this.#forwarded = metrics.counter("troupe_calls_forwarded_total", "Calls sent to the node that owns the actor");
    this.#resent = metrics.counter("troupe_calls_resent_total", "Calls sent again because the actor had moved");
    this.#lost = metrics.counter(
      "troupe_calls_lost_total",
      "Calls failed because the thread or node that had them went away",
    );
    this.#dropped = metrics.counter("troupe_answers_dropped_total", "Answers whose caller was gone");
    const { clock, directory, peers, events } = options;
    this.#migration = new Migration({ clock, directory, peers, events, metrics, hooks: this.#migrationHooks() });
    metrics.gauge("troupe_calls_in_flight", "Calls on record", () => this.#calls.size);
    metrics.gauge("troupe_actors", "Actors owned by this node", () => this.#local.size);
    metrics.gauge("troupe_routes", "Cached routes to actors on other nodes", () => this.#routes.size);
  }

  /** Calls on record, for the node's load. */
  get calls(): number {
    return this.#calls.size;
  }

  /** Actors here, likewise. */
  get residents(): number {
    return this.#local.size;
  }

  /** Actors this node owns. */
  *actors(): IterableIterator<{ id: ActorId; epoch: Epoch; thread: number; listed: boolean; busy: boolean }> {
    for (const [id, { owner, at, listed, away }] of this.#local) {
      yield { id, epoch: owner.epoch, thread: at, listed, busy: away > 0 };
    }
  }

  /** Actors that live here. */
  get actorCount(): number {
    return this.#local.size;
  }

  /** Whether an actor lives here. */
  has(actor: ActorId): boolean {
    return this.#local.has(actor);
  }

  /** The owner of an actor that lives here, for its commits. */
  owner(actor: ActorId, epoch: Epoch): Owner | undefined {
    const local = this.#local.get(actor);
    return local !== undefined && local.owner.epoch === epoch && local.lost === undefined ? local.owner : undefined;
  }

  /** A thread is ready for actors. */
  addThread(index: number, thread: HostThread): void {
    this.#threads.set(index, thread);
    this.#residents.set(index, 0);
    if (this.#runsActors) for (const goOn of [...this.#threadless]) goOn();
  }

  /** Whether no actor can start here now. */
  get full(): boolean {
    return this.#full !== undefined;
  }

  /** From now on these threads take no new work (`admission.ts`). */
  setGates(gates: ShutGates): void {
    this.#gates = gates;
    this.#callLimit = gates.size === 0 ? this.#limits.calls : -1;
    const ordinary = [...this.#residents.keys()].filter((index) => this.#runsOrdinary(index));
    const reasons = ordinary.flatMap((index) => gates.get(index) ?? []);
    this.#full = gates.get(IO_THREAD) ?? (reasons.length === ordinary.length ? reasons[0] : undefined);
  }

  /** Nothing is placed here from now on. Those that are here stay reachable, and what is made here may be moved. */
  drain(): void {
    this.#draining = true;
  }

  /** Where an actor is, as far as is known without asking. */
  whereabouts(actor: ActorId): Incarnation | undefined {
    return this.#local.has(actor) ? this.#incarnation : this.#routes.get(actor)?.at;
  }

  /** From a thread of this node. May throw a `TroupeError` for a call: it was not sent then. */
  fromThread(thread: number, message: Message | HostMessage): void {
    if (isHostMessage(message)) {
      if (message[0] === HostMessageType.Deactivated) this.#deactivated(thread, message);
      else if (message[0] === HostMessageType.Left) this.#left(thread, message);
      else if (message[0] === HostMessageType.Through) this.#through(thread, message);
      return;
    }
    switch (message[0]) {
      case MessageType.Call:
        return this.#callFrom(message);
      case MessageType.Reply: {
        const call = this.#calls.take(message);
        if (call !== undefined) this.#cameBack(call);
        return this.#toOrigin(message);
      }
      case MessageType.Item:
        return this.#toOrigin(message);
      case MessageType.Cancel:
      case MessageType.Credit:
        return this.#follow(message);
      default:
        return;
    }
  }

  /** From another node. */
  fromPeer(peer: Incarnation, message: Message): void {
    switch (message[0]) {
      case MessageType.Call:
        // A peer speaks for its own threads only.
        if (message[2] === peer) this.#callFromPeer(message);
        return;
      case MessageType.Cancel:
      case MessageType.Credit:
        if (message[2] === peer) this.#follow(message);
        return;
      case MessageType.Reply: {
        const call = this.#calls.get(message);
        // A late answer of a node that no longer has the call.
        if (call === undefined || call.place?.at !== peer) return this.#dropped.add();
        this.#calls.delete(message);
        this.#cameBack(call);
        return this.#toOrigin(message);
      }
      case MessageType.Item: {
        if (this.#calls.get(message)?.place?.at === peer) this.#toOrigin(message);
        return;
      }
      case MessageType.NotHere:
        return this.#notHere(peer, message);
      case MessageType.Here:
        return this.#here(peer, message);
      case MessageType.Load:
        if (Number.isFinite(message[4])) this.#options.onLoad(peer, message[4]);
        return;
      case MessageType.Gone:
        return this.#gone(peer);
      default:
        return this.#migration.fromPeer(peer, message);
    }
  }

  /** Moves an actor that lives here to another node. Never rejects. */
  async move(actor: ActorId, options: MoveOptions): Promise<MoveOutcome> {
    const local = this.#local.get(actor);
    if (local === undefined) return "gone";
    if (!local.listed) return "stayed";
    const { at, owner } = local;
    return this.#migration.move(actor, owner.epoch, options, () =>
      this.#send(at, [HostMessageType.Leave, actor, owner.epoch, options.budgetMs, options.release]),
    );
  }

  /** Actors that no activation holds just now, because they are on their way to another node; for a reset store. */
  held(): HeldRecord[] {
    return [...this.#migration.inTransit()].map(({ actor, owner, state: { version, bytes } }) => {
      const stored = storedPartOf(bytes);
      const state = version === 0 ? null : { version, bytes: stored.bytes };
      return { actor, epoch: owner.epoch, state, dueMs: stored.dueMs };
    });
  }

  /** Makes an actor here, with its first state. */
  async create(actor: ActorId, bytes: Uint8Array): Promise<void> {
    if (this.#stopped) throw new TroupeError("draining", "this node is shutting down", { started: "no" });
    if (this.#full !== undefined) throw this.#shedNew(actor, this.#full);
    if (this.#local.has(actor)) throw new TroupeError("already_exists", `${actor} exists already`, { started: "no" });
    if (this.#queues.has(actor)) {
      // Whether it exists is what the look-up will show.
      throw new TroupeError("unavailable", `${actor} is being looked up`, { started: "no", retryAfterMs: 50 });
    }
    const queue: Queue = { calls: [], leaving: undefined, asks: false };
    this.#queues.set(actor, queue);
    try {
      if (!this.#runsActors) await this.#threadBack();
      if (!this.#runsActors) throw noThread(actor);
      const { owner, state } = (await this.#options.directory.create(actor, bytes)) as {
        owner: Owner;
        state: StoredState | null;
      };
      if (this.#fenced) {
        throw new TroupeError("unavailable", `this node was declared dead while it made ${actor}`, {
          started: "unknown",
        });
      }
      this.#activate(actor, owner, state, true);
    } finally {
      this.#open(actor, queue);
    }
  }

  /** A thread has ended, with everything on it. */
  threadDied(index: number): void {
    this.#threads.delete(index);
    this.#residents.delete(index);
    for (const [id, { at, owner, lost }] of this.#local) {
      if (at !== index) continue;
      this.#local.delete(id);
      lost?.tell();
      this.#migration.stopped(id, owner.epoch, false);
    }
    for (const call of [...this.#calls.values()]) {
      const [, , incarnation, thread, actor] = call.message;
      if (incarnation === this.#incarnation && thread === index) this.#abandon(call);
      else if (call.place?.at === index) this.#fail(call, "unavailable", `${actor}: its worker ended`, "unknown");
    }
  }

  /** The link to a peer is ready: what waited for it goes out. */
  peerUp(peer: Incarnation): void {
    const waiting = this.#waitingForPeer.get(peer);
    if (waiting === undefined) return;
    this.#waitingForPeer.delete(peer);
    for (const call of waiting) if (!call.settled) this.#toPeer(call, peer);
  }

  /** The link to a peer is gone: what it had may or may not have been done; what came from it has no caller any more. */
  peerDown(peer: Incarnation): void {
    for (const call of [...this.#calls.values()]) {
      if (call.place?.at === peer && call.sent > 0)
        this.#fail(call, "unavailable", `${call.message[4]}: the link to its node broke`, "unknown");
    }
    for (const call of this.#calls.takeAll(peer)) this.#abandon(call);
    this.#migration.peerDown(peer);
  }

  /** A peer was declared dead: what only waited for it is looked up again. */
  peerDead(peer: Incarnation): void {
    for (const [actor, route] of this.#routes) if (route.at === peer) this.#routes.delete(actor);
    this.#nodes.delete(peer);
    this.peerDown(peer);
    const waiting = this.#waitingForPeer.get(peer) ?? [];
    this.#waitingForPeer.delete(peer);
    for (const call of waiting) if (!call.settled) this.#cameBack(call);
    for (const call of waiting) if (!call.settled) this.#dispatch(call);
  }

  /**
   * The view changed. What waits for a peer that is no alive member any more is looked up again, and routes to such are
   * forgotten: a link that was down already tells nobody, and a store that lost its data declares nobody dead.
   */
  viewChanged(alive: ReadonlySet<Incarnation>): void {
    const gone = new Set<Incarnation>();
    for (const { at } of this.#routes.values()) if (!alive.has(at)) gone.add(at);
    for (const peer of this.#waitingForPeer.keys()) if (!alive.has(peer)) gone.add(peer);
    for (const peer of gone) this.peerDead(peer);
    this.#alive = alive;
  }

  /**
   * Actors turned out to be somebody else's: their activations here stop without touching anything. Their calls go on
   * when their hosts have said that they stopped; resolves then, or when their threads ended.
   */
  async lost(actors: Iterable<ActorId>): Promise<void> {
    const stopped: Promise<void>[] = [];
    for (const actor of actors) {
      this.#migration.lost(actor);
      const local = this.#local.get(actor);
      if (local === undefined) continue;
      if (local.lost === undefined) {
        let tell = (): void => {};
        const told = new Promise<void>((resolve) => {
          tell = resolve;
        });
        local.lost = { stopped: told, tell };
        this.#migration.stopped(actor, local.owner.epoch, false);
        this.#send(local.at, [HostMessageType.Drop, actor, "fenced"]);
      }
      stopped.push(local.lost.stopped);
    }
    await Promise.all(stopped);
  }

  /**
   * This node was declared dead: everything here is lost. Resolves when nothing runs any more, so that the lease of its
   * next life cannot revive what belongs to this one. Until that begins (`rename`) no actor starts here.
   */
  fence(): Promise<void> {
    this.#fenced = true;
    return this.lost([...this.#local.keys()]);
  }

  /** This node was declared dead and joined again: nothing of its former life counts. */
  rename(incarnation: Incarnation): void {
    for (const index of this.#threads.keys()) {
      this.#send(index, [HostMessageType.Drop, "", "fenced"]);
      this.#send(index, [HostMessageType.Rename, incarnation]);
    }
    for (const call of [...this.#calls.values()]) {
      if (call.message[2] === this.#incarnation) {
        this.#fail(call, "unavailable", "this node lost its membership and joined again", "unknown");
      }
    }
    this.#local.clear();
    this.#routes.clear();
    for (const index of this.#residents.keys()) this.#residents.set(index, 0);
    this.#incarnation = incarnation;
    this.#fenced = false;
    this.#migration.renamed();
  }

  /** Stops one actor, or all; resolves when the hosts have said so. */
  async stopAll(reason: DeactivateReason, timeoutMs: number): Promise<void> {
    this.#draining = true;
    this.#stopped = true;
    for (const index of this.#threads.keys()) this.#send(index, [HostMessageType.Drop, "", reason]);
    const { clock } = this.#options;
    const deadline = clock.now() + timeoutMs;
    while ((this.#local.size > 0 || this.#queues.size > 0) && clock.now() < deadline) {
      await new Promise<void>((resolve) => {
        clock.after(10, resolve);
      });
    }
  }

  // Calls towards actors

  #callFrom(message: CallMessage): void {
    const known = this.#calls.get(message);
    if (known !== undefined) {
      // A host gives back a call that it had not begun.
      this.#cameBack(known);
      return this.#dispatch(known);
    }
    // Given back after its caller went away, or by a host of this node's former life.
    if (message[2] !== this.#incarnation) return;
    this.#accept(message);
  }

  /**
   * A peer believes that the actor is here, under that epoch; or it does not know, and asks this node to claim it: it may
   * be ours without an activation (its worker died), or free, and then it starts here.
   */
  #callFromPeer(message: CallMessage): void {
    const [, , , , actor, epoch] = message;
    const local = this.#local.get(actor);
    let welcome: boolean;
    if (local !== undefined) {
      welcome = epoch === "" || epoch === local.owner.epoch;
    } else {
      const queue = this.#queues.get(actor);
      // What a look-up finds decides about calls for another epoch.
      const waits = (queue !== undefined && !queue.asks) || this.#migration.keeps(actor);
      welcome = waits || (epoch === "" && !this.#draining);
    }
    if (welcome || this.#unordered || this.#options.without?.includes("frame-incarnation")) this.#accept(message);
    else this.#answerNotHere(message);
  }

  #accept(message: CallMessage): void {
    if (this.#calls.size >= this.#callLimit && this.#turnedAway(message)) return;
    const since = this.#options.clock.now();
    const call: Inflight = { message, place: undefined, sent: 0, attempts: 0, settled: false, since };
    this.#calls.set(message, call);
    this.#dispatch(call);
  }

  /** Refuses a new call at a bound; false: it is let in. */
  #turnedAway(message: CallMessage): boolean {
    const actor = message[4];
    if (this.#calls.size >= this.#limits.calls) {
      const why = `${this.#limits.calls} calls are in flight on this node`;
      this.#refuse(message, this.#shed(actor, "calls", why, 500));
      return true;
    }
    // What an accepted call waits for, and what ends or looks after work, passes.
    if (message[9] === Lane.Control || message[11].length > 0) return false;
    if (this.#options.kinds.get(kindOf(actor))?.io === true) return false;
    const local = this.#local.get(actor);
    const there = local === undefined ? (this.#routes.has(actor) ? undefined : this.#full) : this.#gates.get(local.at);
    const shut = this.#gates.get(IO_THREAD) ?? there;
    if (shut === undefined) return false;
    this.#refuse(message, this.#shedNew(actor, shut));
    return true;
  }

  #shedNew(actor: ActorId, reason: ShutReason): TroupeError {
    const what = reason === "heap" ? "a heap is nearly full" : "an event loop is late";
    return this.#shed(actor, reason, `its node takes no new work now: ${what}`, SHUT_RETRY_MS[reason]);
  }

  /** Counts and tells a refusal; the answer is its error. */
  #shed(actor: ActorId, reason: RefusalReason, why: string, retryAfterMs: number): TroupeError {
    this.#options.metrics.counter(REFUSALS_METRIC, REFUSALS_HELP, { reason }).add();
    this.#options.events.emit({ type: "shed", actor, reason });
    return new TroupeError("overloaded", `${actor}: ${why}`, { started: "no", retryAfterMs });
  }

  #failShed(call: Inflight, reason: RefusalReason, why: string, retryAfterMs: number): void {
    const { code, message } = this.#shed(call.message[4], reason, why, retryAfterMs);
    this.#fail(call, code, message, "no", retryAfterMs);
  }

  /** Sends a call on, or fails it. Never throws. */
  #dispatch(call: Inflight): void {
    try {
      this.#forward(call);
    } catch (error) {
      if (!TroupeError.is(error)) throw error;
      if (error.code === "overloaded") {
        return this.#failShed(call, "thread", error.message, error.retryAfterMs ?? 100);
      }
      this.#fail(call, error.code, error.message, "no", error.retryAfterMs);
    }
  }

  #forward(call: Inflight): void {
    if (call.settled) return;
    const { message } = call;
    const actor = message[4];
    const local = this.#local.get(actor);
    if (local !== undefined) return this.#toThread(call, local);
    const failure = this.#failed.get(actor);
    if (failure !== undefined) return this.#fail(call, failure.code, failure.message, "no", FAILED_MS);
    const queue = this.#queues.get(actor);
    if (queue !== undefined && (!queue.asks || message[2] === this.#incarnation)) return this.#wait(call, queue);
    const kind = this.#options.kinds.get(kindOf(actor)) ?? this.#foreignKind(actor);
    if (kind === undefined) {
      return this.#fail(call, "unknown_kind", `no node runs actor kind "${kindOf(actor)}"`, "no");
    }
    if (kind.placement === "node") return this.#toNode(call, keyOf(actor));
    if (message[2] !== this.#incarnation) {
      // Another node's call is not passed on: its origin sends it itself, and then knows where it is.
      return call.attempts > 0 ? this.#sendBack(call) : this.#resolve(call, kind, queue);
    }
    const route = this.#routes.get(actor);
    if (route === undefined || this.#isGone(route.at, call)) return this.#resolve(call, kind);
    if (route.epoch === "") {
      const queue: Queue = { calls: [], leaving: undefined, asks: true };
      route.asking = { call, queue };
      this.#queues.set(actor, queue);
    }
    message[5] = route.epoch;
    call.place = route;
    route.away++;
    this.#toPeer(call, route.at);
  }

  /**
   * Whether a call is not to wait for a peer. One that is no member may be a new one, that this node's view does not show
   * yet, or have gone before the actor was handed to it, which no change of the view will tell: the directory is asked once.
   */
  #isGone(peer: Incarnation, { attempts }: Inflight): boolean {
    if (this.#alive?.has(peer) === true) return false;
    return this.#options.isDead(peer) || (this.#alive !== undefined && attempts === 0);
  }

  #toThread(call: Inflight, local: LocalActor): void {
    const { message } = call;
    this.#charge(call);
    call.place = local;
    call.sent = ++this.#sends;
    local.away++;
    if (message[5] === "" && local.listed && message[2] !== this.#incarnation)
      this.#answerHere(message, local.owner.epoch);
    this.#send(local.at, message);
  }

  /** An actor whose key names its node: no directory, the node's membership owns it. */
  #toNode(call: Inflight, key: string): void {
    const nodeId = key.slice(key.lastIndexOf("@") + 1) as NodeId;
    const actor = call.message[4];
    if (nodeId === this.#options.nodeId) {
      // Its epoch is the node's own life.
      const epoch = this.#incarnation as string as Epoch;
      this.#activate(actor, { incarnation: this.#incarnation, epoch }, null, false);
      return this.#dispatch(call);
    }
    const peer = this.#options.incarnationOf(nodeId);
    if (peer === undefined) return this.#fail(call, "unavailable", `${actor}: node "${nodeId}" is not a member`, "no");
    let place = this.#nodes.get(peer);
    if (place === undefined) {
      place = { at: peer, away: 0, waits: undefined, asking: undefined };
      this.#nodes.set(peer, place);
    }
    call.place = place;
    place.away++;
    this.#toPeer(call, peer);
  }

  /** Sends a call that has its place, or lets it wait for the link. */
  #toPeer(call: Inflight, peer: Incarnation): void {
    this.#charge(call);
    call.sent = ++this.#sends;
    switch (this.#options.peers.send(peer, call.message[4], call.message)) {
      case "queued":
        this.#forwarded.add();
        return;
      case "overloaded":
        return this.#failShed(call, "link", "the link to its node is full", 200);
      case "no-link": {
        let waiting = this.#waitingForPeer.get(peer);
        if (waiting === undefined) {
          waiting = [];
          this.#waitingForPeer.set(peer, waiting);
        }
        if (waiting.length >= this.#limits.waitingPerPeer) {
          return this.#failShed(call, "peer", "its node cannot be reached now", 1_000);
        }
        call.sent = 0;
        waiting.push(call);
      }
    }
  }

  #wait(call: Inflight, { calls }: Queue): void {
    if (calls.length < this.#limits.waitingPerActor) return void calls.push(call);
    this.#failShed(call, "placement", `${this.#limits.waitingPerActor} calls wait for its placement`, 200);
  }

  /** Looks up for a call, and for those that wait meanwhile. */
  #resolve(call: Inflight, kind: KindInfo, waiting?: Queue): void {
    if (this.#triedTooOften(call)) return;
    const calls = [...(waiting?.calls ?? []), call];
    void this.#lookUp(call.message[4], kind, { calls, leaving: undefined, asks: false }, undefined);
  }

  #triedTooOften(call: Inflight): boolean {
    const { attempts } = this.#limits;
    if (++call.attempts <= attempts) return false;
    this.#fail(call, "unavailable", `${call.message[4]} moved ${attempts} times while it was called`, "no");
    return true;
  }

  /**
   * Looks an actor up for `queue`; `first` must be over before (it is being given up), and may show where it is. Never
   * rejects.
   */
  async #lookUp(
    actor: ActorId,
    kind: KindInfo,
    queue: Queue,
    first: Promise<Found | undefined> | undefined,
  ): Promise<void> {
    this.#queues.set(actor, queue);
    let failure: TroupeError | undefined;
    try {
      let found = first === undefined ? undefined : await first;
      for (;;) {
        if (found === undefined && this.#migration.keeps(actor)) {
          // What was offered is taken only when it can be used at once.
          if (await this.#migration.decided(actor)) await this.#backFromElsewhere(actor, this.#incarnation, queue);
        } else if (found === undefined && queue.calls.every(({ settled }) => settled)) {
          break;
        }
        found ??= await this.#find(actor, kind, queue);
        const back = this.#backFromElsewhere(actor, found.owner.incarnation, queue);
        if (back === undefined) {
          if (found.place === "there") this.#remember(actor, found.owner);
          else this.#activate(actor, found.owner, found.state, true, found.from);
          break;
        }
        if (found.place === "there") this.#sendPeersBack(queue);
        // What was found may be out of date afterwards; and an actor that is ours is to start with what is stored then.
        await back;
        found = undefined;
      }
    } catch (error) {
      failure = TroupeError.is(error)
        ? error
        : new TroupeError("unavailable", `${actor} could not be placed: ${String(error)}`, {
            started: "no",
            cause: error,
          });
    }
    if (failure === undefined && !this.#local.has(actor)) this.#sendPeersBack(queue);
    this.#open(actor, queue, failure);
  }

  /** The calls of a queue go on, in the order of their origins, or fail. */
  #open(actor: ActorId, queue: Queue, failure?: TroupeError): void {
    if (this.#queues.get(actor) === queue) this.#queues.delete(actor);
    const running = this.#local.get(actor)?.owner.epoch;
    for (const call of this.#unordered ? queue.calls : inOrderOfOrigin(queue.calls)) {
      if (failure?.code === "overloaded") {
        const reason = isClaims(failure) ? "claims" : "store";
        this.#failShed(call, reason, failure.message, failure.retryAfterMs ?? 1_000);
      } else if (failure !== undefined) this.#fail(call, failure.code, failure.message, "no", failure.retryAfterMs);
      else if (this.#isFor(call, running, queue.leaving)) this.#dispatch(call);
      else this.#sendBack(call);
    }
  }

  /** Whether a call may begin in the activation that runs here. A peer's is for one epoch, or for whichever there is. */
  #isFor({ message }: Inflight, running: Epoch | undefined, leaving: Epoch | undefined): boolean {
    const epoch = message[5];
    if (message[2] === this.#incarnation || epoch === "" || this.#unordered) return true;
    return epoch === running || epoch === leaving;
  }

  /** The actor is not here: its calls of other nodes go back to them. */
  #sendPeersBack(queue: Queue): void {
    const foreign = queue.calls.filter(({ message }) => message[2] !== this.#incarnation);
    queue.calls = queue.calls.filter(({ message }) => message[2] === this.#incarnation);
    for (const call of inOrderOfOrigin(foreign)) this.#sendBack(call);
  }

  /** A kind that this node does not run and another one does: it is placed there. */
  #foreignKind(actor: ActorId): KindInfo | undefined {
    const somewhere = this.#options.choose(kindOf(actor), keyOf(actor), "least-loaded");
    return somewhere === undefined ? undefined : { placement: "least-loaded", requireState: false, io: false };
  }

  async #find(actor: ActorId, kind: KindInfo, { calls }: Queue): Promise<Found> {
    if (this.#migration.keeps(actor)) {
      const taken = await this.#migration.taken(actor);
      if (taken !== undefined) return { place: "here", ...taken };
    }
    // A node that was asked by a peer was chosen by it.
    const asked = calls.some(({ message }) => message[2] !== this.#incarnation);
    if (!asked && (kind.placement !== "prefer-local" || this.#draining)) {
      const owner = await this.#elsewhere(actor, kind);
      if (owner !== undefined) return { place: "there", owner };
    }
    if (!kind.io && !this.#runsActors && !this.#draining) await this.#threadBack();
    return this.#options.directory.resolve(actor, kind.requireState);
  }

  /**
   * Where else an actor is, or should be; undefined: it is to be claimed here. A node that should have it is asked with
   * an empty epoch, and claims it then.
   */
  async #elsewhere(actor: ActorId, { placement }: KindInfo): Promise<Owner | undefined> {
    const self = this.#incarnation;
    let chosen: Incarnation | undefined;
    if (typeof placement === "object" && "colocate" in placement) {
      const other = `${placement.colocate}/${keyOf(actor)}` as ActorId;
      chosen = this.#local.has(other) ? self : (await this.#options.directory.owner(other))?.incarnation;
    }
    chosen ??= this.#options.choose(kindOf(actor), keyOf(actor), placement);
    if (chosen === self) return undefined;
    const owner = await this.#options.directory.owner(actor);
    if (owner !== null) return owner.incarnation === self ? undefined : owner;
    if (chosen !== undefined) return { incarnation: chosen, epoch: "" as Epoch };
    throw new TroupeError("unavailable", `no node can take ${actor} now`, { started: "no", retryAfterMs: 1_000 });
  }

  #activate(actor: ActorId, owner: Owner, state: StoredState | null, listed: boolean, from?: Epoch): void {
    if (this.#fenced) {
      throw new TroupeError("unavailable", `${actor}: this node was declared dead and joins again`, {
        started: "no",
        retryAfterMs: 100,
      });
    }
    const thread = this.#options.kinds.get(kindOf(actor))?.io === true ? IO_THREAD : this.#leastBusyThread(actor);
    // Written out: an object made by spreading would have a shape of its own, some 300 bytes for each actor.
    this.#local.set(actor, {
      at: thread,
      owner,
      listed,
      lost: undefined,
      away: 0,
      waits: undefined,
      asking: undefined,
    });
    this.#residents.set(thread, (this.#residents.get(thread) ?? 0) + 1);
    this.#routes.delete(actor);
    const { events } = this.#options;
    if (events.heard) {
      if (listed) events.emit({ type: "claimed", actor, epoch: owner.epoch });
      events.emit({ type: "activated", actor, epoch: owner.epoch, thread, from: from ?? null });
    }
    const { version, bytes } = state ?? NO_STATE;
    this.#send(thread, [HostMessageType.Activate, actor, owner.epoch, version, bytes, from !== undefined]);
  }

  /** Whether a thread for ordinary actors runs now. */
  get #runsActors(): boolean {
    return this.#threads.size > (this.#threads.has(IO_THREAD) && !this.#options.actorsOnIoThread ? 1 : 0);
  }

  /** Resolves when a worker runs again, and at the latest after `THREAD_BACK_MS`: whoever waited is refused then. */
  #threadBack(): Promise<void> {
    return new Promise((resolve) => {
      const goOn = (): void => {
        cancel();
        this.#threadless.delete(goOn);
        resolve();
      };
      const cancel = this.#options.clock.after(THREAD_BACK_MS, goOn);
      this.#threadless.add(goOn);
    });
  }

  #runsOrdinary(thread: number): boolean {
    return thread !== IO_THREAD || this.#options.actorsOnIoThread;
  }

  #leastBusyThread(actor: ActorId): number {
    let best: number | undefined;
    let least = Number.POSITIVE_INFINITY;
    let shut: ShutReason | undefined;
    for (const [index, residents] of this.#residents) {
      if (!this.#runsOrdinary(index)) continue;
      const gate = this.#gates.get(index);
      shut ??= gate;
      if (gate === undefined && residents < least) {
        best = index;
        least = residents;
      }
    }
    if (best === undefined && shut !== undefined) throw this.#shedNew(actor, shut);
    if (best === undefined) {
      throw noThread(actor);
    }
    return best;
  }

  /**
   * A route is known. Where calls are on their way to that peer already, another epoch counts only after the peer gave
   * back what was sent for the old one.
   */
  #remember(actor: ActorId, { incarnation, epoch }: Owner): void {
    const known = this.#routes.get(actor);
    if (known?.at === incarnation) {
      // What the directory names is not running there: it is asked to claim it anew.
      if (known.away === 0 || isRefused(known, known.epoch)) known.epoch = isRefused(known, epoch) ? "" : epoch;
      return;
    }
    this.#routes.delete(actor);
    this.#routes.set(actor, {
      at: incarnation,
      epoch: isRefused(known, epoch) ? "" : epoch,
      refused: known?.refused ?? NONE_REFUSED,
      away: 0,
      waits: undefined,
      asking: undefined,
    });
    if (this.#routes.size > this.#limits.routes) this.#forgetRoute();
  }

  /** Forgets the route used longest ago; those with calls on their way stay. */
  #forgetRoute(): void {
    let looks = ROUTE_LOOKS;
    for (const [actor, route] of this.#routes) {
      this.#routes.delete(actor);
      if (route.away === 0 || looks-- === 0) return;
      this.#routes.set(actor, route);
    }
  }

  /** Cancel and credit go where the call went. */
  #follow(message: CancelMessage | CreditMessage): void {
    const call = this.#calls.get(message);
    if (call === undefined) return;
    const at = call.place?.at;
    if (typeof at === "number") return this.#send(at, message);
    if (at !== undefined && call.sent > 0) {
      this.#options.peers.send(at, message[4], message);
      return;
    }
    if (message[0] === MessageType.Credit) return;
    const code = message[5] === "deadline" ? "deadline_exceeded" : "cancelled";
    this.#fail(call, code, `${message[4]}: the call had not been sent (${message[5]})`, "no");
  }

  // Answers

  #toOrigin(message: ReplyMessage | ItemMessage): void {
    const [, callId, incarnation, thread] = message;
    if (incarnation === this.#incarnation) return this.#send(thread, message);
    // One key per call keeps its items and its end in order.
    if (
      this.#options.peers.send(incarnation, ANSWER_LANES[callId % ANSWER_LANES.length] as string, message) !== "queued"
    ) {
      this.#dropped.add();
    }
  }

  #notHere(peer: Incarnation, message: NotHereMessage): void {
    const call = this.#calls.get(message);
    const route = call?.place as Route | undefined;
    if (call === undefined || route?.at !== peer) return;
    const [, , , , actor, epoch, movedTo, newEpoch] = message;
    this.#options.events.emit({ type: "rerouted", actor, from: peer });
    this.#resent.add();
    const { sent } = call;
    const asking = route.asking?.call === call ? route.asking : undefined;
    if (asking !== undefined) route.asking = undefined;
    this.#cameBack(call);
    if (epoch !== "" && route.epoch === epoch && !isRefused(route, epoch)) {
      route.refused = [...route.refused.slice(1 - this.#limits.attempts), epoch];
    }
    const kind = this.#options.kinds.get(kindOf(actor)) ?? this.#foreignKind(actor);
    const queue = this.#queues.get(actor);
    const takeOver = queue === undefined || queue === asking?.queue;
    if (this.#triedTooOften(call)) {
      if (queue !== undefined && takeOver) this.#open(actor, queue);
    } else if (kind === undefined || kind.placement === "node") {
      this.#dispatch(call);
    } else if (takeOver) {
      const calls = [call, ...(queue?.calls ?? [])];
      const known =
        movedTo !== undefined &&
        newEpoch !== undefined &&
        movedTo !== this.#incarnation &&
        !isRefused(this.#routes.get(actor), newEpoch);
      const found: Found | undefined = known
        ? { place: "there", owner: { incarnation: movedTo, epoch: newEpoch } }
        : undefined;
      // What was sent after it comes back as well: what is sent elsewhere before that could overtake it.
      const back = Promise.resolve(this.#back(route, sent)).then(() => found);
      void this.#lookUp(actor, kind, { calls, leaving: undefined, asks: false }, back);
    } else {
      this.#wait(call, queue);
    }
  }

  /** A peer says under which epoch it runs an actor that it was asked to claim. */
  #here(peer: Incarnation, [, , , , actor, epoch]: HereMessage): void {
    const route = this.#routes.get(actor);
    if (route?.at !== peer) return;
    if (route.epoch === "") route.epoch = epoch;
    this.#askedEnough(route, actor);
  }

  /** It is known under which epoch the actor runs, or the call that asked for it is over. */
  #askedEnough(place: Place, actor: ActorId): void {
    const { asking } = place;
    place.asking = undefined;
    if (asking !== undefined && this.#queues.get(actor) === asking.queue) this.#open(actor, asking.queue);
  }

  /** Resolves when all calls sent to `place` after the `after`th are answered or given back; undefined: they are. */
  #back(place: Place, after: number): Promise<void> | undefined {
    if (place.away === 0 || this.#unordered) return undefined;
    let left = 0;
    if (after <= 0) left = place.away;
    else for (const call of this.#calls.values()) if (call.place === place && call.sent > after) left++;
    if (left === 0) return undefined;
    return new Promise((resolve) => {
      const done = (): void => {
        place.waits = undefined;
        resolve();
      };
      place.waits = { after, left, done };
    });
  }

  /** The same for the place where an actor was before it was found on `node`; what was not even sent is called back. */
  #backFromElsewhere(actor: ActorId, node: Incarnation, queue: Queue): Promise<void> | undefined {
    const route = this.#routes.get(actor);
    if (route === undefined || route.at === node) return undefined;
    const waiting = this.#waitingForPeer.get(route.at);
    for (const call of waiting ?? []) {
      if (call.place !== route || call.settled) continue;
      this.#cameBack(call);
      queue.calls.push(call);
    }
    if (waiting !== undefined) {
      this.#waitingForPeer.set(
        route.at,
        waiting.filter(({ place }) => place !== undefined),
      );
    }
    return this.#back(route, 0);
  }

  /** A call is no longer where it was sent. */
  #cameBack(call: Inflight): void {
    const { place } = call;
    if (place === undefined) return;
    call.place = undefined;
    place.away--;
    const { waits } = place;
    if (waits !== undefined && (waits.after <= 0 || call.sent > waits.after) && --waits.left === 0) waits.done();
    if (place.asking?.call === call) this.#askedEnough(place, call.message[4]);
  }

  get #unordered(): boolean {
    return this.#options.without?.includes("redirect-order") === true;
  }

  #sendBack(call: Inflight): void {
    if (call.settled) return;
    call.settled = true;
    this.#calls.delete(call.message);
    this.#answerNotHere(call.message);
  }

  #answerNotHere(message: CallMessage): void {
    const [, callId, incarnation, thread, actor, epoch] = message;
    const route = this.#migration.handedOver(actor, epoch) ? this.#routes.get(actor) : undefined;
    const there: [Incarnation, Epoch] | [] = route === undefined || route.epoch === "" ? [] : [route.at, route.epoch];
    this.#options.peers.send(incarnation, actor, [
      MessageType.NotHere,
      callId,
      incarnation,
      thread,
      actor,
      epoch,
      ...there,
    ]);
  }

  #answerHere([, callId, incarnation, thread, actor]: CallMessage, epoch: Epoch): void {
    this.#options.peers.send(incarnation, actor, [MessageType.Here, callId, incarnation, thread, actor, epoch]);
  }

  /** A host asks whether what its own thread sent to an actor of its own has come: by now it has, this comes after it. */
  #through(thread: number, [, actor, epoch]: ThroughMessage): void {
    const local = this.#local.get(actor);
    if (local?.at !== thread || local.owner.epoch !== epoch) return;
    this.#send(thread, [HostMessageType.Through, actor, epoch]);
  }

  // Ends

  #deactivated(thread: number, [, actor, epoch, reason, error]: DeactivatedMessage): void {
    const local = this.#local.get(actor);
    if (local === undefined || local.at !== thread || local.owner.epoch !== epoch) return;
    this.#notLocal(actor, local);
    this.#migration.stopped(actor, epoch, local.listed && reason !== "ended" && reason !== "fenced");
    this.#options.events.emit(reason === "fenced" ? { type: "fenced", actor } : { type: "deactivated", actor, reason });
    if (error !== null && this.#failed.size < MAX_FAILED) {
      this.#failed.set(actor, decodeError(error));
      this.#options.clock.after(FAILED_MS, () => this.#failed.delete(actor));
    }
    const kind = this.#options.kinds.get(kindOf(actor));
    if (kind === undefined) return;
    const release = local.listed && reason !== "ended" && reason !== "fenced" && local.lost === undefined;
    if (local.away === 0 && !release) return;
    // Calls that come meanwhile wait until it is given up, then look it up again.
    const queue: Queue = { calls: [], leaving: epoch, asks: false };
    if (local.listed) void this.#lookUp(actor, kind, queue, this.#giveUp(actor, local, release));
    else {
      this.#queues.set(actor, queue);
      void this.#back(local, 0)?.then(() => this.#open(actor, queue));
    }
  }

  /** The host gives back what it had not begun, then the actor is free for others. */
  async #giveUp(actor: ActorId, local: LocalActor, release: boolean): Promise<undefined> {
    await this.#back(local, 0);
    if (release) await this.#options.directory.release(actor, local.owner);
  }

  #notLocal(actor: ActorId, { at, lost }: LocalActor): void {
    this.#local.delete(actor);
    this.#residents.set(at, Math.max(0, (this.#residents.get(at) ?? 0) - 1));
    lost?.tell();
  }

  /** An activation that was to go on elsewhere has stopped for it, or stays. */
  #left(thread: number, message: LeftMessage): void {
    const [, actor, epoch, , bytes] = message;
    const local = this.#local.get(actor);
    const kind = this.#options.kinds.get(kindOf(actor));
    if (local === undefined || kind === undefined || local.at !== thread || local.owner.epoch !== epoch) return;
    if (bytes === null) return this.#migration.stays(actor, epoch);
    this.#notLocal(actor, local);
    this.#options.events.emit({ type: "deactivated", actor, reason: "moved" });
    const queue: Queue = { calls: [], leaving: epoch, asks: false };
    const handOver = async (): Promise<Found | undefined> => {
      // The store named another owner while it got ready to leave.
      const found = local.lost !== undefined ? undefined : await this.#migration.handOver(local.owner, message);
      await this.#back(local, 0);
      return found;
    };
    void this.#lookUp(actor, kind, queue, handOver());
  }

  #migrationHooks(): ConstructorParameters<typeof Migration>[0]["hooks"] {
    return {
      incarnation: () => this.#incarnation,
      wanted: (actor) => {
        const kind = this.#options.kinds.get(kindOf(actor));
        if (kind === undefined || kind.placement === "node") return false;
        return !this.#draining && !this.#local.has(actor) && !this.#queues.has(actor);
      },
      lookUp: (actor) => {
        const kind = this.#options.kinds.get(kindOf(actor));
        if (kind === undefined || this.#queues.has(actor)) return;
        void this.#lookUp(actor, kind, { calls: [], leaving: undefined, asks: false }, undefined);
      },
    };
  }

  /** A peer owns nothing any more. A route with calls on their way stays until it has given them back. */
  #gone(peer: Incarnation): void {
    for (const [actor, { at, away }] of this.#routes) if (at === peer && away === 0) this.#routes.delete(actor);
  }

  /** The caller is gone: whoever has its call is told to stop. */
  #abandon(call: Inflight): void {
    const [, callId, incarnation, thread, actor] = call.message;
    call.settled = true;
    this.#calls.delete(call.message);
    const reason: AbortReason = "callerDied";
    const cancel: CancelMessage = [MessageType.Cancel, callId, incarnation, thread, actor, reason];
    const at = call.place?.at;
    if (typeof at === "number") this.#send(at, cancel);
    else if (at !== undefined && call.sent > 0) this.#options.peers.send(at, actor, cancel);
    this.#cameBack(call);
  }

  #fail(
    call: Inflight,
    code: TroupeError["code"],
    why: string,
    started: "no" | "unknown" | "yes",
    retryAfterMs?: number,
  ): void {
    if (call.settled) return;
    call.settled = true;
    this.#calls.delete(call.message);
    this.#cameBack(call);
    if (started === "unknown") this.#lost.add();
    this.#refuse(call.message, new TroupeError(code, why, { started, retryAfterMs }));
  }

  #refuse(message: CallMessage, error: TroupeError): void {
    this.#toOrigin([MessageType.Reply, message[1], message[2], message[3], encodeError(error), null]);
  }

  /** Charges the time a call waited here to its budget. */
  #charge(call: Inflight): void {
    const { message } = call;
    if (call.attempts === 0 || message[8] <= 0) return;
    const now = this.#options.clock.now();
    message[8] = Math.max(1, message[8] - (now - call.since));
    call.since = now;
  }

  #send(thread: number, message: Message | HostMessage): void {
    this.#threads.get(thread)?.send(message);
  }
}

const NONE_REFUSED: readonly Epoch[] = [];

/** Whether a call to the actor was given back under that epoch. */
function isRefused(route: Route | undefined, epoch: Epoch | ""): boolean {
  return epoch !== "" && route !== undefined && route.refused.includes(epoch);
}

const NO_STATE = { version: 0, bytes: null };

/** Whether a look-up was refused because too many wait for theirs (`directory.ts`). */
function isClaims({ data }: TroupeError): boolean {
  return typeof data === "object" && data !== null && "reason" in data && data.reason === "claims";
}

function noThread(actor: ActorId): TroupeError {
  return new TroupeError("unavailable", `${actor}: no worker of this node runs now`, {
    started: "no",
    retryAfterMs: 500,
  });
}

/** Keys for the lanes of answers. */
const ANSWER_LANES = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];

/**
 * Calls of one origin in the order in which they were made: those that came back after a move stand before newer ones.
 * Each origin keeps the places its calls had.
 */
function inOrderOfOrigin(calls: readonly Inflight[]): readonly Inflight[] {
  if (calls.length < 2) return calls;
  const byOrigin = new Map<string, Inflight[]>();
  const originOf = (call: Inflight): string => `${call.message[2]}/${call.message[3]}`;
  for (const call of calls) {
    const origin = originOf(call);
    const list = byOrigin.get(origin);
    if (list === undefined) byOrigin.set(origin, [call]);
    else list.push(call);
  }
  for (const list of byOrigin.values()) list.sort((a, b) => b.message[1] - a.message[1]);
  return calls.map((call) => byOrigin.get(originOf(call))?.pop() as Inflight);
}
