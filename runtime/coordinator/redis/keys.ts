/**
 * The names of everything this coordinator keeps in Redis.
 *
 * Keys are spelled out here and nowhere else: the client's own `keyPrefix` splits keys and misses subscriptions and
 * scripts, so it is never used. The first braces of a key are its hash tag, which decides its slot on Redis Cluster:
 *
 * - `<prefix>{m}:…`        membership and the authoritative generation
 * - `<prefix>{d<n>}:…`     directory bucket n of 64, by hash of the actor id, with its part of the due index
 * - `<prefix>{k}:…`        key-value entries and their index
 * - `<prefix>{l}:…`        leases
 *
 * Each of those slots carries its own copy of the generation (`…:generation`). The layout has a version, kept with the
 * membership; a node refuses a store whose layout it does not know.
 */
import type { ActorId } from "../../actor/ids.ts";

export const LAYOUT = "1";
export const DEFAULT_PREFIX = "troupe:";
/** Directory buckets; part of the layout. */
export const BUCKETS = 64;
const MAX_PREFIX_LENGTH = 128;

/** Why a prefix cannot be used, or `null`. */
export function prefixProblem(prefix: string): string | null {
  if (prefix.length === 0 || prefix.length > MAX_PREFIX_LENGTH) {
    return `must have 1 to ${MAX_PREFIX_LENGTH} characters, got ${prefix.length}`;
  }
  if (/[{}]/.test(prefix)) return "must not contain braces, which would change the Redis Cluster slot of every key";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\s\u0000-\u001f]/.test(prefix)) return "must not contain spaces or control characters";
  return null;
}

/** The directory bucket of an actor: FNV-1a over its UTF-16 code units. Part of the layout. */
export function bucketOf(actor: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < actor.length; index += 1) {
    hash = Math.imul(hash ^ actor.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0) % BUCKETS;
}

export class Keys {
  readonly #prefix: string;
  /** The generation that decides; the other slots carry copies. */
  readonly generation: string;
  /** Hash: `layout`, `run` (the primary's run id), `ready`, `settled`, `view`, `incarnations`. */
  readonly meta: string;
  /** Hashes by incarnation: record of the living, heartbeat counter, operation that joined it, record of the dead. */
  readonly alive: string;
  readonly beats: string;
  readonly joins: string;
  readonly dead: string;
  /** List of dead incarnations, oldest first. */
  readonly deadOrder: string;
  /** Channel: the view may have changed. */
  readonly changes: string;
  /** Channel: the earliest of a shard of the due index changed. */
  readonly dueChanges: string;
  /** Written to find out whether writes are taken; expires. */
  readonly probe: string;
  readonly keyValue: KeyValueKeys;
  readonly leaseGeneration: string;
  /** Counter of fences, over all names. */
  readonly fences: string;
  /** Copies of the generation, one for each slot but the membership's. Beside each stands the one that settled last. */
  readonly copies: readonly string[];

  constructor(prefix: string) {
    this.#prefix = prefix;
    const slot = (tag: string, name: string): string => `${prefix}{${tag}}:${name}`;
    this.generation = slot("m", "generation");
    this.meta = slot("m", "meta");
    this.alive = slot("m", "alive");
    this.beats = slot("m", "beats");
    this.joins = slot("m", "joins");
    this.dead = slot("m", "dead");
    this.deadOrder = slot("m", "dead-order");
    this.changes = slot("m", "changes");
    this.dueChanges = slot("m", "due-changes");
    this.probe = slot("m", "probe");
    this.keyValue = {
      generation: slot("k", "generation"),
      values: slot("k", "values"),
      index: slot("k", "index"),
      expiries: slot("k", "expiries"),
      revisions: slot("k", "revisions"),
      changes: slot("k", "changes"),
    };
    this.leaseGeneration = slot("l", "generation");
    this.fences = slot("l", "fences");
    const copies = [this.keyValue.generation, this.leaseGeneration];
    for (let bucket = 0; bucket < BUCKETS; bucket += 1) copies.push(slot(`d${bucket}`, "generation"));
    this.copies = copies;
  }

  /** Of a copy of the generation: the generation that has settled, as far as that slot was told. */
  settledBeside(copy: string): string {
    return `${copy.slice(0, copy.lastIndexOf(":"))}:settled`;
  }

  lease(name: string): string {
    return `${this.#prefix}{l}:lease:${name}`;
  }

  topic(name: string): string {
    return `${this.#prefix}topic:${name}`;
  }

  /** The keys of an actor: its record, and those of its bucket. */
  actor(actor: ActorId): BucketKeys & { record: string } {
    const bucket = bucketOf(actor);
    return { ...this.bucket(bucket), record: `${this.#prefix}{d${bucket}}:a:${actor}` };
  }

  bucket(index: number): BucketKeys {
    const bucket = `${this.#prefix}{d${index}}:`;
    return {
      index,
      generation: `${bucket}generation`,
      epochs: `${bucket}epochs`,
      dues: `${bucket}dues`,
      owners: `${bucket}owners`,
    };
  }
}

export interface BucketKeys {
  index: number;
  generation: string;
  /** Counter of epochs. */
  epochs: string;
  /** Sorted set of the bucket's actors that have reminders, by when the earliest is due: wall clock milliseconds. */
  dues: string;
  /** Hash: actor → incarnation of its owner (empty: none), a space, its epoch. Of all records but tombstones. */
  owners: string;
}

export interface KeyValueKeys {
  generation: string;
  /** Hash: key → revision, a newline, the bytes. */
  values: string;
  /** Sorted set of the keys, all of score 0: byte order. */
  index: string;
  /** Sorted set of keys that expire, by milliseconds of the server's clock. */
  expiries: string;
  revisions: string;
  /** Channel of changes. */
  changes: string;
}
