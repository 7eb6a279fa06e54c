/**
 * A cluster in one thread, for tests: several nodes on virtual time, with faults as verbs, and the same run for the same
 * seed.
 *
 * Time stands still while the test computes, and moves while it waits: awaiting a call, `advance` or `until` runs events
 * until that is settled, so a minute of waiting costs no time, and there is nothing to sleep for. What the nodes run is
 * the product's own membership, directory client, router, mailboxes and calls; only processes, network and store are
 * simulated.
 *
 * Everything in a test must wait through the cluster: an actor that uses timers of its own, instead of `ctx.worker.clock`,
 * or real I/O, is not seen and makes runs differ.
 *
 * @example
 * const cluster = await createTestCluster({ nodes: 3, seed: 1, actors: [Counter] });
 * const [one, two] = cluster.nodes;
 * await one.actor(Counter, "visits").add(1);
 * cluster.killNode(one);
 * await cluster.until(() => two.actor(Counter, "visits").read().catch(() => undefined));
 */
import type { AnyActorDefinition, CallOptions, Ref } from "../actor/define.ts";
import type { RunnableDefinition } from "../actor/host.ts";
import { actorId } from "../actor/ids.ts";
import type { MembershipOptions } from "../placement/membership.ts";
import { Network, type NetworkOptions } from "./network.ts";
import { SimulatedNode } from "./node.ts";
import { SimulatedProcess } from "./process.ts";
import { SimulatedStore } from "./store.ts";
import type { StoreLinkOptions } from "./store_client.ts";
import { VirtualTime } from "./virtual_time.ts";

export interface TestClusterOptions {
  /** How many nodes, named `n1`, `n2`, …. Default 1. */
  nodes?: number;
  /** Decides everything that is left to chance. Default 1. */
  seed?: number;
  /** The actor definitions that every node knows. */
  actors: readonly (AnyActorDefinition & object)[];
  /** Worker threads per node. Default 1. */
  workers?: number;
  /** What actors find in `ctx.worker.settings`. */
  settings?: Readonly<Record<string, unknown>>;
  /** Node leases; defaults as in the product (6,000, 2,000 and 600 ms). */
  membership?: Pick<MembershipOptions, "ttlMs" | "renewMs" | "graceMs">;
  network?: Pick<NetworkOptions, "latencyMs" | "slow" | "silenceMs">;
  store?: StoreLinkOptions;
}

/** A node of a test cluster. */
export interface TestNode {
  readonly name: string;
  /** A ref whose calls run virtual time while they are awaited. */
  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D>;
  /** Makes an actor whose kind needs stored state, owned by this node. */
  create<State>(
    definition: AnyActorDefinition & { readonly state?: { initial: (key: string) => State } },
    key: string,
    state: State,
  ): Promise<void>;
}

type Maybe<T> = T | undefined | null | false;

/** Virtual milliseconds that the running turns of an actor may take before it moves. */
const MOVE_MS = 10_000;
/** Virtual milliseconds a start, and `until` by default, may take. */
const PATIENCE_MS = 60_000;

/** Starts `nodes` nodes, and resolves when all have joined and are linked. */
export async function createTestCluster(options: TestClusterOptions): Promise<TestCluster> {
  const cluster = new TestCluster(options);
  await cluster.start();
  return cluster;
}

export class TestCluster {
  readonly #options: TestClusterOptions;
  readonly #time: VirtualTime;
  readonly #network: Network;
  readonly #store: SimulatedStore;
  readonly #nodes = new Map<string, { node: SimulatedNode; face: TestNode }>();
  /** Promises that the test waits for, and times that it waits until. */
  #awaited = 0;
  readonly #times: number[] = [];
  #driving = false;

