/**
 * Runs the membership decision (`membership.ts`) against a coordinator and a clock: it sends what the reducer asks for,
 * hands the answers back, and tells the node about its lease and the view.
 *
 * - Renewals overlap: a slow one does not hold up the next, and each carries the stamp of when it was sent.
 * - Every other verb is given up after one TTL, so a store that hangs is a store that fails.
 * - When this incarnation was declared dead, the lease listeners hear `lost`; once they are all done (their actors are
 *   dropped) the node joins again, with the same operation id until an answer comes, and the rejoin listeners hear the
 *   new incarnation.
 * - When the store was reset, `onReset` listeners write back what this node owns (`directory.reassert`); without any,
 *   the node re-asserts itself alone.
 *
 * Nothing here keeps the process alive; `close` ends everything without telling the store.
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import type { Incarnation } from "../actor/ids.ts";
import type { Coordinator, MembershipView, NodeRecord } from "../coordinator/contract.ts";
import { type Logger, silentLogger } from "../observe/log.ts";
import {
  type Instant,
  type LeaseState,
  Membership,
  type MembershipEffect,
  type MembershipEvent,
  type MembershipOptions,
} from "./membership.ts";

/** How long the first `join` is tried, milliseconds. */
const JOIN_MS = 10_000;
/** Between two tries to join: from, and to at most. */
const JOIN_RETRY_MS = 200;
const JOIN_RETRY_MOST_MS = 2_000;
/** Incarnations remembered as dead after the store forgot them; beyond it the oldest are forgotten here too. */
const MAX_REMEMBERED_DEAD = 1_024;

export interface MembershipDriverOptions extends MembershipOptions {
  coordinator: Pick<Coordinator, "membership" | "directory">;
  clock: Clock;
  log?: Logger;
}

export class MembershipDriver {
  readonly #coordinator: MembershipDriverOptions["coordinator"];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #core: Membership;
  readonly #viewListeners = new Set<(view: MembershipView) => void>();
  readonly #leaseListeners = new Set<(state: LeaseState) => void | Promise<void>>();
  readonly #rejoinListeners = new Set<(incarnation: Incarnation) => void | Promise<void>>();
  readonly #resetListeners = new Set<(incarnation: Incarnation) => Promise<{ settled: boolean }>>();
  /** Who is known to be dead, and in which generation: with the data of that one the death may be lost. */
  readonly #dead = new Map<Incarnation, MembershipView["generation"]>();
  #record: NodeRecord | undefined;
  #closed = false;
  #cancelTick: (() => void) | undefined;
  #stopHints: (() => void) | undefined;
  #reading: Promise<MembershipView> | undefined;
  #nextReading: Promise<MembershipView> | undefined;
  #rejoining: Promise<void> | undefined;
  #reasserting = false;
  #failing = false;

  constructor(options: MembershipDriverOptions) {
    this.#coordinator = options.coordinator;
    this.#clock = options.clock;
    this.#log = options.log ?? silentLogger;
    this.#core = new Membership(options);
  }

  /** This node's incarnation; changes when it was declared dead and joined again. `undefined` before the first join. */
  get incarnation(): Incarnation | undefined {
    return this.#core.incarnation;
  }

  /** The newest view read. Before `join`: view 0, without members. */
  get view(): MembershipView {
    return this.#core.view;
  }

  get lease(): LeaseState {
    return this.#core.lease;
  }

  /**
   * Joins the cluster, and resolves when the node is a member and has read a view. Rejects when the store does not
   * answer for 10 s.
   */
  async join(record: NodeRecord): Promise<Incarnation> {
    this.#record = record;
    const incarnation = await this.#joinStore(this.#clock.now() + JOIN_MS);
    this.#stopHints = this.#coordinator.membership.onChange(() => this.#handle({ type: "hint" }));
    this.#tick();
    await this.#readView();
    return incarnation;
  }

