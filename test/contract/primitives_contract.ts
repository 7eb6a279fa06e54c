/** The contracts of `KeyValue`, `Watch`, `PubSub` and `Leases`, for any store. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Coordinator, WatchEvent } from "../../runtime/coordinator/contract.ts";
import { waitUntil } from "../harness/wait.ts";
import { bytesOf, type MakeStore, operation, RAW_BYTES, type Store, textOf } from "./store.ts";

export function primitivesContract(name: string, makeStore: MakeStore): void {
  let store: Store;
  let one: Coordinator;
  let two: Coordinator;
  const open = async (): Promise<void> => {
    store = await makeStore();
    one = await store.connect();
    two = await store.connect();
  };

  describe(`${name}: key-value`, () => {
    before(open);
    after(() => store.close());

    it("gives back what was put, byte for byte", async () => {
      for (const value of [new Uint8Array(), RAW_BYTES, bytesOf("text\nof lines")]) {
        const { revision } = await one.keyValue.put("bytes", value);
        assert.deepEqual(await two.keyValue.get("bytes"), { key: "bytes", value, revision });
      }
      assert.equal(await one.keyValue.get("nothing"), null);
    });

    it("changes the revision with each write, also of equal bytes and after a delete", async () => {
      const revisions = new Set<string>();
      for (let round = 0; round < 3; round += 1) {
        revisions.add((await one.keyValue.put("revised", RAW_BYTES)).revision);
        revisions.add((await two.keyValue.put("revised", RAW_BYTES)).revision);
        await one.keyValue.delete("revised");
      }
      assert.equal(revisions.size, 6);
    });

    it("puts where there is nothing for one of many at once", async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? one : two).keyValue.putIfAbsent("single", bytesOf(String(index))),
        ),
      );
      const winner = answers.findIndex((answer) => answer !== null);
      assert.equal(answers.filter((answer) => answer !== null).length, 1);
      assert.equal(textOf((await one.keyValue.get("single"))?.value), String(winner));
    });

    it("swaps only what is still as it was read", async () => {
      const { revision } = await one.keyValue.put("swapped", bytesOf("a"));
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) => two.keyValue.compareAndSet("swapped", revision, bytesOf(`${index}`))),
      );
      assert.equal(answers.filter((answer) => answer !== null).length, 1);
      assert.equal(await one.keyValue.compareAndSet("swapped", revision, bytesOf("late")), null);
      assert.equal(await one.keyValue.compareAndSet("never there", revision, bytesOf("x")), null);
      assert.equal(await one.keyValue.get("never there"), null);
    });

    it("deletes, with a revision only what is still that", async () => {
      const { revision } = await one.keyValue.put("deleted", bytesOf("a"));
      const next = await two.keyValue.put("deleted", bytesOf("b"));
      assert.equal(await one.keyValue.delete("deleted", revision), false);
      assert.equal(await one.keyValue.delete("deleted", next.revision), true);
      assert.equal(await one.keyValue.delete("deleted"), false);
      assert.equal(await two.keyValue.get("deleted"), null);
    });

    it("lists a prefix in key order, up to a limit", async () => {
      const keys = ["list/b", "list/a", "list/ä", "list/B", "list/a/1", "lisu", "lis", "list0"];
      for (const key of keys) await one.keyValue.put(key, bytesOf(key));
      const listed = await two.keyValue.list("list/");
      assert.deepEqual(
        listed.map((entry) => entry.key),
        ["list/B", "list/a", "list/a/1", "list/b", "list/ä"],
      );
      assert.ok(listed.every((entry) => textOf(entry.value) === entry.key));
      const two_ = await two.keyValue.list("list/", 2);
      assert.deepEqual(
        two_.map((entry) => entry.key),
        ["list/B", "list/a"],
      );
      assert.deepEqual(await two.keyValue.list("list/none"), []);
      assert.ok((await two.keyValue.list("")).length >= keys.length);
    });

    it("lets an entry with a time to live go, and not before", async () => {
      await one.keyValue.put("brief", bytesOf("a"), { ttlMs: 400 });
      await one.keyValue.putIfAbsent("brief too", bytesOf("a"), { ttlMs: 400 });
      await one.keyValue.put("brief and long", bytesOf("a"), { ttlMs: 60_000 });
      assert.equal((await two.keyValue.list("brief")).length, 3);
      await waitUntil(async () => (await two.keyValue.get("brief")) === null, 2_000, "the entry to expire");
      await waitUntil(async () => (await two.keyValue.list("brief")).length === 1, 2_000, "the list to shrink");
      assert.notEqual(await two.keyValue.putIfAbsent("brief", bytesOf("b")), null);
    });

    it("keeps an expired entry's place in a limited list for a living one", async () => {
      await one.keyValue.put("page/1", bytesOf("a"), { ttlMs: 20 });
      await one.keyValue.put("page/2", bytesOf("b"));
      const next = async (): Promise<boolean> => (await two.keyValue.list("page/", 1))[0]?.key === "page/2";
      await waitUntil(next, 2_000, "the living entry to be listed");
    });

    it("makes an entry permanent with a put without a time to live, and keeps it over a swap", async () => {
      await one.keyValue.put("permanent", bytesOf("a"), { ttlMs: 40 });
      await one.keyValue.put("permanent", bytesOf("b"));
      const { revision } = await one.keyValue.put("still brief", bytesOf("a"), { ttlMs: 40 });
      await one.keyValue.compareAndSet("still brief", revision, bytesOf("b"));
      await waitUntil(
        async () => (await two.keyValue.get("still brief")) === null,
        2_000,
        "the swapped entry to expire",
      );
      assert.equal(textOf((await two.keyValue.get("permanent"))?.value), "b");
    });

    it("refuses keys and values out of bounds", async () => {
      const refused = { code: "invalid_argument", started: "no" };
      await assert.rejects(one.keyValue.put("", RAW_BYTES), refused);
      await assert.rejects(one.keyValue.get("k".repeat(1_025)), refused);
      await assert.rejects(one.keyValue.put("big", new Uint8Array(1_048_577)), { code: "too_large", started: "no" });
    });
  });

  describe(`${name}: watch`, () => {
    before(open);
    after(() => store.close());

    it("tells every change under the prefix, in order, with its value", async () => {
      const events: WatchEvent[] = [];
      const stop = await two.watches.watch("w/", (event) => events.push(event));
      const { revision } = await one.keyValue.put("w/a", bytesOf("1"));
      await one.keyValue.put("outside", bytesOf("x"));
      await one.keyValue.compareAndSet("w/a", revision, RAW_BYTES);
      await one.keyValue.putIfAbsent("w/b", bytesOf("2"));
      await one.keyValue.putIfAbsent("w/b", bytesOf("refused"));
      await one.keyValue.compareAndSet("w/b", "no revision", bytesOf("refused"));
      await one.keyValue.delete("w/a");
      await waitUntil(() => events.length >= 4, 2_000, "four events");
      assert.deepEqual(events, [
        { type: "put", key: "w/a", value: bytesOf("1") },
        { type: "put", key: "w/a", value: RAW_BYTES },
        { type: "put", key: "w/b", value: bytesOf("2") },
        { type: "delete", key: "w/a" },
      ]);
      await stop();
    });

    it("stops when told, and leaves other watchers alone", async () => {
      const [stopped, going]: [WatchEvent[], WatchEvent[]] = [[], []];
      const stop = await two.watches.watch("s/", (event) => stopped.push(event));
      const stopOther = await two.watches.watch("", (event) => going.push(event));
      await stop();
      await one.keyValue.put("s/a", RAW_BYTES);
      await waitUntil(() => going.length === 1, 2_000, "the other watcher to be told");
      assert.deepEqual(stopped, []);
      await stopOther();
    });

    it("tells the removal of an entry that expired", async () => {
      const events: WatchEvent[] = [];
      const stop = await two.watches.watch("e/", (event) => events.push(event));
      await one.keyValue.put("e/a", RAW_BYTES, { ttlMs: 30 });
      await waitUntil(
        async () => {
          await one.keyValue.put("another", RAW_BYTES);
          return events.some((event) => event.type === "delete" && event.key === "e/a");
        },
        2_000,
        "the removal to be told",
      );
      await stop();
    });
  });

  describe(`${name}: publish and subscribe`, () => {
    before(open);
    after(() => store.close());

    it("reaches every subscriber of the topic and nobody else", async () => {
      const topic = operation();
      const heard: string[] = [];
      const stops = [
        await one.pubSub.subscribe(topic, (payload) => heard.push(`one ${textOf(payload)}`)),
        await two.pubSub.subscribe(topic, (payload) => heard.push(`two ${textOf(payload)}`)),
        await two.pubSub.subscribe(`${topic}.not`, () => heard.push("wrong topic")),
      ];
      await one.pubSub.publish(topic, bytesOf("hello"));
      await two.pubSub.publish(topic, bytesOf("again"));
      await waitUntil(() => heard.length >= 4, 2_000, "four deliveries");
      assert.deepEqual(heard.sort(), ["one again", "one hello", "two again", "two hello"]);
      for (const stop of stops) await stop();
    });

    it("carries bytes as they are", async () => {
      const topic = operation();
      const heard: Uint8Array[] = [];
      const stop = await two.pubSub.subscribe(topic, (payload) => heard.push(payload));
      await one.pubSub.publish(topic, RAW_BYTES);
      await waitUntil(() => heard.length === 1, 2_000, "the payload");
      assert.deepEqual(heard, [RAW_BYTES]);
      await stop();
    });

    it("is in force when it resolves, and over when its end resolves", async () => {
      const topic = operation();
      for (let round = 0; round < 5; round += 1) {
        const heard: string[] = [];
        const stop = await two.pubSub.subscribe(topic, (payload) => heard.push(textOf(payload)));
        await one.pubSub.publish(topic, bytesOf(String(round)));
        await waitUntil(() => heard.length === 1, 2_000, "the payload");
        await stop();
        await one.pubSub.publish(topic, bytesOf("late"));
        assert.deepEqual(heard, [String(round)]);
      }
    });

    it("delivers to each of two listeners of one process once, until it ends", async () => {
      const topic = operation();
      const heard: string[] = [];
      const stopA = await two.pubSub.subscribe(topic, () => heard.push("a"));
      const stopB = await two.pubSub.subscribe(topic, () => heard.push("b"));
      await one.pubSub.publish(topic, RAW_BYTES);
      await waitUntil(() => heard.length === 2, 2_000, "both");
      await stopA();
      await one.pubSub.publish(topic, RAW_BYTES);
      await waitUntil(() => heard.length === 3, 2_000, "the one that is left");
      assert.deepEqual(heard, ["a", "b", "b"]);
      await stopB();
    });
  });

  describe(`${name}: leases`, () => {
    before(open);
    after(() => store.close());

    it("go to one of many at once", async () => {
      const lease = operation();
      const grants = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? one : two).leases.tryAcquire(lease, `h${index}`, 60_000),
        ),
      );
      const granted = grants.filter((grant) => grant !== null);
      assert.equal(granted.length, 1);
      assert.deepEqual(await two.leases.holder(lease), granted[0]);
    });

    it("are not given twice, not even to their holder", async () => {
      const lease = operation();
      assert.notEqual(await one.leases.tryAcquire(lease, "me", 60_000), null);
      assert.equal(await one.leases.tryAcquire(lease, "me", 60_000), null);
    });

    it("come with fences that only grow, over releases and expiries", async () => {
      const lease = operation();
      let last = 0n;
      for (let round = 0; round < 6; round += 1) {
        const releases = round % 3 === 0;
        const ttlMs = releases ? 60_000 : 40;
        const grant = await waitUntil(
          () => (round % 2 === 0 ? one : two).leases.tryAcquire(lease, `h${round}`, ttlMs),
          2_000,
          "the lease",
        );
        assert.match(grant.fence, /^\d+$/);
        assert.ok(BigInt(grant.fence) > last, `${grant.fence} after ${last}`);
        last = BigInt(grant.fence);
        if (releases) assert.equal(await one.leases.release(grant), true);
      }
    });

    it("last while they are renewed and lapse when they are not", async () => {
      const lease = operation();
      const grant = await one.leases.tryAcquire(lease, "me", 2_000);
      assert.ok(grant !== null);
      assert.equal(await one.leases.renew(grant, 60_000), true);
      assert.equal(await one.leases.renew(grant, 40), true);
      const next = await waitUntil(() => two.leases.tryAcquire(lease, "you", 60_000), 2_000, "the lease to lapse");
      assert.equal(await one.leases.renew(grant, 60_000), false);
      assert.equal(await one.leases.release(grant), false);
      assert.deepEqual(await one.leases.holder(lease), next);
    });

    it("are free after a release", async () => {
      const lease = operation();
      const grant = await one.leases.tryAcquire(lease, "me", 60_000);
      assert.ok(grant !== null);
      assert.equal(await two.leases.release(grant), true);
      assert.equal(await one.leases.holder(lease), null);
      assert.equal(await one.leases.release(grant), false);
    });

    it("refuse names and times that mean nothing", async () => {
      const refused = { code: "invalid_argument", started: "no" };
      await assert.rejects(one.leases.tryAcquire("", "me", 1_000), refused);
      await assert.rejects(one.leases.tryAcquire("x", "", 1_000), refused);
      await assert.rejects(one.leases.tryAcquire("x", "me", Number.NaN), refused);
    });
  });
}
