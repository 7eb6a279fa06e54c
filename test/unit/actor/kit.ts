/**
 * Nodes without threads, sockets or store: a router and one host each, all on the calling thread, for tests of the actor
 * model. Several nodes share one directory and a network that tests can cut.
 */

import { type Clock, systemClock } from "../../../runtime/actor/clock.ts";
import { encodeState } from "../../../runtime/actor/codec.ts";
import type { AnyActorDefinition, Ref } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { Host, type RunnableDefinition } from "../../../runtime/actor/host.ts";
import { actorId, type Epoch, type Incarnation, type NodeId } from "../../../runtime/actor/ids.ts";
import type { Message } from "../../../runtime/actor/message.ts";
import { makeRef } from "../../../runtime/actor/ref.ts";
import type { ClaimResult, Directory, Member, Owner } from "../../../runtime/coordinator/contract.ts";
import { DiagnosticEvents } from "../../../runtime/observe/events.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { Metrics } from "../../../runtime/observe/metrics.ts";
import { DirectoryClient } from "../../../runtime/placement/directory.ts";
import type { MoveOptions, MoveOutcome } from "../../../runtime/placement/migration.ts";
import { chooseNode } from "../../../runtime/placement/placement.ts";
import { Router } from "../../../runtime/placement/router.ts";

interface Row {
  owner: Owner | null;
  bytes: Uint8Array | null;
  version: number;
  ended: boolean;
}

/** The placement directory as one table. */
export class TestDirectory {
  readonly rows = new Map<string, Row>();
  claims = 0;
  #epochs = 0;

  claim: Directory["claim"] = async ({ actor, incarnation, requireState, create, takeover }): Promise<ClaimResult> => {
    this.claims++;
    const row = this.rows.get(actor) ?? { owner: null, bytes: null, version: 0, ended: false };
    if (row.ended) return { outcome: "ended" };
    if (create !== undefined && row.bytes !== null) return { outcome: "exists" };
    if (requireState === true && row.bytes === null) return { outcome: "absent" };
    if (row.owner !== null && row.owner.epoch !== takeover?.epoch) return { outcome: "owned", owner: row.owner };
    if (create !== undefined) {
      row.bytes = create;
      row.version = 1;
    }
    row.owner = { incarnation, epoch: `e${++this.#epochs}` as Epoch };
    this.rows.set(actor, row);
    const state = row.bytes === null ? null : { version: row.version, bytes: row.bytes };
    return { outcome: "claimed", epoch: row.owner.epoch, state };
  };

  lookup: Directory["lookup"] = async (actor) => {
    const row = this.rows.get(actor);
    return row === undefined ? null : { owner: row.owner, hasState: row.bytes !== null, ended: row.ended };
  };

  /** Transfers of which the answer is lost, though they happened. */
  transfersLost = 0;
  /** Called when one happened, before its answer. */
  transferred = (): void => {};
  readonly #transfers = new Map<string, Epoch>();

  transfer: Directory["transfer"] = async ({ actor, from, to, operation }) => {
    const row = this.rows.get(actor);
    const first = this.#transfers.get(operation);
    if (first === undefined) {
      if (row?.owner?.incarnation !== from.incarnation || row.owner.epoch !== from.epoch) return { outcome: "fenced" };
      row.owner = { incarnation: to, epoch: `e${++this.#epochs}` as Epoch };
      this.#transfers.set(operation, row.owner.epoch);
      this.transferred();
    }
    if (this.transfersLost-- > 0) throw new TroupeError("store_unavailable", "the answer was lost");
    return { outcome: "transferred", epoch: first ?? (row?.owner?.epoch as Epoch) };
  };

  release: Directory["release"] = async ({ actor, owner }) => {
    const row = this.rows.get(actor);
    if (row?.owner?.epoch !== owner.epoch) return "fenced";
    row.owner = null;
    return "done";
  };
}

export class TestCluster {
  readonly directory = new TestDirectory();
  readonly nodes = new Map<Incarnation, TestNode>();
  readonly dead = new Set<Incarnation>();
  readonly loads = new Map<Incarnation, number>();
  /** Of nodes added from now on. */
  development = false;
  /** Links that are down, as `a|b` in order. */
  readonly cut = new Set<string>();
  /** Messages that get lost, without anybody being told. */
  loses: (message: Message) => boolean = () => false;

