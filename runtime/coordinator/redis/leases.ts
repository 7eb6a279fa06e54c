/**
 * Leases: a key that expires and a fence that only grows.
 *
 * The expiry runs on the server's clock and is what makes a lease lapse; it is never what makes it safe. Safety is the
 * fence: it comes from one counter for all names, which is also kept above the server's microsecond clock, so that it
 * grows on when the counter is lost with the store. Whoever guards something with a lease hands the fence along and has
 * the guarded thing refuse smaller ones.
 */
import type { LeaseGrant, Leases } from "../contract.ts";
import { checkLease, leaseTtl } from "../lease.ts";
import type { RedisConnection } from "./connection.ts";
import type { GenerationKeeper } from "./generation.ts";
import type { Keys } from "./keys.ts";
import { defineScript, type Script, text } from "./script.ts";

const acquireScript = defineScript({
  name: "acquire lease",
  keys: ["lease", "fences"],
  args: ["holder", "ttl"],
  acknowledged: true,
  lua: `
if redis.call('EXISTS', lease) == 1 then return {'held'} end
-- Rule: above every fence before, also above those of a store that was lost.
local time = redis.call('TIME')
local clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
local fence = string.format('%.0f', math.max(clock, tonumber(redis.call('GET', fences) or '0') + 1))
redis.call('SET', fences, fence)
redis.call('HSET', lease, 'holder', holder, 'fence', fence)
redis.call('PEXPIRE', lease, ttl)
return {'granted', fence}`,
});

const renewScript = defineScript({
  name: "renew lease",
  keys: ["lease"],
  args: ["fence", "ttl"],
  acknowledged: true,
  lua: `
if redis.call('HGET', lease, 'fence') ~= fence then return {'lost'} end
redis.call('PEXPIRE', lease, ttl)
return {'done'}`,
});

const releaseScript = defineScript({
  name: "release lease",
  keys: ["lease"],
  args: ["fence"],
  acknowledged: true,
  lua: `
if redis.call('HGET', lease, 'fence') ~= fence then return {'lost'} end
redis.call('DEL', lease)
return {'done'}`,
});

const holderScript = defineScript({
  name: "lease holder",
  keys: ["lease"],
  args: [],
  lua: `
local holder, fence = unpack(redis.call('HMGET', lease, 'holder', 'fence'))
return {fence and 'held' or 'free', holder or '', fence or ''}`,
});

export class RedisLeases implements Leases {
  readonly #keys: Keys;
  readonly #generation: GenerationKeeper;
  readonly #commands: RedisConnection;

  constructor(keys: Keys, generation: GenerationKeeper, commands: RedisConnection) {
    this.#keys = keys;
    this.#generation = generation;
    this.#commands = commands;
  }

  async tryAcquire(name: string, holder: string, ttlMs: number): Promise<LeaseGrant | null> {
    checkLease(name, holder);
    const answer = await this.#run(acquireScript, name, [holder, leaseTtl(ttlMs)]);
    return text(answer[0]) === "granted" ? { name, holder, fence: text(answer[1]) } : null;
  }

  async renew(grant: LeaseGrant, ttlMs: number): Promise<boolean> {
    return text((await this.#run(renewScript, grant.name, [grant.fence, leaseTtl(ttlMs)]))[0]) === "done";
  }

  async release(grant: LeaseGrant): Promise<boolean> {
    return text((await this.#run(releaseScript, grant.name, [grant.fence]))[0]) === "done";
  }

  async holder(name: string): Promise<LeaseGrant | null> {
    const answer = await this.#run(holderScript, name, []);
    return text(answer[0]) === "held" ? { name, holder: text(answer[1]), fence: text(answer[2]) } : null;
  }

  #run(script: Script, name: string, args: readonly string[]): Promise<readonly unknown[]> {
    const { leaseGeneration, fences } = this.#keys;
    return this.#generation.run(this.#commands, script, [leaseGeneration, this.#keys.lease(name), fences], args);
  }
}
