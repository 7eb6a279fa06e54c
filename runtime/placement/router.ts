/**
 * The switch of a node: every message between its threads, and between it and other nodes, passes here, on the I/O
 * thread.
 *
 * ## Where a call goes
 * Local table → route cache → directory. While an actor is being looked up (or given up, or moved, see migration.ts) its
 * calls wait in order behind that. A receiver that does not run the actor answers `NotHere`; the origin then forgets the
 * route and looks it up again, or goes where the receiver says that it handed the actor over to, with the same call: a call
 * is resent only when it provably did not begin.
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
  type HostMessage,
  HostMessageType,
  IO_THREAD,
  type ItemMessage,
  isHostMessage,
  type LeftMessage,
  type Message,
  MessageType,
  type NotHereMessage,
  type ReplyMessage,
} from "../actor/message.ts";
import { OriginTable } from "../actor/origin_table.ts";
import type { HeldRecord, Owner, StoredState } from "../coordinator/contract.ts";
import type { DiagnosticEvents } from "../observe/events.ts";
import type { Logger } from "../observe/log.ts";
import type { Counter, Metrics } from "../observe/metrics.ts";
import type { DirectoryClient } from "./directory.ts";
import { Migration, type MoveOptions, type MoveOutcome } from "./migration.ts";
import type { Peers } from "./peers.ts";

/** What the router knows of a kind. */
export interface KindInfo {
  placement: PlacementPolicy;
  /** Only `create` makes one. */
  requireState: boolean;
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
export type RouterGuard = "redirect-order";

const LIMITS = { calls: 200_000, waitingPerActor: 1_024, waitingPerPeer: 4_096, routes: 100_000, attempts: 5 };

/** Longest wait for calls that were sent to where an actor was, before later ones go to where it is, milliseconds. */
const REDIRECT_MS = 1_000;
/** How long calls wait for a worker to run again before they are refused, milliseconds: longer than a restart takes. */
const THREAD_BACK_MS = 5_000;
/** How long an actor that could not be activated is not tried again, milliseconds. */
const FAILED_MS = 100;
/** Beyond this many, a failed actor is simply tried again. */
const MAX_FAILED = 1_024;

interface LocalActor {
  thread: number;
  owner: Owner;
  /** Whether the directory has a record of it. */
  listed: boolean;
}

/** A call on record. */
interface Inflight {
  readonly message: CallMessage;
  /** Thread or peer that has it; undefined while it waits here. */
  at: number | Incarnation | undefined;
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
  readonly #routes = new Map<ActorId, Owner>();
  readonly #calls = new OriginTable<Inflight>();
  /** Actors being looked up or given up, with the calls that wait for it. */
  readonly #resolving = new Map<ActorId, Inflight[]>();
  /** Actors that could not be activated just now; their calls get that answer until it is tried again. */
  readonly #failed = new Map<ActorId, TroupeError>();
  readonly #waitingForPeer = new Map<Incarnation, Inflight[]>();
  /** What waits for a worker to run again. */
  readonly #threadless = new Set<() => void>();
  /** Actors that moved, with the calls that have not come back yet from where they were. */
  readonly #redirects = new Map<ActorId, { left: Set<Inflight>; done: () => void }>();
  readonly #forwarded: Counter;
  readonly #resent: Counter;
  readonly #lost: Counter;
  readonly #dropped: Counter;
  readonly #migration: Migration;
  #draining = false;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
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
  *actors(): IterableIterator<{ id: ActorId; epoch: Epoch; thread: number }> {
    for (const [id, { owner, thread }] of this.#local) yield { id, epoch: owner.epoch, thread };
  }

  /** The owner of an actor that lives here, for its commits. */
  owner(actor: ActorId, epoch: Epoch): Owner | undefined {
    const local = this.#local.get(actor);
    return local !== undefined && local.owner.epoch === epoch ? local.owner : undefined;
  }

  /** A thread is ready for actors. */
  addThread(index: number, thread: HostThread): void {
    this.#threads.set(index, thread);
    this.#residents.set(index, 0);
    if (this.#runsActors) for (const goOn of [...this.#threadless]) goOn();
  }

  /** No new actors from now on; those that are here stay reachable. */
  drain(): void {
    this.#draining = true;
  }

  /** From a thread of this node. May throw a `TroupeError` for a call: it was not sent then. */
  fromThread(thread: number, message: Message | HostMessage): void {
    if (isHostMessage(message)) {
      if (message[0] === HostMessageType.Deactivated) this.#deactivated(thread, message);
      else if (message[0] === HostMessageType.Left) this.#left(thread, message);
      return;
    }
    switch (message[0]) {
      case MessageType.Call:
        return this.#callFrom(message);
      case MessageType.Reply:
        this.#calls.delete(message);
        return this.#toOrigin(message);
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
        if (call === undefined || call.at !== peer) return this.#dropped.add();
        this.#calls.delete(message);
        this.#cameBack(call);
        return this.#toOrigin(message);
      }
      case MessageType.Item: {
        if (this.#calls.get(message)?.at === peer) this.#toOrigin(message);
        return;
      }
      case MessageType.NotHere:
        return this.#notHere(peer, message);
      case MessageType.Load:
        if (Number.isFinite(message[4])) this.#options.onLoad(peer, message[4]);
        return;
      default:
        return this.#migration.fromPeer(peer, message);
    }
  }

  /** Moves an actor that lives here to another node. Never rejects. */
  async move(actor: ActorId, options: MoveOptions): Promise<MoveOutcome> {
    const local = this.#local.get(actor);
    if (local === undefined) return "gone";
    if (!local.listed) return "stayed";
    const { thread, owner } = local;
    return this.#migration.move(actor, owner.epoch, options, () =>
      this.#send(thread, [HostMessageType.Leave, actor, owner.epoch, options.budgetMs, options.release]),
    );
  }

  /** Actors that no activation holds just now, because they are on their way to another node; for a reset store. */
  held(): HeldRecord[] {
    return [...this.#migration.inTransit()].map(({ actor, owner, state: { version, bytes } }) => ({
      actor,
      epoch: owner.epoch,
      state: version === 0 ? null : { version, bytes: storedPartOf(bytes) },
    }));
  }

