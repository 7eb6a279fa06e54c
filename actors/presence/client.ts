/**
 * A group as one caller sees it: its own members, kept present under one attachment however often the group's actor moves,
 * and everybody else through `watch`.
 */
import { type Clock, systemClock } from "../../runtime/actor/clock.ts";
import type { ActorCaller, Ref } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { isPassing, pause, reopened } from "../delivery/reopened.ts";
import type { PresenceEvent, PresentMember } from "./group.ts";
import { Presence } from "./presence.ts";

export interface PresenceView {
  readonly group: string;
  /**
   * Joins, or changes `meta`; resolves when the group knows. The member stays until `leave`, `close`, or this node's
   * death. Rejects when the group refuses it, or `close` came first.
   */
  join(member: string, meta?: unknown): Promise<void>;
  /** Resolves when the group knows, or the attachment that kept the member is over. */
  leave(member: string): Promise<void>;
  members(): Promise<PresentMember[]>;
  /** A snapshot, then changes; a snapshot again whenever something may have been missed. Ends with `signal` or `close`. */
  watch(options?: { signal?: AbortSignal }): AsyncIterable<PresenceEvent>;
  /** All of this caller's members leave. */
  close(): void;
}

/** Members announced again at once after a new attachment. */
const AT_ONCE = 64;

/** The view of `group` that `caller` has; opens nothing before it is used. */
export function presence(caller: ActorCaller, group: string, options: { clock?: Clock } = {}): PresenceView {
  return new View(caller, group, options.clock ?? systemClock());
}

class View implements PresenceView {
  readonly group: string;
  readonly #clock: Clock;
  readonly #ref: Ref<typeof Presence>;
  readonly #closing = new AbortController();
  readonly #mine = new Map<string, unknown>();
  #attached: Promise<string> | undefined;
  #attachment = "";

  constructor(caller: ActorCaller, group: string, clock: Clock) {
    this.group = group;
    this.#clock = clock;
    this.#ref = caller.actor(Presence, group);
  }

  async join(member: string, meta: unknown = null): Promise<void> {
    this.#checkOpen();
    this.#mine.set(member, meta);
    this.#attached ??= this.#attach();
    try {
      await this.#announce(member);
    } catch (error) {
      this.#mine.delete(member);
      throw error;
    }
    this.#checkOpen();
  }

  async leave(member: string): Promise<void> {
    if (!this.#mine.delete(member)) return;
    const { signal } = this.#closing;
    const attachment = this.#attachment;
    for (let attempt = 1; attachment === this.#attachment && !this.#mine.has(member) && !signal.aborted; attempt++) {
      try {
        await this.#ref.leave(member, attachment);
        return;
      } catch (error) {
        if (!isPassing(error)) throw error;
        await pause(this.#clock, attempt, error, signal);
      }
    }
  }

  members(): Promise<PresentMember[]> {
    return this.#ref.members();
  }

  async *watch(options: { signal?: AbortSignal } = {}): AsyncGenerator<PresenceEvent> {
    const own = new AbortController();
    const stop = (): void => own.abort();
    for (const signal of [options.signal, this.#closing.signal]) {
      if (signal?.aborted === true) stop();
      signal?.addEventListener("abort", stop);
    }
    try {
      while (!own.signal.aborted) yield* this.#watchOnce(own.signal);
    } finally {
      for (const signal of [options.signal, this.#closing.signal]) signal?.removeEventListener("abort", stop);
    }
  }

  close(): void {
    this.#mine.clear();
    this.#closing.abort();
  }

  /** Until an event was lost on the way. */
  async *#watchOnce(signal: AbortSignal): AsyncGenerator<PresenceEvent> {
    let last = 0;
    for await (const { item } of reopened(() => this.#ref.with({ signal }).watch(), this.#clock, signal)) {
      if (item.type === "delta" && item.number !== last + 1) return;
      last = item.number;
      yield item;
    }
  }

  /** Holds an attachment from now until `close`; resolves with the name of the first. */
  #attach(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#hold(resolve).then(() => reject(closed(this.group)), reject);
    });
  }

  async #hold(onFirst: (attachment: string) => void): Promise<void> {
    const { signal } = this.#closing;
    const open = () => this.#ref.with({ signal }).attach();
    for await (const { opening, item } of reopened(open, this.#clock, signal)) {
      this.#attachment = item.attachment;
      onFirst(item.attachment);
      if (opening > 0) void this.#announceAll(item.attachment);
    }
  }

  async #announceAll(attachment: string): Promise<void> {
    const members = [...this.#mine.keys()];
    while (members.length > 0 && this.#attachment === attachment) {
      // What the group refuses now it had accepted before: it is full of others, and this one stays away.
      await Promise.allSettled(members.splice(0, AT_ONCE).map((member) => this.#announce(member)));
    }
  }

  /** Joins until the group confirmed it, or it left. */
  async #announce(member: string): Promise<void> {
    const { signal } = this.#closing;
    await this.#attached;
    for (let attempt = 1; this.#mine.has(member) && !signal.aborted; attempt++) {
      let failure: unknown;
      try {
        if (await this.#ref.join(member, this.#mine.get(member), { attachment: this.#attachment })) return;
      } catch (error) {
        if (!isPassing(error)) throw error;
        failure = error;
      }
      await pause(this.#clock, attempt, failure, signal);
    }
  }

  #checkOpen(): void {
    if (this.#closing.signal.aborted) throw closed(this.group);
  }
}

function closed(group: string): TroupeError {
  return new TroupeError("cancelled", `this view of presence group "${group}" was closed`, { started: "unknown" });
}
