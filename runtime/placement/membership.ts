/**
 * Membership: who is alive, decided by counters, clocks of one's own, and one compare-and-set. This file is the whole
 * decision, as a reducer: `handle(event, at)` answers what to do, and does nothing itself. Time is an input.
 *
 * ## Normal operation
 * Each node renews one heartbeat counter every `renewMs`, and stamps the renewal when it is *sent*. It may let its
 * actors take effect until the stamp of the last acknowledged one plus 0.85 × TTL (its lease). The alive incarnations
 * form a ring, and each watches the next three: it reads their counters every half `renewMs` and notes, on its own
 * monotonic clock, when the *answer* came that showed a change. The view is read when a renewal's answer names another
 * number, or on a hint.
 *
 * ## Death by silence
 * A counter unchanged for TTL + grace: the observer asks the store to declare that incarnation dead *if the counter is
 * still that one*. This compare-and-set is the linearization point. Of several observers one is told `declared`, and a
 * renewal that came first turns the answer into `alive`, which starts the time afresh.
 *
 * ## Why an owner has stopped before it is declared
 * Let the last counted renewal be sent at S. It was counted after S, and the observer saw that after it was counted. So
 * the observer's TTL + grace began after S, and the owner's 0.85 × TTL at S. The difference (0.15 × TTL + grace, 1.5 s
 * by default) is there for clocks that run at different speeds, and for the worker to notice. Renewals may overlap and
 * arrive in any order: each one that was acknowledged was counted, and nothing else is used.
 * A machine that was suspended stops its monotonic clock, and its wall clock shows it: the hidden time counts as passed.
 *
 * ## Death on evidence
 * Somebody's process refused two connections on its own address. Its counter is read and declared in the same way,
 * without waiting.
 *
 * ## Failure cases
 * - *An observer that did not observe* (it was frozen or suspended, the store was down or hung for it): a counter that
 *   nobody could see says nothing. When more than `GAP_RENEWALS` renewal intervals lie between asking for one answered
 *   observation and the next answer, every timer starts afresh with it, so nothing is declared for TTL + grace after an
 *   outage; during it nothing is either.
 * - *A store that was reset*: the same, and the driver has the node re-assert itself. Until that is over no renewal
 *   extends the lease: one that was counted before the node's records are back proves nothing about them.
 * - *An owner that was cut off, frozen or suspended*: it parks by itself when its lease runs out. An acknowledged
 *   renewal revives it. If it was declared dead, its renewals say so: it is lost, drops its actors, and joins again
 *   under a new incarnation (the driver does; this object is then given the new one).
 * - *All three observers of a node die with it*: they are declared first, by theirs; the ring closes over them, and the
 *   time of the node starts when its new observers first see it.
 *
 * Bounds: three watched counters per node, one read in flight of each sort, `MAX_RENEWALS` renewals in flight; what
 * failed is tried again after a quarter of `renewMs`.
 */
import type { Incarnation } from "../actor/ids.ts";
import type { DeclareResult, MembershipView } from "../coordinator/contract.ts";

/** Guards that the simulation removes one by one, to show that each is needed. Never set outside of it. */
export type Guard =
  | "own-deadline"
  | "stamp-when-sent"
  | "stamp-when-seen"
  | "hidden-time"
  | "observation-gaps"
  | "first-sight";

export interface MembershipOptions {
  /** Default 6,000. At least three `renewMs`. */
  ttlMs?: number;
  /** Default 2,000. */
  renewMs?: number;
  /** Default 600. */
  graceMs?: number;
  without?: readonly Guard[];
}

/** The node's lease, for whoever runs actors. `deadlineMs` is on the monotonic clock. */
export type LeaseState = { kind: "held"; deadlineMs: number } | { kind: "parked" } | { kind: "lost" };

/** When an event is handled: monotonic and wall clock milliseconds. */
export interface Instant {
  now: number;
  wall: number;
}

