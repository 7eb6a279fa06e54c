/**
 * The coordinator: the shared store behind membership, the placement directory, durable actor state, and four
 * primitives (key-value, publish/subscribe, lease, watch).
 *
 * One contract, several stores. It asks a store only for compare-and-set, list and change notice: no store clock and no
 * store expiry is trusted for safety, so the same promises hold on every kind.
 *
 * ## Membership
 * A node `join`s with a record and is handed an incarnation that was never used before. It `renew`s one heartbeat
 * counter. Observers watch counters on their own monotonic clocks and `declareDead` an incarnation whose counter stood
 * still: a compare-and-set on that counter, so a renew that came first wins. The declaration is the linearization
 * point: exactly one caller is told `declared`, the view number grows, and every later `renew` of that incarnation
 * answers `declared-dead`. `leave` is the same transition, made by the node itself.
 *
 * ## Directory
 * `claim` is claim-or-get in one round trip: the caller becomes owner with a new epoch, or is told who the owner is.
 * Takeover of a dead owner is a compare-and-set on (its incarnation, its epoch) that the caller may only ask for after
 * it read a membership in which that incarnation is dead, *after* it read the record. State, tombstone and owner are one
 * record, so a claim with `requireState` never creates anything for a forged or ended id, and `create` makes owner and
 * state in one step. `commit` is fenced: it takes effect only while the stored owner is (incarnation, epoch) and the
 * stored version is the one given.
 *
 * ## Reminders
 * Only the actor's own code knows its reminders: they are part of the bytes of its state. What the store keeps beside
 * them, written by the same `commit` in the same step, is when the earliest of them is due: the due index, which is what
 * wakes an actor that is not resident. It is divided into shards, so that nodes can share the watch over it; `take`
 * hands each due entry to one caller and puts it off meanwhile. It is an index, not the truth: an entry that comes too
 * early or twice wakes an actor that finds nothing to do.
 *
 * ## Unknown outcomes
 * Every writing verb carries an operation id that the record keeps; a replay after a lost reply is answered with the
 * first answer instead of a false conflict. A verb whose outcome is unknown throws `store_unavailable` with
 * `started: "unknown"`; the caller replays it with the same operation id, or treats the outcome as unknown.
 *
 * ## Generation
 * The data carries a generation. A store that comes back empty, replaced, or behind (an older generation) makes every
 * verb throw `store_reset` until the nodes have re-asserted themselves (`reassert`); first claims and declarations are
 * refused meanwhile, inside the store's own scripts or transactions. A node that re-asserts itself also writes back which
 * dead members it knew, whatever the data says of them: a lost declaration must not bring an owner back beside whoever took
 * over from it.
 */
import type { ActorId, Epoch, Generation, Incarnation, NodeId } from "../actor/ids.ts";

/** Kinds of coordinator. */
export type CoordinatorKind = "single_node" | "redis" | "nats" | "etcd" | "consul";

/** Names one writing operation across its replays. Unguessable is not needed, unique is. */
export type OperationId = string;

/** What a node tells the others about itself. */
export interface NodeRecord {
  id: NodeId;
  /** `http://host:port` of the client endpoint. */
  url: string;
  /** `host:port` that peers dial, or `""` for a node without a mesh. */
  meshUrl: string;
  pid: number;
  /** For example `node 20.20.2` or `deno 2.9.6`. */
  runtime: string;
  /** Troupe's version. */
  version: string;
  /** Wall clock milliseconds of the start, for people. */
  startedAt: number;
  labels: Readonly<Record<string, string>>;
  /** Actor kinds this node can run, and upstream servers it hosts. */
  kinds: readonly string[];
  servers: readonly string[];
  /** Versions of the kinds' state that are not 1. */
  stateVersions?: Readonly<Record<string, number>>;
  /** `joining` and `draining` nodes are never given new actors. */
  state: "joining" | "active" | "draining";
}

/** A node as the membership knows it. */
export interface Member extends NodeRecord {
  incarnation: Incarnation;
  /** `dead` members stay listed for a while, so that takeovers can be checked. */
  liveness: "alive" | "dead";
}

/** All members at one view number. Views only grow within a generation. */
export interface MembershipView {
  generation: Generation;
  view: number;
  members: readonly Member[];
}

export type RenewResult =
  | { outcome: "renewed"; view: number }
  /** Somebody declared this incarnation dead: drop all actors and join again. */
  | { outcome: "declared-dead" };

export type DeclareResult =
  /** The caller made the declaration. */
  | "declared"
  /** It was dead or gone already. */
  | "already-dead"
  /** Its counter is not the one observed: it lives. */
  | "alive";

/** Who owns an actor. `thread` is advice: within a node its router decides. */
export interface Owner {
  incarnation: Incarnation;
  epoch: Epoch;
}

/** Durable state of an actor: opaque bytes and a version that grows by one with each commit. */
export interface StoredState {
  version: number;
  /** What the actor layer encoded; the store never looks inside. */
  bytes: Uint8Array;
}

