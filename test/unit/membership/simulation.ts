/**
 * A simulated cluster of membership reducers over a store, with everything that can go wrong between them, and the
 * promises checked at every step. One thread, one event queue, one seed.
 *
 * True time is the simulation's. Each node has its own monotonic clock (another origin, up to 1 % fast or slow, standing
 * still while its machine is suspended) and its own wall clock (set forward or back now and then). Messages to the store
 * and back take their time, now and then seconds, or are lost; the caller of a lost one hears a failure later. Nodes
 * freeze (events wait), are suspended, are cut off from the store, or crash; the store has outages.
 */
import type { Generation, Incarnation, NodeId } from "../../../runtime/actor/ids.ts";
import type { DeclareResult, MembershipView, NodeRecord } from "../../../runtime/coordinator/contract.ts";
import {
  type Guard,
  type Instant,
  Membership,
  type MembershipEffect,
  type MembershipEvent,
  ringAfter,
} from "../../../runtime/placement/membership.ts";

export interface SimulationOptions {
  seed: number;
  /** Guards to remove. */
  without?: readonly Guard[];
  /** True time with faults, milliseconds; as much as `CALM_MS` follows without any. */
  chaosMs?: number;
}

export interface Outcome {
  violations: string[];
  declared: number;
  rejoined: number;
  events: number;
}

const TTL_MS = 6_000;
const RENEW_MS = 2_000;
const GRACE_MS = 600;
/** Crashed or frozen nodes are declared within this, on a clock that is 1 % slow. */
const DEATH_MS = (TTL_MS + GRACE_MS + 2 * RENEW_MS) * 1.01;
const CALM_MS = 26_000;
/** A caller that got no answer hears of it after this. */
const TIMEOUT_MS = 5_000;
/** Slower messages than this count as a disturbance of the node. */
const SLOW_MS = 300;

/** Seeded uniform numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What runs at a true time; ties in the order they were scheduled. */
class EventQueue {
  readonly #heap: { at: number; order: number; run: () => void }[] = [];
  #order = 0;

