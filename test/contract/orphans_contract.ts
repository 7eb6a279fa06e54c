/** The contract of the walk over records that nobody living owns, for any store. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { ActorId, Incarnation } from "../../runtime/actor/ids.ts";
import type { Coordinator, Orphan, Owner } from "../../runtime/coordinator/contract.ts";
import { anActor, join, type MakeStore, operation, RAW_BYTES, type Store } from "./store.ts";

export function orphansContract(name: string, makeStore: MakeStore): void {
  describe(`${name}: orphans`, () => {
    let store: Store;
    let coordinator: Coordinator;
    let node: Incarnation;
    let other: Incarnation;
    beforeEach(async () => {
      store = await makeStore();
      coordinator = await store.connect();
      node = await join(coordinator, "one");
      other = await join(coordinator, "two");
    });
    afterEach(() => store.close());

    const claim = async (incarnation: Incarnation, create?: Uint8Array, actor = anActor()) => {
      const claimed = await coordinator.directory.claim({ actor, incarnation, operation: operation(), create });
      assert.ok(claimed.outcome === "claimed");
      return { actor, owner: { incarnation, epoch: claimed.epoch } };
    };
    /** A whole walk. */
    const walk = async (alive: readonly Incarnation[]): Promise<Map<ActorId, Orphan>> => {
      const found = new Map<ActorId, Orphan>();
      let cursor = "";
      let parts = 0;
      do {
        const part = await coordinator.orphans.page({ alive, cursor });
        for (const orphan of part.orphans) found.set(orphan.actor, orphan);
        cursor = part.cursor;
        parts += 1;
        assert.ok(parts < 1_000, "the walk must end");
      } while (cursor !== "");
      return found;
    };

    it("finds what a dead node owned, with and without state, and nothing of the living", async () => {
      const mine = await claim(node, RAW_BYTES);
      const [kept, bare] = [await claim(other, RAW_BYTES), await claim(other)];
      const found = await walk([node]);
      assert.deepEqual([...found.keys()].sort(), [kept.actor, bare.actor].sort());
      for (const { actor, owner } of [kept, bare]) {
        assert.deepEqual(found.get(actor), { actor, owner, epoch: owner.epoch });
      }
      assert.equal((await walk([node, other])).has(mine.actor), false);
    });

    it("finds state that was given up, and forgets what was given up without any", async () => {
      const [kept, bare] = [await claim(node, RAW_BYTES), await claim(node)];
      for (const { actor, owner } of [kept, bare]) {
        assert.equal(await coordinator.directory.release({ actor, owner, operation: operation() }), "done");
      }
      const found = await walk([node, other]);
      assert.deepEqual([...found.values()], [{ actor: kept.actor, owner: null, epoch: kept.owner.epoch }]);
      const again = await claim(node, undefined, kept.actor);
      assert.equal((await walk([node, other])).size, 0);
      await coordinator.directory.release({ ...again, operation: operation() });
      assert.notEqual((await walk([node])).get(kept.actor)?.epoch, kept.owner.epoch);
    });

    it("follows a transfer, and leaves out what was ended", async () => {
      const [moved, ended] = [await claim(node, RAW_BYTES), await claim(node, RAW_BYTES)];
      const { actor, owner: from } = moved;
      const transferred = await coordinator.directory.transfer({ actor, from, to: other, operation: operation() });
      assert.ok(transferred.outcome === "transferred");
      const end = { actor: ended.actor, owner: ended.owner, operation: operation(), tombstoneMs: 60_000 };
      assert.equal(await coordinator.directory.end(end), "done");
      const owner: Owner = { incarnation: other, epoch: transferred.epoch };
      assert.deepEqual([...(await walk([node])).values()], [{ actor, owner, epoch: owner.epoch }]);
      assert.equal((await walk([other])).size, 0);
    });

    it("takes a bounded part at a time, and sees each of many records", async () => {
      const actors = await Promise.all(Array.from({ length: 1_500 }, async () => (await claim(other)).actor));
      const first = await coordinator.orphans.page({ alive: [node], cursor: "" });
      assert.ok(first.orphans.length < 1_000 && first.cursor !== "");
      assert.deepEqual([...(await walk([node])).keys()].sort(), actors.sort());
    });
  });
}
