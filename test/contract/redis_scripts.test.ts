/** What our scripts put on the wire, seen by the server: one slot each, no undeclared key, one command per verb. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Redis } from "ioredis";
import { openCoordinator } from "../../runtime/coordinator/open.ts";
import { bucketOf, Keys } from "../../runtime/coordinator/redis/keys.ts";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { everyVerb, verbTarget } from "./every_verb.ts";
import { redisStore } from "./redis_store.ts";
import { anActor, bytesOf, join, operation } from "./store.ts";

/** The slot of a key as Redis Cluster computes it: CRC16 (XMODEM) of the hash tag, modulo 16384. */
function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = key.indexOf("}", open + 1);
  const hashed = open !== -1 && close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of bytesOf(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc % 16_384;
}

describe("redis scripts", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedis();
  });
  after(() => server.stop());

  it("compute slots as Redis does", () => {
    assert.equal(slotOf("123456789"), 0x31c3);
    assert.equal(slotOf("{user1000}.following"), slotOf("user1000"));
    assert.equal(slotOf("foo{}{bar}"), slotOf("foo{}{bar}"));
    assert.notEqual(slotOf("foo{}{bar}"), slotOf("bar"));
  });

  it("use the keys they declare and no other, all in one slot and under the prefix", async () => {
    const seen: { words: string[]; inside: boolean }[] = [];
    const redis = new Redis(server.url);
    const monitor = await redis.monitor();
    monitor.on("monitor", (_time: string, words: string[], source: string) => {
      seen.push({ words, inside: source === "lua" });
    });
    const coordinator = await openCoordinator({ kind: "redis", url: server.url, key_prefix: "watched:" });
    try {
      const target = await verbTarget(coordinator);
      for (const run of Object.values(everyVerb(target))) await run();
      const actor = anActor();
      const { incarnation } = target;
      const claimed = await coordinator.directory.claim({ actor, incarnation, operation: operation() });
      assert.equal(claimed.outcome, "claimed");
      const epoch = claimed.outcome === "claimed" ? claimed.epoch : target.owner.epoch;
      await coordinator.directory.end({
        actor,
        owner: { incarnation, epoch },
        operation: operation(),
        tombstoneMs: 60_000,
      });
      await coordinator.directory.reassert(incarnation, [{ actor: anActor(), epoch, state: null }]);
      await server.command("DEL", "watched:{m}:generation");
      await assert.rejects(coordinator.membership.renew(incarnation), { code: "store_reset" });
      await coordinator.directory.reassert(incarnation, []);
      await assert.rejects(coordinator.directory.lookup(anActor()), { code: "unavailable" });
      await coordinator.membership.leave(incarnation);
      const marker = operation();
      await redis.echo(marker);
      await waitUntil(() => seen.some(({ words }) => words[1] === marker), 2_000, "the monitor to catch up");
    } finally {
      await coordinator.close();
      monitor.disconnect();
      redis.disconnect();
    }

    const scripts = new Set<string>();
    let declared: string[] = [];
    let touched = 0;
    for (const { words, inside } of seen) {
      const [command = "", ...rest] = words;
      const name = command.toLowerCase();
      if (name === "evalsha" || name === "eval") {
        declared = rest.slice(2, 2 + Number(rest[1]));
        if (name === "evalsha") scripts.add(rest[0] ?? "");
        assert.equal(new Set(declared.map(slotOf)).size, 1, `${declared.join(" ")} are in several slots`);
        assert.ok(declared.every((key) => key.startsWith("watched:")));
      } else if (inside && !["time", "publish", "pubsub"].includes(name)) {
        touched += 1;
        assert.ok(declared.includes(rest[0] ?? ""), `${words.join(" ")} touches a key that was not declared`);
      }
    }
    // Every script there is, so that none is left out of this proof: a new one belongs into `everyVerb`.
    assert.equal(scripts.size, 30);
    assert.ok(touched > 100);
  });

  it("cost one command per verb, and nothing while nobody asks", async () => {
    const store = redisStore(server);
    const coordinator = await store.connect();
    try {
      const incarnation = await join(coordinator, "one");
      const actor = anActor();
      const claim = { actor, incarnation, operation: operation() };
      // The first use of a script on a server may need its text.
      await everyVerbTwice(coordinator);
      const cost = async (verb: () => Promise<unknown>): Promise<number> => {
        const before = coordinator.commands();
        await verb();
        return coordinator.commands() - before;
      };
      assert.equal(await cost(() => coordinator.directory.claim(claim)), 1);
      assert.equal(await cost(() => coordinator.directory.lookup(actor)), 1);
      assert.equal(await cost(() => coordinator.membership.renew(incarnation)), 1);
      assert.equal(await cost(() => coordinator.membership.heartbeats([incarnation])), 1);
      assert.equal(await cost(() => coordinator.keyValue.put("key", bytesOf("a"))), 1);
      const before = coordinator.commands();
      const processed = async (): Promise<number> =>
        Number(/total_commands_processed:(\d+)/.exec(await server.info("stats"))?.[1]);
      const onServer = await processed();
      for (let round = 0; round < 50; round += 1) await coordinator.membership.renew(incarnation);
      // A look at the server's fitness is two commands, and may fall into these rounds.
      const looked = coordinator.commands() - before - 50;
      assert.ok(looked === 0 || looked === 2, `${looked} more commands`);
      // Each renew also runs GET, HEXISTS, PERSIST, HINCRBY and HGET inside its script; `INFO` is the one of this test.
      assert.equal((await processed()) - onServer - looked, 50 * 6 + 1);
    } finally {
      await store.close();
    }
  });

  it("are sent again by their text when the server forgot them", async () => {
    const store = redisStore(server);
    const coordinator = await store.connect();
    try {
      const incarnation = await join(coordinator, "one");
      await server.command("SCRIPT", "FLUSH");
      const claims = Array.from({ length: 50 }, () =>
        coordinator.directory.claim({ actor: anActor(), incarnation, operation: operation() }),
      );
      for (const answer of await Promise.all(claims)) assert.equal(answer.outcome, "claimed");
      assert.equal((await coordinator.membership.renew(incarnation)).outcome, "renewed");
    } finally {
      await store.close();
    }
  });

  it("print no number in exponent form, however large it is", async () => {
    const store = redisStore(server, { key_prefix: "large:" });
    const coordinator = await store.connect();
    try {
      const actor = anActor();
      await server.command("HSET", "large:{m}:meta", "incarnations", "9007199254740000");
      await server.command("SET", `large:{d${bucketOf(actor)}}:epochs`, "9007199254740000");
      const incarnation = await join(coordinator, "one");
      assert.match(incarnation, /-9007199254740001$/);
      const claimed = await coordinator.directory.claim({ actor, incarnation, operation: operation() });
      assert.match(claimed.outcome === "claimed" ? claimed.epoch : "", /-9007199254740001$/);
    } finally {
      await store.close();
    }
  });

  it("let a record expire only while nobody owns it and it has no state", async () => {
    const store = redisStore(server, { key_prefix: "expiry:" });
    const coordinator = await store.connect();
    try {
      const incarnation = await join(coordinator, "one");
      const { directory } = coordinator;
      for (const create of [undefined, bytesOf("a")]) {
        const actor = anActor();
        const { record } = new Keys("expiry:").actor(actor);
        const expires = async (): Promise<boolean> => Number(await server.command("PTTL", record)) > 0;
        const first = await directory.claim({ actor, incarnation, operation: operation() });
        assert.ok(first.outcome === "claimed");
        assert.equal(await expires(), false);
        const owner = { incarnation, epoch: first.epoch };
        await directory.release({ actor, owner, operation: operation() });
        assert.equal(await expires(), true);
        const again = await directory.claim({ actor, incarnation, operation: operation(), ...(create && { create }) });
        assert.equal(again.outcome, "claimed");
        assert.equal(await expires(), false);
      }
    } finally {
      await store.close();
    }
  });

  it("spread actors over all directory buckets", () => {
    const counts = new Map<number, number>();
    for (let index = 0; index < 6_400; index += 1) {
      const bucket = bucketOf(`session/${index}`);
      counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
    }
    assert.equal(counts.size, 64);
    assert.ok(Math.max(...counts.values()) < 200);
  });
});

async function everyVerbTwice(coordinator: Parameters<typeof verbTarget>[0]): Promise<void> {
  const target = await verbTarget(coordinator);
  for (const run of Object.values(everyVerb(target))) await run();
}
