/**
 * A node, put together: the one place where every part meets.
 *
 * ## Start
 * Coordinator → sockets (client endpoint, mesh) → membership → workers → open for clients. The sockets are bound before
 * the node joins, because its record says where they are; until everything runs, `/ready` and `/mcp` answer 503.
 *
 * ## Shutdown
 * Readiness false, no new actors → actors move to other nodes (drain.ts), while the client endpoint serves on → it stops
 * listening, ends streams that nothing is owed on, and finishes its answers → what came or stayed here moves, or is
 * passivated when the time is over → the other nodes are told that nothing is here any more, and late calls sent back →
 * workers end, upstream processes with them → membership is left → the mesh listener closes last, so that a refused
 * connection to it always means that every actor of this incarnation has stopped.
 *
 * ## When the lease is lost
 * Past its own deadline the node parks: the lease word runs out by itself and no turn starts. Declared dead, it drops its
 * actors and goes on under a new incarnation. Where it cannot prove that a worker stopped it ends its upstream processes
 * and this process, for a supervisor to start it again.
 */
import { readFileSync } from "node:fs";
import { type LocalActor, type NodeActor, type NodeInternals, nodeActor } from "../actors/node/node.ts";
import { keepsTasks, type SessionDescription, type SessionState } from "../actors/session/contract.ts";
import { SessionActor } from "../actors/session/session.ts";
import { managementRoutes, type Readiness } from "../transports/http/management.ts";
import { McpEndpoint } from "../transports/http/mcp_endpoint.ts";
import { SitePolicy } from "../transports/http/origin.ts";
import { type BoundAddress, HttpServer } from "../transports/http/server.ts";
import { SessionCaps } from "../transports/http/session_caps.ts";
import { ActorSessionGateway } from "../transports/http/session_gateway.ts";
import { SseStreams } from "../transports/http/sse.ts";
import type { MeshPeer } from "../transports/mesh/options.ts";
import { GuardProcess, GuardScope } from "../transports/upstream/guard.ts";
import { type Clock, systemClock } from "./actor/clock.ts";
import { decodeEnvelope, encodeState } from "./actor/codec.ts";
import type {
  ActorSystem,
  AnyActorDefinition,
  CallOptions,
  PlacementPolicy,
  Ref,
  WorkerServices,
} from "./actor/define.ts";
import { TroupeError } from "./actor/errors.ts";
import { Host, type HostIo, type RunnableDefinition } from "./actor/host.ts";
import { type ActorId, actorId, type Incarnation, keyOf, kindOf, type NodeId } from "./actor/ids.ts";
import { IO_THREAD, Lane, MessageType } from "./actor/message.ts";
import { makeRef } from "./actor/ref.ts";
import { WAKE_TURN } from "./actor/reminders.ts";
import { type Config, type ConfigInput, resolveConfig } from "./config/config.ts";
import { hostOf, isLoopback, portOf } from "./config/rules.ts";
import { VERSION } from "./config/version.ts";
import type { Coordinator, Member, NodeRecord } from "./coordinator/contract.ts";
import { type CoordinatorConfig, openCoordinator } from "./coordinator/open.ts";
import type { JobQueue } from "./jobs/contract.ts";
import { openJobQueue } from "./jobs/open.ts";
import { queueClosed } from "./jobs/rules.ts";
import { NodeManagement } from "./management.ts";
import { actorSettingsOf, moduleUpstreamsOf, runtimeName, scopesOf } from "./node_settings.ts";
import { DiagnosticEvents } from "./observe/events.ts";
import { createLogger, type Logger } from "./observe/log.ts";
import { Metrics } from "./observe/metrics.ts";
import { REFUSALS_HELP, REFUSALS_METRIC } from "./observe/refusals.ts";
import { Admission, latenessMs, type ThreadReading } from "./placement/admission.ts";
import { DirectoryClient } from "./placement/directory.ts";
import { moveAll } from "./placement/drain.ts";
import { LoopDelay, loadOf, PeerLoads } from "./placement/load.ts";
import { MembershipDriver } from "./placement/membership_driver.ts";
import { PeerView } from "./placement/peer_view.ts";
import type { PeerEvents, Peers } from "./placement/peers.ts";
import { candidates, chooseNode } from "./placement/placement.ts";
import { Rebalance, ROUND_MS } from "./placement/rebalance.ts";
import { ReminderWatch } from "./placement/reminder_watch.ts";
import { type KindInfo, Router } from "./placement/router.ts";
import { skewBetween } from "./placement/skew.ts";
import { Sweep } from "./placement/sweep.ts";
import { endAhead } from "./worker/ahead.ts";
import { BUILT_IN_ACTORS, WORKER_ENTRY } from "./worker/built_in.ts";
import { kindsOf, loadDefinitions } from "./worker/definitions.ts";
import type { WorkerIo, WorkerSettings, WorkerThread } from "./worker/entry.ts";
import { defaultHeapMib, heapShare } from "./worker/heap.ts";
import { LeaseWord } from "./worker/lease_word.ts";
import { WorkerPool } from "./worker/pool.ts";