  /** Makes an actor here, with its first state. */
  async create(actor: ActorId, bytes: Uint8Array): Promise<void> {
    if (this.#draining) throw new TroupeError("draining", "this node is shutting down", { started: "no" });
    if (this.#local.has(actor)) throw new TroupeError("already_exists", `${actor} exists already`, { started: "no" });
    if (this.#resolving.has(actor)) {
      // Whether it exists is what the look-up will show.
      throw new TroupeError("unavailable", `${actor} is being looked up`, { started: "no", retryAfterMs: 50 });
    }
    const waiting: Inflight[] = [];
    this.#resolving.set(actor, waiting);
    try {
      const { owner, state } = (await this.#options.directory.create(actor, bytes)) as {
        owner: Owner;
        state: StoredState | null;
      };
      this.#activate(actor, owner, state, true);
    } finally {
      this.#resolving.delete(actor);
      for (const call of waiting) this.#dispatch(call);
    }
  }

  /** A thread has ended, with everything on it. */
  threadDied(index: number): void {
    this.#threads.delete(index);
    this.#residents.delete(index);
    for (const [id, { thread, owner }] of this.#local) {
      if (thread !== index) continue;
      this.#local.delete(id);
      this.#migration.stopped(id, owner.epoch, false);
    }
    for (const call of [...this.#calls.values()]) {
      const [, , incarnation, thread, actor] = call.message;
      if (incarnation === this.#incarnation && thread === index) this.#abandon(call);
      else if (call.at === index) this.#fail(call, "unavailable", `${actor}: its worker ended`, "unknown");
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
      if (call.at === peer)
        this.#fail(call, "unavailable", `${call.message[4]}: the link to its node broke`, "unknown");
    }
    for (const call of this.#calls.takeAll(peer)) this.#abandon(call);
    this.#migration.peerDown(peer);
  }

  /** A peer was declared dead: what only waited for it is looked up again. */
  peerDead(peer: Incarnation): void {
    this.peerDown(peer);
    for (const [actor, owner] of this.#routes) if (owner.incarnation === peer) this.#routes.delete(actor);
    const waiting = this.#waitingForPeer.get(peer) ?? [];
    this.#waitingForPeer.delete(peer);
    for (const call of waiting) if (!call.settled) this.#dispatch(call);
  }

  /**
   * The view changed. What waits for a peer that is no alive member any more is looked up again, and routes to such are
   * forgotten: a link that was down already tells nobody, and a store that lost its data declares nobody dead.
   */
  viewChanged(alive: ReadonlySet<Incarnation>): void {
    for (const [actor, owner] of this.#routes) if (!alive.has(owner.incarnation)) this.#routes.delete(actor);
    for (const peer of [...this.#waitingForPeer.keys()]) if (!alive.has(peer)) this.peerDead(peer);
  }

  /** An actor turned out to be somebody else's: its activation here stops without touching anything. */
  lost(actor: ActorId): void {
    this.#migration.lost(actor);
    const local = this.#local.get(actor);
    if (local === undefined) return;
    this.#notLocal(actor, local.thread);
    this.#migration.stopped(actor, local.owner.epoch, false);
    this.#send(local.thread, [HostMessageType.Drop, actor, "fenced"]);
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
    this.#migration.renamed();
  }

  /** Stops one actor, or all; resolves when the hosts have said so. */
  async stopAll(reason: DeactivateReason, timeoutMs: number): Promise<void> {
    this.#draining = true;
    for (const index of this.#threads.keys()) this.#send(index, [HostMessageType.Drop, "", reason]);
    const { clock } = this.#options;
    const deadline = clock.now() + timeoutMs;
    while ((this.#local.size > 0 || this.#resolving.size > 0) && clock.now() < deadline) {
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
      known.at = undefined;
      return this.#dispatch(known);
    }
    // Given back after its caller went away, or by a host of this node's former life.
    if (message[2] !== this.#incarnation) return;
    this.#accept(message);
  }

  /**
   * A peer believes that the actor is here. Where it is not, the directory is asked: it may be ours without an
   * activation (its worker died), or free, and then it starts here.
   */
  #callFromPeer(message: CallMessage): void {
    const actor = message[4];
    if (this.#draining && !this.#local.has(actor) && !this.#resolving.has(actor) && !this.#migration.keeps(actor)) {
      return this.#answerNotHere(message);
    }
    this.#accept(message);
  }

  #accept(message: CallMessage): void {
    if (this.#calls.size >= this.#limits.calls) {
      return this.#refuse(
        message,
        new TroupeError("overloaded", `${this.#limits.calls} calls are in flight on this node`, {
          started: "no",
          retryAfterMs: 500,
        }),
      );
    }
    const call: Inflight = { message, at: undefined, attempts: 0, settled: false, since: this.#options.clock.now() };
    this.#calls.set(message, call);
    this.#dispatch(call);
  }

  /** Sends a call on, or fails it. Never throws. */
  #dispatch(call: Inflight): void {
    try {
      this.#forward(call);
    } catch (error) {
      if (!TroupeError.is(error)) throw error;
      this.#fail(call, error.code, error.message, "no", error.retryAfterMs);
    }
  }

  #forward(call: Inflight): void {
    if (call.settled) return;
    const { message } = call;
    const actor = message[4];
    const local = this.#local.get(actor);
    if (local !== undefined) return this.#toThread(call, local.thread);
    const failure = this.#failed.get(actor);
    if (failure !== undefined) return this.#fail(call, failure.code, failure.message, "no", FAILED_MS);
    if (++call.attempts > this.#limits.attempts) {
      return this.#fail(call, "unavailable", `${actor} moved ${this.#limits.attempts} times while it was called`, "no");
    }
    const kind = this.#options.kinds.get(kindOf(actor)) ?? this.#foreignKind(actor);
    if (kind === undefined) {
      return this.#fail(call, "unknown_kind", `no node runs actor kind "${kindOf(actor)}"`, "no");
    }
    if (kind.placement === "node") return this.#toNode(call, keyOf(actor));
    const route = this.#routes.get(actor);
    if (route !== undefined) {
      if (!this.#options.isDead(route.incarnation)) {
        if (message[2] !== this.#incarnation) {
          // Another node's call is not passed on: its origin sends it itself, and then knows where it is. But it came
          // because the directory named this node, so an old route of our own says nothing against that.
          if (call.attempts > 1 || this.#migration.handedOver(actor, message[5])) return this.#sendBack(call);
          this.#routes.delete(actor);
          return this.#resolve(call, kind);
        }
        message[5] = route.epoch;
        return this.#toPeer(call, route.incarnation);
      }
      this.#routes.delete(actor);
    }
    this.#resolve(call, kind);
  }

  #toThread(call: Inflight, thread: number): void {
    this.#charge(call);
    call.at = thread;
    this.#send(thread, call.message);
  }

  /** An actor whose key names its node: no directory, the node's membership owns it. */
  #toNode(call: Inflight, key: string): void {
    const nodeId = key.slice(key.lastIndexOf("@") + 1) as NodeId;
    const actor = call.message[4];
    if (nodeId === this.#options.nodeId) {
      // Its epoch is the node's own life.
      this.#activate(
        actor,
        { incarnation: this.#incarnation, epoch: this.#incarnation as string as Epoch },
        null,
        false,
      );
      return this.#dispatch(call);
    }
    const peer = this.#options.incarnationOf(nodeId);
    if (peer === undefined) return this.#fail(call, "unavailable", `${actor}: node "${nodeId}" is not a member`, "no");
    this.#toPeer(call, peer);
  }

  #toPeer(call: Inflight, peer: Incarnation): void {
    this.#charge(call);
    switch (this.#options.peers.send(peer, call.message[4], call.message)) {
      case "queued":
        call.at = peer;
        this.#forwarded.add();
        return;
      case "overloaded":
        return this.#fail(call, "overloaded", `the link to the node of ${call.message[4]} is full`, "no", 200);
      case "no-link": {
        let waiting = this.#waitingForPeer.get(peer);
        if (waiting === undefined) {
          waiting = [];
          this.#waitingForPeer.set(peer, waiting);
        }
        if (waiting.length >= this.#limits.waitingPerPeer) {
          return this.#fail(call, "overloaded", `the node of ${call.message[4]} cannot be reached now`, "no", 1_000);
        }
        call.at = undefined;
        waiting.push(call);
      }
    }
  }

  #resolve(call: Inflight, kind: KindInfo): void {
    const actor = call.message[4];
    const waiting = this.#resolving.get(actor);
    if (waiting !== undefined) {
      if (waiting.length >= this.#limits.waitingPerActor) {
        return this.#fail(
          call,
          "overloaded",
          `${this.#limits.waitingPerActor} calls wait for the placement of ${actor}`,
          "no",
          200,
        );
      }
      // Calls of one origin that came back after a move stand before its newer ones.
      waiting.push(call);
      return;
    }
    void this.#lookUp(actor, kind, [call], undefined);
  }

  /** Looks an actor up; `first` must be over before (it is being given up). Never rejects. */
  async #lookUp(actor: ActorId, kind: KindInfo, waiting: Inflight[], first: Promise<void> | undefined): Promise<void> {
    this.#resolving.set(actor, waiting);
    let failure: TroupeError | undefined;
    try {
      await first;
      const wanted = this.#migration.keeps(actor) || waiting.some((call) => !call.settled);
      // What came first may have shown where the actor is.
      if (wanted && !this.#local.has(actor) && !this.#routes.has(actor)) {
        await this.#place(
          actor,
          kind,
          waiting.some(({ message }) => message[2] !== this.#incarnation),
        );
      }
    } catch (error) {
      failure = TroupeError.is(error)
        ? error
        : new TroupeError("unavailable", `${actor} could not be placed: ${String(error)}`, {
            started: "no",
            cause: error,
          });
    }
    this.#resolving.delete(actor);
    for (const call of this.#unordered ? waiting : inOrderOfOrigin(waiting)) {
      if (failure === undefined) this.#dispatch(call);
      else this.#fail(call, failure.code, failure.message, "no", failure.retryAfterMs);
    }
  }

  /** A kind that this node does not run and another one does: it is placed there. */
  #foreignKind(actor: ActorId): KindInfo | undefined {
    const somewhere = this.#options.choose(kindOf(actor), keyOf(actor), "least-loaded");
    return somewhere === undefined ? undefined : { placement: "least-loaded", requireState: false, io: false };
  }

  async #place(actor: ActorId, kind: KindInfo, asked: boolean): Promise<void> {
    if (this.#migration.keeps(actor)) {
      const taken = await this.#migration.taken(actor);
      if (taken !== undefined) return this.#activate(actor, taken.owner, taken.state, true, true);
    }
    // A node that was asked by a peer was chosen by it.
    const elsewhere = asked ? undefined : await this.#elsewhere(actor, kind);
    if (elsewhere !== undefined) return this.#remember(actor, elsewhere);
    if (!kind.io && !this.#runsActors && !this.#draining) await this.#threadBack();
    const resolution = await this.#options.directory.resolve(actor, kind.requireState);
    if (resolution.place === "there") return this.#remember(actor, resolution.owner);
    this.#activate(actor, resolution.owner, resolution.state, true);
  }

  /**
   * Where else an actor is, or should be; undefined: it is to be claimed here. A node that should have it is asked with
   * an empty epoch, and claims it then.
   */
  async #elsewhere(actor: ActorId, { placement }: KindInfo): Promise<Owner | undefined> {
    const self = this.#incarnation;
    if (placement === "prefer-local" && !this.#draining) return undefined;
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

  #activate(actor: ActorId, owner: Owner, state: StoredState | null, listed: boolean, handed = false): void {
    const thread = this.#options.kinds.get(kindOf(actor))?.io === true ? IO_THREAD : this.#leastBusyThread(actor);
    this.#local.set(actor, { thread, owner, listed });
    this.#residents.set(thread, (this.#residents.get(thread) ?? 0) + 1);
    this.#routes.delete(actor);
    const { events } = this.#options;
    if (events.heard) {
      if (listed) events.emit({ type: "claimed", actor, epoch: owner.epoch });
      events.emit({ type: "activated", actor, thread, handed });
    }
    const { version, bytes } = state ?? NO_STATE;
    this.#send(thread, [HostMessageType.Activate, actor, owner.epoch, version, bytes, handed]);
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

  #leastBusyThread(actor: ActorId): number {
    let best: number | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [index, residents] of this.#residents) {
      if (index === IO_THREAD && !this.#options.actorsOnIoThread) continue;
      if (residents < least) {
        best = index;
        least = residents;
      }
    }
    if (best === undefined) {
      throw new TroupeError("unavailable", `${actor}: no worker of this node runs now`, {
        started: "no",
        retryAfterMs: 500,
      });
    }
    return best;
  }

  #remember(actor: ActorId, owner: Owner): void {
    this.#routes.delete(actor);
    this.#routes.set(actor, owner);
    if (this.#routes.size > this.#limits.routes) {
      const oldest = this.#routes.keys().next().value;
      if (oldest !== undefined) this.#routes.delete(oldest);
    }
  }

  /** Cancel and credit go where the call went. */
  #follow(message: CancelMessage | CreditMessage): void {
    const call = this.#calls.get(message);
    if (call === undefined) return;
    if (typeof call.at === "number") return this.#send(call.at, message);
    if (call.at !== undefined) {
      this.#options.peers.send(call.at, message[4], message);
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
    if (call === undefined || call.at !== peer) return;
    const actor = message[4];
    const route = this.#routes.get(actor);
    if (route !== undefined && route.incarnation === peer && route.epoch === message[5]) this.#routes.delete(actor);
    call.at = undefined;
    this.#options.events.emit({ type: "rerouted", actor, from: peer });
    this.#resent.add();
    this.#cameBack(call);
    const kind = this.#options.kinds.get(kindOf(actor));
    const looksUp = kind !== undefined && kind.placement !== "node";
    if (this.#unordered || !looksUp || this.#resolving.has(actor) || this.#local.has(actor))
      return this.#dispatch(call);
    const [, , , , , , movedTo, epoch] = message;
    let first = this.#othersBack(peer, actor);
    if (movedTo !== undefined && epoch !== undefined && movedTo !== this.#incarnation) {
      first = (first ?? Promise.resolve()).then(() => this.#remember(actor, { incarnation: movedTo, epoch }));
    }
    void this.#lookUp(actor, kind, [call], first);
  }

  /**
   * Resolves when every call to `actor` that was sent to `peer` has come back or was answered: what is sent elsewhere
   * before that could overtake them. A turn that runs there for long is not waited for: at most `REDIRECT_MS`.
   */
  #othersBack(peer: Incarnation, actor: ActorId): Promise<void> | undefined {
    const left = new Set<Inflight>();
    for (const call of this.#calls.values()) if (call.at === peer && call.message[4] === actor) left.add(call);
    if (left.size === 0) return undefined;
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        if (this.#redirects.get(actor)?.left === left) this.#redirects.delete(actor);
        resolve();
      };
      const cancel = this.#options.clock.after(REDIRECT_MS, done);
      this.#redirects.set(actor, { left, done });
    });
  }

  /** A call is no longer where it was sent. */
  #cameBack(call: Inflight): void {
    if (this.#redirects.size === 0) return;
    const redirect = this.#redirects.get(call.message[4]);
    if (redirect?.left.delete(call) === true && redirect.left.size === 0) redirect.done();
  }

  get #unordered(): boolean {
    return this.#options.without?.includes("redirect-order") === true;
  }

