/**
 * Who is present in a group, and what the watchers have been told: the decisions of the presence actor, without turns.
 *
 * Two maps: who is there now, and who is there as far as watchers know. Every 50 ms while something changed the
 * difference is one batch for all watchers, so somebody who came and went in between is never mentioned, and a member
 * that moved from one attachment to another without a change of its `meta` is not either.
 */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../runtime/actor/clock.ts";

export interface PresentMember {
  member: string;
  meta: unknown;
}

/** What a watcher is told. `number` grows by one with each event; a jump means that one was lost: watch again. */
export type PresenceEvent =
  /** Everybody who is there. What was known before no longer counts. */
  | { type: "snapshot"; number: number; members: readonly PresentMember[] }
  /** `joined` also holds members whose `meta` changed. */
  | { type: "delta"; number: number; joined: readonly PresentMember[]; left: readonly string[] };

/** What keeps a member present: an attachment, or a time it must be joined again in. */
export type Life = { attachment: string } | { ttlMs: number };

interface Entry {
  readonly shown: PresentMember;
  readonly attachment: string | null;
  readonly stopTtl: (() => void) | null;
}

/** How long changes are collected, milliseconds. */
export const BATCH_MS = 50;
export const MAX_MEMBERS = 10_000;
/** Batches a watcher may be behind; then it is given a fresh snapshot instead. */
const MAX_BEHIND = 64;

export class PresenceGroup {
  readonly #members = new Map<string, Entry>();
  readonly #published = new Map<string, PresentMember>();
  readonly #changed = new Set<string>();
  /** Members by the attachment that keeps them. */
  readonly #attachments = new Map<string, Set<string>>();
  readonly #watchers = new Set<PresenceWatcher>();
  #stopBatch: (() => void) | undefined;
  #number = 0;
  #clock: Clock | undefined;
  #onEmpty = (): void => {};

  /** Called once, before anything else. `onEmpty`: nobody is here and nobody watches. */
  open(clock: Clock, onEmpty: () => void): void {
    this.#clock = clock;
    this.#onEmpty = onEmpty;
  }

  get empty(): boolean {
    return this.#members.size === 0 && this.#attachments.size === 0 && this.#watchers.size === 0;
  }

  members(): PresentMember[] {
    return [...this.#members.values()].map(({ shown }) => shown);
  }

  attach(attachment: string): void {
    this.#attachments.set(attachment, new Set());
  }

  /** Everybody whom the attachment kept is gone, at once. */
  detach(attachment: string): void {
    const kept = this.#attachments.get(attachment);
    this.#attachments.delete(attachment);
    for (const member of kept ?? []) this.#remove(member);
    this.#checkEmpty();
  }

  /** The last to join a name has it. `no-attachment`: that attachment is over. */
  join(member: string, meta: unknown, life: Life): "joined" | "no-attachment" | "full" {
    const attachment = "attachment" in life ? life.attachment : null;
    const kept = attachment === null ? undefined : this.#attachments.get(attachment);
    if (attachment !== null && kept === undefined) return "no-attachment";
    const before = this.#members.get(member);
    if (before === undefined && this.#members.size >= MAX_MEMBERS) return "full";
    if (before !== undefined) this.#release(member, before);
    kept?.add(member);
    const stopTtl = "ttlMs" in life ? (this.#clock?.after(life.ttlMs, () => this.leave(member, null)) ?? null) : null;
    this.#members.set(member, { shown: { member, meta }, attachment, stopTtl });
    this.#touch(member);
    return "joined";
  }

  /** False: it was not here, or (where one is named) not by that attachment. */
  leave(member: string, attachment: string | null): boolean {
    const entry = this.#members.get(member);
    if (entry === undefined || (attachment !== null && entry.attachment !== attachment)) return false;
    this.#release(member, entry);
    this.#remove(member);
    this.#checkEmpty();
    return true;
  }

  watch(): PresenceWatcher {
    // Nobody else is told in batches, so the first need not wait for what was joined before it came.
    if (this.#watchers.size === 0) this.#publish();
    const watcher = new PresenceWatcher(this);
    this.#watchers.add(watcher);
    return watcher;
  }

  /** @internal */
  unwatch(watcher: PresenceWatcher): void {
    this.#watchers.delete(watcher);
    this.#checkEmpty();
  }

  /** @internal What watchers know after the last batch. */
  snapshot(): PresenceEvent {
    return { type: "snapshot", number: this.#number, members: [...this.#published.values()] };
  }

  close(): void {
    this.#stopBatch?.();
    for (const { stopTtl } of this.#members.values()) stopTtl?.();
  }

  #release(member: string, { attachment, stopTtl }: Entry): void {
    stopTtl?.();
    if (attachment !== null) this.#attachments.get(attachment)?.delete(member);
  }

  #remove(member: string): void {
    this.#members.delete(member);
    this.#touch(member);
  }

  #touch(member: string): void {
    this.#changed.add(member);
    this.#stopBatch ??= this.#clock?.after(BATCH_MS, () => this.#publish());
  }

  #publish(): void {
    this.#stopBatch?.();
    this.#stopBatch = undefined;
    const joined: PresentMember[] = [];
    const left: string[] = [];
    for (const member of this.#changed) {
      const now = this.#members.get(member)?.shown;
      const before = this.#published.get(member);
      if (now === undefined) {
        if (this.#published.delete(member)) left.push(member);
      } else {
        this.#published.set(member, now);
        if (before === undefined || !isDeepStrictEqual(now.meta, before.meta)) joined.push(now);
      }
    }
    this.#changed.clear();
    if (joined.length === 0 && left.length === 0) return;
    const event: PresenceEvent = { type: "delta", number: ++this.#number, joined, left };
    for (const watcher of this.#watchers) watcher.push(event);
  }

  #checkEmpty(): void {
    if (this.empty) this.#onEmpty();
  }
}

/** One watcher's end. Holds references to batches that all watchers share, at most `MAX_BEHIND` of them. */
export class PresenceWatcher {
  readonly #group: PresenceGroup;
  /** Null: a snapshot is due, which says it all. */
  #pending: PresenceEvent[] | null = null;
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(group: PresenceGroup) {
    this.#group = group;
  }

  /** @internal */
  push(event: PresenceEvent): void {
    if (this.#pending === null) return;
    if (this.#pending.length >= MAX_BEHIND) this.#pending = null;
    else this.#pending.push(event);
    this.#wake?.();
  }

  /** The next event; undefined after `close`. */
  async next(): Promise<PresenceEvent | undefined> {
    for (;;) {
      if (this.#closed) return undefined;
      if (this.#pending === null) {
        this.#pending = [];
        return this.#group.snapshot();
      }
      const event = this.#pending.shift();
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  close(): void {
    this.#closed = true;
    this.#group.unwatch(this);
    this.#wake?.();
  }
}
