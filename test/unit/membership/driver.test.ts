import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../../runtime/actor/clock.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import type { Incarnation, NodeId } from "../../../runtime/actor/ids.ts";
import type { Coordinator, Membership, NodeRecord } from "../../../runtime/coordinator/contract.ts";
import { SingleNodeCoordinator } from "../../../runtime/coordinator/single_node.ts";
import type { LeaseState } from "../../../runtime/placement/membership.ts";
import { MembershipDriver } from "../../../runtime/placement/membership_driver.ts";

/** A clock that moves only when told, and lets promises settle at every step. */
class TestClock implements Clock {
  #now = 1_000;
  #timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  wallNow(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  get pending(): number {
    return this.#timers.length;
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settled();
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.at);
      this.#timers = this.#timers.filter((other) => other !== next);
      next.run();
    }
    this.#now = end;
    await settled();
  }
}

/** Enough microtasks for every chain of promises here. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await null;
}

function record(id: string): NodeRecord {
  return {
    id: id as NodeId,
    url: `http://127.0.0.1/${id}`,
    meshUrl: "",
    pid: 1,
    runtime: "test",
    version: "0",
    startedAt: 0,
    labels: {},
    kinds: [],
    servers: [],
    state: "active",
  };
}

/** What may go wrong with one node's verbs. */
type Interference = Partial<{ [Verb in keyof Membership]: (real: Membership[Verb]) => Membership[Verb] }>;

/** The store of a test, as one node sees it. */
function seenBy(store: SingleNodeCoordinator, interference: () => Interference): Coordinator {
  const membership = new Proxy<Membership>(store.membership, {
    get(target, name) {
      const real: unknown = Reflect.get(target, name);
      const bound: unknown = typeof real === "function" ? real.bind(target) : real;
      const change = interference()[name as keyof Membership] as ((verb: unknown) => unknown) | undefined;
      return change === undefined ? bound : change(bound);
    },
  });
  return new Proxy<Coordinator>(store, {
    get: (target, name) => (name === "membership" ? membership : Reflect.get(target, name)),
  });
}

const DOWN: Interference = Object.fromEntries(
  (["join", "renew", "heartbeats", "declareDead", "view", "update", "leave"] as const).map((verb) => [
    verb,
    () => () => Promise.reject(new TroupeError("store_unavailable", "the store is down")),
  ]),
);

function cluster() {
  const clock = new TestClock();
  const store = new SingleNodeCoordinator(clock);
  const node = async (id: string) => {
    let interference: Interference = {};
    const driver = new MembershipDriver({ coordinator: seenBy(store, () => interference), clock });
    const leases: LeaseState[] = [];
    driver.onLease((state) => void leases.push(state));
    const incarnation = await driver.join(record(id));
    return {
      driver,
      leases,
      incarnation,
      interfere: (next: Interference) => {
        interference = next;
      },
    };
  };
  return { clock, store, node };
}

test("a node that joined is in the view, holds a lease, and renews it from when it sent the renewal", async () => {
  const { clock, node } = cluster();
  const start = clock.now();
  const one = await node("one");
  assert.deepEqual(
    one.driver.view.members.map(({ id, liveness }) => [id, liveness]),
    [["one", "alive"]],
  );
  assert.deepEqual(one.leases, [{ kind: "held", deadlineMs: start + 5_100 }]);
  await clock.advance(2_000);
  assert.deepEqual(one.leases.at(-1), { kind: "held", deadlineMs: start + 2_000 + 5_100 });
  await clock.advance(60_000);
  assert.equal(one.leases.filter(({ kind }) => kind !== "held").length, 0);
  one.driver.close();
});

test("a node that stops is declared by its peer, and every peer learns of it", async () => {
  const { clock, node } = cluster();
  const [one, two, three] = [await node("one"), await node("two"), await node("three")];
  await clock.advance(1_000);
  three.driver.close();
  await clock.advance(6_600 + 2 * 2_000);
  assert.equal(one.driver.isDead(three.incarnation), true);
  assert.equal(two.driver.isDead(three.incarnation), true);
  assert.equal(one.driver.isDead(two.incarnation), false);
  assert.equal(await one.driver.confirmDead(three.incarnation), true);
  assert.equal(await one.driver.confirmDead(two.incarnation), false);
  one.driver.close();
  two.driver.close();
});

test("evidence shortens the wait to a round trip, and is powerless against a node that renews", async () => {
  const { clock, store, node } = cluster();
  const [one, two, three] = [await node("one"), await node("two"), await node("three")];
  await clock.advance(1_000);
  three.driver.close();
  one.driver.onEvidence(three.incarnation);
  await clock.advance(10);
  assert.equal(two.driver.isDead(three.incarnation), true);
  // A counter that moves between each look and the declaration.
  let tries = 0;
  one.interfere({
    declareDead: (real) => async (incarnation, heartbeat) => {
      tries++;
      await store.membership.renew(incarnation);
      return real(incarnation, heartbeat);
    },
  });
  one.driver.onEvidence(two.incarnation);
  await clock.advance(2_000);
  assert.equal(tries, 3, "a bounded number of tries");
  assert.equal(one.driver.isDead(two.incarnation), false);
  one.driver.close();
  two.driver.close();
});

