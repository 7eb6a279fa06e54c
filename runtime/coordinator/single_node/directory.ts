/**
 * The placement directory in memory: the same rules, in the same order, as the scripts of the shared stores
 * (`redis/directory_scripts.ts` says why each is there).
 */
import type { Clock } from "../../actor/clock.ts";
import type { ActorId, Epoch, Incarnation } from "../../actor/ids.ts";
import { Rounds } from "../../actor/rounds.ts";
import type {
  ClaimRequest,
  ClaimResult,
  CommitResult,
  Directory,
  FencedResult,
  HeldRecord,
  Orphan,
  Orphans,
  Owner,
  StoredState,
} from "../contract.ts";
import { checkOperation } from "../operation.ts";
import type { DueIndex } from "./due_index.ts";
import type { Changes, Life } from "./memory.ts";

/** Ownership operations a record remembers for replays: of a store in the same process few answers are ever lost. */
const REMEMBERED = 2;
/** A record without owner, state and tombstone is only good for replays; it goes after this. */
const FORGET_MS = 600_000;
/** Records looked at for expiry with each verb that may add one. */
const SWEEP = 16;

export interface ActorRecord {
  owner: Incarnation | null;
  epoch: Epoch;
  /** 0: no state. */
  version: number;
  /** The state; a bare buffer, because a view on it would take as much again. */
  bytes: ArrayBuffer | null;
  ended: boolean;
  /** The last ownership operations, each followed by its answer, oldest first. */
  answers: readonly string[];
  /** The operation that committed `version`. */
  lastCommit: string | null;
}

/** Records looked at in one part of a walk. */
const PAGE = 500;

export class MemoryDirectory implements Directory, Orphans {
  readonly #life: Life;
  readonly #clock: Clock;
  readonly #isAlive: (incarnation: Incarnation) => boolean;
  readonly #dues: DueIndex;
  readonly #changes: Changes;
  readonly #records = new Map<ActorId, ActorRecord>();
  /** When a record that serves only replays or as tombstone goes. */
  readonly #expiries = new Map<ActorId, number>();
  readonly #sweeping = new Rounds(() => this.#expiries.entries());
  #epochs = 0;
  /** The walk that is under way, by its cursor. One at a time: a new one ends it. */
  #walk: { cursor: string; rest: IterableIterator<[ActorId, ActorRecord]> } | undefined;
  #walked = 0;

  constructor(
    life: Life,
    clock: Clock,
    isAlive: (incarnation: Incarnation) => boolean,
    dues: DueIndex,
    changes: Changes,
  ) {
    this.#life = life;
    this.#clock = clock;
    this.#isAlive = isAlive;
    this.#dues = dues;
    this.#changes = changes;
  }

