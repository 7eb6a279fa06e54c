/** The contract of `Directory`, for any store. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ActorId, Epoch, Incarnation } from "../../runtime/actor/ids.ts";
import type { ClaimRequest, Coordinator, Owner } from "../../runtime/coordinator/contract.ts";
import { waitUntil } from "../harness/wait.ts";
import { anActor, bytesOf, join, type MakeStore, operation, RAW_BYTES, type Store, textOf } from "./store.ts";

const HOUR_MS = 3_600_000;

export function directoryContract(name: string, makeStore: MakeStore): void {
  describe(`${name}: directory`, () => {
    let store: Store;
    let one: Coordinator;
    let two: Coordinator;
    let node: Incarnation;
    let other: Incarnation;
    before(async () => {
      store = await makeStore();
      one = await store.connect();
      two = await store.connect();
      node = await join(one, "one");
      other = await join(two, "two");
    });
    after(() => store.close());

    const claim = async (request: Partial<ClaimRequest> & { actor: ActorId }): Promise<Owner> => {
      const incarnation = request.incarnation ?? node;
      const answer = await one.directory.claim({ operation: operation(), ...request, incarnation });
      assert.equal(answer.outcome, "claimed");
      return { incarnation, epoch: answer.outcome === "claimed" ? answer.epoch : ("" as Epoch) };
    };
    const commit = (actor: ActorId, owner: Owner, expectedVersion: number, text: string, id = operation()) =>
      one.directory.commit({ actor, owner, expectedVersion, bytes: bytesOf(text), operation: id });
    /** State as the next owner finds it. */
    const stored = async (actor: ActorId, owner: Owner): Promise<string> => {
      const answer = await two.directory.claim({ actor, incarnation: other, operation: operation(), takeover: owner });
      assert.equal(answer.outcome, "claimed");
      return answer.outcome === "claimed" ? `${answer.state?.version}:${textOf(answer.state?.bytes)}` : "";
    };

    describe("claim", () => {
      it("makes the caller the owner, or names who is", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        const answer = await two.directory.claim({ actor, incarnation: other, operation: operation() });
        assert.deepEqual(answer, { outcome: "owned", owner });
      });

      it("names the caller itself when it owns the actor already", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        const answer = await one.directory.claim({ actor, incarnation: node, operation: operation() });
        assert.deepEqual(answer, { outcome: "owned", owner });
      });

      it("has one winner among many at once, and tells all others who it is", async () => {
        for (let round = 0; round < 10; round += 1) {
          const actor = anActor();
          const answers = await Promise.all(
            Array.from({ length: 20 }, (_, index) =>
              index % 2 === 0
                ? one.directory.claim({ actor, incarnation: node, operation: operation() })
                : two.directory.claim({ actor, incarnation: other, operation: operation() }),
            ),
          );
          const winners = answers.filter((answer) => answer.outcome === "claimed");
          assert.equal(winners.length, 1);
          const epochs = answers.map((answer) =>
            answer.outcome === "claimed" ? answer.epoch : answer.outcome === "owned" ? answer.owner.epoch : "",
          );
          assert.equal(new Set(epochs).size, 1);
        }
      });

      it("answers a replay with the first answer, state included, and keeps the epoch", async () => {
        const actor = anActor();
        const request = { actor, incarnation: node, operation: operation(), create: RAW_BYTES };
        const first = await one.directory.claim(request);
        const second = await two.directory.claim(request);
        assert.equal(first.outcome, "claimed");
        assert.deepEqual(second, first);
      });

      it("creates nothing for a forged id when state is required", async () => {
        const actor = anActor();
        const request = { actor, incarnation: node, requireState: true };
        assert.deepEqual(await one.directory.claim({ ...request, operation: operation() }), { outcome: "absent" });
        assert.equal(await two.directory.lookup(actor), null);
        // An owner without state is no state either.
        const owner = await claim({ actor });
        await one.directory.release({ actor, owner, operation: operation() });
        assert.deepEqual(await one.directory.claim({ ...request, operation: operation() }), { outcome: "absent" });
      });

      it("finds state when it is required and there", async () => {
        const actor = anActor();
        const owner = await claim({ actor, create: RAW_BYTES });
        await one.directory.release({ actor, owner, operation: operation() });
        const answer = await two.directory.claim({
          actor,
          incarnation: other,
          operation: operation(),
          requireState: true,
        });
        assert.equal(answer.outcome, "claimed");
        assert.deepEqual(answer.outcome === "claimed" && answer.state, { version: 1, bytes: RAW_BYTES });
      });

      it("creates once: state there already means exists, owned or not", async () => {
        const actor = anActor();
        const owner = await claim({ actor, create: bytesOf("first") });
        const again = { actor, incarnation: other, create: bytesOf("second") };
        assert.deepEqual(await two.directory.claim({ ...again, operation: operation() }), { outcome: "exists" });
        await one.directory.release({ actor, owner, operation: operation() });
        assert.deepEqual(await two.directory.claim({ ...again, operation: operation() }), { outcome: "exists" });
        assert.equal(await stored(actor, owner), "1:first");
      });

      it("creates for one of many at once", async () => {
        const actor = anActor();
        const answers = await Promise.all(
          Array.from({ length: 10 }, () =>
            two.directory.claim({ actor, incarnation: other, operation: operation(), create: RAW_BYTES }),
          ),
        );
        assert.equal(answers.filter((answer) => answer.outcome === "claimed").length, 1);
        assert.equal(answers.filter((answer) => answer.outcome === "exists").length, 9);
      });

      it("is not fooled by a caller that changes its bytes afterwards", async () => {
        const actor = anActor();
        const bytes = bytesOf("kept");
        const owner = await claim({ actor, create: bytes });
        bytes.fill(0);
        const next = bytesOf("kept too");
        await one.directory.commit({ actor, owner, expectedVersion: 1, bytes: next, operation: operation() });
        next.fill(0);
        assert.equal(await stored(actor, owner), "2:kept too");
      });

      it("takes any actor key, whatever its characters", async () => {
        for (const key of ["{braces}", "a b", "ü/ä\n", "}{", "x".repeat(512)]) {
          const actor = `odd/${key}-${operation()}` as ActorId;
          const owner = await claim({ actor, create: bytesOf(key) });
          assert.equal(await stored(actor, owner), `1:${key}`);
        }
      });
    });

    describe("takeover", () => {
      it("goes by compare-and-set on the dead owner's incarnation and epoch", async () => {
        const actor = anActor();
        const dead = await claim({ actor, create: bytesOf("s") });
        const wrong: Owner[] = [
          { incarnation: dead.incarnation, epoch: "1.0000000000-1" as Epoch },
          { incarnation: other, epoch: dead.epoch },
        ];
        for (const takeover of wrong) {
          const answer = await two.directory.claim({ actor, incarnation: other, operation: operation(), takeover });
          assert.deepEqual(answer, { outcome: "owned", owner: dead });
        }
        const answer = await two.directory.claim({ actor, incarnation: other, operation: operation(), takeover: dead });
        assert.equal(answer.outcome, "claimed");
        assert.notEqual(answer.outcome === "claimed" && answer.epoch, dead.epoch);
        assert.deepEqual(await commit(actor, dead, 1, "zombie"), { outcome: "fenced" });
      });

      it("has one winner among many that confirmed the same death", async () => {
        const actor = anActor();
        const dead = await claim({ actor });
        const answers = await Promise.all(
          Array.from({ length: 20 }, () =>
            two.directory.claim({ actor, incarnation: other, operation: operation(), takeover: dead }),
          ),
        );
        assert.equal(answers.filter((answer) => answer.outcome === "claimed").length, 1);
      });

      it("lets a node take its own actor back from a worker that died", async () => {
        const actor = anActor();
        const dead = await claim({ actor });
        const next = await claim({ actor, takeover: dead });
        assert.notEqual(next.epoch, dead.epoch);
        assert.equal(await one.directory.release({ actor, owner: dead, operation: operation() }), "fenced");
      });

      it("claims a free actor even though it was asked to take it over", async () => {
        const actor = anActor();
        const dead = await claim({ actor });
        await one.directory.release({ actor, owner: dead, operation: operation() });
        await claim({ actor, takeover: dead });
      });
    });

    describe("commit", () => {
      it("writes state, version by version", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        assert.deepEqual(await commit(actor, owner, 0, "a"), { outcome: "committed", version: 1 });
        assert.deepEqual(await commit(actor, owner, 1, "b"), { outcome: "committed", version: 2 });
        assert.equal(await stored(actor, owner), "2:b");
      });

      it("keeps bytes as they are, none and many", async () => {
        for (const bytes of [new Uint8Array(), RAW_BYTES, new Uint8Array(300_000).fill(7)]) {
          const actor = anActor();
          const owner = await claim({ actor });
          await one.directory.commit({ actor, owner, expectedVersion: 0, bytes, operation: operation() });
          const answer = await two.directory.claim({
            actor,
            incarnation: other,
            operation: operation(),
            takeover: owner,
          });
          assert.deepEqual(answer.outcome === "claimed" && answer.state, { version: 1, bytes });
        }
      });

      it("answers a replay with the first version and writes once", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        const id = operation();
        assert.deepEqual(await commit(actor, owner, 0, "a", id), { outcome: "committed", version: 1 });
        assert.deepEqual(await commit(actor, owner, 0, "a", id), { outcome: "committed", version: 1 });
        assert.deepEqual(await commit(actor, owner, 1, "b"), { outcome: "committed", version: 2 });
        assert.equal(await stored(actor, owner), "2:b");
      });

      it("tells a conflict with the stored version, and writes nothing", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        await commit(actor, owner, 0, "a");
        assert.deepEqual(await commit(actor, owner, 0, "x"), { outcome: "conflict", version: 1 });
        assert.deepEqual(await commit(actor, owner, 2, "x"), { outcome: "conflict", version: 1 });
        assert.equal(await stored(actor, owner), "1:a");
      });

      it("lets one of many commits on the same version through", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, index) => commit(actor, owner, 0, `${index}`)),
        );
        assert.equal(answers.filter((answer) => answer.outcome === "committed").length, 1);
        assert.equal(answers.filter((answer) => answer.outcome === "conflict").length, 19);
      });

      it("is fenced for whoever is not the stored owner", async () => {
        const actor = anActor();
        const owner = await claim({ actor, create: bytesOf("a") });
        assert.deepEqual(await commit(actor, { ...owner, incarnation: other }, 1, "x"), { outcome: "fenced" });
        assert.deepEqual(await commit(actor, { ...owner, epoch: "0" as Epoch }, 1, "x"), { outcome: "fenced" });
        assert.deepEqual(await commit(anActor(), owner, 0, "x"), { outcome: "fenced" });
        await one.directory.release({ actor, owner, operation: operation() });
        assert.deepEqual(await commit(actor, owner, 1, "x"), { outcome: "fenced" });
        assert.equal(await stored(actor, owner), "1:a");
      });
    });

    describe("transfer", () => {
      it("hands the actor over under a new epoch, and fences the old owner", async () => {
        const actor = anActor();
        const from = await claim({ actor, create: bytesOf("a") });
        const answer = await one.directory.transfer({ actor, from, to: other, operation: operation() });
        assert.equal(answer.outcome, "transferred");
        const epoch = answer.outcome === "transferred" ? answer.epoch : ("" as Epoch);
        assert.notEqual(epoch, from.epoch);
        assert.deepEqual(await commit(actor, from, 1, "zombie"), { outcome: "fenced" });
        assert.deepEqual(await commit(actor, { incarnation: other, epoch }, 1, "b"), {
          outcome: "committed",
          version: 2,
        });
      });

      it("is answered the same on a replay, also after the new owner has committed", async () => {
        const actor = anActor();
        const request = { actor, from: await claim({ actor }), to: other, operation: operation() };
        const first = await one.directory.transfer(request);
        assert.equal(first.outcome, "transferred");
        const owner = { incarnation: other, epoch: first.outcome === "transferred" ? first.epoch : ("" as Epoch) };
        for (let version = 0; version < 6; version += 1) await commit(actor, owner, version, "x");
        assert.deepEqual(await one.directory.transfer(request), first);
        assert.deepEqual(await one.directory.lookup(actor), { owner, hasState: true, ended: false });
      });

      it("is refused to anybody but the owner", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        for (const from of [
          { ...owner, incarnation: other },
          { ...owner, epoch: "0" as Epoch },
        ]) {
          const answer = await two.directory.transfer({ actor, from, to: other, operation: operation() });
          assert.deepEqual(answer, { outcome: "fenced" });
        }
        assert.deepEqual((await one.directory.lookup(actor))?.owner, owner);
      });
    });

    describe("release", () => {
      it("frees the actor and keeps its state", async () => {
        const actor = anActor();
        const owner = await claim({ actor, create: bytesOf("a") });
        const id = operation();
        assert.equal(await one.directory.release({ actor, owner, operation: id }), "done");
        assert.equal(await one.directory.release({ actor, owner, operation: id }), "done");
        assert.equal(await one.directory.release({ actor, owner, operation: operation() }), "fenced");
        assert.deepEqual(await two.directory.lookup(actor), { owner: null, hasState: true, ended: false });
        const next = await two.directory.claim({ actor, incarnation: other, operation: operation() });
        assert.equal(next.outcome === "claimed" && textOf(next.state?.bytes), "a");
        assert.notEqual(next.outcome === "claimed" && next.epoch, owner.epoch);
      });

      it("does not free what the next owner claimed when it is replayed late", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        const request = { actor, owner, operation: operation() };
        await one.directory.release(request);
        const next = await claim({ actor });
        assert.equal(await one.directory.release(request), "done");
        assert.deepEqual((await one.directory.lookup(actor))?.owner, next);
      });

      it("leaves nothing to look up of an actor without state", async () => {
        const actor = anActor();
        const owner = await claim({ actor });
        await one.directory.release({ actor, owner, operation: operation() });
        assert.equal(await one.directory.lookup(actor), null);
      });
    });

    describe("end", () => {
      it("leaves a tombstone that nobody gets past, and no state", async () => {
        const actor = anActor();
        const owner = await claim({ actor, create: bytesOf("a") });
        const id = operation();
        const request = { actor, owner, operation: id, tombstoneMs: HOUR_MS };
        assert.equal(await one.directory.end(request), "done");
        assert.equal(await one.directory.end(request), "done");
        assert.deepEqual(await two.directory.lookup(actor), { owner: null, hasState: false, ended: true });
        const attempts: Partial<ClaimRequest>[] = [
          {},
          { requireState: true },
          { create: RAW_BYTES },
          { takeover: owner },
        ];
        for (const attempt of attempts) {
          const claimed = { ...attempt, actor, incarnation: other, operation: operation() };
          assert.deepEqual(await two.directory.claim(claimed), { outcome: "ended" });
        }
        assert.deepEqual(await commit(actor, owner, 1, "x"), { outcome: "fenced" });
      });

      it("is refused to anybody but the owner", async () => {
        const actor = anActor();
        const owner = await claim({ actor, create: bytesOf("a") });
        const wrong = { ...owner, epoch: "0" as Epoch };
        const request = { actor, owner: wrong, operation: operation(), tombstoneMs: HOUR_MS };
        assert.equal(await two.directory.end(request), "fenced");
        assert.equal(await stored(actor, owner), "1:a");
      });

      it("keeps the tombstone as long as it was asked to", async () => {
        const actor = anActor();
        const owner = await claim({ actor, create: bytesOf("a") });
        await one.directory.end({ actor, owner, operation: operation(), tombstoneMs: 40 });
        await waitUntil(async () => (await two.directory.lookup(actor)) === null, 2_000, "the tombstone to go");
        const request = { actor, incarnation: node, requireState: true, operation: operation() };
        assert.deepEqual(await one.directory.claim(request), { outcome: "absent" });
      });
    });

    describe("lookup", () => {
      it("reads without writing", async () => {
        const actor = anActor();
        assert.equal(await one.directory.lookup(actor), null);
        const owner = await claim({ actor });
        assert.deepEqual(await two.directory.lookup(actor), { owner, hasState: false, ended: false });
        await commit(actor, owner, 0, "a");
        assert.deepEqual(await two.directory.lookup(actor), { owner, hasState: true, ended: false });
      });
    });

    describe("epochs", () => {
      it("are new with every change of ownership", async () => {
        const actor = anActor();
        const epochs = new Set<string>();
        let owner = await claim({ actor });
        for (let round = 0; round < 5; round += 1) {
          epochs.add(owner.epoch);
          owner = await claim({ actor, takeover: owner });
          epochs.add(owner.epoch);
          await one.directory.release({ actor, owner, operation: operation() });
          owner = await claim({ actor });
        }
        epochs.add(owner.epoch);
        assert.equal(epochs.size, 11);
      });
    });

    describe("reassert without a reset", () => {
      it("keeps what the node owns and names what it does not", async () => {
        const [kept, lost, unknown] = [anActor(), anActor(), anActor()];
        const keptOwner = await claim({ actor: kept, create: bytesOf("a") });
        const lostOwner = await claim({ actor: lost, create: bytesOf("b") });
        const taken = { actor: lost, incarnation: other, operation: operation(), takeover: lostOwner };
        assert.equal((await two.directory.claim(taken)).outcome, "claimed");
        const answer = await one.directory.reassert(node, [
          { actor: kept, epoch: keptOwner.epoch, state: { version: 1, bytes: bytesOf("a") } },
          { actor: lost, epoch: lostOwner.epoch, state: { version: 1, bytes: bytesOf("b") } },
        ]);
        assert.deepEqual(answer.lost, [lost]);
        assert.deepEqual((await two.directory.lookup(kept))?.owner, keptOwner);
        assert.equal((await two.directory.lookup(lost))?.owner?.incarnation, other);
        assert.equal(await two.directory.lookup(unknown), null);
      });

      it("gives a node that was declared dead nothing back", async () => {
        const actor = anActor();
        const dead = await join(one, "dead");
        const owner = await claim({ actor, incarnation: dead, create: bytesOf("a") });
        const beats = await two.membership.heartbeats([dead]);
        assert.equal(await two.membership.declareDead(dead, beats.get(dead) ?? -1), "declared");
        const answer = await one.directory.reassert(dead, [
          { actor, epoch: owner.epoch, state: { version: 1, bytes: bytesOf("a") } },
        ]);
        assert.deepEqual(answer.lost, [actor]);
        assert.deepEqual(await one.membership.renew(dead), { outcome: "declared-dead" });
      });
    });
  });
}
