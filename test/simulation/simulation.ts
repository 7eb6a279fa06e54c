/**
 * One run of a simulated cluster: nodes, a population of actors, random calls, and the faults that the seed chooses; then
 * quiet time, and the promises that hold at the end. The promises of every step are in `history.ts`.
 *
 * Not every run has every fault: each seed picks some sorts and leaves the others out, because a cluster that is beaten
 * with everything at once hardly ever gets to where a rare mistake shows.
 */
import type { ActorId, Epoch } from "../../runtime/actor/ids.ts";
import { Network } from "../../runtime/testing/network.ts";
import { SimulatedNode, type SimulatedNodeOptions } from "../../runtime/testing/node.ts";
import { SimulatedProcess } from "../../runtime/testing/process.ts";
import { SimulatedStore, type StoreGuard } from "../../runtime/testing/store.ts";
import { VirtualTime } from "../../runtime/testing/virtual_time.ts";
import { POPULATION } from "./actors.ts";
import { Callers } from "./callers.ts";
import { History, tagsOf } from "./history.ts";

/**
 * What can be taken away. `bulk-placeholder` and `frame-incarnation` are the mesh's, the latter with the check of the
 * epoch that stands behind it; `declared-death` is the directory client's.
 */
export type Guard =
  | NonNullable<SimulatedNodeOptions["without"]>[number]
  | StoreGuard
  | "frame-incarnation"
  | "bulk-placeholder";
export const GUARDS: readonly Guard[] = [
  "lease",
  "commit-fence",
  "frame-incarnation",
  "declared-death",
  "settling",
  "operation-ids",
  "redirect-order",
  "bulk-placeholder",
  "dedup-ring",
];

export interface SimulationOptions {
  seed: number;
  without?: readonly Guard[];
  /** Keeps the last lines of the trace. */
  trace?: boolean;
  /** Only faults of these sorts, in every run. */
  sorts?: readonly Sort[];
}

export interface Outcome {
  violations: readonly string[];
  trace: string;
  tail: readonly string[];
  events: number;
  succeeded: number;
  failed: number;
  faults: number;
  handovers: number;
}

const TTL_MS = 3_000;
const RENEW_MS = 1_000;
const GRACE_MS = 300;
const CHAOS_MS = 8_000;
/** Enough for a declared death, a new generation to settle, and everybody to join again. */
const QUIET_MS = 13_000;
/** For the last calls, and then for everything to be forgotten. */
const LAST_CALLS_MS = 6_000;
/** Ten times what a busy run takes. */
const MAX_EVENTS = 100_000;
const SORTS = [
  "cut",
  "partition",
  "freeze",
  "suspend",
  "worker",
  "kill",
  "outage",
  "unreachable",
  "loss",
  "clear",
  "failover",
  "wall",
] as const;
export type Sort = (typeof SORTS)[number];

/** Runs a seed. Never rejects: what goes wrong is a violation. */
export async function simulate(options: SimulationOptions): Promise<Outcome> {
  const run = new Simulation(options);
  await run.run();
  return run.outcome;
}

class Simulation {
  readonly #time: VirtualTime;
  readonly #history: History;
  readonly #store: SimulatedStore;
  readonly #network: Network;
  readonly #callers: Callers;
  readonly #without: readonly Guard[];
  readonly #sorts: readonly Sort[] | undefined;
  readonly #nodes = new Map<string, SimulatedNode>();
  readonly #workers: number;
  readonly #drift: number;
  readonly #moves: boolean;
  #faults = 0;