  /** The record as it is now, for the file. `remainingMs`: until it is forgotten; `null`: never. */
  kept(actor: ActorId): { record: Readonly<ActorRecord>; remainingMs: number | null } | undefined {
    const record = this.#records.get(actor);
    const expiry = this.#expiries.get(actor);
    return record && { record, remainingMs: expiry === undefined ? null : expiry - this.#clock.now() };
  }

  /** Puts back what `kept` told an earlier process. */
  restore(actor: ActorId, record: ActorRecord, remainingMs: number | null): void {
    this.#records.set(actor, record);
    if (remainingMs !== null) this.#expire(actor, remainingMs);
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const { actor, incarnation, operation, takeover } = request;
    checkOperation(operation);
    this.#sweep();
    const record = this.#find(actor);
    if (record !== undefined) {
      const first = answered(record, operation);
      if (first !== undefined) return { outcome: "claimed", epoch: first as Epoch, state: stateOf(record) };
      if (record.ended) return { outcome: "ended" };
      if (request.create !== undefined && record.version > 0) return { outcome: "exists" };
      if (record.owner !== null && !(record.owner === takeover?.incarnation && record.epoch === takeover.epoch)) {
        return { outcome: "owned", owner: { incarnation: record.owner, epoch: record.epoch } };
      }
    }
    if (request.requireState === true && (record === undefined || record.version === 0)) return { outcome: "absent" };
    const epoch = this.#nextEpoch();
    const claimed = record ?? emptyRecord(epoch);
    claimed.owner = incarnation;
    claimed.epoch = epoch;
    remember(claimed, operation, epoch);
    if (request.create !== undefined) {
      claimed.version = 1;
      claimed.bytes = new Uint8Array(request.create).buffer;
    }
    this.#records.set(actor, claimed);
    this.#expiries.delete(actor);
    this.#changes.actor(actor);
    return { outcome: "claimed", epoch, state: stateOf(claimed) };
  }

  async lookup(actor: ActorId): Promise<{ owner: Owner | null; hasState: boolean; ended: boolean } | null> {
    const record = this.#find(actor);
    if (record === undefined) return null;
    const hasState = record.version > 0;
    const { owner: incarnation, epoch, ended } = record;
    if (incarnation === null && !hasState && !ended) return null;
    return { owner: incarnation === null ? null : { incarnation, epoch }, hasState, ended };
  }

  async transfer(request: {
    actor: ActorId;
    from: Owner;
    to: Incarnation;
    operation: string;
  }): Promise<{ outcome: "transferred"; epoch: Epoch } | { outcome: "fenced" }> {
    checkOperation(request.operation);
    const record = this.#find(request.actor);
    const first = record === undefined ? undefined : answered(record, request.operation);
    if (first !== undefined) return { outcome: "transferred", epoch: first as Epoch };
    if (record === undefined || !owns(record, request.from)) return { outcome: "fenced" };
    const epoch = this.#nextEpoch();
    record.owner = request.to;
    record.epoch = epoch;
    remember(record, request.operation, epoch);
    this.#changes.actor(request.actor);
    return { outcome: "transferred", epoch };
  }

  async release(request: { actor: ActorId; owner: Owner; operation: string }): Promise<FencedResult> {
    checkOperation(request.operation);
    this.#sweep();
    const record = this.#find(request.actor);
    if (record === undefined) return "fenced";
    if (answered(record, request.operation) !== undefined) return "done";
    if (!owns(record, request.owner)) return "fenced";
    record.owner = null;
    remember(record, request.operation, "done");
    if (record.version === 0) this.#expire(request.actor, FORGET_MS);
    this.#changes.actor(request.actor);
    return "done";
  }

  async commit(request: {
    actor: ActorId;
    owner: Owner;
    expectedVersion: number;
    bytes: Uint8Array;
    operation: string;
    dueMs?: number | null;
  }): Promise<CommitResult> {
    checkOperation(request.operation);
    const record = this.#find(request.actor);
    if (record === undefined) return { outcome: "fenced" };
    if (record.lastCommit === request.operation) return { outcome: "committed", version: record.version };
    if (!owns(record, request.owner)) return { outcome: "fenced" };
    if (record.version !== request.expectedVersion) return { outcome: "conflict", version: record.version };
    record.version += 1;
    record.bytes = new Uint8Array(request.bytes).buffer;
    record.lastCommit = request.operation;
    if (request.dueMs !== undefined) this.#dues.set(request.actor, request.dueMs);
    this.#changes.actor(request.actor);
    return { outcome: "committed", version: record.version };
  }

  async end(request: { actor: ActorId; owner: Owner; operation: string; tombstoneMs: number }): Promise<FencedResult> {
    checkOperation(request.operation);
    this.#sweep();
    const record = this.#find(request.actor);
    if (record === undefined) return "fenced";
    if (answered(record, request.operation) !== undefined) return "done";
    if (!owns(record, request.owner)) return "fenced";
    record.owner = null;
    record.version = 0;
    record.bytes = null;
    record.lastCommit = null;
    record.ended = true;
    remember(record, request.operation, "done");
    this.#expire(request.actor, Math.max(1, Math.ceil(request.tombstoneMs)));
    this.#dues.set(request.actor, null);
    this.#changes.actor(request.actor);
    return "done";
  }

  /** This memory is never lost while the process lives: what is not owned here was lost for another reason. */
  async reassert(
    incarnation: Incarnation,
    records: readonly HeldRecord[],
  ): Promise<{ lost: ActorId[]; settled: boolean }> {
    const alive = this.#isAlive(incarnation);
    const lost = records.filter(({ actor, epoch }) => {
      const record = this.#find(actor);
      return !alive || record === undefined || !owns(record, { incarnation, epoch });
    });
    return { lost: lost.map((record) => record.actor), settled: true };
  }

  async page({ alive, cursor }: { alive: readonly Incarnation[]; cursor: string }) {
    const living = new Set(alive);
    // A walk that was ended begins anew: what it saw is seen twice, which may happen anyhow.
    const rest = this.#walk?.cursor === cursor && cursor !== "" ? this.#walk.rest : this.#records.entries();
    const orphans: Orphan[] = [];
    for (let looked = 0; looked < PAGE; looked += 1) {
      const { value, done } = rest.next();
      if (done === true) {
        this.#walk = undefined;
        return { orphans, cursor: "" };
      }
      const [actor, { owner, epoch, version, ended }] = value;
      if (ended || (owner === null && version === 0) || (owner !== null && living.has(owner))) continue;
      orphans.push({ actor, owner: owner === null ? null : { incarnation: owner, epoch }, epoch });
    }
    this.#walked += 1;
    this.#walk = { cursor: String(this.#walked), rest };
    return { orphans, cursor: this.#walk.cursor };
  }

  #find(actor: ActorId): ActorRecord | undefined {
    const expiry = this.#expiries.get(actor);
    if (expiry !== undefined && expiry <= this.#clock.now()) this.#forget(actor);
    return this.#records.get(actor);
  }

  #expire(actor: ActorId, ms: number): void {
    this.#expiries.set(actor, this.#clock.now() + ms);
  }

  #forget(actor: ActorId): void {
    this.#expiries.delete(actor);
    this.#records.delete(actor);
    this.#changes.actor(actor);
  }