  /** Called with each newer view. Returns what stops it. */
  onView(listener: (view: MembershipView) => void): () => void {
    return add(this.#viewListeners, listener);
  }

  /**
   * Called at each change of the lease, also when it is extended. After `lost`, the node joins again once what the
   * listeners returned has settled. Returns what stops it.
   */
  onLease(listener: (state: LeaseState) => void | Promise<void>): () => void {
    return add(this.#leaseListeners, listener);
  }

  /** Called when the node joined again, under another incarnation, before its lease is held. Returns what stops it. */
  onRejoin(listener: (incarnation: Incarnation) => void | Promise<void>): () => void {
    return add(this.#rejoinListeners, listener);
  }

  /**
   * Called when the store lost data: write back what this node owns, and stop what it lost. Called again until it
   * succeeds, and where the lease had run out until it succeeds in a settled generation. Answers what `reassert` did.
   */
  onReset(listener: (incarnation: Incarnation) => Promise<{ settled: boolean }>): () => void {
    return add(this.#resetListeners, listener);
  }

  /** There is positive evidence that `incarnation`'s process is gone (a link's loss was `refused`). */
  onEvidence(incarnation: Incarnation): void {
    this.#handle({ type: "evidence", incarnation });
  }

  /** Somebody knows more than the view read last: read it again soon. */
  refresh(): void {
    this.#handle({ type: "hint" });
  }

  /** Changes what the others see of this node. Rejects when the store does not answer; also a rejoin uses it. */
  async update(record: NodeRecord): Promise<void> {
    this.#record = record;
    const { incarnation } = this;
    if (incarnation === undefined) return;
    const outcome = await this.#coordinator.membership.update(incarnation, record);
    if (outcome === "declared-dead") this.#handle({ type: "declared-dead", incarnation });
  }

  /** Whether the views read so far say that `incarnation` is dead. */
  isDead(incarnation: Incarnation): boolean {
    return this.#dead.has(incarnation);
  }

  /**
   * Reads the membership from the store, by a read that starts after this call, and answers whether `incarnation` is
   * dead in it. Calls made at the same time share a read. Rejects when the store does not answer.
   */
  async confirmDead(incarnation: Incarnation): Promise<boolean> {
    const { members } = await this.#readView();
    const alive = (one: Incarnation | undefined): boolean =>
      members.some((member) => member.incarnation === one && member.liveness === "alive");
    // A membership without this node (the store was reset, or we are dead) is no ground to judge others by. In one
    // that has it, whoever is not listed has been dead for long: incarnations are never used twice.
    return alive(this.incarnation) && !alive(incarnation);
  }

  /** Leaves the cluster: the last thing a node does. Never rejects; a failed leave is a death by silence. */
  async leave(): Promise<void> {
    const { incarnation } = this;
    this.close();
    if (this.#rejoining !== undefined) await this.#timed(this.#rejoining).catch(() => {});
    const last = this.incarnation ?? incarnation;
    this.#run({ type: "left" });
    if (last === undefined) return;
    try {
      await this.#timed(this.#coordinator.membership.leave(last));
    } catch (error) {
      this.#log.warn("could not leave the membership; the other nodes will declare this one dead", { error });
    }
  }

  /** Stops renewing and observing, without leaving. */
  close(): void {
    this.#closed = true;
    this.#cancelTick?.();
    this.#stopHints?.();
  }

  // --- Events in, effects out ---

  readonly #tick = (): void => {
    if (this.#closed) return;
    this.#cancelTick = this.#clock.after(this.#core.tickMs, this.#tick);
    this.#handle({ type: "tick" });
  };

  #handle(event: MembershipEvent): void {
    if (!this.#closed) this.#run(event);
  }

  #run(event: MembershipEvent): void {
    for (const effect of this.#core.handle(event, this.#instant())) this.#perform(effect);
  }

  #instant(): Instant {
    return { now: this.#clock.now(), wall: this.#clock.wallNow() };
  }

  #perform(effect: MembershipEffect): void {
    const { membership } = this.#coordinator;
    switch (effect.type) {
      case "renew": {
        const { incarnation, sentAt } = effect;
        membership.renew(incarnation).then(
          (result) => {
            this.#reached();
            if (result.outcome === "declared-dead") this.#handle({ type: "declared-dead", incarnation });
            else this.#handle({ type: "renewed", incarnation, sentAt, view: result.view });
          },
          (error: unknown) => this.#failed(error, { type: "renew-failed", incarnation, sentAt }),
        );
        break;
      }
      case "observe": {
        const { incarnations: asked, askedAt } = effect;
        this.#timed(membership.heartbeats(asked)).then(
          (counters) => this.#handle({ type: "observed", askedAt, asked, counters }),
          (error: unknown) => this.#failed(error, { type: "observe-failed" }),
        );
        break;
      }
      case "declare": {
        const { incarnation, heartbeat, reason } = effect;
        this.#timed(membership.declareDead(incarnation, heartbeat)).then(
          (result) => {
            if (result === "declared") this.#log.warn("declared a node dead", { incarnation, reason });
            this.#handle({ type: "declare-answered", incarnation, result });
          },
          (error: unknown) => this.#failed(error, { type: "declare-failed", incarnation }),
        );
        break;
      }
      case "read-view":
        // The answer is handed on where it is read.
        this.#readView().catch(() => {});
        break;
      case "lease":
        this.#tellLease(effect.state);
        break;
      case "view":
        for (const listener of this.#viewListeners) listener(effect.view);
        break;
    }
  }

  #reached(): void {
    if (this.#failing) this.#log.info("the coordinator's store answers again");
    this.#failing = false;
  }

  #failed(error: unknown, event: MembershipEvent): void {
    if (this.#closed) return;
    if (!this.#failing) this.#log.warn("a call to the coordinator's store failed", { error });
    this.#failing = true;
    this.#handle(event);
    if (TroupeError.is(error, "store_reset")) void this.#reassert();
  }

  /** Rejects when `answer` takes longer than one TTL. What comes later is ignored. */
  #timed<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const { ttlMs } = this.#core;
      const cancel = this.#clock.after(ttlMs, () =>
        reject(new TroupeError("store_unavailable", `the coordinator's store did not answer within ${ttlMs} ms`)),
      );
      answer.then(resolve, reject).finally(cancel);
    });
  }

