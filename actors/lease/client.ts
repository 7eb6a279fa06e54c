/**
 * The holder's side of a lease: the cautious clock, and asking again when the lease's node went away.
 *
 * A holder never believes in its lease for longer than the lease itself does. It counts from when it sent the request that
 * was granted (plus the time the lease says it made it wait), never from when the answer came.
 */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../../runtime/actor/clock.ts";
import type { ActorCaller } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { isPassing, pause } from "../delivery/reopened.ts";
import { Lease } from "./lease.ts";

export interface AcquireOptions {
  /** Milliseconds, 1 to 86,400,000. */
  ttlMs: number;
  /** Names the party; the same name is given the same grant. Default: a random one. */
  holder?: string;
  /** Longest wait, milliseconds; 0 (default) does not wait. */
  waitMs?: number;
  signal?: AbortSignal;
  clock?: Clock;
}

/** A lease that was granted to this caller. */
export interface HeldLease {
  readonly name: string;
  readonly holder: string;
  /** Give it to what the lease protects, which should refuse anything below the highest it has seen. */
  readonly fence: number;
  /** Until when it is certainly held, on the caller's clock. */
  readonly until: number;
  /** Whether it is certainly still held. */
  held(): boolean;
  /** Counts its time anew. False: it is lost. Rejects when the lease cannot be reached; it is held until `until` then. */
  renew(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<boolean>;
  /** False: it was lost before. */
  release(): Promise<boolean>;
}

/** What a call may take beside its wait in the queue, milliseconds. */
const ANSWER_MS = 10_000;

/**
 * Acquires lease `name`. `null`: it was not free within `waitMs`. Rejects with `cancelled` when `signal` fired (then
 * nothing is held), and when the lease could not be reached for `waitMs`.
 */
export async function acquireLease(
  caller: ActorCaller,
  name: string,
  options: AcquireOptions,
): Promise<HeldLease | null> {
  const { ttlMs, holder = randomUUID(), waitMs = 0, clock = systemClock() } = options;
  const { signal = new AbortController().signal } = options;
  const lease = caller.actor(Lease, name);
  const giveUp = clock.now() + waitMs;
  for (let attempt = 1; ; attempt++) {
    const sent = clock.now();
    const left = Math.max(0, giveUp - sent);
    try {
      const request = { holder, ttlMs, waitMs: left };
      const grant = await lease.with({ signal, timeoutMs: left + ANSWER_MS }).acquire(request);
      if (grant === null) return null;
      return new Held(caller, clock, name, holder, grant.fence, ttlMs, sent + grant.waitedMs + grant.ttlMs);
    } catch (error) {
      if (signal.aborted || !isPassing(error) || clock.now() >= giveUp) {
        // It may have been granted, with nobody there to hear it.
        if (TroupeError.is(error) && error.started !== "no") void lease.release({ holder }).catch(() => {});
        throw error;
      }
      await pause(clock, attempt, error, signal);
    }
  }
}

class Held implements HeldLease {
  readonly name: string;
  readonly holder: string;
  readonly fence: number;
  until: number;
  readonly #caller: ActorCaller;
  readonly #clock: Clock;
  readonly #ttlMs: number;

  constructor(
    caller: ActorCaller,
    clock: Clock,
    name: string,
    holder: string,
    fence: number,
    ttlMs: number,
    until: number,
  ) {
    this.#caller = caller;
    this.#clock = clock;
    this.#ttlMs = ttlMs;
    this.name = name;
    this.holder = holder;
    this.fence = fence;
    this.until = until;
  }

  held(): boolean {
    return this.#clock.now() < this.until;
  }

  async renew(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<boolean> {
    const { holder, fence } = this;
    const sent = this.#clock.now();
    const renewed = await this.#caller
      .actor(Lease, this.name)
      .with(options)
      .renew({ holder, fence, ttlMs: this.#ttlMs });
    this.until = renewed ? Math.max(this.until, sent + this.#ttlMs) : Number.NEGATIVE_INFINITY;
    return renewed;
  }

  release(): Promise<boolean> {
    const { holder, fence } = this;
    this.until = Number.NEGATIVE_INFINITY;
    return this.#caller.actor(Lease, this.name).release({ holder, fence });
  }
}
