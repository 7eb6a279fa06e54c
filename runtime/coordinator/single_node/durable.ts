/**
 * The coordinator of a single node with `dir:`: the memory of `../single_node.ts`, kept in a file.
 *
 * Memory decides and answers, so a read costs what it costs without a file, and memory holds all records: their number
 * is bounded as it was before, and a start reads all of them. The journal writes each change before the verb that made
 * it is answered (`journal.ts`), so that a restart, also after `kill -9`, finds everything that anybody was told of:
 * states and their versions, reminders, owners, epochs, tombstones, operation ids, entries with their revisions, leases and
 * fences. With `durability: full` that includes a power failure; with `normal` one may take the last moments back,
 * in order and without damage, and fences then rely on the wall clock not going backwards.
 *
 * Membership is not kept: whoever owned a record in an earlier process is dead, and is taken over as any dead owner is.
 * Membership and messages never touch the disk, so a full disk costs no lease; `health` tells it.
 */
import type { Clock } from "../../actor/clock.ts";
import { TroupeError } from "../../actor/errors.ts";
import type { Generation } from "../../actor/ids.ts";
import type {
  Coordinator,
  Directory,
  KeyValue,
  Leases,
  Membership,
  Orphans,
  PubSub,
  Reminders,
  Watch,
} from "../contract.ts";
import { type Durability, type OpenFile, openFile } from "./file.ts";
import { Journal } from "./journal.ts";
import { SingleNodeMemory } from "./memory.ts";
import { FENCE, rowsOf } from "./rows.ts";

export interface DurableSettings {
  /** An absolute path; made if it is not there. */
  dir: string;
  /** Default `normal`. */
  durability?: Durability;
}

export class DurableSingleNode implements Coordinator {
  readonly kind = "single_node";
  readonly generation: Generation;
  readonly membership: Membership;
  readonly directory: Directory;
  readonly reminders: Reminders;
  readonly orphans: Orphans;
  readonly keyValue: KeyValue;
  readonly pubSub: PubSub;
  readonly leases: Leases;
  readonly watches: Watch;
  readonly #file: OpenFile;
  readonly #journal: Journal;
  #closed = false;

  /** Opens the file and reads it. Rejects with `store_unavailable` and a sentence. */
  static async load(settings: DurableSettings, clock: Clock): Promise<DurableSingleNode> {
    const file = await openFile(settings.dir, settings.durability ?? "normal");
    try {
      return new DurableSingleNode(file, clock);
    } catch (error) {
      file.close();
      const said = error instanceof Error ? error.message : String(error);
      throw new TroupeError(
        "store_unavailable",
        `${file.path} cannot be read: ${said}; put a backup in its place, or move it away to start empty`,
        { started: "no", cause: error },
      );
    }
  }

  private constructor(file: OpenFile, clock: Clock) {
    const journal = new Journal(file.database, file.path, clock);
    const memory = new SingleNodeMemory(file.life, clock, {
      actor: (actor) => journal.mark("actors", actor),
      due: (actor) => journal.mark("dues", actor),
      entry: (key) => journal.mark("entries", key),
      lease: (name) => {
        journal.mark("leases", name);
        journal.mark("facts", FENCE);
      },
      announce: (announcement) => journal.afterwards(announcement),
    });
    for (const rows of rowsOf(memory, clock)) journal.keep(rows);
    this.#file = file;
    this.#journal = journal;
    this.generation = file.life.generation;
    this.membership = memory.membership;
    this.directory = durableDirectory(memory.directory, journal);
    this.reminders = durableReminders(memory.reminders, journal);
    this.orphans = { page: (request) => journal.run(() => memory.directory.page(request)) };
    this.keyValue = durableKeyValue(memory.keyValue, journal);
    this.leases = durableLeases(memory.leases, journal);
    this.pubSub = memory.pubSub;
    this.watches = memory.keyValue;
  }

  /** It is open already: `load` is the only way to have one. */
  async open(): Promise<void> {}

  health(): { ok: true } | { ok: false; reason: string } {
    const { failure } = this.#journal;
    return failure === undefined ? { ok: true } : { ok: false, reason: failure };
  }

  /** Transactions. */
  commands(): number {
    return this.#journal.transactions;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#journal.close();
    } finally {
      this.#file.close();
    }
  }
}

function durableDirectory(memory: Directory, journal: Journal): Directory {
  return {
    claim: (request) => journal.run(() => memory.claim(request)),
    lookup: (actor) => journal.run(() => memory.lookup(actor)),
    transfer: (request) => journal.run(() => memory.transfer(request)),
    release: (request) => journal.run(() => memory.release(request)),
    commit: (request) => journal.run(() => memory.commit(request)),
    end: (request) => journal.run(() => memory.end(request)),
    reassert: (incarnation, records) => journal.run(() => memory.reassert(incarnation, records)),
  };
}

function durableReminders(memory: Reminders, journal: Journal): Reminders {
  return {
    shards: memory.shards,
    take: (request) => journal.run(() => memory.take(request)),
    onEarliest: (listener) => memory.onEarliest(listener),
  };
}

function durableKeyValue(memory: KeyValue, journal: Journal): KeyValue {
  return {
    get: (key) => journal.run(() => memory.get(key)),
    put: (key, value, options) => journal.run(() => memory.put(key, value, options)),
    putIfAbsent: (key, value, options) => journal.run(() => memory.putIfAbsent(key, value, options)),
    compareAndSet: (key, revision, value) => journal.run(() => memory.compareAndSet(key, revision, value)),
    delete: (key, revision) => journal.run(() => memory.delete(key, revision)),
    list: (prefix, limit) => journal.run(() => memory.list(prefix, limit)),
  };
}

function durableLeases(memory: Leases, journal: Journal): Leases {
  return {
    tryAcquire: (name, holder, ttlMs) => journal.run(() => memory.tryAcquire(name, holder, ttlMs)),
    renew: (grant, ttlMs) => journal.run(() => memory.renew(grant, ttlMs)),
    release: (grant) => journal.run(() => memory.release(grant)),
    holder: (name) => journal.run(() => memory.holder(name)),
  };
}