/** A node that serves. */
export interface RunningNode extends ActorSystem {
  readonly nodeId: string;
  /** `http://host:port` of the client endpoint. */
  readonly url: string;
  readonly mcpUrl: string;
  readonly statusUrl: string;
  /** Background work, kept where the cluster keeps its state. Opened at first use, closed with the node. */
  jobs(): Promise<JobQueue>;
  /** Moves everything away and leaves the cluster; `closed` settles after it. */
  drain(): Promise<void>;
  /** Ends at once what `drain` would end gently; after a drain it does nothing. */
  close(): Promise<void>;
  /** What happens to this node's actors. */
  readonly events: DiagnosticEvents;
  /** Settles when the node has stopped, whatever the reason. */
  readonly closed: Promise<void>;
}

export interface NodeOptions {
  log?: Logger;
}

/** The share of a drain's time that moves may take; the rest is for answers. */
const MOVES_SHARE = 0.8;
/** Time for actors that came late, and then for the turns of those that stayed, milliseconds. */
const LATE_MOVES_MS = 1_000;
const DRAIN_TURNS_MS = 2_000;
/** How long calls that were sent here just before are sent back, milliseconds. */
const SEND_BACK_MS = 250;
/** Exit code of a node that had to end its own process. */
const EXIT_UNPROVEN = 70;
/** Sessions asked for their description at once. */
const DESCRIBE_AT_ONCE = 64;
const TELL_LOAD_MS = 1_000;
/** Longest wait for what a worker holds, when the store lost its data, milliseconds. */
const HELD_MS = 2_000;

/**
 * Starts a node. Rejects with one readable sentence when the configuration cannot work, an address is in use, the
 * coordinator cannot be reached, or a worker's module cannot be loaded; nothing is left running then.
 */
export async function startNode(input: ConfigInput = {}, options: NodeOptions = {}): Promise<RunningNode> {
  const node = new Node(resolveConfig(input), options.log ?? createLogger());
  try {
    await node.start();
  } catch (error) {
    await node.close();
    throw error;
  }
  return node;
}

