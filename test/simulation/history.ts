/**
 * What happened in a run, told by actors, callers and the store, and checked as it is told. These are the promises:
 *
 * 1. One effective owner: once an activation of an actor has started a turn or committed, none of an earlier claim does.
 * 2. Accepted commits form one chain: each builds on the one before it, and is made by the latest owner.
 * 3. Started calls of one caller to one actor start in the order in which they were made.
 * 4. Every call settles once, within its time and the grace; with its own answer.
 * 5. A call that failed with `started: "no"` (cancelled in time, refused, never sent) never runs, before or after.
 * 6. `dedup` runs at most once per activation, and over activations that handed over to each other; no effect is ever
 *    there twice.
 * 7. What was acknowledged is there, and is seen by every read that was made after it.
 * 8. A replay of a store verb is never refused because of its own first try.
 */
import { decodeEnvelope } from "../../runtime/actor/codec.ts";
import { type Started, TroupeError } from "../../runtime/actor/errors.ts";
import type { ActorId, Epoch, Incarnation } from "../../runtime/actor/ids.ts";
import type { Owner, StoredState } from "../../runtime/coordinator/contract.ts";
import type { SimulatedNode } from "../../runtime/testing/node.ts";
import type { StoreEvents } from "../../runtime/testing/store.ts";
import type { VirtualTime } from "../../runtime/testing/virtual_time.ts";

/** The state of every simulated actor: what took effect, in order. */
export interface Tags {
  tags: string[];
}

interface ActorHistory {
  /** Claims in their order, by epoch. */
  readonly claims: Map<Epoch, number>;
  /** The latest claim that has taken effect, and the latest one made. */
  effective: number;
  newest: number;
  /** Per caller, the last call that started. */
  readonly lastStarted: Map<string, number>;
  readonly acknowledged: Set<string>;
  readonly startedIn: Map<string, Epoch>;
  /** The first activation of those that handed over to each other, by epoch. */
  readonly life: Map<Epoch, Epoch>;
}

export interface Call {
  readonly tag: string;
  readonly actor: ActorId;
  readonly node: SimulatedNode;
  readonly what: string;
  /** On the caller's clock, by when it has to be settled. Moves when it is cancelled, or its process stood still. */
  due: number;
  settled: boolean;
  /** Its caller gave it up, or may be told so: a repeat shares the outcome of the first try. */
  cancelled: boolean;
}

/** Longest time over a call's own that its answer may take: the caller's grace, and three ticks of its wheel. */
export const GRACE_MS = 1_000 + 3 * 25 + 5;
const TAIL = 4_000;

export class History implements StoreEvents {
  readonly violations: string[] = [];
  /** Calls that are not settled yet. */
  readonly open = new Set<Call>();
  /** What the store lost may be missing afterwards. */
  storeLostData = false;
  succeeded = 0;
  failed = 0;
  handovers = 0;
  #callers = 0;
  readonly #time: VirtualTime;
  readonly #actors = new Map<ActorId, ActorHistory>();
  readonly #started = new Set<string>();
  readonly #notStarted = new Set<string>();
  readonly #tail: string[] | undefined;

  constructor(time: VirtualTime, trace: boolean) {
    this.#time = time;
    this.#tail = trace ? [] : undefined;
  }

  /** The last lines of the trace, where it was asked for. */
  get tail(): readonly string[] {
    return this.#tail ?? [];
  }

  violation(what: string): void {
    this.note(`VIOLATION ${what}`);
    this.violations.push(`${what} (at ${Math.round(this.#time.now)} ms)`);
  }