  constructor({ seed, without = [], trace = false, sorts }: SimulationOptions) {
    const time = new VirtualTime(seed);
    this.#time = time;
    this.#without = without;
    this.#sorts = sorts;
    this.#history = new History(time, trace);
    this.#store = new SimulatedStore(this.#history, without.filter(isStoreGuard));
    this.#network = new Network(time, {
      slow: time.chance(0.5) ? 0.05 : 0,
      silenceMs: 1_500,
      withoutIncarnationCheck: without.includes("frame-incarnation"),
      bulkBytes: 64,
      withoutPlaceholder: without.includes("bulk-placeholder"),
    });
    this.#workers = time.chance(0.3) ? 2 : 1;
    this.#drift = time.chance(0.5) ? 0.005 : 0;
    this.#callers = new Callers(time, this.#history);
    this.#moves = seed % 3 === 1;
  }

  get outcome(): Outcome {
    const { violations, tail, succeeded, failed, handovers } = this.#history;
    const { traceHash, events } = this.#time;
    const trace = `${traceHash}-${events}`;
    return { violations, trace, tail, events, succeeded, failed, faults: this.#faults, handovers };
  }

  async run(): Promise<void> {
    const time = this.#time;
    const count = 2 + Math.floor(time.random() * 3);
    for (let index = 1; index <= count; index++) this.#start(`n${index}`);
    await this.#until(500);
    this.#plan();
    await this.#until(500 + CHAOS_MS);
    this.#heal();
    await this.#until(500 + CHAOS_MS + QUIET_MS);
    for (const node of this.#running()) this.#callers.lastCalls(node);
    await this.#until(500 + CHAOS_MS + QUIET_MS + LAST_CALLS_MS);
    this.#checkEnd();
  }

  /** Runs events until `at`, or until a promise is broken. */
  async #until(at: number): Promise<void> {
    try {
      await this.#time.run(at, () => this.#history.violations.length === 0 && this.#time.events <= MAX_EVENTS);
      if (this.#time.events > MAX_EVENTS) this.#violation(`${MAX_EVENTS} events: the cluster is busy with itself`);
    } catch (error) {
      this.#history.violation(`the runtime threw: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }

  #start(name: string): void {
    const time = this.#time;
    const without = this.#without.filter(isNodeGuard);
    const node = new SimulatedNode({
      time,
      network: this.#network,
      store: this.#store,
      process: new SimulatedProcess(name, time, 1 + this.#drift * time.between(-1, 1)),
      definitions: POPULATION as SimulatedNodeOptions["definitions"],
      workers: this.#workers,
      membership: { ttlMs: TTL_MS, renewMs: RENEW_MS, graceMs: GRACE_MS },
      storeLink: { settleMs: TTL_MS + GRACE_MS, timeoutMs: 800 },
      settings: { history: this.#history },
      without,
    });
    this.#nodes.set(name, node);
    node.events.on((event) => {
      if (event.type !== "activated" || event.from === null) return;
      this.#history.handedOver(event.actor as ActorId, event.from as Epoch, event.epoch as Epoch);
    });
    void node.start();
  }

  #running(): SimulatedNode[] {
    return [...this.#nodes.values()].filter(({ process }) => !process.killed);
  }

  // What will happen

  #plan(): void {
    const time = this.#time;
    const calls = 30 + Math.floor(time.random() * 90);
    for (let index = 0; index < calls; index++) {
      time.after(time.between(0, CHAOS_MS), () =>
        this.#callers.call(this.#running().filter(({ ready, process }) => ready && process.running)),
      );
    }
    if (this.#moves) this.#planMoves();
    const sorts = this.#sorts ?? SORTS.filter(() => time.chance(0.35));
    if (sorts.length === 0) return;
    const faults = 1 + Math.floor(time.random() * 7);
    for (let index = 0; index < faults; index++) {
      const sort = sorts[Math.floor(time.random() * sorts.length)] as Sort;
      time.after(time.between(0, CHAOS_MS - 500), () => this.#fault(sort));
    }
  }

  /** In every third run actors move about, some of them when their node would shut down. */
  #planMoves(): void {
    const time = this.#time;
    const moves = 5 + Math.floor(time.random() * 60);
    for (let index = 0; index < moves; index++) {
      time.after(time.between(0, CHAOS_MS), () => {
        const nodes = this.#running().filter(({ ready, process }) => ready && process.running);
        const node = nodes[Math.floor(time.random() * nodes.length)];
        const actors = [...(node?.router.actors() ?? [])];
        const actor = actors[Math.floor(time.random() * actors.length)];
        if (node === undefined || actor === undefined) return;
        this.#history.note(`${node.name} moves ${actor.id}`);
        const budgetMs = time.chance(0.5) ? 50 : 1_000;
        void node
          .move(actor.id, budgetMs, time.chance(0.3))
          .then((outcome) => this.#history.note(`${node.name}: ${actor.id} ${outcome}`));
      });
    }
  }

  #fault(sort: Sort): void {
    const time = this.#time;
    const running = this.#running();
    if (running.length === 0) return;
    const node = running[Math.floor(time.random() * running.length)] as SimulatedNode;
    const other = running[Math.floor(time.random() * running.length)] as SimulatedNode;
    const ms = time.chance(0.5) ? time.between(50, 1_000) : time.between(1_000, 6_500);
    this.#faults++;
    this.#history.note(`FAULT ${sort} ${node.name} ${other.name} ${Math.round(ms)} ms`);
    switch (sort) {
      case "cut":
        this.#network.cut(node.name, other.name);
        break;
      case "partition":
        if (node === other) break;
        this.#network.partition(node.name, other.name);
        time.after(ms, () => this.#network.heal(node.name, other.name));
        break;
      case "freeze":
      case "suspend":
        this.#stop(node, sort, ms);
        break;
      case "worker":
        if (node.process.running && node.ready) node.killWorker(1 + Math.floor(time.random() * this.#workers));
        break;
      case "kill":
        this.#kill(node, ms);
        break;
      case "outage":
        this.#store.down = true;
        time.after(ms, () => {
          this.#store.down = false;
        });
        break;
      case "unreachable":
        this.#hideStore(node, ms);
        break;
      case "loss":
        for (const each of running) each.store.disturb(0.15, 0.15);
        time.after(ms, () => {
          for (const each of running) each.store.disturb(0, 0);
        });
        break;
      case "clear":
        this.#history.storeLostData = true;
        this.#store.clear(time.chance(0.5));
        // Trouble comes in company: an owner that hears of it late still holds its lease.
        if (time.chance(0.5)) this.#hideStore(node, ms);
        break;
      case "failover": {
        const snapshot = this.#store.snapshot();
        time.after(Math.min(ms, 1_500), () => {
          this.#history.note("the replica takes over");
          this.#history.storeLostData = true;
          this.#store.failOver(snapshot);
        });
        break;
      }
      case "wall":
        // Not while it is suspended, nor just before: the two could cancel each other out, which no node can see.
        if (node.process.running) {
          node.process.shiftWallClock(time.between(-20_000, 20_000));
          node.membership.refresh();
        }
        break;
    }
  }

  #hideStore(node: SimulatedNode, ms: number): void {
    node.store.unreachable = true;
    this.#time.after(ms, () => {
      node.store.unreachable = false;
    });
  }

  #stop(node: SimulatedNode, how: "freeze" | "suspend", ms: number): void {
    if (!node.process.running) return;
    const before = node.process.clock.now();
    if (how === "freeze") node.process.freeze();
    else node.process.suspend();
    this.#network.frozen(node.process);
    this.#time.after(ms, () => {
      node.process.thaw();
      // Until it has looked at its clocks, a machine that slept cannot know (a non-guarantee); the product looks every
      // 250 ms, here it looks first.
      if (how === "suspend") node.membership.refresh();
      this.#history.note(`${node.name} goes on`);
      // Its calls could not be settled meanwhile.
      const stood = node.process.clock.now() - before;
      for (const call of this.#history.open) if (call.node === node) call.due += stood + 100;
    });
  }

  #kill(node: SimulatedNode, ms: number): void {
    if (node.process.killed) return;
    node.kill();
    this.#callers.died(node);
    this.#time.after(ms, () => {
      if (this.#nodes.get(node.name) === node) this.#start(node.name);
    });
  }

  #heal(): void {
    this.#history.note("HEAL");
    this.#network.healAll();
    this.#store.down = false;
    for (const node of this.#nodes.values()) {
      node.store.unreachable = false;
      node.store.disturb(0, 0);
    }
  }

  // What must hold at the end

  #checkEnd(): void {
    if (this.#history.violations.length > 0) return;
    for (const call of this.#history.open) {
      if (!call.node.process.killed) this.#violation(`${call.tag} (${call.actor}.${call.what}) never settled`);
    }
    this.#checkOwners();
    this.#checkAcknowledged();
    for (const node of this.#running()) this.#checkNode(node);
  }

  #checkOwners(): void {
    const owners = new Map<ActorId, string>();
    for (const node of this.#running()) {
      for (const host of node.hosts) {
        for (const { id, status } of host.activations()) {
          const other = owners.get(id);
          if (other !== undefined) this.#violation(`${id} is ${status} on ${node.name} and also on ${other}`);
          owners.set(id, node.name);
        }
      }
    }
  }

  #checkAcknowledged(): void {
    if (this.#history.storeLostData) return;
    for (const actor of this.#history.actors) {
      const stored = tagsOf(this.#store.stored(actor));
      for (const tag of this.#history.acknowledged(actor)) {
        if (!stored.includes(tag)) this.#violation(`${actor} lost ${tag}, which was acknowledged`);
      }
    }
  }

  #checkNode(node: SimulatedNode): void {
    const { name } = node;
    if (!node.ready) return this.#violation(`${name} never started`);
    if (node.process.clock.now() >= node.leaseDeadline) this.#violation(`${name} has no lease`);
    const left = {
      "calls on record": Number(/^troupe_calls_in_flight (\d+)$/m.exec(node.metrics.text())?.[1]),
      "calls waiting": sum(node.hosts.map(({ calls }) => calls.size)),
      turns: sum(node.hosts.map(({ turns }) => turns.size)),
      deadlines: sum(node.hosts.map(({ wheel }) => wheel.size)),
    };
    for (const [what, count] of Object.entries(left)) {
      if (count !== 0) this.#violation(`${name} is quiet and still has ${count} ${what}`);
    }
  }

  #violation(what: string): void {
    this.#history.violation(what);
  }
}

function isStoreGuard(guard: Guard): guard is StoreGuard {
  return guard === "commit-fence" || guard === "settling" || guard === "operation-ids";
}

function isNodeGuard(guard: Guard): guard is NonNullable<SimulatedNodeOptions["without"]>[number] {
  return !isStoreGuard(guard) && guard !== "bulk-placeholder";
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