  push(at: number, run: () => void): void {
    const heap = this.#heap;
    const entry = { at, order: this.#order++, run };
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || before(above, entry)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  pop(): { at: number; run: () => void } | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let least = left;
      if (right !== undefined && before(right, left)) {
        least = right;
        child += 1;
      }
      if (before(last, least)) break;
      heap[index] = least;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function before(one: { at: number; order: number }, other: { at: number; order: number }): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}

/** The store: what a coordinator keeps, each verb in one step. */
class Store {
  readonly alive = new Map<Incarnation, { heartbeat: number; node: SimulatedNode }>();
  readonly dead = new Set<Incarnation>();
  view = 1;
  joins = 0;

  join(node: SimulatedNode): Incarnation {
    const incarnation = `i${String(++this.joins).padStart(4, "0")}` as Incarnation;
    this.alive.set(incarnation, { heartbeat: 0, node });
    this.view++;
    return incarnation;
  }

  declare(incarnation: Incarnation, heartbeat: number): DeclareResult {
    const member = this.alive.get(incarnation);
    if (member === undefined) return "already-dead";
    if (member.heartbeat !== heartbeat) return "alive";
    this.alive.delete(incarnation);
    this.dead.add(incarnation);
    this.view++;
    return "declared";
  }

  readView(): MembershipView {
    const members = [...this.alive.keys()].map((incarnation) => ({
      ...RECORD,
      incarnation,
      liveness: "alive" as const,
    }));
    const dead = [...this.dead].slice(-8).map((incarnation) => ({ ...RECORD, incarnation, liveness: "dead" as const }));
    return { generation: "g" as Generation, view: this.view, members: [...members, ...dead] };
  }
}

const RECORD: NodeRecord = {
  id: "n" as NodeId,
  url: "",
  meshUrl: "",
  pid: 0,
  runtime: "",
  version: "",
  startedAt: 0,
  labels: {},
  kinds: [],
  servers: [],
  state: "active",
};

type Condition = "running" | "frozen" | "suspended" | "crashed";

class SimulatedNode {
  readonly name: string;
  core: Membership;
  incarnation: Incarnation | undefined;
  joinedAt = 0;
  condition: Condition = "running";
  /** Since when it has been in this condition. */
  conditionSince = 0;
  /** Cuts in force; they may overlap. */
  cuts = 0;
  /** Intervals in which it could not observe: not running, cut off, or the store out. Open ones end at infinity. */
  readonly blind: [from: number, to: number][] = [];
  /** When it last was anything but running, connected, and promptly served. */
  disturbedAt = 0;
  /** Until when slow messages of it may be under way. */
  slowUntil = 0;
  waiting: (() => void)[] = [];
  /** It was suspended and has not handled an event since. */
  stale = false;
  readonly rate: number;
  readonly origin: number;
  suspendedMs = 0;
  wallShift = 0;

  constructor(name: string, rate: number, origin: number, core: Membership) {
    this.name = name;
    this.rate = rate;
    this.origin = origin;
    this.core = core;
  }

  disturb(until: number): void {
    this.disturbedAt = Math.max(this.disturbedAt, until);
  }

  monotonic(trueNow: number): number {
    const suspendedNow = this.condition === "suspended" ? trueNow - this.conditionSince : 0;
    return this.origin + (trueNow - this.suspendedMs - suspendedNow) * this.rate;
  }

  instant(trueNow: number): Instant {
    return { now: this.monotonic(trueNow), wall: 1_000_000 + trueNow + this.wallShift };
  }

  /** Whether it would let its actors take effect now. */
  holds(trueNow: number): boolean {
    const { lease } = this.core;
    if (this.condition === "crashed" || this.condition === "suspended" || this.stale) return false;
    return lease.kind === "held" && this.monotonic(trueNow) < lease.deadlineMs;
  }
}

/** One run. */
export function simulate(options: SimulationOptions): Outcome {
  return new Simulation(options).run();
}

class Simulation {
  readonly #queue = new EventQueue();
  readonly #store = new Store();
  readonly #random: () => number;
  readonly #options: SimulationOptions;
  readonly #chaosMs: number;
  readonly #nodes: SimulatedNode[] = [];
  readonly #outcome: Outcome = { violations: [], declared: 0, rejoined: 0, events: 0 };
  readonly #loss: number;
  readonly #slow: number;
  #now = 0;
  #outages = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#random = seeded(options.seed);
    this.#chaosMs = options.chaosMs ?? 40_000;
    // Some seeds have a good network, so that the time to a declaration can be judged in the middle of other faults.
    this.#loss = this.#chance(0.5) ? 0 : 0.05;
    this.#slow = this.#chance(0.5) ? 0 : 0.08;
  }

  run(): Outcome {
    const count = 2 + Math.floor(this.#random() * 5);
    for (let index = 0; index < count; index++) this.#start(index);
    this.#scheduleFaults();
    const end = this.#chaosMs + CALM_MS;
    for (let next = this.#queue.pop(); next !== undefined && next.at <= end; next = this.#queue.pop()) {
      this.#now = next.at;
      this.#outcome.events++;
      next.run();
      if (this.#outcome.violations.length > 0) return this.#outcome;
    }
    this.#now = end;
    this.#checkEnd();
    return this.#outcome;
  }

  // --- Nodes ---

  #start(index: number): void {
    const core = new Membership({
      ttlMs: TTL_MS,
      renewMs: RENEW_MS,
      graceMs: GRACE_MS,
      without: this.#options.without,
    });
    const node = new SimulatedNode(`n${index}`, 0.99 + this.#random() * 0.02, this.#random() * 1e6, core);
    this.#nodes.push(node);
    this.#after(this.#random() * 3_000, () => this.#join(node));
    this.#after(this.#random() * core.tickMs, () => this.#tick(node));
  }

  #tick(node: SimulatedNode): void {
    if (node.condition === "crashed") return;
    if (node.condition === "running") this.#deliver(node, { type: "tick" });
    this.#after(node.core.tickMs / node.rate, () => this.#tick(node));
  }

  #join(node: SimulatedNode): void {
    if (node.condition === "crashed") return;
    const sentAt = node.core.stamp(node.instant(this.#now));
    this.#request(
      node,
      () => {
        const incarnation = this.#store.join(node);
        this.#hint();
        return incarnation;
      },
      (incarnation) => {
        if (node.incarnation !== undefined) this.#outcome.rejoined++;
        node.incarnation = incarnation;
        node.joinedAt = this.#now;
        this.#deliver(node, { type: "joined", incarnation, sentAt });
      },
      // A real driver replays its operation id; here the first attempt may leave an incarnation behind, to be declared.
      () => this.#after(500, () => this.#whenRunning(node, () => this.#join(node))),
    );
  }

  #deliver(node: SimulatedNode, event: MembershipEvent): void {
    const effects = node.core.handle(event, node.instant(this.#now));
    node.stale = false;
    // Nothing may be left of a lease once the owner has looked at its clock.
    if (node.incarnation !== undefined && this.#store.dead.has(node.incarnation) && node.holds(this.#now)) {
      this.#violation(`${node.name} (${node.incarnation}) lets actors take effect although it was declared dead`);
    }
    for (const effect of effects) this.#perform(node, effect);
  }

  #perform(node: SimulatedNode, effect: MembershipEffect): void {
    switch (effect.type) {
      case "renew": {
        const { incarnation, sentAt } = effect;
        this.#request(
          node,
          () => {
            const member = this.#store.alive.get(incarnation);
            if (member === undefined) return undefined;
            member.heartbeat++;
            return this.#store.view;
          },
          (view) =>
            this.#deliver(
              node,
              view === undefined
                ? { type: "declared-dead", incarnation }
                : { type: "renewed", incarnation, sentAt, view },
            ),
          () => this.#deliver(node, { type: "renew-failed", incarnation, sentAt }),
        );
        break;
      }
      case "observe": {
        const { incarnations: asked, askedAt } = effect;
        this.#request(
          node,
          () => {
            const counters = new Map<Incarnation, number>();
            for (const one of asked) {
              const member = this.#store.alive.get(one);
              if (member !== undefined) counters.set(one, member.heartbeat);
            }
            return counters;
          },
          (counters) => this.#deliver(node, { type: "observed", askedAt, asked, counters }),
          () => this.#deliver(node, { type: "observe-failed" }),
        );
        break;
      }
      case "declare": {
        const { incarnation, heartbeat, reason } = effect;
        const asked = this.#now;
        this.#request(
          node,
          () => {
            const owner = this.#store.alive.get(incarnation)?.node;
            const result = this.#store.declare(incarnation, heartbeat);
            if (result === "declared" && reason === "silence") this.#checkSight(node, incarnation, asked);
            if (result === "declared") this.#declared(incarnation, owner, reason);
            return result;
          },
          (result) => this.#deliver(node, { type: "declare-answered", incarnation, result }),
          () => this.#deliver(node, { type: "declare-failed", incarnation }),
        );
        break;
      }
      case "read-view":
        this.#request(
          node,
          () => this.#store.readView(),
          (view) => this.#deliver(node, { type: "view-read", view }),
          () => this.#deliver(node, { type: "view-failed" }),
        );
        break;
      case "lease":
        if (effect.state.kind === "lost") this.#after(200, () => this.#whenRunning(node, () => this.#join(node)));
        break;
      case "view":
        break;
    }
  }

  /** Change notices reach some of the nodes. */
  #hint(): void {
    for (const node of this.#nodes) {
      if (this.#chance(0.7))
        this.#after(this.#delay(node), () => this.#whenRunning(node, () => this.#deliver(node, { type: "hint" })));
    }
  }

  /** A verb: over to the store, one step there, and back; or a failure after a while. */
  #request<T>(node: SimulatedNode, step: () => T, answer: (value: T) => void, fail: () => void): void {
    let settled = false;
    const settle = (run: () => void): void => {
      if (settled) return;
      settled = true;
      this.#whenRunning(node, run);
    };
    this.#after(TIMEOUT_MS, () => {
      if (!settled) node.disturb(this.#now);
      settle(fail);
    });
    const lost = this.#lost(node);
    if (lost) return;
    this.#after(this.#delay(node), () => {
      if (this.#outages > 0 || node.cuts > 0) {
        node.disturb(this.#now);
        this.#after(20, () => settle(fail));
        return;
      }
      const value = step();
      if (this.#lost(node)) return;
      this.#after(this.#delay(node), () => settle(() => answer(value)));
    });
  }

  #lost(node: SimulatedNode): boolean {
    if (this.#calm || !this.#chance(this.#loss)) return false;
    node.disturb(this.#now + TIMEOUT_MS);
    return true;
  }

  #delay(node: SimulatedNode): number {
    if (this.#calm || !this.#chance(this.#slow)) return 1 + this.#random() * 40;
    const delay = this.#random() ** 2 * 4_500;
    if (delay > SLOW_MS) {
      node.slowUntil = Math.max(node.slowUntil, this.#now + delay);
      node.disturb(this.#now + delay);
    }
    return delay;
  }

  /** Now, or when the node runs again, in order. Never after a crash. */
  #whenRunning(node: SimulatedNode, run: () => void): void {
    if (node.condition === "running") run();
    else if (node.condition !== "crashed") node.waiting.push(run);
  }

  // --- Faults ---

  get #calm(): boolean {
    return this.#now >= this.#chaosMs;
  }

  #scheduleFaults(): void {
    let at = 4_000;
    while (at < this.#chaosMs - 1_000) {
      this.#queue.push(at, () => this.#fault());
      at += 500 + this.#random() * 8_000;
    }
    // A crash after all faults have ended: judged strictly.
    this.#queue.push(this.#chaosMs + 12_000, () => {
      const node = this.#pick();
      if (this.#nodes.filter(({ condition }) => condition === "running").length > 1) this.#crash(node, false);
    });
  }

  #fault(): void {
    const node = this.#pick();
    const length = this.#chance(0.3) ? this.#random() * 2_500 : this.#random() * 14_000;
    const end = Math.min(this.#now + length, this.#chaosMs);
    const kind = this.#random();
    if (kind < 0.2) this.#stop([node], "frozen", end);
    else if (kind < 0.3) this.#stop(this.#nodes, "frozen", end);
    else if (kind < 0.45) this.#stop([node], "suspended", end);
    else if (kind < 0.6) this.#cutOff(node, end);
    else if (kind < 0.75) this.#outage(end);
    else if (kind < 0.85) this.#setWallClock(node);
    else if (this.#nodes.filter(({ condition }) => condition !== "crashed").length > 2)
      this.#crash(node, this.#chance(0.4));
  }

  #pick(): SimulatedNode {
    const living = this.#nodes.filter(({ condition }) => condition !== "crashed");
    const node = living[Math.floor(this.#random() * living.length)];
    if (node === undefined) throw new Error("every node has crashed");
    return node;
  }

  #stop(nodes: readonly SimulatedNode[], condition: "frozen" | "suspended", end: number): void {
    for (const node of nodes) {
      if (node.condition !== "running") continue;
      node.condition = condition;
      node.conditionSince = this.#now;
      this.#blind(node, end);
      if (condition === "frozen") this.#expectDeath(node, end);
      this.#queue.push(end, () => this.#resume(node));
    }
  }

  #resume(node: SimulatedNode): void {
    if (node.condition === "crashed") return;
    if (node.condition === "suspended") {
      node.suspendedMs += this.#now - node.conditionSince;
      node.stale = true;
    }
    node.condition = "running";
    node.conditionSince = this.#now;
    node.disturb(this.#now);
    // The timer that is due and the answers that wait come in any order.
    if (this.#chance(0.5)) this.#deliver(node, { type: "tick" });
    const waiting = node.waiting;
    node.waiting = [];
    for (const run of waiting) this.#whenRunning(node, run);
  }

  #cutOff(node: SimulatedNode, end: number): void {
    node.cuts++;
    this.#blind(node, end);
    this.#queue.push(end, () => {
      node.cuts--;
      node.disturb(this.#now);
    });
  }

  #outage(end: number): void {
    this.#outages++;
    for (const node of this.#nodes) this.#blind(node, end);
    this.#queue.push(end, () => {
      this.#outages--;
      for (const node of this.#nodes) node.disturb(this.#now);
    });
  }

  /** Not in the very moment of a suspension: the two could cancel each other out, which no node can see. */
  #setWallClock(node: SimulatedNode): void {
    if (node.condition !== "running") return;
    node.wallShift += (this.#random() - 0.5) * 20_000;
    // Taken for a suspension when it goes forward: the node starts its observations afresh.
    node.disturb(this.#now);
    this.#deliver(node, { type: "tick" });
  }

  #blind(node: SimulatedNode, end: number): void {
    node.blind.push([this.#now, end]);
    node.disturb(end);
  }

  #crash(node: SimulatedNode, evidence: boolean): void {
    if (node.condition === "crashed") return;
    this.#expectDeath(node, Number.POSITIVE_INFINITY);
    node.condition = "crashed";
    node.conditionSince = this.#now;
    const { incarnation } = node;
    if (!evidence || incarnation === undefined) return;
    const witness = this.#pick();
    this.#after(this.#random() * 500, () =>
      this.#whenRunning(witness, () => this.#deliver(witness, { type: "evidence", incarnation })),
    );
  }

  // --- Promises ---

  #violation(what: string): void {
    this.#outcome.violations.push(`${what} (true time ${Math.round(this.#now)} ms, seed ${this.#options.seed})`);
  }

  /** Called at the linearization point. That it happens once is the store's compare-and-set. */
  #declared(incarnation: Incarnation, owner: SimulatedNode | undefined, reason: string): void {
    this.#outcome.declared++;
    this.#hint();
    if (owner === undefined || owner.incarnation !== incarnation) return;
    if (owner.holds(this.#now)) {
      this.#violation(`${incarnation} was declared dead while it still let actors take effect`);
    }
    if (reason === "evidence") return;
    const window = (TTL_MS + GRACE_MS) * 0.98;
    const healthySince = Math.max(owner.disturbedAt, owner.joinedAt);
    if (owner.condition === "running" && this.#now - healthySince > window + 2 * SLOW_MS) {
      this.#violation(`${incarnation} was declared dead although it ran and reached the store all the time`);
    }
  }

  /** Whether `by` looked all the time before it asked for the declaration at `asked`. */
  #checkSight(by: SimulatedNode, incarnation: Incarnation, asked: number): void {
    const from = asked - (TTL_MS + GRACE_MS) * 0.98;
    for (const [start, end] of by.blind) {
      const unseen = Math.min(end, asked) - Math.max(start, from);
      if (unseen > 1.5 * RENEW_MS * 1.01) {
        this.#violation(
          `${by.name} asked to declare ${incarnation} dead after not looking for ${Math.round(unseen)} ms`,
        );
      }
    }
  }

  /** `node` stops at this moment, until `end`: somebody who watches it and is not disturbed must declare it in time. */
  #expectDeath(node: SimulatedNode, end: number): void {
    const { incarnation } = node;
    // A renewal that is under way counts when it arrives.
    const start = Math.max(this.#now, node.slowUntil);
    if (incarnation === undefined || end < start + DEATH_MS || !this.#store.alive.has(incarnation)) return;
    const settled = this.#now - 3_000;
    if (node.joinedAt > settled) return;
    const alive = new Set(this.#store.alive.keys());
    const observers = this.#nodes.filter(
      (other) =>
        other !== node &&
        other.condition === "running" &&
        other.joinedAt < settled &&
        other.disturbedAt < settled &&
        other.core.lease.kind === "held" &&
        other.core.view.view === this.#store.view &&
        other.incarnation !== undefined &&
        ringAfter(other.incarnation, alive).includes(incarnation),
    );
    const { joins } = this.#store;
    this.#queue.push(start + DEATH_MS, () => {
      // A node that joins may push an observer out of the ring, and the time starts again with the next one.
      if (!this.#store.alive.has(incarnation) || this.#store.joins !== joins) return;
      const steady = observers.find((other) => other.condition === "running" && other.disturbedAt < settled);
      if (steady !== undefined) {
        this.#violation(`${incarnation} stopped, and ${steady.name} did not declare it within ${DEATH_MS} ms`);
      }
    });
  }

  /** Long after the last fault: everybody who runs is a member, holds a lease, and sees what the store has. */
  #checkEnd(): void {
    for (const node of this.#nodes) {
      const { incarnation } = node;
      if (node.condition === "crashed") {
        const late = this.#now - node.conditionSince > DEATH_MS + TTL_MS + GRACE_MS;
        if (late && incarnation !== undefined && this.#store.alive.has(incarnation)) {
          this.#violation(`${node.name} crashed long ago and is still a member`);
        }
      } else if (incarnation === undefined || !this.#store.alive.has(incarnation)) {
        this.#violation(`${node.name} runs and is not a member`);
      } else if (!node.holds(this.#now)) {
        this.#violation(`${node.name} runs and has no lease`);
      } else if (node.core.view.view !== this.#store.view) {
        this.#violation(`${node.name} has view ${node.core.view.view}, the store ${this.#store.view}`);
      }
    }
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #after(ms: number, run: () => void): void {
    this.#queue.push(this.#now + ms, run);
  }
}
