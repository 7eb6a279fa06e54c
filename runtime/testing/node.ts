/**
 * A simulated node: the product's membership, directory client, router and hosts, put together as `runtime/node.ts` does
 * it, with a simulated process, network and store under them, and worker threads that are queues.
 *
 * Calls start on thread 0, as those of a node's own code do; actors run on workers 1 to `workers`. A message between two
 * threads arrives a little later, in order; commits travel beside that queue, as in the product.
 */
import type { Clock } from "../actor/clock.ts";
import { encodeState } from "../actor/codec.ts";
import type { AnyActorDefinition, Ref, WorkerServices } from "../actor/define.ts";
import { TroupeError } from "../actor/errors.ts";
import { Host, type HostGuard, type HostIo, type RunnableDefinition } from "../actor/host.ts";
import { type ActorId, actorId, type Incarnation, type NodeId } from "../actor/ids.ts";
import { type HostMessage, IO_THREAD, Lane, type Message } from "../actor/message.ts";
import { makeRef } from "../actor/ref.ts";
import { WAKE_TURN } from "../actor/reminders.ts";
import type { NodeRecord } from "../coordinator/contract.ts";
import { DiagnosticEvents } from "../observe/events.ts";
import { silentLogger } from "../observe/log.ts";
import { Metrics } from "../observe/metrics.ts";
import { type Deaths, DirectoryClient } from "../placement/directory.ts";
import type { MembershipOptions } from "../placement/membership.ts";
import { MembershipDriver } from "../placement/membership_driver.ts";
import type { MoveOutcome } from "../placement/migration.ts";
import { chooseNode } from "../placement/placement.ts";
import { ReminderWatch } from "../placement/reminder_watch.ts";
import { Router, type RouterGuard } from "../placement/router.ts";
import type { Endpoint, Network } from "./network.ts";
import type { SimulatedProcess } from "./process.ts";
import type { SimulatedStore } from "./store.ts";
import { StoreClient, type StoreLinkOptions } from "./store_client.ts";
import type { VirtualTime } from "./virtual_time.ts";

export interface SimulatedNodeOptions {
  time: VirtualTime;
  network: Network;
  store: SimulatedStore;
  process: SimulatedProcess;
  definitions: readonly RunnableDefinition[];
  workers: number;
  membership: MembershipOptions;
  storeLink: StoreLinkOptions;
  /** What actors find in `ctx.worker.settings`. */
  settings: Readonly<Record<string, unknown>>;
  maxResidents?: number;
  without?: readonly (HostGuard | RouterGuard | "declared-death")[];
}

/** Milliseconds between two threads. */
const THREAD_MS = [0.02, 0.3] as const;
const CALL_IDS_PER_LIFE = 2 ** 32;
/** From the end of a worker until another has its place. */
const WORKER_RESTART_MS = 100;
/** Between two tries to start. */
const START_RETRY_MS = 200;

interface Thread {
  host: Host;
  /** Its code runs. */
  alive: boolean;
  /** The I/O thread has seen it end; nothing from it is heard any more. */
  closed: boolean;
  /** When the last message in each direction arrives. */
  toHost: number;
  toRouter: number;
}

export class SimulatedNode {
  readonly name: NodeId;
  readonly process: SimulatedProcess;
  readonly store: StoreClient;
  readonly metrics = new Metrics();
  readonly events = new DiagnosticEvents();
  readonly #options: SimulatedNodeOptions;
  readonly #membership: MembershipDriver;
  readonly #threads = new Map<number, Thread>();
  readonly #definitions: ReadonlyMap<string, RunnableDefinition>;
  #lease = Number.NEGATIVE_INFINITY;
  #incarnation = "" as Incarnation;
  #lives = 0;
  #peers: Endpoint | undefined;
  #directory: DirectoryClient | undefined;
  #router: Router | undefined;