export type MembershipEvent =
  | { type: "tick" }
  /** This node joined; `sentAt` is the stamp of the first try. */
  | { type: "joined"; incarnation: Incarnation; sentAt: number }
  | { type: "renewed"; incarnation: Incarnation; sentAt: number; view: number }
  | { type: "renew-failed"; incarnation: Incarnation; sentAt: number }
  /** The store answered that this incarnation is dead. */
  | { type: "declared-dead"; incarnation: Incarnation }
  | { type: "observed"; askedAt: number; asked: readonly Incarnation[]; counters: ReadonlyMap<Incarnation, number> }
  | { type: "observe-failed" }
  | { type: "declare-answered"; incarnation: Incarnation; result: DeclareResult }
  | { type: "declare-failed"; incarnation: Incarnation }
  | { type: "view-read"; view: MembershipView }
  | { type: "view-failed" }
  /** The view may have changed. */
  | { type: "hint" }
  /** Positive evidence that this incarnation's process is gone. */
  | { type: "evidence"; incarnation: Incarnation }
  | { type: "store-reset" }
  /** What this node owns is written back, and what it lost is dropped. */
  | { type: "reasserted" }
  /** This node is leaving: renew and judge no more. */
  | { type: "left" };

export type MembershipEffect =
  /** To be answered with `sentAt` as given. Renewals overlap; the others do not. */
  | { type: "renew"; incarnation: Incarnation; sentAt: number }
  | { type: "observe"; incarnations: readonly Incarnation[]; askedAt: number }
  | { type: "declare"; incarnation: Incarnation; heartbeat: number; reason: "silence" | "evidence" }
  | { type: "read-view" }
  | { type: "lease"; state: LeaseState }
  | { type: "view"; view: MembershipView };

/** Part of the TTL that an owner trusts. */
const OWNER_SHARE = 0.85;
/** Alive incarnations that each node watches. */
const RING_WIDTH = 3;
/** Renewals in flight; more are not sent until one is answered or older than the TTL. */
const MAX_RENEWALS = 8;
/** Renewal intervals without an answer after which an observer has to start afresh. */
const GAP_RENEWALS = 1.5;
/** A wall clock that gained this much on the monotonic one between two events shows a suspension, milliseconds. */
const HIDDEN_MS = 400;
/** Declarations tried on one piece of evidence: renewals in flight when the process died may come in between. */
const EVIDENCE_TRIES = 3;

/** What this node knows of a counter it watches. */
interface Watched {
  heartbeat: number;
  /** When the change to it was seen. */
  since: number;
  /** No declaration before; `Infinity` while one is under way. */
  notBefore: number;
}

const EMPTY_VIEW: MembershipView = { generation: "" as MembershipView["generation"], view: 0, members: [] };

/** The membership of one node. */
export class Membership {
  readonly ttlMs: number;
  readonly renewMs: number;
  readonly graceMs: number;
  /** How often `tick` must come. */
  readonly tickMs: number;
  readonly #without: ReadonlySet<Guard>;

  #self: Incarnation | undefined;
  #view = EMPTY_VIEW;
  #alive: ReadonlySet<Incarnation> = new Set();
  #lease: LeaseState = { kind: "parked" };
  /** End of the lease on the clock that includes hidden time. */
  #leaseEnd = Number.NEGATIVE_INFINITY;

  #at: Instant | undefined;
  /** Time that passed while the monotonic clock stood still. */
  #hidden = 0;
  #nextRenew = 0;
  #renewals: number[] = [];
  #nextObserve = 0;
  #observing = false;
  /** When the last observation that was answered had been asked for: what it showed is no older than that. */
  #lookedAt = Number.NEGATIVE_INFINITY;
  #watched = new Map<Incarnation, Watched>();
  /** Incarnations with evidence against them, and the tries that are left. */
  #suspects = new Map<Incarnation, number>();
  /** The store was reset, and what this node owns is not written back. */
  #reasserting = false;
  /** Renewals stamped earlier do not count. */
  #counts = Number.NEGATIVE_INFINITY;
  #readingView = false;
  #viewStale = false;
  #nextView = 0;
  #effects: MembershipEffect[] = [];