export interface ClaimRequest {
  actor: ActorId;
  incarnation: Incarnation;
  operation: OperationId;
  /** Own it only if it has state: answers `absent` otherwise, and writes nothing. */
  requireState?: boolean;
  /** Make the actor, with this state as version 1. Answers `exists` if there is a record with state already. */
  create?: Uint8Array;
  /** The owner whose death the caller has confirmed (or the caller's own earlier activation, when its worker died). */
  takeover?: Owner;
}

export type ClaimResult =
  /** The caller owns it now. */
  | { outcome: "claimed"; epoch: Epoch; state: StoredState | null }
  /** Somebody owns it (maybe the caller's own incarnation, with that epoch). */
  | { outcome: "owned"; owner: Owner }
  /** `requireState` and there is none. */
  | { outcome: "absent" }
  /** It was ended. */
  | { outcome: "ended" }
  /** `create` and it is there. */
  | { outcome: "exists" };

export type FencedResult = "done" | "fenced";

export type CommitResult =
  | { outcome: "committed"; version: number }
  /** The stored owner is somebody else. */
  | { outcome: "fenced" }
  /** The owner is right but the version is not. */
  | { outcome: "conflict"; version: number };

/** One of a node's own records, for `reassert`. */
export interface HeldRecord {
  actor: ActorId;
  epoch: Epoch;
  state: StoredState | null;
  /** When its earliest reminder is due, as `commit` was told last. */
  dueMs?: number | null;
}

export interface Directory {
  claim(request: ClaimRequest): Promise<ClaimResult>;
  /** Reads without writing. `null`: no record, or one without owner. */
  lookup(actor: ActorId): Promise<{ owner: Owner | null; hasState: boolean; ended: boolean } | null>;
  /** The owner hands the actor to `to`; the answer names the new epoch. Only its owner may ask. */
  transfer(request: {
    actor: ActorId;
    from: Owner;
    to: Incarnation;
    operation: OperationId;
  }): Promise<{ outcome: "transferred"; epoch: Epoch } | { outcome: "fenced" }>;
  /** The owner gives it up; state stays. */
  release(request: { actor: ActorId; owner: Owner; operation: OperationId }): Promise<FencedResult>;
  /**
   * Writes state. `dedup` is remembered with the record, so that a durable call is not run twice.
   * `expectedVersion` is the version the activation holds; 0 where there is no state yet. `dueMs` is when the actor's
   * earliest reminder is due now (wall clock, whole milliseconds), `null` that it has none; left out: as it was.
   */
  commit(request: {
    actor: ActorId;
    owner: Owner;
    expectedVersion: number;
    bytes: Uint8Array;
    operation: OperationId;
    dueMs?: number | null;
  }): Promise<CommitResult>;
  /** Ends the actor for good: state goes, a tombstone stays (for `tombstoneMs`), later claims answer `ended`. */
  end(request: { actor: ActorId; owner: Owner; operation: OperationId; tombstoneMs: number }): Promise<FencedResult>;
  /**
   * After a store reset: writes back what this node owns where nothing newer stands; in a settled generation, where
   * nothing else stands at all. Answers which records it lost, and whether the generation had settled before.
   *
   * `leaseHeld` is asked when the generation is known: a lease that still runs proves that nobody took anything from this
   * node. One that has run out (the default) proves nothing, so where a generation passed without this node everything
   * counts as lost: others may have owned it there, and what they wrote may be lost in their turn.
   */
  reassert(
    incarnation: Incarnation,
    records: readonly HeldRecord[],
    leaseHeld?: () => boolean,
  ): Promise<{ lost: ActorId[]; settled: boolean }>;
}

/** Entries of one shard of the due index. */
export interface DueBatch {
  due: readonly ActorId[];
  /** When the earliest of the shard is due now, those just put off included. */
  nextMs: number | null;
}

export interface Reminders {
  /** Shards are numbered from 0. */
  readonly shards: number;
  /**
   * Takes what is due at `nowMs` in a shard, the earliest first, at most `limit`, and puts each off to `holdUntilMs`: until
   * then nobody else is given it, unless a commit says otherwise.
   */
  take(request: { shard: number; nowMs: number; holdUntilMs: number; limit: number }): Promise<DueBatch>;
  /**
   * Called when a commit changed when the earliest of a shard is due; with `null` twice when that may have been missed for
   * any shard. A hint: `take` is asked to know. Returns what stops it.
   */
  onEarliest(listener: (shard: number | null, dueMs: number | null) => void): () => void;
}

/** A record that no living node owns. */
export interface Orphan {
  actor: ActorId;
  /** The dead one that had it last. Null: it was given up, and what is left is its state. */
  owner: Owner | null;
  /** Changes with every owner; tells whether somebody had it since the last look. */
  epoch: Epoch;
}