  add(id: string, ...definitions: RunnableDefinition[]): TestNode {
    const node = new TestNode(id, this, definitions);
    this.nodes.set(node.incarnation, node);
    return node;
  }

  /** The membership view. */
  members(): Member[] {
    return [...this.nodes.values()].map(({ incarnation, id, kinds, labels }) => ({
      id,
      incarnation,
      kinds,
      labels,
      url: "",
      meshUrl: "",
      pid: 0,
      runtime: "",
      version: "",
      startedAt: 0,
      servers: [],
      state: "active",
      liveness: "alive",
    }));
  }

  /** Takes a link down, both ends told. */
  cutLink(a: TestNode, b: TestNode): void {
    this.cut.add(link(a.incarnation, b.incarnation));
    a.router.peerDown(b.incarnation);
    b.router.peerDown(a.incarnation);
  }

  healLink(a: TestNode, b: TestNode): void {
    this.cut.delete(link(a.incarnation, b.incarnation));
    a.router.peerUp(b.incarnation);
    b.router.peerUp(a.incarnation);
  }

  /** A node vanishes and is declared dead. */
  kill(node: TestNode): void {
    this.dead.add(node.incarnation);
    this.nodes.delete(node.incarnation);
    for (const timer of node.timers) clearTimeout(timer);
    for (const other of this.nodes.values()) other.router.peerDead(node.incarnation);
  }

  send(from: Incarnation, to: Incarnation, message: Message): "queued" | "no-link" {
    if (this.cut.has(link(from, to)) || !this.nodes.has(to)) return "no-link";
    if (this.loses(message)) return "queued";
    // What crosses a network is a copy, and arrives later.
    const copy = structuredClone(message);
    setImmediate(() => this.nodes.get(to)?.router.fromPeer(from, copy));
    return "queued";
  }
}