  note(line: string): void {
    const stamped = `${this.#time.now.toFixed(2)} ${line}`;
    this.#time.mark(stamped);
    if (this.#tail === undefined) return;
    this.#tail.push(stamped);
    if (this.#tail.length > TAIL) this.#tail.shift();
  }

  /** Acknowledged effects of an actor. */
  acknowledged(actor: ActorId): ReadonlySet<string> {
    return this.#actor(actor).acknowledged;
  }

  get actors(): IterableIterator<ActorId> {
    return this.#actors.keys();
  }

  // Told by the store

  claimed(actor: ActorId, owner: Owner): void {
    const history = this.#actor(actor);
    history.newest = history.claims.size;
    history.claims.set(owner.epoch, history.newest);
    this.note(`claimed ${actor} ${owner.epoch} by ${owner.incarnation}`);
  }

  committed(actor: ActorId, by: Owner, before: StoredState | null, after: StoredState): void {
    this.note(`committed ${actor} ${by.epoch} version ${after.version}`);
    const history = this.#actor(actor);
    const claim = history.claims.get(by.epoch) ?? -1;
    if (claim < history.newest && !this.storeLostData) {
      this.violation(`${actor}: a commit of ${by.epoch} was accepted after a later claim`);
    }
    this.#takesEffect(history, actor, by.epoch, "commits");
    if (after.version !== (before?.version ?? 0) + 1)
      this.violation(`${actor}: version ${after.version} after ${before?.version}`);
    const old = tagsOf(before);
    const made = tagsOf(after);
    if (!old.every((tag, index) => made[index] === tag)) {
      this.violation(`${actor}: version ${after.version} does not build on the version before it`);
    }
    if (new Set(made).size !== made.length) this.violation(`${actor}: an effect is there twice: ${made.join(" ")}`);
  }

  refused(actor: ActorId, by: Owner, outcome: "fenced" | "conflict", repeat: boolean): void {
    this.note(`refused ${actor} ${by.epoch}: ${outcome}`);
    if (repeat) this.violation(`${actor}: a replayed commit was refused (${outcome}) because of its own first try`);
  }

  declared(incarnation: Incarnation): void {
    this.note(`declared ${incarnation}`);
  }

  // Told by actors

  /** A name for an actor that calls others. */
  nameCaller(actor: ActorId): string {
    return `${actor} ${++this.#callers}`;
  }

  /** A turn starts. `order` for calls that are never sent again: who calls, and his how-many-th call it is. */
  started(actor: ActorId, epoch: Epoch, tag: string, order?: readonly [caller: string, sequence: number]): void {
    this.note(`started ${tag} on ${actor} ${epoch}`);
    const history = this.#actor(actor);
    this.#takesEffect(history, actor, epoch, "starts a turn");
    this.#started.add(tag);
    if (this.#notStarted.has(tag))
      this.violation(`${tag} on ${actor} runs, and its caller was told it had not started`);
    if (order === undefined) return;
    const [caller, sequence] = order;
    const last = history.lastStarted.get(caller) ?? 0;
    if (sequence <= last) this.violation(`${actor}: call ${sequence} of ${caller} starts after its call ${last}`);
    history.lastStarted.set(caller, Math.max(last, sequence));
  }

  /** A turn of a `dedup` request starts. */
  startedOnce(actor: ActorId, epoch: Epoch, tag: string): void {
    const { startedIn, life } = this.#actor(actor);
    const first = life.get(epoch) ?? epoch;
    if (startedIn.get(tag) === first) this.violation(`${actor}: request ${tag} runs twice in one activation`);
    startedIn.set(tag, first);
    this.started(actor, epoch, tag);
  }

  // Told by nodes

  /** An activation goes on with what the one under `from` handed over. */
  handedOver(actor: ActorId, from: Epoch, epoch: Epoch): void {
    this.note(`handed over ${actor} from ${from} to ${epoch}`);
    this.handovers++;
    const { life } = this.#actor(actor);
    life.set(epoch, life.get(from) ?? from);
  }

  // Told by callers

  called(call: Call): void {
    this.note(`${call.node.name} calls ${call.actor}.${call.what} ${call.tag}`);
    this.open.add(call);
  }

  /** `answered`: what a success answers must be this. */
  settled(call: Call, error: unknown, value: unknown, effect: boolean): void {
    if (call.settled) return this.violation(`${call.tag} settled twice`);
    call.settled = true;
    this.open.delete(call);
    const late = call.node.process.clock.now() - call.due;
    if (late > 0)
      this.violation(`${call.tag} (${call.actor}.${call.what}) settled ${Math.round(late)} ms after its time`);
    if (error === null) {
      this.succeeded++;
      this.note(`answered ${call.tag}`);
      if (value !== call.tag) this.violation(`${call.tag} got the answer of ${String(value)}`);
      if (!this.#started.has(call.tag)) this.violation(`${call.tag} was answered and never ran`);
      if (effect) this.#actor(call.actor).acknowledged.add(call.tag);
      return;
    }
    this.failed++;
    if (!(error instanceof TroupeError)) {
      return this.violation(`${call.tag} failed with ${error instanceof Error ? error.stack : String(error)}`);
    }
    this.note(`failed ${call.tag}: ${error.code}, started ${error.started}: ${error.message}`);
    if (!call.cancelled && (error.code === "cancelled" || error.code === "caller_died")) {
      this.violation(`${call.tag} got the answer of another call: ${error.code}, and nobody gave it up`);
    }
    this.#checkStarted(call.tag, error.started);
  }

  /** A read answered `seen`; `before` was acknowledged when it was made. */
  read(actor: ActorId, tag: string, before: readonly string[], seen: readonly string[]): void {
    if (this.storeLostData) return;
    const missing = before.find((effect) => !seen.includes(effect));
    if (missing !== undefined)
      this.violation(`read ${tag} of ${actor} does not see ${missing}, acknowledged before it`);
  }

  #checkStarted(tag: string, started: Started): void {
    if (started !== "no") return;
    this.#notStarted.add(tag);
    if (this.#started.has(tag)) this.violation(`${tag} ran, and its caller is told it had not started`);
  }

  #takesEffect(history: ActorHistory, actor: ActorId, epoch: Epoch, what: string): void {
    const claim = history.claims.get(epoch);
    if (claim === undefined) return this.violation(`${actor}: ${epoch} ${what} and was never claimed`);
    if (claim < history.effective) this.violation(`${actor}: ${epoch} ${what} after a later owner took effect`);
    history.effective = Math.max(history.effective, claim);
  }

  #actor(actor: ActorId): ActorHistory {
    let history = this.#actors.get(actor);
    if (history === undefined) {
      history = {
        claims: new Map(),
        effective: -1,
        newest: -1,
        lastStarted: new Map(),
        acknowledged: new Set(),
        startedIn: new Map(),
        life: new Map(),
      };
      this.#actors.set(actor, history);
    }
    return history;
  }
}

/** The effects that a stored state holds. */
export function tagsOf(stored: StoredState | null): readonly string[] {
  return stored === null ? [] : (decodeEnvelope(stored.bytes).state as Tags).tags;
}