test("renewals overlap: one that hangs does not stop the next, and a late answer counts from when it was sent", async () => {
  const { clock, node } = cluster();
  const one = await node("one");
  const start = clock.now();
  const held: (() => void)[] = [];
  one.interfere({
    renew: (real) => (incarnation) =>
      held.length < 1 ? new Promise((resolve) => held.push(() => resolve(real(incarnation)))) : real(incarnation),
  });
  await clock.advance(2_000);
  assert.equal(held.length, 1);
  await clock.advance(2_000);
  const renewed = { kind: "held", deadlineMs: start + 4_000 + 5_100 } as const;
  assert.deepEqual(one.leases.at(-1), renewed, "the second renewal went through");
  await clock.advance(500);
  held[0]?.();
  await clock.advance(0);
  assert.deepEqual(one.leases.at(-1), renewed, "the first, answered late, extends nothing");
  one.driver.close();
});

test("a node without its store parks when its lease ends, and revives with the next acknowledged renewal", async () => {
  const { clock, node } = cluster();
  const one = await node("one");
  one.interfere(DOWN);
  await clock.advance(5_000);
  assert.equal(one.driver.lease.kind, "held");
  await clock.advance(500);
  assert.equal(one.leases.at(-1)?.kind, "parked");
  one.interfere({});
  await clock.advance(1_000);
  assert.equal(one.leases.at(-1)?.kind, "held");
  assert.equal(one.driver.incarnation, one.incarnation);
  one.driver.close();
});

test("a store that hangs is a store that fails", async () => {
  const { clock, node } = cluster();
  const [one, two] = [await node("one"), await node("two")];
  const hangs = () => () => new Promise<never>(() => {});
  one.interfere({ renew: hangs, heartbeats: hangs, view: hangs, declareDead: hangs });
  await clock.advance(5_500);
  assert.equal(one.driver.lease.kind, "parked");
  await assert.rejects(async () => {
    const answer = one.driver.confirmDead(two.incarnation);
    answer.catch(() => {});
    await clock.advance(12_100);
    await answer;
  }, /did not answer/);
  one.driver.close();
  two.driver.close();
});

test("a node that was declared dead is lost first, joins again when its actors are gone, and says so", async () => {
  const { clock, node } = cluster();
  const [one, two] = [await node("one"), await node("two")];
  const story: string[] = [];
  let dropped = (): void => {};
  one.driver.onLease((state) => {
    if (state.kind === "held") return;
    story.push(state.kind);
    if (state.kind !== "lost") return;
    return new Promise<void>((resolve) => {
      dropped = resolve;
    });
  });
  one.driver.onRejoin((incarnation) => void story.push(`rejoined, another: ${incarnation !== one.incarnation}`));
  one.interfere(DOWN);
  await clock.advance(12_000);
  assert.deepEqual(story, ["parked"]);
  assert.equal(two.driver.isDead(one.incarnation), true);
  one.interfere({});
  await clock.advance(5_000);
  assert.deepEqual(story, ["parked", "lost"], "it waits for its actors");
  dropped();
  await clock.advance(1_000);
  assert.deepEqual(story, ["parked", "lost", "rejoined, another: true"]);
  assert.equal(one.driver.lease.kind, "held");
  assert.deepEqual(
    two.driver.view.members.filter(({ liveness }) => liveness === "alive").map(({ id }) => id),
    ["two", "one"],
  );
  one.driver.close();
  two.driver.close();
});

test("joining replays one operation until the store answers, and takes one incarnation", async () => {
  const clock = new TestClock();
  const store = new SingleNodeCoordinator(clock);
  const operations = new Set<string>();
  let replies = 0;
  const coordinator = seenBy(store, () => ({
    join: (real) => async (given, operation) => {
      operations.add(operation);
      const answer = await real(given, operation);
      if (replies++ < 2) throw new TroupeError("store_unavailable", "the reply was lost", { started: "unknown" });
      return answer;
    },
  }));
  const driver = new MembershipDriver({ coordinator, clock });
  const joined = driver.join(record("one"));
  await clock.advance(5_000);
  await joined;
  assert.equal(operations.size, 1);
  assert.equal((await store.membership.view()).members.length, 1);
  driver.close();
});

test("a node that cannot join says why within its time", async () => {
  const clock = new TestClock();
  const coordinator = seenBy(new SingleNodeCoordinator(clock), () => DOWN);
  const joined = new MembershipDriver({ coordinator, clock }).join(record("one"));
  const rejected = assert.rejects(joined, /the store is down/);
  await clock.advance(15_000);
  await rejected;
});