  constructor(options: MembershipOptions = {}) {
    this.ttlMs = options.ttlMs ?? 6_000;
    this.renewMs = options.renewMs ?? 2_000;
    this.graceMs = options.graceMs ?? 600;
    this.tickMs = this.renewMs / 8;
    this.#without = new Set(options.without);
    if (this.ttlMs < 3 * this.renewMs) {
      throw new RangeError(
        `cluster.node_lease_ttl_ms (${this.ttlMs}) must be at least three times cluster.node_lease_renew_ms (${this.renewMs})`,
      );
    }
  }

  get incarnation(): Incarnation | undefined {
    return this.#self;
  }

  get view(): MembershipView {
    return this.#view;
  }

  get lease(): LeaseState {
    return this.#lease;
  }

  /** The stamp of something that is sent at `at`. */
  stamp(at: Instant): number {
    this.#passTime(at);
    return at.now + this.#hidden;
  }

  /** What to do about `event`, handled at `at`. */
  handle(event: MembershipEvent, at: Instant): MembershipEffect[] {
    this.#passTime(at);
    const { now } = at;
    switch (event.type) {
      case "tick":
        break;
      case "joined":
        this.#joined(event.incarnation, event.sentAt, now);
        break;
      case "renewed":
        if (event.incarnation !== this.#self) break;
        this.#forgetRenewal(event.sentAt);
        if (!this.#reasserting && event.sentAt >= this.#counts) {
          this.#extendLease(this.#without.has("stamp-when-sent") ? now + this.#hidden : event.sentAt);
        }
        if (event.view !== this.#view.view) this.#refreshView();
        break;
      case "renew-failed":
        if (event.incarnation !== this.#self) break;
        this.#forgetRenewal(event.sentAt);
        this.#nextRenew = Math.min(this.#nextRenew, now + this.#retryMs);
        break;
      case "declared-dead":
        if (event.incarnation === this.#self) this.#lose();
        break;
      case "observed":
        this.#observed(event, now);
        break;
      case "observe-failed":
        this.#observing = false;
        break;
      case "declare-answered":
        this.#declareAnswered(event.incarnation, event.result, now);
        break;
      case "declare-failed":
        this.#declareFailed(event.incarnation, now);
        break;
      case "view-read":
        this.#readingView = false;
        this.#viewRead(event.view);
        break;
      case "view-failed":
        this.#readingView = false;
        this.#viewStale = true;
        this.#nextView = now + this.#retryMs;
        break;
      case "hint":
        this.#refreshView();
        break;
      case "evidence":
        if (this.#alive.has(event.incarnation) && event.incarnation !== this.#self) {
          this.#suspects.set(event.incarnation, EVIDENCE_TRIES);
          this.#nextObserve = now;
        }
        break;
      case "store-reset":
        this.#watched.clear();
        this.#viewStale = true;
        this.#reasserting = true;
        break;
      case "reasserted":
        this.#reasserting = false;
        this.#counts = now + this.#hidden;
        this.#nextRenew = now;
        break;
      case "left":
        this.#self = undefined;
        this.#setLease({ kind: "parked" });
        break;
    }
    this.#checkLease(now);
    if (this.#self !== undefined && this.#lease.kind !== "lost") this.#act(this.#self, now);
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** Sends what is due. */
  #act(self: Incarnation, now: number): void {
    if (now >= this.#nextRenew) this.#renew(self, now);
    if (this.#viewStale && !this.#readingView && now >= this.#nextView) {
      this.#viewStale = false;
      this.#readingView = true;
      this.#effects.push({ type: "read-view" });
    }
    if (now >= this.#nextObserve && !this.#observing) this.#observe(self, now);
    if (this.#lease.kind === "held") this.#declareSilent(now);
  }

  // --- Time ---

  #passTime(at: Instant): void {
    const before = this.#at;
    this.#at = at;
    if (before === undefined) return;
    const hidden = at.wall - before.wall - (at.now - before.now);
    if (hidden < HIDDEN_MS || this.#without.has("hidden-time")) return;
    // The machine slept (or somebody set the clock, which costs one renewal).
    this.#hidden += hidden;
    this.#nextRenew = at.now;
    this.#lookedAt = Number.NEGATIVE_INFINITY;
    if (this.#lease.kind === "held") this.#setLease({ kind: "held", deadlineMs: this.#leaseEnd - this.#hidden });
  }

  // --- The owner's side ---

  #joined(incarnation: Incarnation, sentAt: number, now: number): void {
    this.#self = incarnation;
    this.#reasserting = false;
    this.#leaseEnd = Number.NEGATIVE_INFINITY;
    this.#lease = { kind: "parked" };
    this.#renewals = [];
    this.#nextRenew = now + this.renewMs;
    this.#nextObserve = now;
    this.#watched.clear();
    this.#suspects.clear();
    this.#extendLease(sentAt);
    this.#refreshView();
  }

  #renew(self: Incarnation, now: number): void {
    const stamp = now + this.#hidden;
    this.#nextRenew = now + this.renewMs;
    this.#renewals = this.#renewals.filter((sentAt) => stamp - sentAt < this.ttlMs);
    if (this.#renewals.length >= MAX_RENEWALS) return;
    this.#renewals.push(stamp);
    this.#effects.push({ type: "renew", incarnation: self, sentAt: stamp });
  }

  #forgetRenewal(sentAt: number): void {
    this.#renewals = this.#renewals.filter((other) => other !== sentAt);
  }

  #extendLease(sentAt: number): void {
    const end = sentAt + OWNER_SHARE * this.ttlMs;
    if (end <= this.#leaseEnd || this.#lease.kind === "lost") return;
    this.#leaseEnd = this.#without.has("own-deadline") ? Number.POSITIVE_INFINITY : end;
    this.#setLease({ kind: "held", deadlineMs: this.#leaseEnd - this.#hidden });
  }

  #checkLease(now: number): void {
    if (this.#lease.kind === "held" && now + this.#hidden >= this.#leaseEnd) this.#setLease({ kind: "parked" });
  }

  #lose(): void {
    if (this.#lease.kind !== "lost") this.#setLease({ kind: "lost" });
  }

  #setLease(state: LeaseState): void {
    this.#lease = state;
    this.#effects.push({ type: "lease", state });
  }

  // --- The observer's side ---

  #observe(self: Incarnation, now: number): void {
    this.#nextObserve = now + this.renewMs / 2;
    const targets = new Set([...ringAfter(self, this.#alive), ...this.#suspects.keys()]);
    for (const incarnation of this.#watched.keys()) if (!targets.has(incarnation)) this.#watched.delete(incarnation);
    if (targets.size === 0) return;
    this.#observing = true;
    this.#effects.push({ type: "observe", incarnations: [...targets], askedAt: now });
  }

  #observed({ askedAt, asked, counters }: Extract<MembershipEvent, { type: "observed" }>, now: number): void {
    this.#observing = false;
    if (now - this.#lookedAt > this.#gapMs && !this.#without.has("observation-gaps")) this.#watched.clear();
    this.#lookedAt = askedAt;
    const seenAt = this.#without.has("stamp-when-seen") ? askedAt : now;
    for (const incarnation of asked) {
      const heartbeat = counters.get(incarnation);
      if (heartbeat === undefined) {
        // It is dead or gone; the view says which.
        this.#forget(incarnation);
        this.#refreshView();
        continue;
      }
      const watched = this.#watched.get(incarnation);
      if (watched === undefined) {
        const since = this.#without.has("first-sight") ? Number.NEGATIVE_INFINITY : seenAt;
        this.#watched.set(incarnation, { heartbeat, since, notBefore: now });
      } else if (watched.heartbeat !== heartbeat) {
        watched.heartbeat = heartbeat;
        watched.since = seenAt;
      }
      if (this.#suspects.has(incarnation) && this.#lease.kind === "held") this.#declare(incarnation, "evidence", now);
    }
  }

  #declareSilent(now: number): void {
    // Without a recent answer there may be changes that could not be seen.
    if (now - this.#lookedAt > this.#gapMs && !this.#without.has("observation-gaps")) return;
    for (const [incarnation, { since }] of this.#watched) {
      if (now - since >= this.ttlMs + this.graceMs) this.#declare(incarnation, "silence", now);
    }
  }

  #declare(incarnation: Incarnation, reason: "silence" | "evidence", now: number): void {
    const watched = this.#watched.get(incarnation);
    if (watched === undefined || now < watched.notBefore) return;
    watched.notBefore = Number.POSITIVE_INFINITY;
    this.#effects.push({ type: "declare", incarnation, heartbeat: watched.heartbeat, reason });
  }

  #declareAnswered(incarnation: Incarnation, result: DeclareResult, now: number): void {
    if (result !== "alive") {
      this.#forget(incarnation);
      this.#refreshView();
      return;
    }
    // Its counter is another one: seen now, though not which.
    const watched = this.#watched.get(incarnation);
    if (watched !== undefined) {
      watched.since = now;
      watched.notBefore = now;
    }
    const tries = (this.#suspects.get(incarnation) ?? 0) - 1;
    if (tries > 0) this.#suspects.set(incarnation, tries);
    else this.#suspects.delete(incarnation);
    if (tries > 0) this.#nextObserve = now;
  }

  #declareFailed(incarnation: Incarnation, now: number): void {
    const watched = this.#watched.get(incarnation);
    if (watched !== undefined) watched.notBefore = now + this.#retryMs;
  }

  #forget(incarnation: Incarnation): void {
    this.#watched.delete(incarnation);
    this.#suspects.delete(incarnation);
  }

  get #gapMs(): number {
    return this.renewMs * GAP_RENEWALS;
  }

  /** What failed is tried again early, but never at once: a store that refuses would be asked in a loop. */
  get #retryMs(): number {
    return this.renewMs / 4;
  }

  // --- The view ---

  #refreshView(): void {
    this.#viewStale = true;
  }

  #viewRead(view: MembershipView): void {
    const reset = view.generation !== this.#view.generation;
    // Answers may overtake each other; views only grow within a generation.
    if (!reset && view.view <= this.#view.view) return;
    if (reset) this.#watched.clear();
    this.#view = view;
    this.#alive = new Set(
      view.members.flatMap(({ liveness, incarnation }) => (liveness === "alive" ? incarnation : [])),
    );
    for (const suspect of this.#suspects.keys()) if (!this.#alive.has(suspect)) this.#forget(suspect);
    this.#effects.push({ type: "view", view });
    const self = view.members.find(({ incarnation }) => incarnation === this.#self);
    if (self?.liveness === "dead") this.#lose();
    // Whoever is new in the ring is looked at without delay: its time starts when it is first seen.
    if (this.#at !== undefined) this.#nextObserve = Math.min(this.#nextObserve, this.#at.now);
  }
}

/** The incarnations that `self` watches: the next three after it, in an order that is the same for everybody. */
export function ringAfter(self: Incarnation, alive: ReadonlySet<Incarnation>): Incarnation[] {
  // The order has no meaning beyond being one.
  const others = [...alive].filter((incarnation) => incarnation !== self).sort();
  const next = others.findIndex((incarnation) => incarnation > self);
  const start = next === -1 ? 0 : next;
  return [...others.slice(start), ...others.slice(0, start)].slice(0, RING_WIDTH);
}