  constructor(options: SimulatedNodeOptions) {
    this.#options = options;
    this.process = options.process;
    this.name = options.process.name as NodeId;
    this.store = new StoreClient(options.store, options.time, options.process, options.storeLink);
    this.#definitions = new Map(options.definitions.map((definition) => [definition.kind, definition]));
    this.#membership = new MembershipDriver({
      coordinator: this.store,
      clock: options.process.clock,
      ...options.membership,
    });
  }

  get incarnation(): Incarnation {
    return this.#incarnation;
  }
  /** Whether calls can be made. */
  get ready(): boolean {
    return this.#router !== undefined && !this.process.killed;
  }
  get membership(): MembershipDriver {
    return this.#membership;
  }
  get router(): Router {
    if (this.#router !== undefined) return this.#router;
    throw new TroupeError("unavailable", `node ${this.name} has not started`, { started: "no" });
  }
  /** Until when its actors may take effect, on its own clock. */
  get leaseDeadline(): number {
    return this.#lease;
  }
  connectedTo(peer: Incarnation): boolean {
    return this.#peers?.connected(peer) === true;
  }
  /** The hosts that run now: thread 0 first. */
  get hosts(): Host[] {
    return [...this.#threads.values()].filter(({ alive }) => alive).map(({ host }) => host);
  }

  /** Joins, and starts its threads. Tries until it succeeds. */
  async start(): Promise<void> {
    for (;;) {
      try {
        await this.store.open();
        await this.#join();
        break;
      } catch (error) {
        if (!TroupeError.is(error)) throw error;
        await new Promise<void>((resolve) => this.process.after(START_RETRY_MS, resolve));
      }
    }
    this.#startThreads();
    this.#watchReminders();
  }

  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D> {
    return makeRef(this.#caller.calls, definition, key, null);
  }

  async create<State>(
    definition: AnyActorDefinition & { readonly state?: { initial: (key: string) => State } },
    key: string,
    state: State,
  ): Promise<void> {
    await this.router.create(actorId(definition.kind, key), encodeState(state));
  }

  /** Moves an actor that lives here to another node, one of `others` where given. */
  move(actor: ActorId, budgetMs: number, release: boolean, others?: readonly Incarnation[]): Promise<MoveOutcome> {
    const { members } = this.#membership.view;
    const able = members.filter(
      ({ incarnation, liveness }) => liveness === "alive" && incarnation !== this.#incarnation,
    );
    const nodes = others ?? able.map(({ incarnation }) => incarnation);
    const { random } = this.#options.time;
    return this.router.move(actor, {
      budgetMs,
      release,
      to: (refused) => {
        const left = nodes.filter((node) => !refused.has(node));
        return left[Math.floor(random() * left.length)];
      },
    });
  }

  /** Ends a worker (from 1) with everything on it; another takes its place. */
  killWorker(index: number): void {
    const thread = this.#threads.get(index);
    if (thread === undefined || !thread.alive || index === IO_THREAD) return;
    thread.alive = false;
    this.process.after(this.#options.time.between(...THREAD_MS), () => {
      thread.closed = true;
      this.router.threadDied(index);
    });
    this.process.after(WORKER_RESTART_MS, () => this.#addThread(index));
  }

  /** Nothing of it runs any more. */
  kill(): void {
    this.process.kill();
    for (const thread of this.#threads.values()) thread.alive = false;
    this.#options.network.killed(this.process);
  }

  // Start

  async #join(): Promise<void> {
    const membership = this.#membership;
    this.#peers ??= this.#listen();
    const peers = this.#peers;
    try {
      await membership.join(this.#record());
    } catch (error) {
      // It may have joined, and only not have read a view yet.
      if (membership.incarnation === undefined) throw error;
    }
    this.#incarnation = membership.incarnation as Incarnation;
    peers.setSelf(this.#incarnation);
    this.#link(peers);
    membership.onView(() => this.#link(peers));
  }

  #listen(): Endpoint {
    const membership = this.#membership;
    membership.onLease((lease) => {
      this.#lease = lease.kind === "held" ? lease.deadlineMs : Number.NEGATIVE_INFINITY;
      if (lease.kind === "parked") this.events.emit({ type: "parked" });
      return lease.kind === "lost" ? this.#router?.fence() : undefined;
    });
    membership.onRejoin((incarnation) => {
      this.#incarnation = incarnation;
      this.#directory?.rename(incarnation);
      this.#router?.rename(incarnation);
      this.#peers?.setSelf(incarnation);
      this.events.emit({ type: "rejoined", incarnation });
    });
    membership.onReset(async (incarnation) => {
      this.#directory?.resetBegan();
      const threads = [...this.#threads.values()].filter(({ alive }) => alive);
      const held = await Promise.all(threads.map((thread) => this.#hop(thread, () => thread.host.held())));
      const records = [...held.flat(), ...(this.#router?.held() ?? [])];
      const { lost, settled } = await this.store.directory.reassert(
        incarnation,
        records,
        () => membership.lease.kind === "held",
      );
      await this.#router?.lost(lost);
      return { settled };
    });
    const { network } = this.#options;
    return network.attach(this.process, "" as Incarnation, {
      message: (from, message) => this.#router?.fromPeer(from, message),
      linkUp: (peer) => this.#router?.peerUp(peer),
      linkDown: (peer, loss) => {
        if (loss === "declared-dead") this.#router?.peerDead(peer);
        else this.#router?.peerDown(peer);
        if (loss === "refused") membership.onEvidence(peer);
      },
    });
  }

  #link(peers: Endpoint): void {
    const alive = this.#membership.view.members.filter(({ liveness }) => liveness === "alive");
    const incarnations = alive.map(({ incarnation }) => incarnation);
    peers.setPeers(incarnations);
    this.#router?.viewChanged(new Set(incarnations));
  }

  #startThreads(): void {
    const { process, definitions, without = [] } = this.#options;
    const membership = this.#membership;
    const peers = this.#peers as Endpoint;
    const undeclared: Deaths = {
      isDead: (incarnation) => membership.isDead(incarnation),
      confirmDead: async (incarnation) => !peers.connected(incarnation),
    };
    const deaths = without.includes("declared-death") ? undeclared : membership;
    const directory = new DirectoryClient(this.store.directory, deaths, process.clock, this.#incarnation);
    this.#directory = directory;
    const member = (id: NodeId) =>
      membership.view.members.find((each) => each.id === id && each.liveness === "alive")?.incarnation;
    this.#router = new Router({
      nodeId: this.name,
      incarnation: this.#incarnation,
      clock: process.clock,
      kinds: new Map(
        definitions.map(({ kind, placement, state }) => [
          kind,
          { placement, requireState: state?.required ?? false, io: false },
        ]),
      ),
      directory,
      peers,
      incarnationOf: member,
      isDead: (incarnation) => membership.isDead(incarnation),
      choose: (kind, key, policy) =>
        chooseNode(kind, key, policy, {
          self: this.#incarnation,
          members: membership.view.members,
          load: () => 0,
          random: this.#options.time.random,
        }),
      onLoad: () => {},
      events: this.events,
      actorsOnIoThread: false,
      log: silentLogger,
      metrics: this.metrics,
      without: without.filter((guard) => guard === "redirect-order" || guard === "frame-incarnation"),
    });
    for (let index = IO_THREAD; index <= this.#options.workers; index++) this.#addThread(index);
  }

  /** All nodes know the same kinds: without any that has reminders there is nothing to watch. */
  #watchReminders(): void {
    if (this.#options.definitions.every(({ onReminder }) => onReminder === undefined)) return;
    const membership = this.#membership;
    const watch = new ReminderWatch({
      reminders: this.store.reminders,
      clock: this.process.clock,
      self: () => this.#incarnation,
      wake: (actor, timeoutMs) =>
        this.#caller.calls.call(actor, WAKE_TURN, [], { lane: Lane.Background, timeoutMs }, null),
      log: silentLogger,
      metrics: this.metrics,
    });
    membership.onView(({ members }) => watch.viewChanged(members));
    watch.viewChanged(membership.view.members);
  }

  #addThread(index: number): void {
    const { router } = this;
    const life: Omit<Thread, "host"> = { alive: true, closed: false, toHost: 0, toRouter: 0 };
    const thread: Thread = Object.assign(life, { host: this.#makeHost(index, life) });
    this.#threads.set(index, thread);
    router.addThread(index, {
      send: (message) => {
        thread.toHost = this.#carry(thread.toHost, message, (copy) => {
          if (thread.alive) thread.host.deliver(copy);
        });
      },
    });
  }

  #makeHost(index: number, thread: Omit<Thread, "host">): Host {
    const { process, without = [], settings, maxResidents } = this.#options;
    const clock: Clock = {
      ...process.clock,
      after: (ms, callback) =>
        process.clock.after(ms, () => {
          if (thread.alive) callback();
        }),
    };
    const services: WorkerServices = {
      nodeId: this.name,
      incarnation: this.#incarnation,
      clock,
      log: silentLogger,
      settings,
      processGuard: { protect: async () => {}, release: () => {} },
      events: this.events,
      count: () => {},
    };
    return new Host({
      incarnation: this.#incarnation,
      thread: index,
      clock,
      definitions: this.#definitions,
      services,
      io: this.#hostIo(thread),
      send: (message) => {
        if (!thread.alive) return;
        thread.toRouter = this.#carry(thread.toRouter, message, (copy) => {
          if (!thread.closed) this.router.fromThread(index, copy);
        });
      },
      leaseDeadline: () => this.#lease,
      development: true,
      nextRound: (run) => void clock.after(0, run),
      maxResidents,
      firstCallId: index === IO_THREAD ? 0 : ++this.#lives * CALL_IDS_PER_LIFE,
      without: without.filter((guard) => guard === "lease" || guard === "dedup-ring"),
    });
  }

  #hostIo(thread: Omit<Thread, "host">): HostIo {
    return {
      commit: (actor, epoch, version, bytes, dueMs) =>
        this.#hop(thread, async () => {
          const owner = () => this.router.owner(actor, epoch);
          return (this.#directory as DirectoryClient).commit(actor, owner, version, bytes, dueMs);
        }),
      end: (actor, epoch) =>
        this.#hop(thread, async () =>
          (this.#directory as DirectoryClient).end(actor, () => this.router.owner(actor, epoch)),
        ),
    };
  }

  #record(): NodeRecord {
    return {
      id: this.name,
      url: "",
      meshUrl: `${this.name}:0`,
      pid: 0,
      runtime: "simulated",
      version: "",
      startedAt: 0,
      labels: {},
      kinds: [...this.#definitions.keys()],
      servers: [],
      state: "active",
    };
  }

  // Threads

  get #caller(): Host {
    const thread = this.#threads.get(IO_THREAD);
    if (thread !== undefined && !this.process.killed) return thread.host;
    throw new TroupeError("unavailable", `node ${this.name} does not run`, { started: "no" });
  }

  /** Hands a message to another thread, after what was handed over before; answers when it arrives. */
  #carry<M extends Message | HostMessage>(last: number, message: M, deliver: (copy: M) => void): number {
    const { time } = this.#options;
    const arrives = Math.max(last, time.now + time.between(...THREAD_MS));
    const copy = structuredClone(message);
    this.process.after(arrives - time.now, () => deliver(copy));
    return arrives;
  }

  /** Runs `verb` on the other side of the border between a thread and the I/O thread, and brings its answer back. */
  #hop<T>(thread: { alive: boolean }, verb: () => T | Promise<T>): Promise<T> {
    const { time } = this.#options;
    return new Promise((resolve, reject) => {
      const back = (settle: () => void): void => {
        this.process.after(time.between(...THREAD_MS), () => {
          if (thread.alive) settle();
        });
      };
      if (!thread.alive) return;
      this.process.after(time.between(...THREAD_MS), () => {
        new Promise<T>((done) => done(verb())).then(
          (value) => back(() => resolve(value)),
          (error: unknown) => back(() => reject(error)),
        );
      });
    });
  }
}
