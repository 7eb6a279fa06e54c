import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Delivery, publish, type Subscription, subscribe } from "../../../actors/delivery/client.ts";
import { Hub, Topic } from "../../../actors/delivery/delivery.ts";
import { DropOldest, QUEUE_MESSAGES, QUEUE_WEIGHT, weightOf } from "../../../actors/delivery/queue.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { MessageType } from "../../../runtime/actor/message.ts";
import type { TestNode } from "../actor/kit.ts";
import { clock, collect, named, until, withNodes } from "./kit.ts";

function listen(node: TestNode, topic = "news"): Promise<Subscription<number>> {
  return subscribe<number>(named(node), topic, { clock });
}

function payloads<T>(items: readonly Delivery<T>[]): T[] {
  return items.flatMap((item) => (item.type === "message" ? [item.payload] : []));
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("delivery", () => {
  it(
    "reaches every subscriber on every node, in the publisher's order",
    withNodes(async ({ a, b, c }) => {
      const subscriptions = await Promise.all([a, b, b, c, c, c].map((node) => listen(node)));
      const heard = subscriptions.map((subscription) => collect(subscription));
      await Promise.all(upTo(200).map((n) => publish(b, "news", n)));
      for (const { items } of heard) {
        await until("all to arrive", () => items.length === 200);
        assert.deepEqual(payloads(items), upTo(200));
      }
      for (const subscription of subscriptions) subscription.close();
      await Promise.all(heard.map(({ done }) => done));
    }),
  );

  it(
    "sends one message per node and publication, not per subscriber",
    withNodes(async ({ cluster, a, b, c }) => {
      await a.actor(Topic, "news").publish("nobody hears it");
      const subscriptions = await Promise.all(Array.from({ length: 40 }, (_, i) => listen(i % 2 === 0 ? b : c)));
      const heard = subscriptions.map((subscription) => collect(subscription));
      let items = 0;
      cluster.onMessage = (_from, _to, message) => {
        if (message[0] === MessageType.Item) items++;
      };
      for (let n = 0; n < 10; n++) assert.equal(await publish(a, "news", n), 2);
      for (const each of heard) await until("all to arrive", () => each.items.length === 10);
      assert.equal(items, 2 * 10);
      for (const subscription of subscriptions) subscription.close();
    }),
  );

  it(
    "is in force when subscribe resolves, and not before",
    withNodes(async ({ a, b }) => {
      assert.equal(await publish(a, "news", 0), 0);
      const subscription = await listen(b);
      await publish(a, "news", 1);
      const heard = collect(subscription);
      await until("one to arrive", () => heard.items.length === 1);
      assert.deepEqual(payloads(heard.items), [1]);
      subscription.close();
    }),
  );

  it(
    "costs a node nothing any more when its last subscriber left",
    withNodes(async ({ a, b }) => {
      const [one, two] = await Promise.all([listen(b), listen(b)]);
      assert.ok(one && two);
      assert.equal(await publish(a, "news", 0), 1);
      one.close();
      await until("one to be gone", () => b.host.turns.size === 2);
      assert.equal(await publish(a, "news", 0), 1);
      for await (const _ of two) break;
      // Nothing is published meanwhile that could wake anybody up.
      await until("the feed to end", () => a.host.turns.size === 0 && b.host.turns.size === 0);
      assert.equal(await publish(a, "news", 0), 0);
    }),
  );

  it(
    "is taken up again by a new subscriber after the last one left",
    withNodes(async ({ a, b }) => {
      (await listen(b)).close();
      const again = await listen(b);
      const heard = collect(again);
      await publish(a, "news", 7);
      await until("it to arrive", () => heard.items.length === 1);
      again.close();
    }),
  );

  it(
    "forgets a dead node at once",
    withNodes(async ({ cluster, a, b, c }) => {
      await publish(a, "news", 0);
      await Promise.all([listen(b), listen(c)]);
      assert.equal(await publish(a, "news", 0), 2);
      cluster.kill(c);
      await until("the feed to end", async () => (await publish(a, "news", 0)) === 1);
    }),
  );

  it(
    "goes on after the topic's node died, and tells that messages may be missing",
    withNodes(async ({ cluster, a, b, c }) => {
      await publish(c, "news", 0);
      const subscription = await listen(b);
      const heard = collect(subscription);
      await publish(a, "news", 1);
      await until("one to arrive", () => heard.items.length === 1);
      cluster.kill(c);
      await until("the feed to be back", async () => (await publish(a, "news", 2)) === 1);
      await until("it to arrive", () => payloads(heard.items).includes(2));
      assert.deepEqual(heard.items.slice(0, 2), [
        { type: "message", payload: 1 },
        { type: "gap", missed: null },
      ]);
      subscription.close();
    }),
  );

  it(
    "goes on after the subscriber's own worker ended, and tells that messages may be missing",
    withNodes(async ({ a, b }) => {
      await publish(a, "news", 0);
      // The subscriber is not on that worker: here, on another node.
      const caller = { nodeId: "b", actor: named(a).actor };
      const subscription = await subscribe<number>(caller, "news", { clock });
      const heard = collect(subscription);
      b.restartThread();
      await until("the gap to be told", () => heard.items.length === 1);
      assert.deepEqual(heard.items, [{ type: "gap", missed: null }]);
      await publish(a, "news", 5);
      await until("it to arrive", () => payloads(heard.items).includes(5));
      subscription.close();
    }),
  );

  it(
    "drops a slow subscriber's oldest messages, tells how many, and spares the others",
    withNodes(async ({ a, b }) => {
      const [slow, quick] = await Promise.all([listen(b), listen(b)]);
      assert.ok(slow && quick);
      const heard = collect(quick);
      const total = 2 * QUEUE_MESSAGES;
      for (let n = 0; n < total; n++) {
        await publish(a, "news", n);
        if (n % 32 === 0) await until("the quick one to follow", () => heard.items.length > n - 64);
      }
      await until("the quick one to have all", () => heard.items.length === total);
      assert.deepEqual(payloads(heard.items), upTo(total));
      const late = collect(slow);
      await until("the last to arrive", () => payloads(late.items).at(-1) === total - 1);
      const gaps = late.items.flatMap((item) => (item.type === "gap" ? [item.missed ?? 0] : []));
      assert.equal(gaps.length, 1);
      assert.equal(payloads(late.items).length + (gaps[0] ?? 0), total);
      assert.deepEqual(
        payloads(late.items),
        [...payloads(late.items)].sort((x, y) => x - y),
      );
      slow.close();
      quick.close();
    }),
  );

  it(
    "tells what an overloaded link lost",
    withNodes(async ({ cluster, a, b }) => {
      await publish(a, "news", 0);
      const subscription = await listen(b);
      const heard = collect(subscription);
      const send = cluster.send.bind(cluster);
      let lose = 3;
      cluster.send = (from, to, message) =>
        message[0] === MessageType.Item && lose-- > 0 ? "no-link" : send(from, to, message);
      for (let n = 0; n < 5; n++) await publish(a, "news", n);
      await until("the rest to arrive", () => payloads(heard.items).length === 2);
      assert.deepEqual(heard.items, [
        { type: "gap", missed: 3 },
        { type: "message", payload: 3 },
        { type: "message", payload: 4 },
      ]);
      subscription.close();
    }),
  );

  it(
    "ends with its signal, also before it is in force",
    withNodes(async ({ cluster, a, b }) => {
      await publish(a, "news", 0);
      await publish(b, "news", 0);
      const controller = new AbortController();
      const { signal } = controller;
      const subscription = await subscribe(named(b), "news", { clock, signal });
      const heard = collect(subscription);
      cluster.cutLink(a, b);
      const waiting = subscribe(named(b), "news", { clock, signal });
      controller.abort();
      await heard.done;
      assert.deepEqual((await collect(await waiting).done) ?? "ended", "ended");
      cluster.healLink(a, b);
      await until("the feed to end", async () => (await publish(a, "news", 0)) === 0);
      await until("the hub to let go", () => b.host.turns.size === 0);
    }),
  );

  it(
    "refuses a payload that is too large",
    withNodes(async ({ a }) => {
      await assert.rejects(publish(a, "news", { text: "x".repeat(2 ** 21) }), (error) =>
        TroupeError.is(error, "too_large"),
      );
    }),
  );

  it(
    "keeps topics apart, whatever their names",
    withNodes(async ({ a, b }) => {
      const subscription = await listen(b, "odd@name");
      const heard = collect(subscription);
      await publish(a, "odd", 1);
      await publish(a, "odd@name", 2);
      await until("it to arrive", () => heard.items.length === 1);
      assert.deepEqual(payloads(heard.items), [2]);
      subscription.close();
      assert.equal(b.actor(Hub, "odd@name@b").id, "delivery-hub/odd@name@b");
    }),
  );
});

describe("a queue that drops the oldest", () => {
  const message = (number: number) => ({ type: "message", number, payload: null }) as const;

  it("holds no more than its bounds, by messages and by weight", async () => {
    const many = new DropOldest();
    for (let n = 0; n < 3 * QUEUE_MESSAGES; n++) many.push(message(n), 1);
    const first = await many.take();
    assert.ok(first?.type === "gap");
    for (let n = first.missed ?? 0; n < 3 * QUEUE_MESSAGES; n++) assert.deepEqual(await many.take(), message(n));

    const heavy = new DropOldest();
    for (let n = 0; n < 5; n++) heavy.push(message(n), QUEUE_WEIGHT / 2);
    assert.deepEqual(await heavy.take(), { type: "gap", missed: 3 });
    assert.deepEqual(await heavy.take(), message(3));
    assert.deepEqual(await heavy.take(), message(4));
  });

  it("keeps gaps where they belong, and joins neighbours", async () => {
    const queue = new DropOldest();
    queue.push(message(0), 1);
    queue.gap(2);
    queue.gap(null);
    queue.push(message(1), 1);
    assert.deepEqual(await queue.take(), message(0));
    assert.deepEqual(await queue.take(), { type: "gap", missed: null });
    assert.deepEqual(await queue.take(), message(1));
  });

  it("weighs what is inside", () => {
    assert.ok(weightOf({ a: ["x".repeat(1_000), new Uint8Array(5_000)] }) > 6_000);
    assert.ok(weightOf(1) < 100);
  });
});
