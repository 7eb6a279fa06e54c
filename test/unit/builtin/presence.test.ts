import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { presence } from "../../../actors/presence/client.ts";
import { MAX_MEMBERS, type PresenceEvent, PresenceGroup } from "../../../actors/presence/group.ts";
import { Presence } from "../../../actors/presence/presence.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { MessageType } from "../../../runtime/actor/message.ts";
import type { TestNode } from "../actor/kit.ts";
import { clock, collect, until, withNodes } from "./kit.ts";

async function names(node: TestNode, group = "g"): Promise<string[]> {
  return (await node.actor(Presence, group).members()).map(({ member }) => member).sort();
}

/** What a watcher knows after these events. */
function known(events: readonly PresenceEvent[]): Map<string, unknown> {
  const members = new Map<string, unknown>();
  for (const event of events) {
    if (event.type === "snapshot") members.clear();
    for (const { member, meta } of event.type === "snapshot" ? event.members : event.joined) members.set(member, meta);
    if (event.type === "delta") for (const member of event.left) members.delete(member);
  }
  return members;
}

describe("presence", () => {
  it(
    "shows members of all nodes, with what they say of themselves",
    withNodes(async ({ a, b, c }) => {
      const views = [a, b, c].map((node) => presence(node, "g", { clock }));
      await Promise.all(views.map((view, i) => view.join(`n${i}`, { i })));
      assert.deepEqual(
        (await a.actor(Presence, "g").members()).sort((x, y) => x.member.localeCompare(y.member)),
        [0, 1, 2].map((i) => ({ member: `n${i}`, meta: { i } })),
      );
      await views[1]?.join("n1", { i: "changed" });
      await views[2]?.leave("n2");
      assert.deepEqual(
        known([{ type: "snapshot", number: 0, members: await a.actor(Presence, "g").members() }]).get("n1"),
        {
          i: "changed",
        },
      );
      assert.deepEqual(await names(a), ["n0", "n1"]);
      for (const view of views) view.close();
      await until("all to leave", async () => (await names(a)).length === 0);
    }),
  );

  it(
    "loses a dead node's members at once, and tells watchers",
    withNodes(async ({ cluster, a, b, c }) => {
      const view = presence(a, "g", { clock });
      await view.join("at a");
      const dead = presence(c, "g", { clock });
      await Promise.all(["one", "two"].map((member) => dead.join(member)));
      const watcher = collect(presence(b, "g", { clock }).watch());
      await until("the watcher to know", () => known(watcher.items).size === 3);
      cluster.kill(c);
      assert.deepEqual(await names(a), ["at a"]);
      await until("the watcher to be told", () => known(watcher.items).size === 1);
      view.close();
    }),
  );

  it(
    "loses a member that does not join again in time, and keeps one that does",
    withNodes(async ({ a }) => {
      const group = a.actor(Presence, "g");
      await group.join("late", null, { ttlMs: 60 });
      await group.join("again", null, { ttlMs: 500 });
      const started = clock.now();
      await until("one to lapse", async () => {
        await group.join("again", null, { ttlMs: 500 });
        return !(await names(a)).includes("late");
      });
      assert.ok(clock.now() - started >= 55);
      assert.deepEqual(await names(a), ["again"]);
      await group.join("again", null, { ttlMs: 20 });
      await until("the other to lapse", async () => (await names(a)).length === 0);
    }),
  );

  it(
    "keeps a member that an older attachment's end would take away",
    withNodes(async ({ cluster, a, b, c }) => {
      await a.actor(Presence, "g").members();
      const before = presence(b, "g", { clock });
      const after = presence(c, "g", { clock });
      await before.join("session", "at b");
      await after.join("session", "at c");
      cluster.kill(b);
      assert.deepEqual(await a.actor(Presence, "g").members(), [{ member: "session", meta: "at c" }]);
      after.close();
    }),
  );

  it(
    "does not let an older attachment leave for a newer one",
    withNodes(async ({ a, b }) => {
      const before = presence(a, "g", { clock });
      const after = presence(b, "g", { clock });
      await before.join("session", "at a");
      await after.join("session", "at b");
      await before.leave("session");
      assert.deepEqual(await names(a), ["session"]);
      before.close();
      after.close();
    }),
  );

  it(
    "is rebuilt on another node when the group's own node dies",
    withNodes(async ({ cluster, a, b, c }) => {
      await c.actor(Presence, "g").members();
      const views = [a, b].map((node) => presence(node, "g", { clock }));
      await Promise.all(views.map((view, i) => view.join(`n${i}`, i)));
      const watcher = collect((views[0] ?? assert.fail()).watch());
      await until("the watcher to know", () => known(watcher.items).size === 2);
      const seen = watcher.items.length;
      cluster.kill(c);
      await until("both to be back", async () => (await names(a)).length === 2);
      await until("the watcher to know it again", () => known(watcher.items.slice(seen)).size === 2);
      assert.equal(watcher.items[seen]?.type, "snapshot");
      for (const view of views) view.close();
      await watcher.done;
    }),
  );

  it(
    "is told anew to a watcher that an overloaded link kept something from",
    withNodes(async ({ cluster, a, b }) => {
      const group = a.actor(Presence, "g");
      await group.join("one", null, { ttlMs: 60_000 });
      const view = presence(b, "g", { clock });
      const watcher = collect(view.watch());
      await until("the watcher to know", () => known(watcher.items).size === 1);
      const send = cluster.send.bind(cluster);
      let lost = false;
      cluster.send = (from, to, message) => {
        if (lost || message[0] !== MessageType.Item) return send(from, to, message);
        lost = true;
        return "no-link";
      };
      await group.leave("one");
      await until("a delta to be lost", () => lost);
      await group.join("two", null, { ttlMs: 60_000 });
      await until("the watcher to know better", () => [...known(watcher.items).keys()].join() === "two");
      view.close();
    }),
  );

  it(
    "comes back when a broken link heals",
    withNodes(async ({ cluster, a, b }) => {
      await a.actor(Presence, "g").members();
      const view = presence(b, "g", { clock });
      await view.join("at b");
      cluster.cutLink(a, b);
      await until("it to be gone", async () => (await names(a)).length === 0);
      cluster.healLink(a, b);
      await until("it to be back", async () => (await names(a)).length === 1);
      view.close();
    }),
  );

  it(
    "refuses a join under an attachment that is over",
    withNodes(async ({ a }) => {
      assert.equal(await a.actor(Presence, "g").join("x", null, { attachment: "none" }), false);
      assert.deepEqual(await names(a), []);
    }),
  );

  it(
    "refuses names and data without bounds",
    withNodes(async ({ a }) => {
      const group = a.actor(Presence, "g");
      const invalid = (error: unknown) => TroupeError.is(error, "invalid_argument");
      await assert.rejects(group.join("", null, { ttlMs: 1 }), invalid);
      await assert.rejects(group.join("x".repeat(257), null, { ttlMs: 1 }), invalid);
      await assert.rejects(group.join("x", "y".repeat(5_000), { ttlMs: 1 }), invalid);
      await assert.rejects(group.join("x", null, { ttlMs: 0 }), invalid);
      await assert.rejects(presence(a, "g", { clock }).join("x", "y".repeat(5_000)), invalid);
    }),
  );

  it(
    "goes when nobody is there and nobody watches, and not while somebody is there for a time",
    withNodes(async ({ a }) => {
      await a.actor(Presence, "empty").members();
      await a.actor(Presence, "kept").join("x", null, { ttlMs: 60_000 });
      await until("the empty one to go", () => a.host.residents === 1);
      assert.deepEqual(await names(a, "kept"), ["x"]);
      await a.actor(Presence, "kept").leave("x");
      await until("the other to go", () => a.host.residents === 0);
    }),
  );
});

