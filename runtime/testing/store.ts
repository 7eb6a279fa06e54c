/**
 * The store behind simulated nodes: the rules of a shared coordinator (`coordinator/contract.ts`), each verb one step,
 * with the data in one value that can be copied, put back and emptied.
 *
 * It follows the Redis scripts rule by rule (`coordinator/redis/directory_scripts.ts`, `generation.ts`), because that is
 * the store whose failures it plays: a primary that is replaced by a replica which has not seen the last writes, or one
 * that comes back empty. How a node reaches it, and what gets lost on the way, is `store_client.ts`.
 */
import type { ActorId, Epoch, Generation, Incarnation } from "../actor/ids.ts";
import type {
  ClaimRequest,
  ClaimResult,
  CommitResult,
  DeclareResult,
  DueBatch,
  FencedResult,
  HeldRecord,
  Member,
  MembershipView,
  NodeRecord,
  Owner,
  StoredState,
} from "../coordinator/contract.ts";
import { checkOperation } from "../coordinator/operation.ts";

/** Rules that the simulation takes away one by one, to show that each is needed. */
export type StoreGuard = "commit-fence" | "settling" | "operation-ids";

/** What is told to whoever watches the store, at the moment it takes effect. */
export interface StoreEvents {
  claimed?(actor: ActorId, owner: Owner): void;
  committed?(actor: ActorId, by: Owner, before: StoredState | null, after: StoredState): void;
  /** `repeat`: the same operation had succeeded before. */
  refused?(actor: ActorId, by: Owner, outcome: "fenced" | "conflict", repeat: boolean): void;
  declared?(incarnation: Incarnation): void;
}

interface ActorRecord {
  owner: Incarnation | null;
  epoch: Epoch;
  /** 0: no state. */
  version: number;
  bytes: Uint8Array | null;
  ended: boolean;
  answers: [operation: string, answer: string][];
  lastCommit: [operation: string, version: number] | null;
}

interface Data {
  generation: Generation | null;
  run: number;
  settled: boolean;
  view: number;
  incarnations: number;
  epochs: number;
  alive: Map<Incarnation, { record: NodeRecord; heartbeat: number; operation: string }>;
  dead: Map<Incarnation, NodeRecord>;
  /** Who joined this generation or came back in it. */
  back: Set<Incarnation>;
  actors: Map<ActorId, ActorRecord>;
  dues: Map<ActorId, number>;
}

/** Shards of the due index. */
export const SHARDS = 8;
const REMEMBERED = 4;
const MIN_DEAD = 32;

export class SimulatedStore {
  readonly #without: ReadonlySet<StoreGuard>;
  readonly #events: StoreEvents;
  readonly #listeners = new Set<() => void>();
  readonly #watchers = new Set<(shard: number | null, dueMs: number | null) => void>();
  #data: Data = empty(0);
  #run = 0;
  #generations = 0;
  /** Processes that listen for changes; one that sleeps still counts, as its connection does. */
  readonly watchers = new Set<{ readonly killed: boolean }>();
  /** Nobody gets an answer. */
  down = false;

  constructor(events: StoreEvents = {}, without: readonly StoreGuard[] = []) {
    this.#events = events;
    this.#without = new Set(without);
  }

  /** Names the primary that answers now. */
  get run(): number {
    return this.#run;
  }

  get generation(): Generation | null {
    return this.#data.generation;
  }

  get settled(): boolean {
    return this.#data.settled;
  }

  // Faults