test("after a reset of the store the node writes back what it owns, and again when that failed", async () => {
  const { clock, node } = cluster();
  const one = await node("one");
  let resets = 0;
  one.driver.onReset(async (incarnation) => {
    assert.equal(incarnation, one.incarnation);
    resets++;
    if (resets < 3) throw new TroupeError("store_unavailable", "not yet");
    one.interfere({});
    return { settled: true };
  });
  const reset = () => () => Promise.reject(new TroupeError("store_reset", "the store was emptied", { started: "no" }));
  one.interfere({ renew: reset, view: reset });
  await clock.advance(4_500);
  assert.ok(resets >= 3, `${resets} times`);
  assert.equal(one.driver.lease.kind, "held");
  one.driver.close();
});

test("no renewal extends the lease from a reset of the store until what the node owns is written back", async () => {
  const { clock, node } = cluster();
  const one = await node("one");
  let written = (_: { settled: boolean }): void => {};
  one.driver.onReset(
    () =>
      new Promise((resolve) => {
        written = resolve;
      }),
  );
  await clock.advance(1_000);
  const reset = () => () => Promise.reject(new TroupeError("store_reset", "the store was emptied", { started: "no" }));
  one.interfere({ view: reset, renew: reset });
  await clock.advance(2_000);
  // Membership is open again, the records are not back: renewals are counted, and prove nothing.
  one.interfere({});
  await clock.advance(10_000);
  assert.equal(one.driver.lease.kind, "parked");
  written({ settled: true });
  await clock.advance(10);
  assert.equal(one.driver.lease.kind, "held");
  one.driver.close();
});

test("a node whose lease had run out before it wrote back waits until the store has settled, and writes back again", async () => {
  const { clock, node } = cluster();
  const one = await node("one");
  let settled = false;
  let written = 0;
  one.driver.onReset(async () => {
    written++;
    return { settled };
  });
  one.interfere(DOWN);
  await clock.advance(8_000);
  assert.equal(one.driver.lease.kind, "parked");
  const reset = () => () => Promise.reject(new TroupeError("store_reset", "the store was emptied", { started: "no" }));
  one.interfere({ view: reset, renew: reset });
  await clock.advance(2_000);
  assert.ok(written > 0);
  one.interfere({});
  await clock.advance(6_000);
  assert.equal(one.driver.lease.kind, "parked");
  settled = true;
  const before = written;
  await clock.advance(2_000);
  assert.equal(one.driver.lease.kind, "held");
  assert.ok(written > before, "what it lost meanwhile was not asked for");
  one.driver.close();
});

test("deaths confirmed at the same time share a read that starts after they were asked for", async () => {
  const { clock, node } = cluster();
  const [one, two] = [await node("one"), await node("two")];
  let reads = 0;
  one.interfere({
    view: (real) => () => {
      reads++;
      return real();
    },
  });
  const answers = await Promise.all(Array.from({ length: 1_000 }, () => one.driver.confirmDead(two.incarnation)));
  assert.ok(answers.every((dead) => !dead));
  assert.ok(reads <= 2, `${reads} reads`);
  await clock.advance(0);
  one.driver.close();
  two.driver.close();
});

test("a node that is not in the membership itself confirms nobody's death", async () => {
  const { clock, store, node } = cluster();
  const [one, two] = [await node("one"), await node("two")];
  await store.membership.leave(two.incarnation);
  assert.equal(await one.driver.confirmDead(two.incarnation), true);
  // It would join again at once.
  one.interfere({ join: () => () => new Promise(() => {}) });
  await store.membership.leave(one.incarnation);
  assert.equal(await one.driver.confirmDead(two.incarnation), false);
  await clock.advance(0);
  one.driver.close();
});

test("an incarnation that the store has forgotten is still known to be dead, one not seen yet is not", async () => {
  const { clock, store, node } = cluster();
  const [one, two] = [await node("one"), await node("two")];
  await clock.advance(1_000);
  await two.driver.leave();
  for (let more = 0; more < 100; more++) {
    const { incarnation } = await store.membership.join(record(`n${more}`), `operation-${more}`);
    await store.membership.leave(incarnation);
  }
  await clock.advance(1_000);
  assert.equal(
    one.driver.view.members.some(({ incarnation }) => incarnation === two.incarnation),
    false,
  );
  assert.equal(one.driver.isDead(two.incarnation), true);
  assert.equal(one.driver.isDead("somebody new" as Incarnation), false);
  one.driver.close();
});

test("leaving is told to the store at once, and nothing runs afterwards", async () => {
  const { clock, store, node } = cluster();
  const [one, two] = [await node("one"), await node("two")];
  await one.driver.leave();
  await clock.advance(100);
  assert.equal(two.driver.isDead(one.incarnation), true);
  assert.equal(one.driver.lease.kind, "parked");
  two.driver.close();
  await clock.advance(10_000);
  assert.equal(clock.pending, 0);
  assert.equal((await store.membership.view()).members.filter(({ liveness }) => liveness === "alive").length, 1);
});

test("a lease shorter than three renewals is refused, naming the keys", () => {
  const clock = new TestClock();
  const coordinator = new SingleNodeCoordinator(clock);
  assert.throws(() => new MembershipDriver({ coordinator, clock, ttlMs: 5_000, renewMs: 2_000 }), /node_lease_ttl_ms/);
});