  // --- The view ---

  /** A read of the view that starts after this call. At most one is under way, and one waits for it. */
  #readView(): Promise<MembershipView> {
    if (this.#reading === undefined) {
      this.#reading = this.#readViewNow().finally(() => {
        this.#reading = undefined;
      });
      return this.#reading;
    }
    this.#nextReading ??= this.#reading
      .catch(() => {})
      .then(() => {
        this.#nextReading = undefined;
        return this.#readView();
      });
    return this.#nextReading;
  }

  async #readViewNow(): Promise<MembershipView> {
    try {
      const view = await this.#timed(this.#coordinator.membership.view());
      this.#rememberDead(view);
      this.#handle({ type: "view-read", view });
      return view;
    } catch (error) {
      this.#failed(error, { type: "view-failed" });
      throw error;
    }
  }

  /** Notes the dead of `view`, and who was alive in the view before and is not listed any more. */
  #rememberDead(view: MembershipView): void {
    const alive = new Set<Incarnation>();
    for (const { incarnation, liveness } of view.members) {
      if (liveness === "alive") alive.add(incarnation);
      else this.#dead.set(incarnation, view.generation);
    }
    const reset = view.generation !== this.view.generation;
    if (!reset && view.view > this.view.view) {
      for (const { incarnation } of this.view.members) {
        if (!alive.has(incarnation)) this.#dead.set(incarnation, view.generation);
      }
    }
    // A declaration may have been lost with the store's data; its incarnation came back then, at once or later.
    for (const incarnation of alive) {
      const died = this.#dead.get(incarnation);
      if (died !== undefined && died !== view.generation) this.#dead.delete(incarnation);
    }
    for (const oldest of this.#dead.keys()) {
      if (this.#dead.size <= MAX_REMEMBERED_DEAD) break;
      this.#dead.delete(oldest);
    }
  }

  // --- The lease, and a life after death ---

  #tellLease(state: LeaseState): void {
    const told = [...this.#leaseListeners].map((listener) => listener(state));
    if (state.kind === "parked" && !this.#closed) this.#log.warn("the node's lease ran out; its actors wait");
    if (state.kind !== "lost") return;
    this.#log.error("this node was declared dead; it drops its actors and joins again");
    this.#rejoining = Promise.allSettled(told)
      .then(() => this.#rejoin())
      .catch((error: unknown) => this.#log.error("could not join again", { error }))
      .finally(() => {
        this.#rejoining = undefined;
      });
  }

  async #rejoin(): Promise<void> {
    if (this.#closed) return;
    await this.#joinStore(Number.POSITIVE_INFINITY);
  }

  /** Takes an incarnation, replaying the same operation until `until`. */
  async #joinStore(until: number): Promise<Incarnation> {
    const operation = randomUUID();
    const sentAt = this.#core.stamp(this.#instant());
    const again = this.incarnation !== undefined;
    for (let delayMs = JOIN_RETRY_MS; ; delayMs = Math.min(JOIN_RETRY_MOST_MS, 2 * delayMs)) {
      if (this.#record === undefined) throw new Error("join() comes first");
      try {
        const { incarnation } = await this.#timed(this.#coordinator.membership.join(this.#record, operation));
        if (again) await this.#tellRejoined(incarnation);
        this.#run({ type: "joined", incarnation, sentAt });
        return incarnation;
      } catch (error) {
        const hopeless = !again && !isStoreTrouble(error);
        if (this.#closed || hopeless || this.#clock.now() + delayMs > until) throw error;
        if (TroupeError.is(error, "store_reset")) await this.#reassert();
        this.#log.warn("could not join the membership; trying again", { delayMs, error });
      }
      await new Promise<void>((resolve) => this.#clock.after(delayMs, resolve));
    }
  }

  async #tellRejoined(incarnation: Incarnation): Promise<void> {
    const told = await Promise.allSettled([...this.#rejoinListeners].map(async (listener) => listener(incarnation)));
    for (const answer of told) {
      if (answer.status === "rejected") this.#log.error("a rejoin listener failed", { error: answer.reason });
    }
  }

  async #reassert(): Promise<void> {
    const { incarnation } = this;
    if (this.#reasserting || incarnation === undefined) return;
    this.#reasserting = true;
    this.#handle({ type: "store-reset" });
    try {
      // A lease that still runs proves that this node was not declared dead. One that has run out proves nothing: the store
      // may have lost the declaration. Then what this node wrote back is its own only if nobody brought back something
      // newer until the generation settled.
      while (!(await this.#writeBack(incarnation)) && this.lease.kind === "parked") {
        await new Promise<void>((resolve) => this.#clock.after(this.#core.ttlMs / 4, resolve));
        if (this.#closed || this.incarnation !== incarnation) return;
      }
      this.#handle({ type: "reasserted" });
      this.#handle({ type: "hint" });
    } catch (error) {
      this.#log.warn("could not write back after the store was reset; trying again", { error });
      if (!this.#closed) this.#clock.after(this.#core.ttlMs / 4, () => void this.#reassert());
    } finally {
      this.#reasserting = false;
    }
  }

  /** Answers whether the generation had settled before. */
  async #writeBack(incarnation: Incarnation): Promise<boolean> {
    let settled = true;
    for (const listener of this.#resetListeners) settled = (await listener(incarnation)).settled && settled;
    if (this.#resetListeners.size > 0) return settled;
    return (await this.#coordinator.directory.reassert(incarnation, [])).settled;
  }
}

function isStoreTrouble(error: unknown): boolean {
  return TroupeError.is(error, "store_unavailable") || TroupeError.is(error, "store_reset");
}

function add<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
