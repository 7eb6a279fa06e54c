/** The contract of `Membership`, for any store. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Incarnation } from "../../runtime/actor/ids.ts";
import type { Coordinator } from "../../runtime/coordinator/contract.ts";
import { waitUntil } from "../harness/wait.ts";
import { join, type MakeStore, nodeRecord, operation, type Store } from "./store.ts";

export function membershipContract(name: string, makeStore: MakeStore): void {
  describe(`${name}: membership`, () => {
    let store: Store;
    let one: Coordinator;
    let two: Coordinator;
    before(async () => {
      store = await makeStore();
      one = await store.connect();
      two = await store.connect();
    });
    after(() => store.close());

    const heartbeat = async (incarnation: Incarnation): Promise<number> => {
      const beats = await two.membership.heartbeats([incarnation]);
      const beat = beats.get(incarnation);
      assert.ok(beat !== undefined, `${incarnation} has no heartbeat`);
      return beat;
    };

    it("gives each join an incarnation of its own, also to the same node and to many at once", async () => {
      const joins = Array.from({ length: 20 }, (_, index) => join(index % 2 === 0 ? one : two, "same"));
      const incarnations = await Promise.all(joins);
      assert.equal(new Set(incarnations).size, incarnations.length);
    });

    it("answers a replayed join with the first incarnation and counts one member", async () => {
      const id = operation();
      const first = await one.membership.join(nodeRecord("replayed"), id);
      const second = await two.membership.join(nodeRecord("replayed"), id);
      assert.equal(second.incarnation, first.incarnation);
      const { members } = await two.membership.view();
      assert.equal(members.filter((member) => member.id === "replayed").length, 1);
    });

    it("refuses an operation id that could not be stored", async () => {
      for (const bad of ["", "with space", "line\nbreak", "x".repeat(129)]) {
        await assert.rejects(one.membership.join(nodeRecord("bad"), bad), { code: "invalid_argument", started: "no" });
      }
    });

    it("shows a member's whole record to every node, with the generation", async () => {
      const incarnation = await join(one, "shown");
      const view = await two.membership.view();
      assert.equal(view.generation, one.generation);
      assert.deepEqual(
        view.members.find((member) => member.incarnation === incarnation),
        { ...nodeRecord("shown"), incarnation, liveness: "alive" },
      );
    });

    it("bumps the counter with each renew, without bumping the view", async () => {
      const incarnation = await join(one, "renewing");
      const before = await heartbeat(incarnation);
      const { view } = await two.membership.view();
      const answers = [await one.membership.renew(incarnation), await one.membership.renew(incarnation)];
      assert.deepEqual(answers, [
        { outcome: "renewed", view },
        { outcome: "renewed", view },
      ]);
      assert.equal(await heartbeat(incarnation), before + 2);
    });

    it("reads several counters at once and leaves out the unknown", async () => {
      const [a, b] = [await join(one, "a"), await join(two, "b")];
      const beats = await one.membership.heartbeats([a, "nobody" as Incarnation, b]);
      assert.deepEqual([...beats.keys()], [a, b]);
      assert.equal((await one.membership.heartbeats([])).size, 0);
    });

    it("changes a record and bumps the view", async () => {
      const incarnation = await join(one, "updated");
      const before = await one.membership.view();
      assert.equal(await one.membership.update(incarnation, nodeRecord("updated", "draining")), "updated");
      const view = await two.membership.view();
      assert.equal(view.members.find((member) => member.incarnation === incarnation)?.state, "draining");
      assert.ok(view.view > before.view);
    });

    it("declares a silent incarnation dead for exactly one of many callers", async () => {
      const incarnation = await join(one, "silent");
      const observed = await heartbeat(incarnation);
      const before = await one.membership.view();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? one : two).membership.declareDead(incarnation, observed),
        ),
      );
      assert.equal(answers.filter((answer) => answer === "declared").length, 1);
      assert.equal(answers.filter((answer) => answer === "already-dead").length, 19);
      const view = await two.membership.view();
      assert.equal(view.view, before.view + 1);
      assert.equal(view.members.find((member) => member.incarnation === incarnation)?.liveness, "dead");
      assert.deepEqual(await one.membership.renew(incarnation), { outcome: "declared-dead" });
      assert.equal(await one.membership.update(incarnation, nodeRecord("silent")), "declared-dead");
      assert.equal((await one.membership.heartbeats([incarnation])).size, 0);
    });

    it("lets a renew that came first win over a declaration", async () => {
      const incarnation = await join(one, "alive");
      const observed = await heartbeat(incarnation);
      await one.membership.renew(incarnation);
      assert.equal(await two.membership.declareDead(incarnation, observed), "alive");
      assert.equal((await one.membership.renew(incarnation)).outcome, "renewed");
    });

    it("never has both a renew and a declaration of the same counter succeed", async () => {
      for (let round = 0; round < 20; round += 1) {
        const incarnation = await join(one, "racing");
        const observed = await heartbeat(incarnation);
        const [renewed, declared] = await Promise.all([
          one.membership.renew(incarnation),
          two.membership.declareDead(incarnation, observed),
        ]);
        assert.notEqual(renewed.outcome === "renewed", declared === "declared");
      }
    });

    it("treats leaving as a declared death", async () => {
      const incarnation = await join(one, "leaving");
      await one.membership.leave(incarnation);
      await one.membership.leave(incarnation);
      assert.deepEqual(await one.membership.renew(incarnation), { outcome: "declared-dead" });
      assert.equal(await two.membership.declareDead(incarnation, 0), "already-dead");
      const { members } = await two.membership.view();
      assert.equal(members.find((member) => member.incarnation === incarnation)?.liveness, "dead");
    });

    it("never gives the number of a dead incarnation to a later one", async () => {
      const dead = await join(one, "phoenix");
      await one.membership.leave(dead);
      assert.notEqual(await join(two, "phoenix"), dead);
    });

    it("tells listeners of every change, until they stop", async () => {
      let calls = 0;
      let other = 0;
      const stop = one.membership.onChange(() => {
        calls += 1;
      });
      const stopOther = one.membership.onChange(() => {
        other += 1;
      });
      const expectCall = async (change: () => Promise<unknown>): Promise<void> => {
        const before = calls;
        await change();
        await waitUntil(() => calls > before, 2_000, "a change to be told");
      };
      let incarnation = "" as Incarnation;
      await expectCall(async () => {
        incarnation = await join(two, "told");
      });
      await expectCall(() => two.membership.update(incarnation, nodeRecord("told", "draining")));
      await expectCall(async () => two.membership.declareDead(incarnation, await heartbeat(incarnation)));
      stop();
      const [callsThen, otherThen] = [calls, other];
      await join(two, "untold");
      await waitUntil(() => other > otherThen, 2_000, "the other listener to be told");
      assert.equal(calls, callsThen);
      stopOther();
    });

    it("lists a bounded number of the dead, the newest ones", async () => {
      const store = await makeStore();
      try {
        const coordinator = await store.connect();
        const dead: Incarnation[] = [];
        for (let index = 0; index < 40; index += 1) {
          const incarnation = await join(coordinator, `n${index}`);
          await coordinator.membership.leave(incarnation);
          dead.push(incarnation);
        }
        const listed = (await coordinator.membership.view()).members.map((member) => member.incarnation);
        assert.deepEqual(new Set(listed), new Set(dead.slice(-32)));
      } finally {
        await store.close();
      }
    });
  });
}
