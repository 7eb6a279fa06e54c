/** Every verb of the contract that the store's data decides, once: for tests that must hold for all of them. */
import type { Incarnation } from "../../runtime/actor/ids.ts";
import type { Coordinator, LeaseGrant, Owner } from "../../runtime/coordinator/contract.ts";
import { anActor, nodeRecord, operation, RAW_BYTES } from "./store.ts";

export interface VerbTarget {
  coordinator: Coordinator;
  incarnation: Incarnation;
  owner: Owner;
  grant: LeaseGrant;
}

/** Verb by name. Actors are new ones, so nobody owns them. */
export function everyVerb({
  coordinator,
  incarnation,
  owner,
  grant,
}: VerbTarget): Record<string, () => Promise<unknown>> {
  const { membership, directory, reminders, orphans, keyValue, leases } = coordinator;
  return {
    join: () => membership.join(nodeRecord("another"), operation()),
    renew: () => membership.renew(incarnation),
    update: () => membership.update(incarnation, nodeRecord("another")),
    heartbeats: () => membership.heartbeats([incarnation]),
    declareDead: () => membership.declareDead(incarnation, -1),
    leave: () => membership.leave("nobody" as Incarnation),
    view: () => membership.view(),
    claim: () => directory.claim({ actor: anActor(), incarnation, operation: operation() }),
    create: () => directory.claim({ actor: anActor(), incarnation, operation: operation(), create: RAW_BYTES }),
    requireState: () => directory.claim({ actor: anActor(), incarnation, operation: operation(), requireState: true }),
    takeover: () => directory.claim({ actor: anActor(), incarnation, operation: operation(), takeover: owner }),
    lookup: () => directory.lookup(anActor()),
    transfer: () => directory.transfer({ actor: anActor(), from: owner, to: incarnation, operation: operation() }),
    release: () => directory.release({ actor: anActor(), owner, operation: operation() }),
    commit: () =>
      directory.commit({ actor: anActor(), owner, expectedVersion: 0, bytes: RAW_BYTES, operation: operation() }),
    commitDue: () =>
      directory.commit({
        actor: anActor(),
        owner,
        expectedVersion: 0,
        bytes: RAW_BYTES,
        operation: operation(),
        dueMs: 1,
      }),
    take: () => reminders.take({ shard: 0, nowMs: 0, holdUntilMs: 1, limit: 1 }),
    end: () => directory.end({ actor: anActor(), owner, operation: operation(), tombstoneMs: 1_000 }),
    orphans: () => orphans.page({ alive: [incarnation], cursor: "" }),
    get: () => keyValue.get("key"),
    put: () => keyValue.put("key", RAW_BYTES),
    putIfAbsent: () => keyValue.putIfAbsent("key", RAW_BYTES, { ttlMs: 1_000 }),
    compareAndSet: () => keyValue.compareAndSet("key", "none", RAW_BYTES),
    delete: () => keyValue.delete("key"),
    list: () => keyValue.list(""),
    tryAcquire: () => leases.tryAcquire(operation(), "holder", 1_000),
    leaseRenew: () => leases.renew(grant, 1_000),
    leaseRelease: () => leases.release(grant),
    holder: () => leases.holder("lease"),
  };
}

/** A joined node with an actor and a lease, to run the verbs with. */
export async function verbTarget(coordinator: Coordinator): Promise<VerbTarget> {
  const { incarnation } = await coordinator.membership.join(nodeRecord("target"), operation());
  const claimed = await coordinator.directory.claim({ actor: anActor(), incarnation, operation: operation() });
  const grant = await coordinator.leases.tryAcquire(operation(), "holder", 60_000);
  if (claimed.outcome !== "claimed" || grant === null) throw new Error("the store was not empty");
  return { coordinator, incarnation, owner: { incarnation, epoch: claimed.epoch }, grant };
}