  #sendBack(call: Inflight): void {
    call.settled = true;
    this.#calls.delete(call.message);
    this.#answerNotHere(call.message);
  }

  #answerNotHere(message: CallMessage): void {
    const [, callId, incarnation, thread, actor, epoch] = message;
    const route = this.#migration.handedOver(actor, epoch) ? this.#routes.get(actor) : undefined;
    const there: [Incarnation, Epoch] | [] = route === undefined ? [] : [route.incarnation, route.epoch];
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

  // Ends

  #deactivated(thread: number, [, actor, epoch, reason, error]: DeactivatedMessage): void {
    const local = this.#local.get(actor);
    if (local === undefined || local.thread !== thread || local.owner.epoch !== epoch) return;
    this.#notLocal(actor, thread);
    this.#migration.stopped(actor, epoch, local.listed && reason !== "ended" && reason !== "fenced");
    this.#options.events.emit(reason === "fenced" ? { type: "fenced", actor } : { type: "deactivated", actor, reason });
    if (error !== null && this.#failed.size < MAX_FAILED) {
      this.#failed.set(actor, decodeError(error));
      this.#options.clock.after(FAILED_MS, () => this.#failed.delete(actor));
    }
    if (!local.listed || reason === "ended" || reason === "fenced") return;
    const kind = this.#options.kinds.get(kindOf(actor));
    if (kind === undefined) return;
    // Calls that come meanwhile wait until it is given up, then look it up again.
    void this.#lookUp(actor, kind, [], this.#options.directory.release(actor, local.owner));
  }

  #notLocal(actor: ActorId, thread: number): void {
    this.#local.delete(actor);
    this.#residents.set(thread, Math.max(0, (this.#residents.get(thread) ?? 0) - 1));
  }

  /** An activation that was to go on elsewhere has stopped for it, or stays. */
  #left(thread: number, message: LeftMessage): void {
    const [, actor, epoch, , bytes] = message;
    const local = this.#local.get(actor);
    const kind = this.#options.kinds.get(kindOf(actor));
    if (local === undefined || kind === undefined || local.thread !== thread || local.owner.epoch !== epoch) return;
    if (bytes === null) return this.#migration.stays(actor, epoch);
    this.#notLocal(actor, thread);
    this.#options.events.emit({ type: "deactivated", actor, reason: "moved" });
    void this.#lookUp(actor, kind, [], this.#migration.handOver(local.owner, message));
  }

  #migrationHooks(): ConstructorParameters<typeof Migration>[0]["hooks"] {
    return {
      incarnation: () => this.#incarnation,
      wanted: (actor) => {
        const kind = this.#options.kinds.get(kindOf(actor));
        if (kind === undefined || kind.placement === "node") return false;
        return !this.#draining && !this.#local.has(actor) && !this.#resolving.has(actor);
      },
      activate: (actor, owner, handed) => this.#activate(actor, owner, handed, true, true),
      remember: (actor, owner) => this.#remember(actor, owner),
      lookUp: (actor) => {
        const kind = this.#options.kinds.get(kindOf(actor));
        if (kind === undefined || this.#resolving.has(actor)) return;
        // Where it lives now is decided by what was offered, not by an older route.
        this.#routes.delete(actor);
        void this.#lookUp(actor, kind, [], undefined);
      },
    };
  }

  /** The caller is gone: whoever has its call is told to stop. */
  #abandon(call: Inflight): void {
    const [, callId, incarnation, thread, actor] = call.message;
    call.settled = true;
    this.#calls.delete(call.message);
    const reason: AbortReason = "callerDied";
    const cancel: CancelMessage = [MessageType.Cancel, callId, incarnation, thread, actor, reason];
    if (typeof call.at === "number") this.#send(call.at, cancel);
    else if (call.at !== undefined) this.#options.peers.send(call.at, actor, cancel);
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

const NO_STATE = { version: 0, bytes: null };

/** Keys for the lanes of answers. */
const ANSWER_LANES = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];

/**
 * Calls of one origin in the order in which they were made: those that came back after a move stand before newer ones.
 * Each origin keeps the places its calls had.
 */
function inOrderOfOrigin(calls: readonly Inflight[]): Inflight[] {
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