describe("what a watcher of presence is told", () => {
  function opened(): PresenceGroup {
    const group = new PresenceGroup();
    group.open(clock, () => {});
    return group;
  }

  it("is a snapshot, then one batch for many changes", async () => {
    const group = opened();
    group.join("before", null, { ttlMs: 60_000 });
    const early = group.watch();
    assert.deepEqual(await early.next(), {
      type: "snapshot",
      number: 1,
      members: [{ member: "before", meta: null }],
    });
    for (let i = 0; i < 100; i++) group.join(`m${i}`, i, { ttlMs: 60_000 });
    const batch = await early.next();
    assert.ok(batch?.type === "delta" && batch.number === 2);
    assert.equal(batch.joined.length, 100);
    const late = await group.watch().next();
    assert.ok(late?.type === "snapshot" && late.number === 2 && late.members.length === 101);
    group.close();
  });

  it("leaves out who came and went, and who only changed its attachment", async () => {
    const group = opened();
    group.attach("one");
    group.attach("two");
    group.join("stays", { v: 1 }, { attachment: "one" });
    const watcher = group.watch();
    await watcher.next();
    group.join("passes", null, { attachment: "two" });
    group.leave("passes", null);
    group.detach("one");
    group.join("stays", { v: 1 }, { attachment: "two" });
    group.join("news", null, { attachment: "two" });
    assert.deepEqual(await watcher.next(), {
      type: "delta",
      number: 2,
      joined: [{ member: "news", meta: null }],
      left: [],
    });
    group.close();
  });

  it("is a snapshot again when it fell behind", async () => {
    const batches: (() => void)[] = [];
    const group = new PresenceGroup();
    const after = (_ms: number, callback: () => void) => {
      batches.push(callback);
      return () => {};
    };
    group.open({ ...clock, after }, () => {});
    group.attach("one");
    const watcher = group.watch();
    await watcher.next();
    for (let i = 0; i < 200; i++) {
      group.join(`m${i}`, null, { attachment: "one" });
      for (const batch of batches.splice(0)) batch();
    }
    const event = await watcher.next();
    assert.ok(event?.type === "snapshot" && event.members.length === 200 && event.number === 200);
    group.leave("m0", null);
    for (const batch of batches.splice(0)) batch();
    assert.deepEqual(await watcher.next(), { type: "delta", number: 201, joined: [], left: ["m0"] });
  });

  it("is bounded: a full group refuses others, and lets its own change", () => {
    const group = new PresenceGroup();
    group.open({ ...clock, after: () => () => {} }, () => {});
    group.attach("one");
    for (let i = 0; i < MAX_MEMBERS; i++) assert.equal(group.join(`m${i}`, null, { attachment: "one" }), "joined");
    assert.equal(group.join("one more", null, { attachment: "one" }), "full");
    assert.equal(group.join("m0", "changed", { attachment: "one" }), "joined");
  });
});