class Node implements RunningNode {
  readonly nodeId: NodeId;
  readonly closed: Promise<void>;
  readonly events = new DiagnosticEvents();
  readonly #config: Config;
  readonly #log: Logger;
  readonly #clock: Clock = systemClock();
  readonly #metrics = new Metrics();
  readonly #lease = new LeaseWord();
  readonly #streams: SseStreams;
  readonly #guard: GuardProcess;
  readonly #loopDelay: LoopDelay = new LoopDelay(this.#clock);
  readonly #peerLoads: PeerLoads = new PeerLoads(this.#clock);
  readonly #guards = new Map<number, GuardScope>();
  readonly #kinds = new Map<string, KindInfo>();
  /** Nodes whose code was compared with this one's. */
  readonly #compared = new Set<Incarnation>();
  readonly #nodeActor: NodeActor;
  readonly #modules: readonly string[];
  readonly #resolveClosed: () => void;
  #readiness: Readiness = { ready: false, reason: "the node is starting" };
  #record: NodeRecord;
  #incarnation = "" as Incarnation;
  #lives = 0;
  #address: BoundAddress | undefined;
  #coordinator: Coordinator | undefined;
  #membership: MembershipDriver | undefined;
  #mesh: MeshHandle | undefined;
  #directory: DirectoryClient | undefined;
  #sweep: Sweep | undefined;
  #router: Router | undefined;
  #host: Host | undefined;
  #pool: WorkerPool<WorkerSettings, WorkerThread> | undefined;
  #reminders: ReminderWatch | undefined;
  #admission: Admission | undefined;
  #http: HttpServer | undefined;
  #jobs: Promise<JobQueue> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(config: Config, log: Logger) {
    this.nodeId = config.node.id as NodeId;
    this.#config = config;
    this.#log = log.with({ node: config.node.id });
    this.#streams = new SseStreams({ clock: this.#clock });
    this.#guard = new GuardProcess({ clock: this.#clock, log: this.#log });
    this.#nodeActor = nodeActor(this.#internals());
    this.#modules = [...BUILT_IN_ACTORS, ...config.extensions.map((extension) => String(extension))];
    let resolveClosed = (): void => {};
    this.closed = new Promise((resolve) => {
      resolveClosed = resolve;
    });
    this.#resolveClosed = resolveClosed;
    this.#record = {
      id: this.nodeId,
      url: "",
      meshUrl: "",
      pid: process.pid,
      runtime: runtimeName(),
      version: VERSION,
      startedAt: this.#clock.wallNow(),
      labels: config.node.labels,
      kinds: [],
      servers: Object.keys(config.mcpServers),
      state: "joining",
    };
  }

  get url(): string {
    return this.#address?.url ?? "";
  }
  get mcpUrl(): string {
    return `${this.url}/mcp`;
  }
  get statusUrl(): string {
    return `${this.url}/api/cluster/status`;
  }

  async start(): Promise<void> {
    const coordinator = await openCoordinator(this.#store(), { clock: this.#clock });
    this.#coordinator = coordinator;
    this.#metrics.gauge("troupe_loop_delay_ms", "Average delay of the I/O loop", () => this.#loopDelay.averageMs);
    this.#metrics.gauge("troupe_coordinator_commands", "Commands sent to the coordinator's store", () =>
      coordinator.commands(),
    );
    await this.#join(coordinator);
    await this.#startActors(coordinator);
    // Last: a balancer sends requests as soon as somebody listens, and until here they could only be refused.
    this.#address = await this.#listen();
    this.#record = { ...this.#record, url: this.#address.url };
    await this.#setState("active");
    this.#watchReminders(coordinator);
    this.#sweep?.start();
    this.#tellLoad();
    if (this.#config.cluster.rebalance && this.#config.cluster.kind !== "single_node") this.#rebalance();
    this.#readiness = { ready: true, reason: null };
  }

  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D> {
    return makeRef(this.#running(this.#host).calls, definition, key, null);
  }

  async create<State>(
    definition: AnyActorDefinition,
    key: string,
    state: State,
    _options?: CallOptions,
  ): Promise<void> {
    await this.#running(this.#router).create(actorId(definition.kind, key), encodeState(state));
  }

  async jobs(): Promise<JobQueue> {
    if (this.#stopping !== undefined) throw queueClosed();
    const { keyValue } = this.#running(this.#coordinator);
    // Without a folder the key-value store ends with the process, just as the queue's own memory.
    const kept = this.#config.cluster.dir === undefined ? {} : { keyValue };
    const options = { clock: this.#clock, log: this.#log, ...kept };
    this.#jobs ??= openJobQueue(this.#store(), options).catch((error: unknown) => {
      this.#jobs = undefined;
      throw error;
    });
    return this.#jobs;
  }

  drain(): Promise<void> {
    this.#stopping ??= this.#stop(this.#config.node.drain_ms);
    return this.#stopping;
  }

  close(): Promise<void> {
    this.#stopping ??= this.#stop(0);
    return this.#stopping;
  }

  /** Where the cluster keeps its state. */
  #store(): CoordinatorConfig {
    const { cluster } = this.#config;
    return cluster.kind === "redis"
      ? { ...cluster, kind: "redis", url: cluster.url ?? "" }
      : { kind: "single_node", dir: cluster.dir, durability: cluster.durability };
  }

  // Sockets

  async #listen(): Promise<BoundAddress> {
    const { bind_address, allowed_origins, allowed_hosts, tls, max_body_bytes } = this.#config.gateway.server;
    const host = hostOf(bind_address);
    const mcp = new McpEndpoint({
      gateway: new ActorSessionGateway(this, this.#clock, this.#log, SessionActor, this.#sessionCaps()),
      scopes: scopesOf(this.#config),
      site: new SitePolicy({
        allowedOrigins: allowed_origins,
        allowedHosts: allowed_hosts,
        loopback: isLoopback(host),
      }),
      streams: this.#streams,
      clock: this.#clock,
      log: this.#log,
      metrics: this.#metrics,
      bodyLimit: max_body_bytes,
    });
    const management = new NodeManagement({
      nodeId: this.nodeId,
      system: this,
      nodeActor: this.#nodeActor,
      coordinator: () => this.#running(this.#coordinator),
      view: () => this.#running(this.#membership).view,
      readiness: () => this.#currentReadiness(),
      metrics: this.#metrics,
    });
    this.#http = new HttpServer({
      routes: [...mcp.routes(), ...managementRoutes(management, this.#log)],
      nodeId: this.nodeId,
      streams: this.#streams,
      clock: this.#clock,
      log: this.#log,
      metrics: this.#metrics,
    });
    return this.#http.listen({
      host,
      port: portOf(bind_address),
      tls: tls && { cert: readFileSync(tls.cert_path, "utf8"), key: readFileSync(tls.key_path, "utf8") },
    });
  }

  #sessionCaps(): SessionCaps {
    const { max_sessions, max_per_principal } = this.#config.mcp.configurations.sessions;
    return new SessionCaps({
      maxSessions: max_sessions,
      maxPerPrincipal: max_per_principal,
      count: () => this.#sessionsHere(),
      lives: (id) => this.#router?.has(actorId(SessionActor.kind, id)) ?? false,
      clock: this.#clock,
      metrics: this.#metrics,
    });
  }

  #sessionsHere(): number {
    let sessions = 0;
    for (const { id } of this.#router?.actors() ?? []) if (kindOf(id) === SessionActor.kind) sessions++;
    return sessions;
  }

  /** The mesh of a node that has peers; loaded only then. */
  async #listenMesh(coordinator: Coordinator): Promise<MeshHandle> {
    const { mesh: settings, cluster } = this.#config;
    if (cluster.kind === "single_node") return NO_MESH;
    const { Mesh } = await import("../transports/mesh/mesh.ts");
    const mesh = new Mesh({
      self: { nodeId: this.nodeId, incarnation: this.#incarnation, generation: coordinator.generation },
      clusterName: cluster.key_prefix,
      bind: { host: hostOf(settings.bind_address), port: portOf(settings.bind_address) },
      advertise: settings.advertise_address,
      secret: settings.secret,
      tls: settings.tls,
      clock: this.#clock,
      log: this.#log,
      metrics: this.#metrics,
      version: VERSION,
      events: this.#peerEvents(),
      isMember: (incarnation) => this.#memberAnswer(incarnation),
      refresh: () => this.#membership?.refresh(),
    });
    const { advertised } = await mesh.listen();
    this.#record = { ...this.#record, meshUrl: advertised };
    return mesh;
  }

  #peerEvents(): PeerEvents {
    return {
      message: (from, message) => this.#router?.fromPeer(from, message),
      linkUp: (peer) => this.#router?.peerUp(peer),
      linkDown: (peer, loss) => {
        if (loss === "declared-dead") this.#router?.peerDead(peer);
        else this.#router?.peerDown(peer);
        this.#peerLoads.forget(peer);
        if (loss === "refused" && this.#config.mesh.direct) this.#membership?.onEvidence(peer);
      },
    };
  }

  #memberAnswer(incarnation: Incarnation): "alive" | "dead" | "unknown" {
    const member = this.#member(({ incarnation: known }) => known === incarnation);
    return member?.liveness ?? "unknown";
  }

  // Membership

  async #join(coordinator: Coordinator): Promise<void> {
    const { node_lease_ttl_ms, node_lease_renew_ms, node_lease_grace_ms } = this.#config.cluster;
    this.#mesh = await this.#listenMesh(coordinator);
    const membership = new MembershipDriver({
      coordinator,
      clock: this.#clock,
      log: this.#log,
      ttlMs: node_lease_ttl_ms,
      renewMs: node_lease_renew_ms,
      graceMs: node_lease_grace_ms,
    });
    this.#membership = membership;
    membership.onLease((lease) => {
      if (lease.kind === "held") {
        this.#lease.write(lease.deadlineMs);
        this.#guard.feed(lease.deadlineMs - this.#clock.now());
      } else {
        this.#lease.park();
        // Declared dead: what ran here may run elsewhere already.
        if (lease.kind === "lost") this.#guard.feed(0);
        this.events.emit({ type: "parked" });
      }
      return lease.kind === "lost" ? this.#router?.fence() : undefined;
    });
    membership.onRejoin((incarnation) => this.#rejoined(incarnation));
    membership.onReset((incarnation) => this.#reassert(coordinator, incarnation));
    this.#incarnation = await membership.join(this.#record);
    this.#mesh.setSelf(this.#incarnation, coordinator.generation);
    const peers = new PeerView(this.#clock, node_lease_ttl_ms + node_lease_grace_ms, (members) => {
      this.#mesh?.setPeers(members.map(({ id, incarnation, meshUrl }) => ({ nodeId: id, incarnation, meshUrl })));
      this.#router?.viewChanged(new Set(members.map(({ incarnation }) => incarnation)));
    });
    membership.onView((view) => {
      this.#mesh?.setGeneration(view.generation);
      peers.read(view);
    });
    peers.read(membership.view);
  }

  /** The store came back empty or replaced: this node writes back what it owns. */
  async #reassert(coordinator: Coordinator, incarnation: Incarnation): Promise<{ settled: boolean }> {
    this.#directory?.resetBegan();
    const workers = Array.from({ length: this.#pool?.size ?? 0 }, (_, index) => this.#pool?.control(index)?.held());
    // A worker that ended meanwhile never answers; what it held is asked for again without it.
    const answers = await new Promise<Awaited<(typeof workers)[number]>[]>((resolve, reject) => {
      const late = new TroupeError("unavailable", `a worker did not say within ${HELD_MS} ms what it holds`);
      const cancel = this.#clock.after(HELD_MS, () => reject(late));
      Promise.all(workers).then(resolve, reject).finally(cancel);
    });
    const held = [
      ...(this.#host?.held() ?? []),
      ...answers.flatMap((records) => records ?? []),
      ...(this.#router?.held() ?? []),
    ];
    const { lost, settled } = await coordinator.directory.reassert(
      incarnation,
      held,
      () => this.#membership?.lease.kind === "held",
    );
    await this.#router?.lost(lost);
    this.#log.warn("wrote back what this node owns after the store was reset", {
      actors: held.length,
      lost: lost.length,
    });
    return { settled };
  }

  #rejoined(incarnation: Incarnation): void {
    this.#log.warn("joined again after a declared death", { was: this.#incarnation, incarnation });
    this.#incarnation = incarnation;
    this.events.emit({ type: "rejoined", incarnation });
    this.#directory?.rename(incarnation);
    this.#router?.rename(incarnation);
    this.#mesh?.setSelf(incarnation, this.#running(this.#coordinator).generation);
  }

  async #setState(state: NodeRecord["state"]): Promise<void> {
    const versions = [...this.#kinds].map(([kind, { stateVersion = 1 }]) => [kind, stateVersion] as const);
    const stateVersions = Object.fromEntries(versions.filter(([, version]) => version !== 1));
    this.#record = { ...this.#record, state, kinds: [...this.#kinds.keys()], stateVersions };
    await this.#membership?.update(this.#record);
  }

  /** Tells of nodes that do not run the same code, once of each. */
  #tellSkew(members: readonly Member[]): void {
    for (const member of members) {
      const { incarnation, liveness, state, id } = member;
      if (liveness === "dead" || state === "joining" || incarnation === this.#incarnation) continue;
      if (this.#compared.has(incarnation)) continue;
      this.#compared.add(incarnation);
      for (const what of skewBetween(this.#record, member)) {
        this.#log.warn("another node does not run the same code", { other: id, what });
        this.events.emit({ type: "skew", node: id, what });
      }
    }
    const alive = new Set(members.map(({ incarnation }) => incarnation));
    for (const incarnation of this.#compared) if (!alive.has(incarnation)) this.#compared.delete(incarnation);
  }

  /** The view this node has; of itself it knows better. */
  get #members(): Member[] {
    const members = this.#membership?.view.members ?? [];
    return members.map((member) =>
      member.incarnation === this.#incarnation ? { ...member, ...this.#record } : member,
    );
  }

  #member(which: (member: Member) => boolean): Member | undefined {
    return this.#membership?.view.members.find(which);
  }

  // Actors

  async #startActors(coordinator: Coordinator): Promise<void> {
    const membership = this.#running(this.#membership);
    const { workers } = this.#config;
    this.#kinds.set(this.#nodeActor.kind, { placement: "node", requireState: false, io: true });
    const { activations } = this.#config.overload;
    const directory = new DirectoryClient(
      coordinator.directory,
      membership,
      this.#clock,
      this.#incarnation,
      activations,
    );
    this.#directory = directory;
    const router = new Router({
      nodeId: this.nodeId,
      incarnation: this.#incarnation,
      clock: this.#clock,
      kinds: this.#kinds,
      directory,
      peers: this.#running(this.#mesh),
      incarnationOf: (id) => this.#member((member) => member.id === id && member.liveness === "alive")?.incarnation,
      isDead: (incarnation) => membership.isDead(incarnation),
      choose: (kind, key, policy) => this.#choose(kind, key, policy, this.#members),
      events: this.events,
      onLoad: (peer, load) => this.#peerLoads.heard(peer, load),
      actorsOnIoThread: workers === 0,
      log: this.#log,
      metrics: this.#metrics,
    });
    this.#router = router;
    const definitions = new Map<string, RunnableDefinition>([[this.#nodeActor.kind, this.#nodeActor]]);
    if (workers === 0) {
      const loaded = await loadDefinitions(this.#modules);
      for (const [kind, definition] of loaded) definitions.set(kind, definition);
      for (const { kind, ...info } of kindsOf(loaded)) this.#kinds.set(kind, { ...info, io: false });
    }
    const host = new Host({
      incarnation: this.#incarnation,
      thread: IO_THREAD,
      clock: this.#clock,
      definitions,
      services: this.#services(),
      io: this.#hostIo(),
      send: (message) => router.fromThread(IO_THREAD, message),
      leaseDeadline: () => this.#lease.read(),
      maxStarts: this.#config.overload.activations,
      maxResidents: this.#config.overload.residents,
      development: process.env.NODE_ENV === "development",
    });
    this.#host = host;
    this.#admit(router);
    router.addThread(IO_THREAD, { send: (message) => host.deliver(message) });
    try {
      if (workers > 0) await this.#startWorkers(workers, router);
    } finally {
      endAhead();
    }
    this.#sweep = this.#makeSweep(coordinator, membership, directory);
  }

  #makeSweep(coordinator: Coordinator, membership: MembershipDriver, directory: DirectoryClient): Sweep {
    const { idle_timeout_ms } = this.#config.mcp.configurations.sessions;
    const sessionIdleMs = idle_timeout_ms === 0 ? undefined : idle_timeout_ms;
    return new Sweep({
      orphans: coordinator.orphans,
      directory,
      view: () => membership.view,
      self: () => this.#incarnation,
      idleMs: (kind) => (kind === SessionActor.kind ? sessionIdleMs : undefined),
      keeps: (kind, state) => kind === SessionActor.kind && this.#keepsSession(state),
      shortestMs: sessionIdleMs,
      clock: this.#clock,
      log: this.#log,
      onSwept: (kind) => this.#metrics.counter("troupe_actors_swept_total", SWEPT, { kind }).add(),
    });
  }

  /** Whether a session that nobody owns must stay, by its stored state. One that nobody can read need not. */
  #keepsSession(state: Uint8Array): boolean {
    try {
      return keepsTasks(decodeEnvelope(state).state as SessionState, this.#clock.wallNow());
    } catch (error) {
      this.#log.warn("the stored state of a session that nobody uses is not readable, it is ended", { error });
      return false;
    }
  }

  /** Refuses new work while this node or one of its workers has more than it can do. */
  #admit(router: Router): void {
    const { loop_delay_ms, heap_share } = this.#config.overload;
    this.#admission = new Admission({
      limits: { delayMs: loop_delay_ms, heapShare: heap_share },
      clock: this.#clock,
      read: () => {
        const readings = new Map<number, ThreadReading>();
        readings.set(IO_THREAD, { delayMs: this.#loopDelay.lastMs, heapShare: heapShare() });
        for (let index = 0; index < (this.#pool?.size ?? 0); index++) {
          const vitals = this.#pool?.vitals(index);
          if (vitals === undefined) continue;
          const { lateMs, silentMs, heapShare } = vitals;
          readings.set(index + 1, { delayMs: latenessMs(lateMs, silentMs), heapShare });
        }
        return readings;
      },
      changed: (shut) => router.setGates(shut),
      log: this.#log,
      metrics: this.#metrics,
    });
  }

  async #startWorkers(size: number, router: Router): Promise<void> {
    const restarts = this.#metrics.counter("troupe_worker_exits_total", "Worker threads that ended while the node ran");
    const pool = new WorkerPool<WorkerSettings, WorkerThread>({
      entry: WORKER_ENTRY,
      size,
      settings: () => ({
        nodeId: this.nodeId,
        incarnation: this.#incarnation,
        life: ++this.#lives,
        modules: this.#modules,
        preload: moduleUpstreamsOf(this.#config),
        maxStarts: this.#config.overload.activations,
        maxResidents: this.#config.overload.residents,
        settings: actorSettingsOf(this.#config),
      }),
      io: (index) => this.#workerIo(index),
      clock: this.#clock,
      lease: this.#lease,
      log: this.#log,
      resourceLimits: { maxOldGenerationSizeMb: this.#config.overload.worker_heap_mb ?? defaultHeapMib(size) },
      spareModules: this.#config.spare_worker ? [...this.#modules, ...moduleUpstreamsOf(this.#config)] : undefined,
      events: {
        onReady: (index, port) => {
          router.addThread(index + 1, port);
          this.#tellListening(index);
          port.onmessage((message) => router.fromThread(index + 1, message));
        },
        onExit: (index, _code, reason) => {
          this.#guards.get(index)?.end();
          router.threadDied(index + 1);
          if (this.#stopping !== undefined) return;
          restarts.add();
          this.events.emit({ type: "worker-restarted", thread: index + 1, reason });
          this.#log.warn("a worker ended", { worker: index, reason });
        },
        onUnproven: (_index, reason) => this.#die(reason),
        onCircuitOpen: (index, reason) => this.#log.error("a worker keeps ending", { worker: index, reason }),
      },
    });
    this.#pool = pool;
    this.events.onHeard = () => {
      for (let index = 0; index < size; index++) this.#tellListening(index);
    };
    await pool.start();
  }

  #watchReminders({ reminders }: Coordinator): void {
    const membership = this.#running(this.#membership);
    const { calls } = this.#running(this.#host);
    const watch = new ReminderWatch({
      reminders,
      clock: this.#clock,
      self: () => this.#incarnation,
      wake: (actor, timeoutMs) => calls.call(actor, WAKE_TURN, [], { lane: Lane.Background, timeoutMs }, null),
      log: this.#log,
      metrics: this.#metrics,
    });
    this.#reminders = watch;
    membership.onView(({ members }) => {
      watch.viewChanged(members);
      this.#tellSkew(members);
    });
    this.#tellSkew(membership.view.members);
    watch.viewChanged(membership.view.members);
  }

  /** Workers send events only while somebody listens here. */
  #tellListening(index: number): void {
    const { heard } = this.events;
    this.#pool
      ?.control(index)
      ?.listening(heard)
      .catch(() => {});
  }

  #workerIo(index: number): WorkerIo {
    const guard = new GuardScope(this.#guard);
    this.#guards.set(index, guard);
    const io = this.#hostIo();
    return {
      kinds: (kinds) => {
        for (const { kind, ...info } of kinds) this.#kinds.set(kind, { ...info, io: false });
      },
      commit: (...args) => io.commit(...args),
      end: (actor, epoch) => io.end(actor, epoch),
      protect: (pid) => guard.protect(pid),
      unprotect: (pid) => guard.release(pid),
      counts: (counts) => this.#count(counts),
      events: (events) => {
        for (const event of events) this.events.emit(event);
      },
      log: (level, message, fields) => this.#log[level](message, fields),
    };
  }

  #hostIo(): HostIo {
    return {
      commit: async (actor, epoch, version, bytes, dueMs) => {
        const owner = () => this.#router?.owner(actor, epoch);
        return this.#running(this.#directory).commit(actor, owner, version, bytes, dueMs);
      },
      end: async (actor, epoch) => this.#running(this.#directory).end(actor, () => this.#router?.owner(actor, epoch)),
    };
  }

  #services(): WorkerServices {
    return {
      nodeId: this.nodeId,
      incarnation: this.#incarnation,
      clock: this.#clock,
      log: this.#log,
      settings: this.#config.workers === 0 ? actorSettingsOf(this.#config) : {},
      processGuard: this.#guard,
      events: this.events,
      count: (name, by = 1) => this.#count({ [name]: by }),
    };
  }

  #count(counts: Readonly<Record<string, number>>): void {
    for (const [series, by] of Object.entries(counts)) {
      const help = series.startsWith(REFUSALS_METRIC) ? REFUSALS_HELP : COUNTED_BY_ACTORS;
      this.#metrics.add(series, help, by);
    }
  }

  #internals(): NodeInternals {
    const actors = (kind: string | null, limit: number): LocalActor[] => {
      const found: LocalActor[] = [];
      for (const { id, epoch, thread } of this.#running(this.#router).actors()) {
        if (kind !== null && kindOf(id) !== kind) continue;
        if (found.push({ id, node: this.nodeId, thread, epoch }) >= limit) break;
      }
      return found;
    };
    return {
      load: () => ({ sessions: this.#sessionsHere(), actors: this.#running(this.#router).actorCount }),
      sessions: async (limit) => {
        const ids = actors(SessionActor.kind, limit).map(({ id }) => keyOf(id));
        const described: SessionDescription[] = [];
        for (let start = 0; start < ids.length; start += DESCRIBE_AT_ONCE) {
          const some = ids.slice(start, start + DESCRIBE_AT_ONCE);
          const answers = await Promise.allSettled(some.map((id) => this.actor(SessionActor, id).describe()));
          // One that ended meanwhile is no longer a session.
          for (const answer of answers) if (answer.status === "fulfilled") described.push(answer.value);
        }
        return described;
      },
      actors,
      drain: () => void this.drain().catch((error: unknown) => this.#log.error("the drain failed", { error })),
    };
  }

  #choose(kind: string, key: string, policy: PlacementPolicy, members: readonly Member[]): Incarnation | undefined {
    return chooseNode(kind, key, policy, {
      self: this.#incarnation,
      members,
      load: (incarnation) => (incarnation === this.#incarnation ? this.#load() : this.#peerLoads.of(incarnation)),
      random: Math.random,
    });
  }

  #load(): number {
    const { calls = 0, residents = 0, full = false } = this.#router ?? {};
    let queuedBytes = this.#host?.queued.bytes ?? 0;
    for (let index = 0; index < (this.#pool?.size ?? 0); index++) {
      queuedBytes += this.#pool?.vitals(index)?.queuedBytes ?? 0;
    }
    return loadOf({ delayMs: this.#loopDelay.averageMs, calls, queuedBytes, residents, full });
  }

  /** Tells the peers how busy this node is, once a second. */
  #tellLoad(): void {
    if (this.#stopping !== undefined) return;
    const load = this.#load();
    for (const { incarnation, liveness } of this.#membership?.view.members ?? []) {
      if (liveness === "dead" || incarnation === this.#incarnation) continue;
      this.#mesh?.send(incarnation, "load", [MessageType.Load, 0, this.#incarnation, IO_THREAD, load]);
    }
    this.#clock.after(TELL_LOAD_MS, () => this.#tellLoad());
  }

  /** Evens out the cluster's load, a little every round. */
  #rebalance(): void {
    const router = this.#running(this.#router);
    const rebalance = new Rebalance({
      self: () => this.#incarnation,
      load: () => this.#load(),
      others: (kind) =>
        candidates(this.#members, kind)
          .filter(({ incarnation }) => incarnation !== this.#incarnation)
          .map(({ incarnation }) => ({ incarnation, load: this.#peerLoads.of(incarnation) })),
      home: (actor) => this.#choose(kindOf(actor), keyOf(actor), "hash", this.#members),
      actors: () => router.actors(),
      placement: (actor) => {
        const info = this.#kinds.get(kindOf(actor));
        return info && { kind: kindOf(actor), placement: info.placement };
      },
      move: (actor, options) => router.move(actor, options),
    });
    const next = (): void => {
      this.#clock.after(ROUND_MS, async () => {
        if (this.#stopping !== undefined) return;
        const moved = await rebalance.round();
        if (moved > 0) this.#log.info("moved actors to less busy nodes", { moved });
        next();
      });
    };
    next();
  }

  // Ends

  #currentReadiness(): Readiness {
    if (!this.#readiness.ready) return this.#readiness;
    const health = this.#coordinator?.health() ?? { ok: true };
    if (!health.ok) return { ready: false, reason: health.reason };
    if (this.#clock.now() >= this.#lease.read()) return { ready: false, reason: "the node's lease has lapsed" };
    return { ...this.#readiness, warning: health.warning };
  }

  /** `budgetMs` 0: at once, nothing moves and nothing is waited for. */
  async #stop(budgetMs: number): Promise<void> {
    const startedAt = this.#clock.now();
    const leftMs = (): number => Math.max(0, startedAt + budgetMs - this.#clock.now());
    this.#readiness = { ready: false, reason: "the node is shutting down" };
    this.#loopDelay.stop();
    const failed = (what: string) => (error: unknown) => this.#log.warn(`${what} failed during shutdown`, { error });
    this.#reminders?.stop();
    this.#admission?.stop();
    this.#sweep?.close();
    this.#router?.drain();
    await this.#setState("draining").catch(failed("announcing the shutdown"));
    const jobs = this.#jobs?.then((queue) => queue.close({ graceMs: budgetMs })).catch(failed("closing the job queue"));
    this.#http?.leave();
    await this.#moveAway(leftMs() * MOVES_SHARE);
    await this.#http?.close({ graceMs: leftMs() }).catch(failed("closing the client endpoint"));
    await this.#moveAway(budgetMs === 0 ? 0 : LATE_MOVES_MS);
    await jobs;
    await this.#router?.stopAll("drain", budgetMs === 0 ? 0 : DRAIN_TURNS_MS).catch(failed("passivating actors"));
    await this.#sendLateCallsBack(budgetMs === 0 ? 0 : SEND_BACK_MS);
    const unproven = await this.#pool?.close("drain");
    await this.#guard.close();
    if (unproven === undefined || unproven.unproven.length === 0) {
      await this.#membership?.leave().catch(failed("leaving the membership"));
    }
    await this.#mesh?.close();
    this.#directory?.close();
    await this.#coordinator?.close().catch(failed("closing the coordinator"));
    this.events.emit({ type: "drained", node: this.nodeId });
    this.#resolveClosed();
  }

  /** Moves to other nodes what can live there. */
  async #moveAway(forMs: number): Promise<void> {
    const router = this.#router;
    if (router === undefined || forMs === 0) return;
    const refusedBefore: ReadonlySet<Incarnation> = new Set();
    const drained = await moveAll({
      clock: this.#clock,
      until: this.#clock.now() + forMs,
      actors: () => {
        const listed = [...router.actors()].filter(({ listed }) => listed).map(({ id }) => id);
        return listed.filter((id) => this.#otherNodeFor(id, refusedBefore) !== undefined);
      },
      move: (actor, options) => router.move(actor, options),
      to: (actor, refused) => this.#otherNodeFor(actor, refused),
    });
    if (drained.moved + drained.released + drained.left > 0) this.#log.info("moved actors away", { ...drained });
  }

  /** Where an actor of this node may go on. */
  #otherNodeFor(actor: ActorId, refused: ReadonlySet<Incarnation>): Incarnation | undefined {
    const { placement } = this.#kinds.get(kindOf(actor)) ?? {};
    if (placement === undefined || placement === "node") return undefined;
    const able = this.#members.filter(
      ({ incarnation }) => incarnation !== this.#incarnation && !refused.has(incarnation),
    );
    if (typeof placement === "object" && "colocate" in placement) {
      const beside = this.#router?.whereabouts(actorId(placement.colocate, keyOf(actor)));
      if (candidates(able, kindOf(actor)).some(({ incarnation }) => incarnation === beside)) return beside;
    }
    return this.#choose(kindOf(actor), keyOf(actor), placement, able);
  }

  /** No peer has a reason to send calls here from now on; those that are on their way are answered for `forMs`. */
  async #sendLateCallsBack(forMs: number): Promise<void> {
    const peers = (this.#membership?.view.members ?? []).filter(
      ({ incarnation, liveness }) => liveness === "alive" && this.#mesh?.connected(incarnation),
    );
    if (peers.length === 0 || forMs === 0) return;
    for (const { incarnation } of peers) {
      this.#mesh?.send(incarnation, "gone", [MessageType.Gone, 0, this.#incarnation, 0, ""]);
    }
    await new Promise<void>((resolve) => void this.#clock.after(forMs, resolve));
  }

  /** A thread may still run and nobody can stop it: only the end of the process is proof. */
  #die(reason: string): void {
    this.#log.error("this node ends itself, because a worker cannot be proven to have stopped", { reason });
    this.#lease.park();
    this.#guard.feed(0);
    void this.#guard.close().finally(() => process.exit(EXIT_UNPROVEN));
  }

  /** A part that exists while the node runs. */
  #running<T>(part: T | undefined): T {
    if (part !== undefined) return part;
    throw new TroupeError("unavailable", `node ${this.nodeId} is not running: ${this.#readiness.reason ?? "stopped"}`, {
      started: "no",
      retryAfterMs: 1_000,
    });
  }
}

const SWEPT = "Actors ended or forgotten because nobody living owned them and nobody asked for them";
const COUNTED_BY_ACTORS = "Counted by actors; see the actor's own documentation";

/** The mesh as a node uses it. */
interface MeshHandle extends Peers {
  setPeers(members: readonly MeshPeer[]): void;
  setSelf(incarnation: Incarnation, generation: Coordinator["generation"]): void;
  setGeneration(generation: Coordinator["generation"]): void;
  close(): Promise<void>;
}

const NO_MESH: MeshHandle = {
  send: () => "no-link",
  connected: () => false,
  setPeers() {},
  setSelf() {},
  setGeneration() {},
  async close() {},
};
