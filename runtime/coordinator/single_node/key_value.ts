/**
 * Key-value entries and their watch in memory. Watchers are told once a write is in force, in the order of the
 * writes.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../actor/clock.ts";
import { Rounds } from "../../actor/rounds.ts";
import type { KeyValue, KeyValueEntry, Watch, WatchEvent } from "../contract.ts";
import { checkEntry, checkKey, DEFAULT_LIST_LIMIT } from "../entry.ts";
import type { Changes, Life } from "./memory.ts";

interface Entry {
  value: Uint8Array;
  revision: string;
  /** On the clock; `Infinity` for ever. */
  expiry: number;
}

/** Expiring entries looked at with each write. */
const SWEEP = 16;

export class MemoryKeyValue implements KeyValue, Watch {
  readonly #life: Life;
  readonly #clock: Clock;
  readonly #changes: Changes;
  readonly #entries = new Map<string, Entry>();
  readonly #expiring = new Set<string>();
  readonly #sweeping = new Rounds(() => this.#expiring.values());
  readonly #watchers = new Set<{ prefix: string; listener: (event: WatchEvent) => void }>();
  #revisions = 0;

  constructor(life: Life, clock: Clock, changes: Changes) {
    this.#life = life;
    this.#clock = clock;
    this.#changes = changes;
  }

  /** The entry as it is now, for the file. `remainingMs`: until it goes; `null`: never. */
  kept(key: string): { value: Uint8Array; revision: string; remainingMs: number | null } | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const { value, revision, expiry } = entry;
    return { value, revision, remainingMs: expiry === Number.POSITIVE_INFINITY ? null : expiry - this.#clock.now() };
  }

  /** Puts back what `kept` told an earlier process. */
  restore(key: string, value: Uint8Array, revision: string, remainingMs: number | null): void {
    const expiry = remainingMs === null ? Number.POSITIVE_INFINITY : this.#clock.now() + remainingMs;
    this.#entries.set(key, { value, revision, expiry });
    if (remainingMs !== null) this.#expiring.add(key);
  }

  async get(key: string): Promise<KeyValueEntry | null> {
    checkKey(key);
    const entry = this.#find(key);
    return entry === undefined ? null : copyOf(key, entry);
  }

  async put(key: string, value: Uint8Array, options: { ttlMs?: number } = {}): Promise<{ revision: string }> {
    checkEntry(key, value);
    return this.#write(key, value, this.#expiry(options.ttlMs));
  }

  async putIfAbsent(
    key: string,
    value: Uint8Array,
    options: { ttlMs?: number } = {},
  ): Promise<{ revision: string } | null> {
    checkEntry(key, value);
    return this.#find(key) === undefined ? this.#write(key, value, this.#expiry(options.ttlMs)) : null;
  }

  async compareAndSet(key: string, revision: string, value: Uint8Array): Promise<{ revision: string } | null> {
    checkEntry(key, value);
    const entry = this.#find(key);
    return entry?.revision === revision ? this.#write(key, value, entry.expiry) : null;
  }

  async delete(key: string, revision?: string): Promise<boolean> {
    checkKey(key);
    const entry = this.#find(key);
    if (entry === undefined || (revision !== undefined && entry.revision !== revision)) return false;
    this.#remove(key);
    return true;
  }

  async list(prefix: string, limit: number = DEFAULT_LIST_LIMIT): Promise<KeyValueEntry[]> {
    // Byte order of UTF-8, which every store can give.
    const keys = [...this.#entries.keys()]
      .filter((key) => key.startsWith(prefix))
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const found: KeyValueEntry[] = [];
    for (const key of keys) {
      if (found.length >= limit) break;
      const entry = this.#find(key);
      if (entry !== undefined) found.push(copyOf(key, entry));
    }
    return found;
  }

  async watch(prefix: string, listener: (event: WatchEvent) => void): Promise<() => Promise<void>> {
    const watcher = { prefix, listener };
    this.#watchers.add(watcher);
    return async () => void this.#watchers.delete(watcher);
  }

  #write(key: string, value: Uint8Array, expiry: number): { revision: string } {
    this.#sweep();
    this.#revisions += 1;
    const entry = {
      value: value.slice(),
      revision: `${this.#life.generation}-${this.#life.start}.${this.#revisions}`,
      expiry,
    };
    this.#entries.set(key, entry);
    if (expiry === Number.POSITIVE_INFINITY) this.#expiring.delete(key);
    else this.#expiring.add(key);
    this.#changes.entry(key);
    this.#publish({ type: "put", key, value: entry.value });
    return { revision: entry.revision };
  }

  #find(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiry > this.#clock.now()) return entry;
    this.#remove(key);
    return undefined;
  }

  #remove(key: string): void {
    this.#entries.delete(key);
    this.#expiring.delete(key);
    this.#changes.entry(key);
    this.#publish({ type: "delete", key });
  }

  #expiry(ttlMs: number | undefined): number {
    return ttlMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() + Math.max(1, Math.ceil(ttlMs));
  }

  /** Forgets what has expired of the next few. */
  #sweep(): void {
    for (let looked = 0; looked < SWEEP; looked++) {
      const key = this.#sweeping.next();
      if (key === undefined) return;
      this.#find(key);
    }
  }

  #publish(event: Exclude<WatchEvent, { type: "gap" }>): void {
    for (const watcher of this.#watchers) {
      if (!event.key.startsWith(watcher.prefix)) continue;
      this.#changes.announce(() => {
        if (!this.#watchers.has(watcher)) return;
        watcher.listener(event.type === "put" ? { ...event, value: event.value.slice() } : event);
      });
    }
  }
}

function copyOf(key: string, entry: Entry): KeyValueEntry {
  return { key, value: entry.value.slice(), revision: entry.revision };
}
