import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Cancellation } from "../../../actors/cancellation/cancellation.ts";
import { type CancellationScope, cancellationScope } from "../../../actors/cancellation/client.ts";
import { CancellationScopeState, MAX_JOINERS, MAX_PARENTS } from "../../../actors/cancellation/scope.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import type { TestNode } from "../actor/kit.ts";
import { clock, collect, pending, until, withNodes } from "./kit.ts";

async function joined(node: TestNode, id = "work", parent?: string): Promise<CancellationScope> {
  const scope = cancellationScope(node, id, { clock, ...(parent === undefined ? {} : { parent }) });
  await scope.joined;
  return scope;
}

const fired = ({ signal }: CancellationScope): Promise<void> => until("the signal to fire", () => signal.aborted);

describe("a cancellation scope", () => {
  it(
    "stops everybody on every node with the first reason",
    withNodes(async ({ a, b, c }) => {
      const scopes = await Promise.all([a, b, c, c].map((node) => joined(node)));
      const canceller = await joined(b);
      assert.equal(await canceller.cancel("enough"), true);
      await Promise.all(scopes.map(fired));
      for (const { signal } of scopes) {
        assert.ok(TroupeError.is(signal.reason, "cancelled"));
        assert.equal(signal.reason.message, "enough");
      }
      assert.equal(await (scopes[0] as CancellationScope).cancel("again"), false);
      assert.equal((scopes[0] as CancellationScope).signal.reason.message, "enough");
    }),
  );

  it(
    "is cancelled by one of many who try at once",
    withNodes(async ({ a, b, c }) => {
      const witness = await joined(a);
      const results = await Promise.all(
        [a, b, c].map((node, i) => cancellationScope(node, "work", { clock }).cancel(`reason ${i}`)),
      );
      assert.equal(results.filter((first) => first).length, 1);
      await fired(witness);
      assert.equal(witness.signal.reason.message, `reason ${results.indexOf(true)}`);
    }),
  );

  it(
    "stops who joins late at once, on any node, also when nobody had joined before",
    withNodes(async ({ a, b, c }) => {
      await a.actor(Cancellation, "work").cancel("before anybody came");
      const late = [b, c].map((node) => cancellationScope(node, "work", { clock }));
      await Promise.all(late.map(fired));
      await Promise.all(late.map((scope) => scope.joined));
    }),
  );

  it(
    "stays cancelled when its node dies",
    withNodes(async ({ cluster, a, b, c }) => {
      await c.actor(Cancellation, "work").cancel("enough");
      cluster.kill(c);
      await Promise.all([a, b].map((node) => fired(cancellationScope(node, "work", { clock }))));
    }),
  );

  it(
    "is heard by those who had joined when its node died before the cancel",
    withNodes(async ({ cluster, a, b, c }) => {
      await c.actor(Cancellation, "work").joined();
      const scopes = await Promise.all([a, b].map((node) => joined(node)));
      assert.equal(await a.actor(Cancellation, "work").joined(), 2);
      cluster.kill(c);
      assert.equal(await a.actor(Cancellation, "work").cancel("after the move"), true);
      await Promise.all(scopes.map(fired));
    }),
  );

  it(
    "is heard when a broken link heals",
    withNodes(async ({ cluster, a, b }) => {
      await a.actor(Cancellation, "work").joined();
      const scope = await joined(b);
      cluster.cutLink(a, b);
      await a.actor(Cancellation, "work").cancel("while it was cut");
      assert.ok(!scope.signal.aborted);
      cluster.healLink(a, b);
      await fired(scope);
    }),
  );

  it(
    "is not cancelled by members who die, or who close",
    withNodes(async ({ cluster, a, b, c }) => {
      await a.actor(Cancellation, "work").joined();
      const scopes = await Promise.all([a, b, c].map((node) => joined(node)));
      cluster.kill(c);
      scopes[1]?.close();
      await until("both to have left", async () => (await a.actor(Cancellation, "work").joined()) === 1);
      assert.ok(!scopes[0]?.signal.aborted);
      await a.actor(Cancellation, "work").cancel("now");
      await fired(scopes[0] as CancellationScope);
      await scopes[1]?.cancel("it listens no more");
      assert.ok(!scopes[1]?.signal.aborted);
    }),
  );

  it(
    "cancels its children on every node, and theirs, with its reason",
    withNodes(async ({ a, b, c }) => {
      const parent = await joined(a, "parent");
      const child = await joined(b, "child", "parent");
      const grandchild = await joined(c, "grandchild", "child");
      const sibling = await joined(c, "sibling");
      await parent.cancel("all of it");
      await Promise.all([child, grandchild].map(fired));
      assert.equal(grandchild.signal.reason.message, "all of it");
      // The child is cancelled as an address, too, for good.
      await until("it to be stored", () => a.directory.rows.get("cancellation/child")?.ended === true);
      await fired(cancellationScope(c, "child", { clock }));
      assert.ok(!sibling.signal.aborted);
    }),
  );

  it(
    "is not cancelled with its child",
    withNodes(async ({ a, b }) => {
      const parent = await joined(a, "parent");
      const child = parent.child("child");
      await child.joined;
      await b.actor(Cancellation, "child").cancel("only this");
      await fired(child);
      assert.ok(!parent.signal.aborted);
      assert.equal(await parent.cancel(), true);
    }),
  );

  it(
    "cancels a child that joins late",
    withNodes(async ({ a, b }) => {
      await a.actor(Cancellation, "parent").cancel("before");
      await fired(cancellationScope(b, "child", { clock, parent: "parent" }));
    }),
  );

  it(
    "follows its parent again after its own node died",
    withNodes(async ({ cluster, a, b, c }) => {
      await c.actor(Cancellation, "child").joined();
      const child = await joined(b, "child", "parent");
      cluster.kill(c);
      await until("the child to be joined again", async () => (await a.actor(Cancellation, "child").joined()) === 1);
      await until("the parent to be followed", async () => (await a.actor(Cancellation, "parent").joined()) === 1);
      await a.actor(Cancellation, "parent").cancel("later");
      await fired(child);
    }),
  );

  it(
    "says it is joined only when its parent will be heard too",
    withNodes(async ({ cluster, a, b, c }) => {
      await c.actor(Cancellation, "parent").joined();
      await a.actor(Cancellation, "child").joined();
      await a.actor(Cancellation, "parent").joined();
      cluster.cutLink(a, c);
      const child = cancellationScope(b, "child", { clock, parent: "parent" });
      await until("the join to arrive", async () => (await a.actor(Cancellation, "child").joined()) === 1);
      assert.ok(await pending(child.joined));
      cluster.healLink(a, c);
      await child.joined;
      await b.actor(Cancellation, "parent").cancel("heard");
      await fired(child);
    }),
  );

  it(
    "is forgotten when everybody has left, parents included",
    withNodes(async ({ a }) => {
      const child = await joined(a, "child", "parent");
      assert.equal(a.host.residents, 2);
      child.close();
      // The parent need not wait for the child's own end.
      await until("the parent to be left", async () => (await a.actor(Cancellation, "parent").joined()) === 0);
      assert.equal(a.host.residents, 2);
      await until("both to go", () => a.host.residents === 0);
      assert.equal(a.commits, 0);
      const again = await joined(a, "child");
      assert.ok(!again.signal.aborted);
      again.close();
    }),
  );

  it(
    "stops everybody even when the cancel cannot be stored, and says so",
    withNodes(async ({ a, b }) => {
      await a.actor(Cancellation, "work").joined();
      const scope = await joined(b);
      const { end } = a.host.io;
      a.host.io.end = async () => {
        throw new TroupeError("store_unavailable", "the store is away");
      };
      await assert.rejects(a.actor(Cancellation, "work").cancel("now"), (error) =>
        TroupeError.is(error, "store_unavailable"),
      );
      await fired(scope);
      await fired(cancellationScope(b, "work", { clock }));
      a.host.io.end = end;
      assert.equal(await a.actor(Cancellation, "work").cancel("again"), false);
      await assert.rejects(a.actor(Cancellation, "work").joined(), (error) => TroupeError.is(error, "ended"));
    }),
  );

  it(
    "rejects `joined` when it is closed first",
    withNodes(async ({ cluster, a, b }) => {
      await a.actor(Cancellation, "work").joined();
      await b.actor(Cancellation, "work").joined();
      cluster.cutLink(a, b);
      const scope = cancellationScope(b, "work", { clock });
      scope.close();
      await assert.rejects(scope.joined, TroupeError);
      assert.ok(!scope.signal.aborted);
    }),
  );

  it(
    "cuts a reason that has no bounds",
    withNodes(async ({ a }) => {
      const events = collect(a.actor(Cancellation, "work").join());
      await until("it to be joined", () => events.items.length === 1);
      await a.actor(Cancellation, "work").cancel("x".repeat(100_000));
      await events.done;
      const last = events.items.at(-1);
      assert.ok(last?.type === "cancelled" && last.reason.length === 1_024);
    }),
  );

  it("is bounded, in those who join and in parents", () => {
    const scope = new CancellationScopeState();
    scope.open(() => new Promise(() => {}));
    for (let i = 0; i < MAX_JOINERS; i++) assert.ok(scope.join());
    assert.equal(scope.join(), undefined);
    for (let i = 0; i < MAX_PARENTS; i++) assert.ok(scope.follow(`p${i}`));
    assert.equal(scope.follow("one more"), undefined);
    assert.ok(scope.follow("p0"));
  });
});