function link(a: Incarnation, b: Incarnation): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`;
}

export class TestNode {
  readonly incarnation: Incarnation;
  readonly id: NodeId;
  readonly kinds: string[];
  labels: Record<string, string> = {};
  host: Host;
  readonly router: Router;
  readonly directory: TestDirectory;
  readonly counts = new Map<string, number>();
  readonly events = new DiagnosticEvents();
  readonly timers = new Set<NodeJS.Timeout>();
  lease = Number.POSITIVE_INFINITY;
  commits = 0;
  maxResidents: number | undefined;
  maxStarts: number | undefined;
  readonly metrics = new Metrics();
  /** When set, commits fail with an unknown outcome. */
  storeDown = false;
  /** So many commits more fail, as when it is down. */
  commitsToFail = 0;
  /** When set, commits take effect and their answers are lost. */
  answersLost = false;
  readonly #makeHost: () => Host;
  /** When set, commits are refused: somebody else owns everything. */
  fenced = false;

  constructor(id: string, cluster: TestCluster, definitions: readonly RunnableDefinition[]) {
    // Unlike the product's timers these keep the process alive: a test waits for nothing else.
    const clock: Clock = {
      ...systemClock(),
      after: (ms, callback) => {
        // What a node still does after its death must not keep the test alive.
        if (cluster.dead.has(this.incarnation)) return () => {};
        const timer = setTimeout(() => {
          this.timers.delete(timer);
          callback();
        }, ms);
        this.timers.add(timer);
        return () => {
          this.timers.delete(timer);
          clearTimeout(timer);
        };
      },
    };
    const incarnation = `${id}-1` as Incarnation;
    this.incarnation = incarnation;
    this.id = id as NodeId;
    this.kinds = definitions.map(({ kind }) => kind);
    this.directory = cluster.directory;
    const { rows } = cluster.directory;
    const unused = async (): Promise<never> => {
      throw new Error("not used here");
    };
    const directory: Directory = {
      claim: cluster.directory.claim,
      release: cluster.directory.release,
      lookup: cluster.directory.lookup,
      transfer: cluster.directory.transfer,
      commit: unused,
      end: unused,
      reassert: unused,
    };
    const isDead = (of: Incarnation): boolean => cluster.dead.has(of);
    this.router = new Router({
      nodeId: id as NodeId,
      incarnation,
      clock,
      kinds: new Map(
        definitions.map((d) => [
          d.kind,
          { placement: d.placement, requireState: d.state?.required ?? false, io: false },
        ]),
      ),
      // Whoever is not listed has been dead for long.
      directory: new DirectoryClient(
        directory,
        { isDead, confirmDead: async (of) => isDead(of) || !cluster.nodes.has(of) },
        clock,
        incarnation,
      ),
      peers: {
        send: (to, _lane, message) => cluster.send(incarnation, to, message),
        connected: (to) => cluster.nodes.has(to) && !cluster.cut.has(link(incarnation, to)),
      },
      incarnationOf: (nodeId) => [...cluster.nodes.keys()].find((of) => of.startsWith(`${nodeId}-`)),
      isDead,
      choose: (kind, key, policy) =>
        chooseNode(kind, key, policy, {
          self: incarnation,
          members: cluster.members(),
          load: (of) => cluster.loads.get(of) ?? 0,
          random: Math.random,
        }),
      events: this.events,
      onLoad: (peer, load) => cluster.loads.set(peer, load),
      actorsOnIoThread: true,
      log: silentLogger,
      metrics: this.metrics,
    });
    this.#makeHost = () =>
      new Host({
        incarnation,
        thread: 0,
        clock,
        definitions: new Map(definitions.map((d) => [d.kind, d])),
        services: {
          nodeId: id as NodeId,
          incarnation,
          clock,
          log: silentLogger,
          settings: {},
          processGuard: { protect: async () => {}, release: () => {} },
          events: this.events,
          count: (name, by = 1) => void this.counts.set(name, (this.counts.get(name) ?? 0) + by),
        },
        io: {
          commit: async (actor, epoch, expected, bytes) => {
            this.commits++;
            if (this.storeDown || this.commitsToFail-- > 0)
              throw new TroupeError("store_unavailable", "the store is down");
            const row = rows.get(actor);
            if (this.fenced || row === undefined || row.owner?.epoch !== epoch) return { outcome: "fenced" };
            if (row.version !== expected) return { outcome: "conflict", version: row.version };
            row.bytes = bytes;
            row.version++;
            if (this.answersLost) throw new TroupeError("store_unavailable", "the store did not answer");
            return { outcome: "committed", version: row.version };
          },
          end: async (actor) => {
            const row = rows.get(actor);
            if (row !== undefined) row.ended = true;
            return "done";
          },
        },
        send: (message) => this.router.fromThread(0, message),
        leaseDeadline: () => this.lease,
        development: cluster.development,
        maxResidents: this.maxResidents,
        maxStarts: this.maxStarts,
      });
    this.host = this.#makeHost();
    this.router.addThread(0, { send: (message) => this.host.deliver(message) });
  }

  /** Moves an actor from here to one of `nodes`. */
  move(
    definition: AnyActorDefinition,
    key: string,
    nodes: readonly TestNode[],
    options: Partial<Omit<MoveOptions, "to">> = {},
  ): Promise<MoveOutcome> {
    return this.router.move(actorId(definition.kind, key), {
      budgetMs: 1_000,
      release: false,
      ...options,
      to: (refused) => nodes.find(({ incarnation }) => !refused.has(incarnation))?.incarnation,
    });
  }

  /** The thread ends and another takes its place. */
  restartThread(): void {
    this.endThread();
    this.startThread();
  }

  endThread(): void {
    this.router.threadDied(0);
  }

  startThread(): void {
    this.host = this.#makeHost();
    this.router.addThread(0, { send: (message) => this.host.deliver(message) });
  }

  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D> {
    return makeRef(this.host.calls, definition, key, null);
  }

  create(definition: AnyActorDefinition, key: string, state: unknown): Promise<void> {
    return this.router.create(actorId(definition.kind, key), encodeState(state));
  }
}

/** One node alone. */
export function singleNode(...definitions: RunnableDefinition[]): TestNode {
  return new TestCluster().add("n1", ...definitions);
}