  /** All data as it is now, to be put back by `failOver`. */
  snapshot(): unknown {
    return structuredClone(this.#data);
  }

  /** Another primary takes over, with the data of `snapshot`. */
  failOver(snapshot: unknown): void {
    this.#data = structuredClone(snapshot as Data);
    this.#run++;
  }

  /** The data is gone, `restarted` or under the same primary. */
  clear(restarted: boolean): void {
    if (restarted) this.#run++;
    this.#data = empty(this.#run);
  }

  // Generation

  /** Makes or adopts a generation, by a client that knew `known`; `watched`: others listen for changes. */
  establish(known: Generation | "", watched: boolean): { generation: Generation; settled: boolean } {
    const data = this.#data;
    const { generation } = data;
    if (generation !== null && data.run === this.#run) {
      const newer = known === "" || generation === known || ordinal(generation) > ordinal(known);
      if (newer) return { generation, settled: data.settled };
    }
    const fresh = generation === null && known === "";
    const top = Math.max(generation === null ? 0 : ordinal(generation), known === "" ? 0 : ordinal(known));
    const made = `${top + 1}.${(++this.#generations).toString(36)}` as Generation;
    data.generation = made;
    data.run = this.#run;
    data.settled = (fresh && !watched) || this.#without.has("settling");
    data.back.clear();
    this.#changed();
    return { generation: made, settled: data.settled };
  }

  settle(): void {
    this.#data.settled = true;
  }

  // Membership

  join(record: NodeRecord, operation: string): { incarnation: Incarnation; view: number } {
    checkOperation(operation);
    const data = this.#data;
    for (const [incarnation, member] of data.alive) {
      if (member.operation === operation && data.back.has(incarnation) && !this.#without.has("operation-ids"))
        return { incarnation, view: data.view };
    }
    const incarnation = `${data.generation}-${String(++data.incarnations).padStart(4, "0")}` as Incarnation;
    data.alive.set(incarnation, { record: structuredClone(record), heartbeat: 0, operation });
    data.back.add(incarnation);
    this.#changed();
    return { incarnation, view: data.view };
  }

  /** `known`: the dead that the caller has heard of. They stay dead, unless they came back before. */
  readmit(
    incarnation: Incarnation,
    record: NodeRecord,
    operation: string,
    heartbeat: number,
    known: readonly Member[],
  ): "alive" | "dead" {
    const { alive, dead, back } = this.#data;
    for (const { incarnation: other, liveness: _, ...lost } of known) {
      if (back.has(other) || dead.has(other)) continue;
      alive.delete(other);
      this.#listDead(other, lost);
    }
    if (dead.has(incarnation)) return "dead";
    back.add(incarnation);
    if (!alive.has(incarnation)) {
      alive.set(incarnation, { record: structuredClone(record), heartbeat, operation });
      this.#changed();
    }
    return "alive";
  }

  /** The view; undefined: it was declared dead. */
  renew(incarnation: Incarnation): number | undefined {
    const member = this.#data.alive.get(incarnation);
    if (member === undefined) return undefined;
    member.heartbeat++;
    return this.#data.view;
  }

  update(incarnation: Incarnation, record: NodeRecord): "updated" | "declared-dead" {
    const member = this.#data.alive.get(incarnation);
    if (member === undefined) return "declared-dead";
    member.record = structuredClone(record);
    this.#changed();
    return "updated";
  }

  heartbeats(incarnations: readonly Incarnation[]): Map<Incarnation, number> {
    const found = new Map<Incarnation, number>();
    for (const incarnation of incarnations) {
      const member = this.#data.alive.get(incarnation);
      if (member !== undefined) found.set(incarnation, member.heartbeat);
    }
    return found;
  }

  declareDead(incarnation: Incarnation, observed: number): DeclareResult | "settling" {
    const member = this.#data.alive.get(incarnation);
    if (member === undefined) return "already-dead";
    if (member.heartbeat !== observed) return "alive";
    if (!this.#data.settled) return "settling";
    this.#bury(incarnation, member.record);
    this.#events.declared?.(incarnation);
    return "declared";
  }

  leave(incarnation: Incarnation): void {
    const member = this.#data.alive.get(incarnation);
    if (member !== undefined) this.#bury(incarnation, member.record);
  }

  readView(): MembershipView {
    const { generation, view, alive, dead } = this.#data;
    const members: Member[] = [];
    for (const [incarnation, { record }] of alive) {
      members.push({ ...structuredClone(record), incarnation, liveness: "alive" });
    }
    for (const [incarnation, record] of dead) {
      members.push({ ...structuredClone(record), incarnation, liveness: "dead" });
    }
    return { generation: generation as Generation, view, members };
  }

  isAlive(incarnation: Incarnation): boolean {
    return this.#data.alive.has(incarnation);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  // Directory

  claim(request: ClaimRequest): ClaimResult | { outcome: "settling" } {
    const { actor, incarnation, operation, takeover } = request;
    checkOperation(operation);
    const record = this.#data.actors.get(actor);
    if (record !== undefined) {
      const first = this.#answered(record, operation);
      if (first !== undefined) return { outcome: "claimed", epoch: first as Epoch, state: stateOf(record) };
      if (record.ended) return { outcome: "ended" };
      if (request.create !== undefined && record.version > 0) return { outcome: "exists" };
      if (record.owner !== null && !(record.owner === takeover?.incarnation && record.epoch === takeover.epoch)) {
        return { outcome: "owned", owner: { incarnation: record.owner, epoch: record.epoch } };
      }
    }
    if (!this.#data.settled) return { outcome: "settling" };
    if (request.requireState === true && (record === undefined || record.version === 0)) return { outcome: "absent" };
    const epoch = this.#nextEpoch();
    const claimed: ActorRecord = record ?? {
      owner: null,
      epoch,
      version: 0,
      bytes: null,
      ended: false,
      answers: [],
      lastCommit: null,
    };
    claimed.owner = incarnation;
    claimed.epoch = epoch;
    remember(claimed, operation, epoch);
    if (request.create !== undefined) {
      claimed.version = 1;
      claimed.bytes = request.create.slice();
    }
    this.#data.actors.set(actor, claimed);
    this.#events.claimed?.(actor, { incarnation, epoch });
    return { outcome: "claimed", epoch, state: stateOf(claimed) };
  }

  lookup(actor: ActorId): { owner: Owner | null; hasState: boolean; ended: boolean } | null {
    const record = this.#data.actors.get(actor);
    if (record === undefined) return null;
    const { owner: incarnation, epoch, ended, version } = record;
    if (incarnation === null && version === 0 && !ended) return null;
    return { owner: incarnation === null ? null : { incarnation, epoch }, hasState: version > 0, ended };
  }

  /** The stored state, for assertions. */
  stored(actor: ActorId): StoredState | null {
    const record = this.#data.actors.get(actor);
    return record === undefined ? null : stateOf(record);
  }

  transfer(
    actor: ActorId,
    from: Owner,
    to: Incarnation,
    operation: string,
  ): { outcome: "transferred"; epoch: Epoch } | { outcome: "fenced" } {
    checkOperation(operation);
    const record = this.#data.actors.get(actor);
    const first = record === undefined ? undefined : this.#answered(record, operation);
    if (first !== undefined) return { outcome: "transferred", epoch: first as Epoch };
    if (record === undefined || !owns(record, from)) return { outcome: "fenced" };
    record.owner = to;
    record.epoch = this.#nextEpoch();
    remember(record, operation, record.epoch);
    this.#events.claimed?.(actor, { incarnation: to, epoch: record.epoch });
    return { outcome: "transferred", epoch: record.epoch };
  }

  release(actor: ActorId, owner: Owner, operation: string): FencedResult {
    checkOperation(operation);
    const record = this.#data.actors.get(actor);
    if (record === undefined) return "fenced";
    if (this.#answered(record, operation) !== undefined) return "done";
    if (!owns(record, owner)) return "fenced";
    record.owner = null;
    remember(record, operation, "done");
    return "done";
  }

  commit(
    actor: ActorId,
    owner: Owner,
    expectedVersion: number,
    bytes: Uint8Array,
    operation: string,
    dueMs?: number | null,
  ): CommitResult {
    checkOperation(operation);
    const record = this.#data.actors.get(actor);
    const repeat = record?.lastCommit?.[0] === operation;
    if (record !== undefined && repeat && !this.#without.has("operation-ids")) {
      return { outcome: "committed", version: record.lastCommit?.[1] ?? 0 };
    }
    if (record === undefined || (!owns(record, owner) && !this.#without.has("commit-fence"))) {
      this.#events.refused?.(actor, owner, "fenced", repeat);
      return { outcome: "fenced" };
    }
    if (record.version !== expectedVersion) {
      this.#events.refused?.(actor, owner, "conflict", repeat);
      return { outcome: "conflict", version: record.version };
    }
    const before = stateOf(record);
    record.version += 1;
    record.bytes = bytes.slice();
    record.lastCommit = [operation, record.version];
    if (dueMs !== undefined) this.#index(actor, dueMs);
    this.#events.committed?.(actor, owner, before, { version: record.version, bytes: record.bytes });
    return { outcome: "committed", version: record.version };
  }

  end(actor: ActorId, owner: Owner, operation: string): FencedResult {
    checkOperation(operation);
    const record = this.#data.actors.get(actor);
    if (record === undefined) return "fenced";
    if (this.#answered(record, operation) !== undefined) return "done";
    if (!owns(record, owner)) return "fenced";
    record.owner = null;
    record.version = 0;
    record.bytes = null;
    record.lastCommit = null;
    record.ended = true;
    this.#index(actor, null);
    remember(record, operation, "done");
    return "done";
  }

  /** After a reset: an owner writes back one record. */
  restore(incarnation: Incarnation, held: HeldRecord): "kept" | "lost" {
    const answer = this.#restore(incarnation, held);
    if (answer === "kept" && typeof held.dueMs === "number") this.#index(held.actor, held.dueMs);
    return answer;
  }

  #restore(incarnation: Incarnation, { actor, epoch, state }: HeldRecord): "kept" | "lost" {
    const { actors } = this.#data;
    const record = actors.get(actor);
    if (record === undefined) {
      const { version, bytes } = state ?? { version: 0, bytes: null };
      actors.set(actor, { owner: incarnation, epoch, version, bytes, ended: false, answers: [], lastCommit: null });
      return "kept";
    }
    if (record.ended) return "lost";
    const same = record.epoch === epoch && (record.owner ?? incarnation) === incarnation;
    if (!same && (this.#data.settled || !newer(epoch, record.epoch))) return "lost";
    if (state !== null && (record.epoch !== epoch || state.version > record.version)) {
      record.version = state.version;
      record.bytes = state.bytes.slice();
      record.lastCommit = null;
    }
    record.owner = incarnation;
    record.epoch = epoch;
    return "kept";
  }

  /** After a reset: what was ended shortly before stays ended, unless something stands there. */
  entomb(actor: ActorId): void {
    const { actors } = this.#data;
    if (actors.has(actor)) return;
    const epoch = this.#nextEpoch();
    actors.set(actor, { owner: null, epoch, version: 0, bytes: null, ended: true, answers: [], lastCommit: null });
  }

  // Reminders

  take(shard: number, nowMs: number, holdUntilMs: number, limit: number): DueBatch {
    const { dues } = this.#data;
    const due = this.#shard(shard)
      .filter(([, dueMs]) => dueMs <= nowMs)
      .slice(0, limit)
      .map(([actor]) => actor);
    for (const actor of due) dues.set(actor, holdUntilMs);
    return { due, nextMs: this.#shard(shard)[0]?.[1] ?? null };
  }

  onEarliest(listener: (shard: number | null, dueMs: number | null) => void): () => void {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  /** A shard's entries, the earliest first. */
  #shard(shard: number): [actor: ActorId, dueMs: number][] {
    return [...this.#data.dues].filter(([actor]) => shardOf(actor) === shard).sort(([, a], [, b]) => a - b);
  }

  #index(actor: ActorId, dueMs: number | null): void {
    const { dues } = this.#data;
    const shard = shardOf(actor);
    const before = this.#shard(shard)[0]?.[1] ?? null;
    if (dueMs === null) dues.delete(actor);
    else dues.set(actor, dueMs);
    const after = this.#shard(shard)[0]?.[1] ?? null;
    if (after !== before) for (const watcher of [...this.#watchers]) watcher(shard, after);
  }

  #answered(record: ActorRecord, operation: string): string | undefined {
    if (this.#without.has("operation-ids")) return undefined;
    return record.answers.find(([given]) => given === operation)?.[1];
  }

  #nextEpoch(): Epoch {
    return `${this.#data.generation}-${++this.#data.epochs}` as Epoch;
  }

  #bury(incarnation: Incarnation, record: NodeRecord): void {
    this.#data.alive.delete(incarnation);
    this.#listDead(incarnation, record);
  }

  #listDead(incarnation: Incarnation, record: NodeRecord): void {
    const { alive, dead } = this.#data;
    dead.set(incarnation, record);
    const most = Math.max(MIN_DEAD, 2 * alive.size);
    for (const oldest of dead.keys()) {
      if (dead.size <= most) break;
      dead.delete(oldest);
    }
    this.#changed();
  }

  #changed(): void {
    this.#data.view++;
    for (const listener of [...this.#listeners]) listener();
  }
}

function empty(run: number): Data {
  return {
    generation: null,
    run,
    settled: false,
    view: 0,
    incarnations: 0,
    epochs: 0,
    alive: new Map(),
    dead: new Map(),
    back: new Set(),
    actors: new Map(),
    dues: new Map(),
  };
}

function shardOf(actor: ActorId): number {
  let sum = 0;
  for (let index = 0; index < actor.length; index++) sum = (sum * 31 + actor.charCodeAt(index)) % 65_536;
  return sum % SHARDS;
}

export function ordinal(generation: string): number {
  return Number.parseInt(generation, 10) || 0;
}

/** Whether epoch `a` was handed out after `b`: by counter within a generation, by the generation's ordinal otherwise. */
function newer(a: Epoch, b: Epoch): boolean {
  const [ga, na] = splitEpoch(a);
  const [gb, nb] = splitEpoch(b);
  return ga === gb ? na > nb : ordinal(ga) > ordinal(gb);
}

function splitEpoch(epoch: Epoch): [generation: string, counter: number] {
  const dash = epoch.lastIndexOf("-");
  return [epoch.slice(0, dash), Number(epoch.slice(dash + 1))];
}

function owns(record: ActorRecord, owner: Owner): boolean {
  return record.owner === owner.incarnation && record.epoch === owner.epoch;
}

function remember(record: ActorRecord, operation: string, answer: string): void {
  record.answers.push([operation, answer]);
  if (record.answers.length > REMEMBERED) record.answers.shift();
}

function stateOf(record: ActorRecord): StoredState | null {
  return record.bytes === null || record.version === 0
    ? null
    : { version: record.version, bytes: record.bytes.slice() };
}