/** A walk over all records, for whoever cleans up. */
export interface Orphans {
  /**
   * The next part of the walk: of a bounded number of records those whose owner is not among `alive`. `cursor` is `""` to
   * begin, then what the last part answered; `""` again when the walk is over. A record that stands all the while is
   * seen at least once; the same may be seen twice. Tombstones are not among them, they go by themselves.
   */
  page(request: { alive: readonly Incarnation[]; cursor: string }): Promise<{ orphans: Orphan[]; cursor: string }>;
}

export interface Membership {
  /** Takes an incarnation that was never used before. */
  join(record: NodeRecord, operation: OperationId): Promise<{ incarnation: Incarnation; view: number }>;
  /** Bumps the heartbeat counter. Uses a connection of its own where the store has connections. */
  renew(incarnation: Incarnation): Promise<RenewResult>;
  /** Changes the record (its state, labels); bumps the view. */
  update(incarnation: Incarnation, record: NodeRecord): Promise<"updated" | "declared-dead">;
  /** Heartbeat counters of the incarnations given; absent ones are dead or gone. */
  heartbeats(incarnations: readonly Incarnation[]): Promise<ReadonlyMap<Incarnation, number>>;
  declareDead(incarnation: Incarnation, observedHeartbeat: number): Promise<DeclareResult>;
  /** The node itself goes: same transition as a declared death. Last thing a node does. */
  leave(incarnation: Incarnation): Promise<void>;
  view(): Promise<MembershipView>;
  /** Called soon after the view may have changed; only a hint, the view is read to know. Returns what stops it. */
  onChange(listener: () => void): () => void;
}

/** An entry of the key-value store. */
export interface KeyValueEntry {
  key: string;
  value: Uint8Array;
  /** Opaque; changes with each write. For compare-and-set. */
  revision: string;
}

export interface KeyValue {
  get(key: string): Promise<KeyValueEntry | null>;
  /** `ttlMs`: the entry goes at some time after that (not trusted for safety). */
  put(key: string, value: Uint8Array, options?: { ttlMs?: number }): Promise<{ revision: string }>;
  /** Writes only if there is nothing; `null` when there was. */
  putIfAbsent(key: string, value: Uint8Array, options?: { ttlMs?: number }): Promise<{ revision: string } | null>;
  /** Writes only if the revision is still `revision`; `null` when it is not. */
  compareAndSet(key: string, revision: string, value: Uint8Array): Promise<{ revision: string } | null>;
  /** With `revision`: only if it is still that. Answers whether something was removed. */
  delete(key: string, revision?: string): Promise<boolean>;
  /** In key order, at most `limit` (default 1,000). */
  list(prefix: string, limit?: number): Promise<KeyValueEntry[]>;
}

export interface PubSub {
  /** At most once, no replay. */
  publish(topic: string, payload: Uint8Array): Promise<void>;
  /** Exact topic. Resolves when the subscription is in force; the answer ends it. */
  subscribe(topic: string, listener: (payload: Uint8Array) => void): Promise<() => Promise<void>>;
}

export interface LeaseGrant {
  name: string;
  holder: string;
  /** Strictly monotonic per name, as a decimal string; also over releases, expiries and restarts of holders. */
  fence: string;
}

export interface Leases {
  /** One try. `null`: somebody holds it. The lease lapses when it is not renewed for `ttlMs`. */
  tryAcquire(name: string, holder: string, ttlMs: number): Promise<LeaseGrant | null>;
  renew(grant: LeaseGrant, ttlMs: number): Promise<boolean>;
  release(grant: LeaseGrant): Promise<boolean>;
  holder(name: string): Promise<LeaseGrant | null>;
}

export type WatchEvent =
  | { type: "put"; key: string; value: Uint8Array }
  | { type: "delete"; key: string }
  /** Events may have been missed (reconnect, buffer full): list again. */
  | { type: "gap" };

export interface Watch {
  /** Changes of the key-value store under `prefix`, in order per key. Resolves when in force. */
  watch(prefix: string, listener: (event: WatchEvent) => void): Promise<() => Promise<void>>;
}

/** `reason` and `warning` are one sentence each, for `/ready`. */
export type Health =
  /** `warning`: the store works and may lose data in a way it was not asked to. */
  { ok: true; warning?: string } | { ok: false; reason: string };

export interface Coordinator {
  readonly kind: CoordinatorKind;
  /** Known after `open`. */
  readonly generation: Generation;
  readonly membership: Membership;
  readonly directory: Directory;
  readonly reminders: Reminders;
  readonly orphans: Orphans;
  readonly keyValue: KeyValue;
  readonly pubSub: PubSub;
  readonly leases: Leases;
  readonly watches: Watch;
  /** Connects and makes sure the store is fit (reachable, no eviction policy that loses data). */
  open(): Promise<void>;
  /** Whether the store answered lately and takes writes. */
  health(): Health;
  /** Store commands sent since the start, for the tests and metrics that watch the call path. */
  commands(): number;
  close(): Promise<void>;
}
