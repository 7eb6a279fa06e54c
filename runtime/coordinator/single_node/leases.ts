/**
 * Leases in memory. Fences start at the wall clock's microseconds, so they also grow over restarts of the process.
 */
import type { Clock } from "../../actor/clock.ts";
import type { LeaseGrant, Leases } from "../contract.ts";
import { checkLease, leaseTtl } from "../lease.ts";
import type { Changes } from "./memory.ts";

interface Held {
  grant: LeaseGrant;
  expiry: number;
}

export class MemoryLeases implements Leases {
  readonly #clock: Clock;
  readonly #changes: Changes;
  readonly #held = new Map<string, Held>();
  #lastFence = 0;

  constructor(clock: Clock, changes: Changes) {
    this.#clock = clock;
    this.#changes = changes;
  }

  /** The lease as it is now, for the file. `remainingMs`: until it lapses. */
  kept(name: string): { grant: LeaseGrant; remainingMs: number } | undefined {
    const held = this.#held.get(name);
    return held && { grant: held.grant, remainingMs: held.expiry - this.#clock.now() };
  }

  /** Puts back what `kept` told an earlier process. */
  restore(grant: LeaseGrant, remainingMs: number): void {
    this.#held.set(grant.name, { grant, expiry: this.#clock.now() + remainingMs });
  }

  /** The greatest fence ever granted. */
  get lastFence(): number {
    return this.#lastFence;
  }

  /** Fences start above `fence`. */
  startAbove(fence: number): void {
    this.#lastFence = Math.max(this.#lastFence, fence);
  }

  async tryAcquire(name: string, holder: string, ttlMs: number): Promise<LeaseGrant | null> {
    checkLease(name, holder);
    const expiry = this.#expiry(ttlMs);
    if (this.#find(name) !== undefined) return null;
    this.#lastFence = Math.max(this.#lastFence + 1, Math.floor(this.#clock.wallNow() * 1_000));
    const grant = { name, holder, fence: String(this.#lastFence) };
    this.#held.set(name, { grant, expiry });
    this.#changes.lease(name);
    return { ...grant };
  }

  async renew(grant: LeaseGrant, ttlMs: number): Promise<boolean> {
    const expiry = this.#expiry(ttlMs);
    const held = this.#find(grant.name);
    if (held?.grant.fence !== grant.fence) return false;
    held.expiry = expiry;
    this.#changes.lease(grant.name);
    return true;
  }

  async release(grant: LeaseGrant): Promise<boolean> {
    if (this.#find(grant.name)?.grant.fence !== grant.fence) return false;
    this.#free(grant.name);
    return true;
  }

  async holder(name: string): Promise<LeaseGrant | null> {
    const held = this.#find(name);
    return held === undefined ? null : { ...held.grant };
  }

  #find(name: string): Held | undefined {
    const held = this.#held.get(name);
    if (held === undefined || held.expiry > this.#clock.now()) return held;
    this.#free(name);
    return undefined;
  }

  #free(name: string): void {
    this.#held.delete(name);
    this.#changes.lease(name);
  }

  #expiry(ttlMs: number): number {
    return this.#clock.now() + Number(leaseTtl(ttlMs));
  }
}