  constructor(options: TestClusterOptions) {
    this.#options = options;
    this.#time = new VirtualTime(options.seed ?? 1);
    this.#network = new Network(this.#time, options.network);
    this.#store = new SimulatedStore({
      claimed: (actor, owner) => this.#time.mark(`${this.#time.now} claimed ${actor} ${owner.epoch}`),
      committed: (actor, owner, _before, after) =>
        this.#time.mark(`${this.#time.now} committed ${actor} ${owner.epoch} ${after.version}`),
      declared: (incarnation) => this.#time.mark(`${this.#time.now} declared ${incarnation}`),
    });
  }

  /** The nodes that were not killed, in the order of their names. */
  get nodes(): TestNode[] {
    return [...this.#nodes.values()].filter(({ node }) => !node.process.killed).map(({ face }) => face);
  }

  /** Virtual milliseconds since the start. */
  get now(): number {
    return this.#time.now;
  }

  /** Equal for two runs in which the same events happened in the same order. */
  get trace(): string {
    return `${this.#time.traceHash}-${this.#time.events}`;
  }

  /** @internal */
  async start(): Promise<void> {
    const { nodes = 1 } = this.#options;
    for (let index = 1; index <= nodes; index++) this.#add(`n${index}`);
    await this.until(() => this.#linked(), PATIENCE_MS);
  }

  /** Ends a node's process, without a word to anybody. */
  killNode(node: TestNode): void {
    this.#find(node).kill();
  }

  /** Starts a killed node again, under the same name. */
  async restartNode(node: TestNode): Promise<TestNode> {
    if (!this.#find(node).process.killed) throw new Error(`node ${node.name} runs`);
    const started = this.#add(node.name);
    await this.until(() => this.#linked(), PATIENCE_MS);
    return started;
  }

  /** Ends a worker thread, from 1, with everything on it; another takes its place. */
  killWorker(node: TestNode, index = 1): void {
    this.#find(node).killWorker(index);
  }

  /** Stops a node's process (as SIGSTOP does) until `thaw`. */
  freeze(node: TestNode): void {
    const { process } = this.#find(node);
    process.freeze();
    this.#network.frozen(process);
  }

  thaw(node: TestNode): void {
    this.#find(node).process.thaw();
  }

  /** No message passes between the two nodes; both still reach the store. */
  partition(one: TestNode, other: TestNode): void {
    this.#network.partition(one.name, other.name);
  }

  /** Takes a partition away; without nodes, all of them, and makes the store reachable again for everybody. */
  heal(one?: TestNode, other?: TestNode): void {
    if (one !== undefined && other !== undefined) return this.#network.heal(one.name, other.name);
    this.#network.healAll();
    this.#store.down = false;
    for (const { node } of this.#nodes.values()) node.store.unreachable = false;
  }

  /** A node that cannot reach the store, until `heal()`. */
  isolateFromStore(node: TestNode): void {
    this.#find(node).store.unreachable = true;
  }

  /** The store answers nobody, until `heal()`. */
  stopStore(): void {
    this.#store.down = true;
  }

  /** The store comes back without any data. */
  clearStore(): void {
    this.#store.clear(true);
  }

  /**
   * Moves an actor to another node, as a drain does. Resolves to `moved`; or to `stayed` (onMigrate refused, its turns took
   * longer than 10 s, or nobody took it), or `gone` (it lives nowhere, or ended meanwhile).
   */
  async move(definition: AnyActorDefinition, key: string, to: TestNode): Promise<"moved" | "stayed" | "gone"> {
    const owner = this.ownerOf(definition, key);
    if (owner === undefined) return "gone";
    const target = this.#find(to).incarnation;
    const id = actorId(definition.kind, key);
    const outcome = await this.#awaiting(this.#find(owner).move(id, MOVE_MS, false, [target]));
    return outcome === "released" ? "gone" : outcome;
  }

  /** Lets `ms` of virtual time pass. */
  advance(ms: number): Promise<void> {
    const until = this.#time.now + ms;
    this.#times.push(until);
    return new Promise((resolve) => {
      this.#time.after(ms, () => {
        this.#times.splice(this.#times.indexOf(until), 1);
        resolve();
      });
      this.#drive();
    });
  }

  /**
   * Lets time pass until `predicate` answers something that is true, and resolves to that. Rejects with `name` (or the
   * predicate's text) after `ms` of virtual time.
   */
  async until<T>(predicate: () => Maybe<T> | Promise<Maybe<T>>, ms = PATIENCE_MS, name?: string): Promise<T> {
    const deadline = this.#time.now + ms;
    for (;;) {
      const answer = await predicate();
      if (answer !== undefined && answer !== null && answer !== false) return answer;
      if (this.#time.now >= deadline) throw new Error(`not within ${ms} ms: ${name ?? predicate.toString()}`);
      await this.advance(Math.min(10, deadline - this.#time.now));
    }
  }

  /** The node that owns an actor, by the store's word. */
  ownerOf(definition: AnyActorDefinition, key: string): TestNode | undefined {
    const owner = this.#store.lookup(actorId(definition.kind, key))?.owner;
    for (const { node, face } of this.#nodes.values()) if (node.incarnation === owner?.incarnation) return face;
    return undefined;
  }

  #add(name: string): TestNode {
    const time = this.#time;
    const { actors, workers = 1, membership = {}, store = {}, settings = {} } = this.#options;
    const { ttlMs = 6_000, graceMs = 600 } = membership;
    const node = new SimulatedNode({
      time,
      network: this.#network,
      store: this.#store,
      process: new SimulatedProcess(name, time, 1),
      definitions: actors as readonly RunnableDefinition[],
      workers,
      membership,
      storeLink: { settleMs: ttlMs + graceMs, ...store },
      settings,
    });
    const face: TestNode = {
      name,
      actor: (definition, key) => this.#driven(node.actor(definition, key), definition),
      create: (definition, key, state) => this.#awaiting(node.create(definition, key, state)),
    };
    this.#nodes.set(name, { node, face });
    void node.start();
    return face;
  }

  #find(face: TestNode): SimulatedNode {
    const found = this.#nodes.get(face.name);
    if (found === undefined) throw new Error(`node ${face.name} is not of this cluster`);
    return found.node;
  }

  #linked(): boolean {
    const running = [...this.#nodes.values()].map(({ node }) => node).filter(({ process }) => process.running);
    return running.every(
      (node) => node.ready && running.every((other) => other === node || node.connectedTo(other.incarnation)),
    );
  }

  /** A ref whose calls keep time going while they are awaited. */
  #driven<D extends AnyActorDefinition>(ref: Ref<D>, definition: D): Ref<D> {
    const methods = ref as Ref<D> & Record<string, (...args: unknown[]) => unknown>;
    const driven: Record<string, unknown> = {
      id: ref.id,
      with: (options: CallOptions) => this.#driven(ref.with(options), definition),
    };
    for (const [name, shape] of definition.shapes) {
      driven[name] = shape.stream
        ? (...args: unknown[]) => this.#drivenStream(methods[name]?.apply(ref, args) as AsyncIterableIterator<unknown>)
        : (...args: unknown[]) => this.#awaiting(methods[name]?.apply(ref, args) as Promise<unknown>);
    }
    return driven as Ref<D>;
  }

  #drivenStream(stream: AsyncIterableIterator<unknown>): AsyncIterableIterator<unknown> {
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => this.#awaiting(stream.next()),
      return: () => this.#awaiting(stream.return?.() ?? Promise.resolve({ done: true, value: undefined })),
    };
  }

  #awaiting<T>(promise: Promise<T>): Promise<T> {
    this.#awaited++;
    const over = (): void => {
      this.#awaited--;
    };
    promise.then(over, over);
    this.#drive();
    return promise;
  }

  #drive(): void {
    if (this.#driving) return;
    this.#driving = true;
    void this.#run();
  }

  /** Runs events while somebody waits. */
  async #run(): Promise<void> {
    // What the test does in the same turn comes first.
    await Promise.resolve();
    while (this.#awaited > 0 || this.#times.length > 0) {
      const most = this.#awaited > 0 ? Number.POSITIVE_INFINITY : Math.max(...this.#times);
      if (!(await this.#time.step(most))) break;
    }
    this.#driving = false;
  }
}
