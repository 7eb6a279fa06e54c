/** The contract of the due index, for any store. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { ActorId, Epoch, Incarnation } from "../../runtime/actor/ids.ts";
import type { Coordinator, Owner } from "../../runtime/coordinator/contract.ts";
import { waitUntil } from "../harness/wait.ts";
import { anActor, bytesOf, join, type MakeStore, operation, type Store } from "./store.ts";

/** Wall clock time of these tests; stores must not look at their own. */
const NOW = 1_800_000_000_123;
const HOLD = NOW + 10_000;

export function remindersContract(name: string, makeStore: MakeStore): void {
  describe(`${name}: reminders`, () => {
    let store: Store;
    let one: Coordinator;
    let two: Coordinator;
    let node: Incarnation;
    beforeEach(async () => {
      store = await makeStore();
      one = await store.connect();
      two = await store.connect();
      node = await join(one, "one");
    });
    afterEach(() => store.close());

    /** An owned actor whose first commit says when its earliest reminder is due. */
    const reminded = async (dueMs: number): Promise<{ actor: ActorId; owner: Owner; version: number }> => {
      const actor = anActor();
      const claimed = await one.directory.claim({ actor, incarnation: node, operation: operation() });
      assert.ok(claimed.outcome === "claimed");
      const owner = { incarnation: node, epoch: claimed.epoch };
      assert.equal((await commit(actor, owner, 0, dueMs)).outcome, "committed");
      return { actor, owner, version: 1 };
    };
    const commit = (actor: ActorId, owner: Owner, expectedVersion: number, dueMs?: number | null, id = operation()) =>
      one.directory.commit({ actor, owner, expectedVersion, bytes: bytesOf("s"), operation: id, dueMs });
    /** Takes from every shard. */
    const takeAll = async (nowMs: number, limit = 100, from = two): Promise<{ due: ActorId[]; nextMs: number[] }> => {
      const shards = Array.from({ length: from.reminders.shards }, (_, shard) => shard);
      const taken = await Promise.all(
        shards.map((shard) => from.reminders.take({ shard, nowMs, holdUntilMs: nowMs + 10_000, limit })),
      );
      return {
        due: taken.flatMap(({ due }) => due),
        nextMs: taken.flatMap(({ nextMs }) => nextMs ?? []).sort((a, b) => a - b),
      };
    };

    it("are none in an empty store", async () => {
      assert.deepEqual(await takeAll(Number.MAX_SAFE_INTEGER), { due: [], nextMs: [] });
    });

    it("are due from their time on, not before", async () => {
      const { actor } = await reminded(NOW);
      assert.deepEqual(await takeAll(NOW - 1), { due: [], nextMs: [NOW] });
      assert.deepEqual(await takeAll(NOW), { due: [actor], nextMs: [HOLD] });
    });

    it("are given to one caller, and again once their hold is over", async () => {
      const actors = new Set<ActorId>();
      for (let index = 0; index < 20; index++) actors.add((await reminded(NOW - index)).actor);
      const answers = await Promise.all([takeAll(NOW), takeAll(NOW, 100, one), takeAll(NOW)]);
      const taken = answers.flatMap(({ due }) => due);
      assert.equal(taken.length, actors.size);
      assert.deepEqual(new Set(taken), actors);
      assert.deepEqual((await takeAll(HOLD - 1)).due, []);
      assert.equal((await takeAll(HOLD)).due.length, actors.size);
    });

    it("come at most as many as asked for, the earliest of a shard first", async () => {
      const dues = new Map<ActorId, number>();
      for (let index = 0; index < 40; index++) {
        const dueMs = NOW - ((index * 7) % 40);
        dues.set((await reminded(dueMs)).actor, dueMs);
      }
      const seen: ActorId[] = [];
      for (let shard = 0; shard < two.reminders.shards; shard++) {
        let last = 0;
        for (;;) {
          const { due } = await two.reminders.take({ shard, nowMs: NOW, holdUntilMs: HOLD, limit: 3 });
          assert.ok(due.length <= 3);
          for (const actor of due) {
            const dueMs = dues.get(actor) ?? 0;
            assert.ok(dueMs >= last);
            last = dueMs;
          }
          seen.push(...due);
          if (due.length === 0) break;
        }
      }
      assert.deepEqual(new Set(seen), new Set(dues.keys()));
      assert.equal(seen.length, dues.size);
    });

    it("follow the commits: moved, kept, and gone", async () => {
      const { actor, owner } = await reminded(NOW);
      await commit(actor, owner, 1, NOW + 500);
      assert.deepEqual(await takeAll(NOW), { due: [], nextMs: [NOW + 500] });
      // A commit that says nothing changes nothing.
      await commit(actor, owner, 2);
      assert.deepEqual(await takeAll(NOW), { due: [], nextMs: [NOW + 500] });
      await commit(actor, owner, 3, null);
      assert.deepEqual(await takeAll(NOW + 1_000), { due: [], nextMs: [] });
    });

    it("are moved out of a hold by a commit", async () => {
      const { actor, owner } = await reminded(NOW);
      assert.deepEqual((await takeAll(NOW)).due, [actor]);
      await commit(actor, owner, 1, NOW + 100);
      assert.deepEqual(await takeAll(NOW + 100), { due: [actor], nextMs: [NOW + 10_100] });
    });

    it("are not changed by a commit that is refused, nor twice by one that is replayed", async () => {
      const { actor, owner } = await reminded(NOW);
      const stranger = { ...owner, epoch: "0" as Epoch };
      assert.equal((await commit(actor, stranger, 1, NOW + 1)).outcome, "fenced");
      assert.equal((await commit(actor, owner, 7, NOW + 1)).outcome, "conflict");
      assert.deepEqual((await takeAll(0)).nextMs, [NOW]);
      const id = operation();
      await commit(actor, owner, 1, NOW + 2, id);
      assert.deepEqual((await takeAll(NOW + 2)).due, [actor]);
      assert.deepEqual(await commit(actor, owner, 1, NOW + 2, id), { outcome: "committed", version: 2 });
      assert.deepEqual((await takeAll(0)).nextMs, [NOW + 2 + 10_000], "the replay did not take the hold away");
    });

    it("stay when the owner gives the actor up, and go with its end", async () => {
      const released = await reminded(NOW);
      await one.directory.release({ actor: released.actor, owner: released.owner, operation: operation() });
      const ended = await reminded(NOW);
      const { actor, owner } = ended;
      await one.directory.end({ actor, owner, operation: operation(), tombstoneMs: 60_000 });
      assert.deepEqual((await takeAll(NOW)).due, [released.actor]);
    });

    it("tell who watches when the earliest of a shard changed, and only then", async () => {
      const told: [shard: number | null, dueMs: number | null][] = [];
      const stop = two.reminders.onEarliest((shard, dueMs) => void told.push([shard, dueMs]));
      const { actor, owner } = await reminded(NOW);
      await waitUntil(() => told.some(([, dueMs]) => dueMs === NOW), 5_000, "the first");
      const [shard] = told[0] ?? [];
      await commit(actor, owner, 1, NOW);
      await commit(actor, owner, 2, NOW - 5);
      await commit(actor, owner, 3, null);
      await waitUntil(() => told.length >= 3, 5_000, "the last");
      assert.deepEqual(told, [
        [shard, NOW],
        [shard, NOW - 5],
        [shard, null],
      ]);
      stop();
      await reminded(NOW);
      assert.equal(told.length, 3);
    });
  });
}