  /** Forgets what has expired of the next few. */
  #sweep(): void {
    if (this.#expiries.size === 0) return;
    const now = this.#clock.now();
    for (let looked = 0; looked < SWEEP; looked++) {
      const [actor, expiry] = this.#sweeping.next() ?? [];
      if (actor === undefined || expiry === undefined) return;
      if (expiry <= now) this.#forget(actor);
    }
  }

  #nextEpoch(): Epoch {
    this.#epochs += 1;
    return `${this.#life.generation}-${this.#life.start}.${this.#epochs}` as Epoch;
  }
}

function emptyRecord(epoch: Epoch): ActorRecord {
  return { owner: null, epoch, version: 0, bytes: null, ended: false, answers: [], lastCommit: null };
}

function owns(record: ActorRecord, owner: Owner): boolean {
  return record.owner === owner.incarnation && record.epoch === owner.epoch;
}

function answered(record: ActorRecord, operation: string): string | undefined {
  const { answers } = record;
  for (let at = 0; at < answers.length; at += 2) if (answers[at] === operation) return answers[at + 1];
  return undefined;
}

function remember(record: ActorRecord, operation: string, answer: string): void {
  const { answers } = record;
  // Neither leaves spare room behind: with many records most hold one answer.
  record.answers =
    answers.length === 0 ? [operation, answer] : answers.slice(2 - 2 * REMEMBERED).concat(operation, answer);
}

function stateOf(record: ActorRecord): StoredState | null {
  return record.bytes === null ? null : { version: record.version, bytes: new Uint8Array(record.bytes.slice(0)) };
}
