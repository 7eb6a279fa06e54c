/**
 * Leases in memory. Fences start at the wall clock's microseconds, so they also grow over restarts of the process.
 */
import type { Clock } from "../../actor/clock.ts";
import type { LeaseGrant, Leases } from "../contract.ts";
import { checkLease, leaseTtl } from "../lease.ts";

interface Held {
  grant: LeaseGrant;
  expiry: number;
}

export class MemoryLeases implements Leases {
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();
  #lastFence = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async tryAcquire(name: string, holder: string, ttlMs: number): Promise<LeaseGrant | null> {
    checkLease(name, holder);
    const expiry = this.#expiry(ttlMs);
    if (this.#find(name) !== undefined) return null;
    this.#lastFence = Math.max(this.#lastFence + 1, Math.floor(this.#clock.wallNow() * 1_000));
    const grant = { name, holder, fence: String(this.#lastFence) };
    this.#held.set(name, { grant, expiry });
    return { ...grant };
  }

  async renew(grant: LeaseGrant, ttlMs: number): Promise<boolean> {
    const expiry = this.#expiry(ttlMs);
    const held = this.#find(grant.name);
    if (held?.grant.fence !== grant.fence) return false;
    held.expiry = expiry;
    return true;
  }

  async release(grant: LeaseGrant): Promise<boolean> {
    if (this.#find(grant.name)?.grant.fence !== grant.fence) return false;
    return this.#held.delete(grant.name);
  }

  async holder(name: string): Promise<LeaseGrant | null> {
    const held = this.#find(name);
    return held === undefined ? null : { ...held.grant };
  }

  #find(name: string): Held | undefined {
    const held = this.#held.get(name);
    if (held === undefined || held.expiry > this.#clock.now()) return held;
    this.#held.delete(name);
    return undefined;
  }

  #expiry(ttlMs: number): number {
    return this.#clock.now() + Number(leaseTtl(ttlMs));
  }
}
