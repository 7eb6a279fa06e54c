/** A store that was emptied, replaced or set back: noticed by every verb, and brought back by its nodes. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { ActorId, Epoch, Incarnation } from "../../runtime/actor/ids.ts";
import type { Coordinator, HeldRecord, Owner } from "../../runtime/coordinator/contract.ts";
import { Keys } from "../../runtime/coordinator/redis/keys.ts";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";
import { everyVerb, verbTarget } from "./every_verb.ts";
import { redisStore } from "./redis_store.ts";
import { anActor, bytesOf, join, operation, RAW_BYTES, type Store, textOf } from "./store.ts";

/** One node lease, shortened: how long a replaced generation settles. */
const SETTLE_MS = 400;
const LEASE = { node_lease_ttl_ms: SETTLE_MS - 100, node_lease_grace_ms: 100, operation_timeout_ms: 3_000 };
/** For what must be done before it is over. */
const SLOW = { ...LEASE, node_lease_ttl_ms: 2_400 };
/** As long as no test lasts: for what must not be settled yet. */
const UNSETTLED = { ...LEASE, node_lease_ttl_ms: 600_000 };

describe("a redis that lost data", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let server: RedisServer;
  let prefixes = 0;
  let prefix: string;
  before(async () => {
    server = await startRedis();
  });
  after(() => server.stop());
  beforeEach(() => {
    prefixes += 1;
    prefix = `reset${prefixes}:`;
  });

  /** Runs `body` with a node that has joined; `store` connects more of them. */
  const withNode = async (
    config: object,
    body: (node: Coordinator, incarnation: Incarnation, store: Store) => Promise<void>,
  ): Promise<void> => {
    const store = redisStore(server, { ...config, key_prefix: prefix });
    try {
      const node = await store.connect();
      await body(node, await join(node, "one"), store);
    } finally {
      await store.close();
    }
  };
  const claim = async (node: Coordinator, incarnation: Incarnation, actor: ActorId, state?: string): Promise<Owner> => {
    const create = state === undefined ? {} : { create: bytesOf(state) };
    const answer = await node.directory.claim({ actor, incarnation, operation: operation(), ...create });
    assert.ok(answer.outcome === "claimed", answer.outcome);
    return { incarnation, epoch: answer.epoch };
  };
  const held = (actor: ActorId, owner: Owner, version: number, text: string): HeldRecord => ({
    actor,
    epoch: owner.epoch,
    state: { version, bytes: bytesOf(text) },
  });
  const writeBack = async (
    node: Coordinator,
    incarnation: Incarnation,
    records: readonly HeldRecord[],
  ): Promise<{ lost: ActorId[] }> => ({ lost: (await node.directory.reassert(incarnation, records)).lost });
  const stateOf = async (node: Coordinator, actor: ActorId, owner: Owner): Promise<string> => {
    const claimed = { actor, incarnation: owner.incarnation, operation: operation(), takeover: owner };
    const answer = await waitUntil(() => node.directory.claim(claimed), 5_000, "the generation to settle");
    return answer.outcome === "claimed" ? `${answer.state?.version}:${textOf(answer.state?.bytes)}` : answer.outcome;
  };
  const settled = (node: Coordinator): Promise<unknown> =>
    waitUntil(async () => (await node.directory.lookup(anActor())) === null, 5_000, "the generation to settle");

  for (const [how, lose] of [
    ["flushed", () => server.flush()],
    ["killed and restarted empty", () => server.restart({ empty: true })],
  ] as const) {
    describe(how, () => {
      it("makes every verb throw store_reset, in every slot, and shows in the health", async () => {
        // One node per verb, so that none is only refused because another one noticed.
        const store = redisStore(server, { ...LEASE, key_prefix: prefix });
        try {
          const names = Object.keys(everyVerb(await verbTarget(await store.connect())));
          const verbs = await Promise.all(
            names.map(async (name) => {
              const coordinator = await store.connect();
              return [name, coordinator, everyVerb(await verbTarget(coordinator))[name]] as const;
            }),
          );
          await lose();
          for (const [name, coordinator, verb] of verbs) {
            const back = (): boolean => {
              const health = coordinator.health();
              return health.ok || !health.reason.startsWith("not connected");
            };
            await waitUntil(back, 5_000, "the connections");
            assert.ok(verb !== undefined);
            await assert.rejects(verb(), { code: "store_reset", started: "no" }, name);
            const health = coordinator.health();
            assert.match(health.ok ? "" : health.reason, /has not written back/);
          }
        } finally {
          await store.close();
        }
      });

      it("has the due index again as far as living nodes have reminders", async () => {
        await withNode(LEASE, async (one, incarnation) => {
          const [reminded, other] = [anActor(), anActor()];
          const owner = await claim(one, incarnation, reminded, "a");
          const owner2 = await claim(one, incarnation, other, "b");
          const told: (number | null)[] = [];
          one.reminders.onEarliest((_shard, dueMs) => void told.push(dueMs));
          await lose();
          const records = [{ ...held(reminded, owner, 2, "a2"), dueMs: 700 }, held(other, owner2, 1, "b")];
          const again = (): Promise<{ lost: ActorId[] }> => {
            told.length = 0;
            return writeBack(one, incarnation, records);
          };
          assert.deepEqual(await waitUntil(() => again().catch(() => false as const), 5_000, "the store"), {
            lost: [],
          });
          const shards = Array.from({ length: one.reminders.shards }, (_, shard) => shard);
          const take = { nowMs: 1_000, holdUntilMs: 2_000, limit: 10 };
          const taken = await Promise.all(shards.map((shard) => one.reminders.take({ shard, ...take })));
          assert.deepEqual(
            taken.flatMap(({ due }) => due),
            [reminded],
          );
          // Null: the watcher's connection came back only now, and it may have missed anything.
          await waitUntil(() => told.includes(700) || told.includes(null), 5_000, "the watchers to be told");
        });
      });

      it("comes back with what its nodes write back, under the same incarnations and epochs", async () => {
        await withNode(LEASE, async (one, incarnation, store) => {
          const two = await store.connect();
          const second = await join(two, "two");
          const [a, b, stateless] = [anActor(), anActor(), anActor()];
          const ownerA = await claim(one, incarnation, a, "a");
          const ownerB = await claim(two, second, b, "b");
          const ownerS = await claim(two, second, stateless);
          const { generation } = one;
          await lose();
          await waitUntil(
            () => one.membership.renew(incarnation).catch((error) => error.code === "store_reset"),
            5_000,
            "the reset to be noticed",
          );
          const records = [held(a, ownerA, 7, "a7")];
          const again = (): Promise<{ lost: ActorId[] }> => writeBack(one, incarnation, records);
          assert.deepEqual(await waitUntil(() => again(), 5_000, "the store"), { lost: [] });
          assert.notEqual(one.generation, generation);
          const back = await waitUntil(
            () =>
              writeBack(two, second, [held(b, ownerB, 1, "b"), { actor: stateless, epoch: ownerS.epoch, state: null }]),
            5_000,
            "the store",
          );
          assert.deepEqual(back, { lost: [] });
          assert.equal(two.generation, one.generation);
          assert.deepEqual(one.health(), { ok: true });
          const { members } = await one.membership.view();
          assert.deepEqual(members.map((member) => [member.id, member.incarnation, member.liveness]).sort(), [
            ["one", incarnation, "alive"],
            ["two", second, "alive"],
          ]);
          assert.equal((await two.membership.renew(second)).outcome, "renewed");
          assert.deepEqual((await one.directory.lookup(b))?.owner, ownerB);
          assert.deepEqual(await one.directory.lookup(stateless), { owner: ownerS, hasState: false, ended: false });
          const commit = { actor: a, owner: ownerA, expectedVersion: 7, bytes: bytesOf("a8"), operation: operation() };
          assert.deepEqual(await one.directory.commit(commit), { outcome: "committed", version: 8 });
          assert.equal(await stateOf(one, a, ownerA), "8:a8");
        });
      });

      it("never hands out an incarnation or epoch a second time", async () => {
        await withNode(LEASE, async (one, incarnation) => {
          const seen = new Set<string>();
          const actor = anActor();
          for (let round = 0; round < 3; round += 1) {
            await lose();
            await waitUntil(() => writeBack(one, incarnation, []), 5_000, "the store");
            await settled(one);
            const next = await join(one, `n${round}`);
            const { epoch } = await claim(one, incarnation, actor);
            assert.ok(!seen.has(next) && !seen.has(epoch) && next !== incarnation);
            seen.add(next).add(epoch);
          }
        });
      });
    });
  }

  describe("while it settles", () => {
    it("refuses first claims, takeovers, creations and absences to everybody, and still names owners", async () => {
      await withNode(UNSETTLED, async (one, incarnation, store) => {
        const actor = anActor();
        const owner = await claim(one, incarnation, actor, "a");
        await server.flush();
        await writeBack(one, incarnation, [held(actor, owner, 1, "a")]);
        const fresh = await store.connect();
        const newcomer = await join(fresh, "newcomer");
        const refused = { code: "unavailable", started: "no" };
        for (const [node, who] of [
          [one, incarnation],
          [fresh, newcomer],
        ] as const) {
          const attempt = (more: object): Promise<unknown> =>
            node.directory.claim({ actor: anActor(), incarnation: who, operation: operation(), ...more });
          await assert.rejects(attempt({}), refused);
          await assert.rejects(attempt({ requireState: true }), refused);
          await assert.rejects(attempt({ create: RAW_BYTES }), refused);
          await assert.rejects(attempt({ actor, takeover: owner }), refused);
          await assert.rejects(node.directory.lookup(anActor()), refused);
          assert.deepEqual(await attempt({ actor }), { outcome: "owned", owner });
        }
      });
    });

    it("refuses declarations, but not leaving", async () => {
      await withNode(UNSETTLED, async (one, incarnation, store) => {
        await server.flush();
        await writeBack(one, incarnation, []);
        const two = await store.connect();
        const second = await join(two, "two");
        const refused = { code: "unavailable", started: "no" };
        await assert.rejects(one.membership.declareDead(second, 0), refused);
        assert.equal((await two.membership.renew(second)).outcome, "renewed");
        await two.membership.leave(second);
        assert.deepEqual(await two.membership.renew(second), { outcome: "declared-dead" });
      });
    });

    it("allows all of it again after one node lease, to every node", async () => {
      await withNode(LEASE, async (one, incarnation, store) => {
        const two = await store.connect();
        const second = await join(two, "two");
        await server.flush();
        const start = performance.now();
        await writeBack(one, incarnation, []);
        await writeBack(two, second, []);
        await assert.rejects(claim(two, second, anActor()), { code: "unavailable" });
        const claimed = await waitUntil(
          () => two.directory.claim({ actor: anActor(), incarnation: second, operation: operation() }),
          5_000,
          "the generation to settle",
        );
        assert.equal(claimed.outcome, "claimed");
        assert.ok(performance.now() - start >= SETTLE_MS - 5, "it settled too early");
        await claim(one, incarnation, anActor());
        const beats = await one.membership.heartbeats([second]);
        assert.equal(await one.membership.declareDead(second, beats.get(second) ?? -1), "declared");
      });
    });

    it("is not skipped by a node that knew the store before, also when nobody listens at that moment", async () => {
      await withNode(UNSETTLED, async (one, incarnation) => {
        await server.flush();
        await server.command("CLIENT", "KILL", "TYPE", "pubsub");
        await writeBack(one, incarnation, []);
        await assert.rejects(claim(one, incarnation, anActor()), { code: "unavailable" });
      });
    });

    it("is skipped by the first node of an empty store, because there is nobody to wait for", async () => {
      await withNode(UNSETTLED, async (one, incarnation) => {
        await claim(one, incarnation, anActor());
      });
    });

    it("is not skipped by a node that starts in a store emptied under a living cluster", async () => {
      await withNode(UNSETTLED, async (_one, _incarnation, store) => {
        await server.flush();
        const fresh = await store.connect();
        const newcomer = await join(fresh, "newcomer");
        await assert.rejects(claim(fresh, newcomer, anActor()), { code: "unavailable" });
      });
    });
  });

  describe("when several nodes write back", () => {
    it("lets the newer owner win, whoever comes first, and names the record to the older one", async () => {
      for (const order of ["older first", "newer first"]) {
        await withNode(SLOW, async (one, incarnation, store) => {
          const two = await store.connect();
          const second = await join(two, "two");
          const actor = anActor();
          const older = await claim(one, incarnation, actor, "old");
          const taken = { actor, incarnation: second, operation: operation(), takeover: older };
          const answer = await two.directory.claim(taken);
          assert.ok(answer.outcome === "claimed");
          const newer = { incarnation: second, epoch: answer.epoch };
          await server.flush();
          const writeOlder = (): Promise<{ lost: ActorId[] }> =>
            writeBack(one, incarnation, [held(actor, older, 9, "old")]);
          const writeNewer = (): Promise<{ lost: ActorId[] }> => writeBack(two, second, [held(actor, newer, 2, "new")]);
          if (order === "older first") {
            assert.deepEqual(await writeOlder(), { lost: [] });
            assert.deepEqual(await writeNewer(), { lost: [] });
          } else {
            assert.deepEqual(await writeNewer(), { lost: [] });
            assert.deepEqual(await writeOlder(), { lost: [actor] });
          }
          const commit = { actor, owner: older, expectedVersion: 9, bytes: RAW_BYTES, operation: operation() };
          assert.deepEqual(await one.directory.commit(commit), { outcome: "fenced" });
          assert.equal(await stateOf(two, actor, newer), "2:new");
        });
        prefix = `${prefix}again:`;
      }
    });

    it("lets nobody push aside what stands once the generation has settled, and says when it has", async () => {
      await withNode(LEASE, async (one, incarnation, store) => {
        const two = await store.connect();
        const second = await join(two, "two");
        const actor = anActor();
        const older = await claim(one, incarnation, actor, "old");
        const taken = { actor, incarnation: second, operation: operation(), takeover: older };
        const answer = await two.directory.claim(taken);
        assert.ok(answer.outcome === "claimed");
        const newer = { incarnation: second, epoch: answer.epoch };
        await server.flush();
        await writeBack(one, incarnation, [held(actor, older, 9, "old")]);
        await settled(one);
        assert.equal((await one.directory.reassert(incarnation, [held(actor, older, 9, "old")])).settled, true);
        // It slept meanwhile, and its epoch is newer: the first one serves already.
        assert.deepEqual(await two.directory.reassert(second, [held(actor, newer, 2, "new")]), {
          lost: [actor],
          settled: true,
        });
        assert.equal(await stateOf(one, actor, older), "9:old");
      });
    });

    it("keeps dead who was declared dead before, as far as the others know, unless it came back before them", async () => {
      for (const [first, outcome] of [
        ["the other node", { lost: 1, liveness: "dead" }],
        ["the declared one", { lost: 0, liveness: "alive" }],
      ] as const) {
        await withNode(LEASE, async (one, incarnation, store) => {
          const two = await store.connect();
          const second = await join(two, "two");
          const actor = anActor();
          const owner = await claim(two, second, actor, "old");
          const beat = (await one.membership.heartbeats([second])).get(second);
          assert.equal(await one.membership.declareDead(second, beat ?? -1), "declared");
          await one.membership.view();
          // The second node was frozen and heard nothing; the declaration is lost with the data.
          await server.flush();
          const returns = (): Promise<{ lost: ActorId[] }> => writeBack(two, second, [held(actor, owner, 1, "old")]);
          if (first === "the declared one") assert.equal((await returns()).lost.length, outcome.lost);
          await writeBack(one, incarnation, []);
          if (first === "the other node") assert.equal((await returns()).lost.length, outcome.lost);
          const { members } = await one.membership.view();
          const listed = members.find((member) => member.incarnation === second);
          assert.deepEqual([listed?.id, listed?.liveness], ["two", outcome.liveness]);
          const renewed = (await two.membership.renew(second)).outcome;
          assert.equal(renewed, outcome.liveness === "alive" ? "renewed" : "declared-dead");
        });
        prefix = `${prefix}again:`;
      }
    });

    it("counts everything as lost to a node without a lease that a whole generation passed by", async () => {
      for (const leaseHeld of [false, true]) {
        await withNode(LEASE, async (one, incarnation, store) => {
          const two = await store.connect();
          const second = await join(two, "two");
          const actor = anActor();
          const owner = await claim(one, incarnation, actor, "old");
          await server.flush();
          await writeBack(two, second, []);
          await settled(two);
          // Whoever owned it there is gone, with all that was written.
          await server.flush();
          await writeBack(two, second, []);
          const records = [held(actor, owner, 1, "old")];
          const { lost } = await one.directory.reassert(incarnation, records, () => leaseHeld);
          assert.deepEqual(lost, leaseHeld ? [] : [actor]);
          assert.deepEqual(await writeBack(one, incarnation, []), { lost: [] });
        });
        prefix = `${prefix}again:`;
      }
    });

    it("says that the generation has not settled", async () => {
      await withNode(UNSETTLED, async (one, incarnation, store) => {
        await join(await store.connect(), "two");
        await server.flush();
        assert.equal((await one.directory.reassert(incarnation, [])).settled, false);
      });
    });

    it("orders owners also over generations", async () => {
      await withNode(SLOW, async (one, incarnation, store) => {
        const actor = anActor();
        const first = await claim(one, incarnation, actor, "first");
        await server.flush();
        await writeBack(one, incarnation, [held(actor, first, 1, "first")]);
        await settled(one);
        const two = await store.connect();
        const second = await join(two, "two");
        const taken = { actor, incarnation: second, operation: operation(), takeover: first };
        const answer = await two.directory.claim(taken);
        assert.ok(answer.outcome === "claimed");
        await server.flush();
        assert.deepEqual(await writeBack(one, incarnation, [held(actor, first, 1, "first")]), { lost: [] });
        const newer = { incarnation: second, epoch: answer.epoch };
        assert.deepEqual(await writeBack(two, second, [held(actor, newer, 2, "second")]), { lost: [] });
        assert.deepEqual(await writeBack(one, incarnation, [held(actor, first, 1, "first")]), {
          lost: [actor],
        });
        assert.equal(await stateOf(two, actor, newer), "2:second");
      });
    });

    it("keeps what somebody claimed in the emptied store before its old owner came back", async () => {
      const actor = anActor();
      await withNode(LEASE, async (one, incarnation) => {
        const old = await claim(one, incarnation, actor, "old");
        await one.close();
        await server.flush();
        // Nobody listens any more, so the newcomer's generation counts as a first one.
        await withNode(LEASE, async (fresh, newcomer) => {
          const standing = await claim(fresh, newcomer, actor, "new");
          const back = redisStore(server, { ...LEASE, key_prefix: prefix });
          try {
            const late = await back.connect();
            const again = await join(late, "one");
            const record = { ...held(actor, old, 5, "old"), epoch: old.epoch };
            assert.deepEqual(await writeBack(late, again, [record]), { lost: [actor] });
            assert.deepEqual((await late.directory.lookup(actor))?.owner, standing);
          } finally {
            await back.close();
          }
        });
      });
    });

    it("replaces the generation of a newcomer that does not know it came second", async () => {
      await withNode(LEASE, async (one, incarnation, store) => {
        const actor = anActor();
        const owner = await claim(one, incarnation, actor, "a");
        await server.flush();
        const fresh = await store.connect();
        const newcomer = await join(fresh, "newcomer");
        const theirs = fresh.generation;
        assert.deepEqual(await writeBack(one, incarnation, [held(actor, owner, 1, "a")]), { lost: [] });
        assert.notEqual(one.generation, theirs);
        await assert.rejects(fresh.membership.renew(newcomer), { code: "store_reset" });
        await writeBack(fresh, newcomer, []);
        assert.equal(fresh.generation, one.generation);
        assert.equal((await fresh.membership.renew(newcomer)).outcome, "renewed");
        assert.deepEqual((await fresh.directory.lookup(actor))?.owner, owner);
      });
    });

    it("makes one generation, however many come at once", async () => {
      await withNode(LEASE, async (first, incarnation, store) => {
        const nodes = await Promise.all(Array.from({ length: 8 }, () => store.connect()));
        const joined = await Promise.all(nodes.map((node, index) => join(node, `n${index}`)));
        await server.flush();
        const all = [
          [first, incarnation] as const,
          ...nodes.map((node, i) => [node, joined[i] ?? incarnation] as const),
        ];
        await Promise.all(all.map(([node, who]) => writeBack(node, who, [])));
        assert.equal(new Set(all.map(([node]) => node.generation)).size, 1);
        const answers = await Promise.all(all.map(([node, who]) => node.membership.renew(who)));
        assert.ok(answers.every((answer) => answer.outcome === "renewed"));
      });
    });

    it("also on the first start of many nodes at once", async () => {
      const store = redisStore(server, { ...LEASE, key_prefix: prefix });
      try {
        const nodes = await Promise.all(Array.from({ length: 8 }, () => store.connect()));
        assert.equal(new Set(nodes.map((node) => node.generation)).size, 1);
        const incarnations = await Promise.all(nodes.map((node, index) => join(node, `n${index}`)));
        assert.equal(new Set(incarnations).size, 8);
      } finally {
        await store.close();
      }
    });

    it("writes back many records in bounded batches", async () => {
      await withNode(LEASE, async (one, incarnation) => {
        const records = Array.from({ length: 1_300 }, (_, index) => ({
          actor: anActor(),
          epoch: `${one.generation}-${index + 1}` as Epoch,
          state: { version: 1, bytes: RAW_BYTES },
        }));
        await server.flush();
        assert.deepEqual(await writeBack(one, incarnation, records), { lost: [] });
        for (const { actor, epoch } of [records[0], records[1_299]].filter((record) => record !== undefined)) {
          assert.deepEqual((await one.directory.lookup(actor))?.owner, { incarnation, epoch });
        }
      });
    });

    it("keeps ended actors ended", async () => {
      await withNode(LEASE, async (one, incarnation) => {
        const actor = anActor();
        const owner = await claim(one, incarnation, actor, "a");
        await one.directory.end({ actor, owner, operation: operation(), tombstoneMs: 60_000 });
        await server.flush();
        await writeBack(one, incarnation, []);
        assert.equal((await one.directory.lookup(actor))?.ended, true);
        assert.deepEqual(await writeBack(one, incarnation, [held(actor, owner, 1, "a")]), { lost: [actor] });
      });
    });

    it("keeps fences growing", async () => {
      await withNode(LEASE, async (one, incarnation) => {
        const before = await one.leases.tryAcquire("lease", "me", 60_000);
        await server.flush();
        await writeBack(one, incarnation, []);
        const after = await one.leases.tryAcquire("lease", "you", 60_000);
        assert.ok(before !== null && after !== null && BigInt(after.fence) > BigInt(before.fence));
      });
    });
  });

  describe("set back to an earlier moment", () => {
    it("is noticed by the server's run id, and its nodes bring the newest state back", async () => {
      await withNode(LEASE, async (one, incarnation, store) => {
        const two = await store.connect();
        const second = await join(two, "two");
        const [moved, kept, made] = [anActor(), anActor(), anActor()];
        const from = await claim(one, incarnation, moved, "v1");
        const keeper = await claim(one, incarnation, kept, "v1");
        await server.save();
        // All of this is lost by the server, after it acknowledged it.
        const transferred = await one.directory.transfer({ actor: moved, from, to: second, operation: operation() });
        assert.ok(transferred.outcome === "transferred");
        const to = { incarnation: second, epoch: transferred.epoch };
        for (const [node, actor, owner] of [
          [two, moved, to],
          [one, kept, keeper],
        ] as const) {
          const commit = { actor, owner, expectedVersion: 1, bytes: bytesOf("v2"), operation: operation() };
          assert.equal((await node.directory.commit(commit)).outcome, "committed");
        }
        const late = await join(one, "late");
        const creator = await claim(two, second, made, "v1");
        await server.kill();
        await server.start();
        await waitUntil(
          () => one.membership.renew(incarnation).catch((error) => error.code === "store_reset"),
          5_000,
          "the restart to be noticed",
        );
        const ours = [held(kept, keeper, 2, "v2")];
        assert.deepEqual(await waitUntil(() => writeBack(one, incarnation, ours), 5_000, "the store"), {
          lost: [],
        });
        const theirs = [held(moved, to, 2, "v2"), held(made, creator, 1, "v1")];
        assert.deepEqual(await waitUntil(() => writeBack(two, second, theirs), 5_000, "the store"), {
          lost: [],
        });
        assert.notEqual(await join(one, "later"), late);
        assert.equal(await stateOf(one, kept, keeper), "2:v2");
        assert.equal(await stateOf(two, moved, to), "2:v2");
        assert.equal(await stateOf(two, made, creator), "1:v1");
      });
    });

    it("brings nobody back who was declared dead since, though the data calls it alive", async () => {
      await withNode(LEASE, async (one, incarnation, store) => {
        const two = await store.connect();
        const second = await join(two, "two");
        const actor = anActor();
        const owner = await claim(two, second, actor, "old");
        await server.save();
        const beat = (await one.membership.heartbeats([second])).get(second);
        assert.equal(await one.membership.declareDead(second, beat ?? -1), "declared");
        await one.membership.view();
        await server.kill();
        await server.start();
        await waitUntil(
          () => one.membership.renew(incarnation).catch((error) => error.code === "store_reset"),
          5_000,
          "the restart to be noticed",
        );
        await waitUntil(() => writeBack(one, incarnation, []), 5_000, "the store");
        const records = [held(actor, owner, 1, "old")];
        const { lost } = await waitUntil(() => writeBack(two, second, records), 5_000, "the store");
        assert.deepEqual(lost, [actor]);
        assert.equal((await two.membership.renew(second)).outcome, "declared-dead");
        const { members } = await one.membership.view();
        assert.deepEqual(
          members.map(({ id, liveness }) => [id, liveness]),
          [
            ["one", "alive"],
            ["two", "dead"],
          ],
        );
      });
    });

    it("ends again what was ended since, and leaves alone what is newer", async () => {
      await withNode(LEASE, async (one, incarnation, store) => {
        const two = await store.connect();
        const second = await join(two, "two");
        const [ended, anew] = [anActor(), anActor()];
        const first = await claim(one, incarnation, ended, "v1");
        const owner = await claim(one, incarnation, anew, "v1");
        await server.save();
        const end = { actor: ended, owner: first, operation: operation(), tombstoneMs: 60_000 };
        assert.equal(await one.directory.end(end), "done");
        // Ended with a tombstone that goes at once, so that another node makes it anew.
        const brief = { actor: anew, owner, operation: operation(), tombstoneMs: 1 };
        assert.equal(await one.directory.end(brief), "done");
        await waitUntil(async () => (await one.directory.lookup(anew)) === null, 2_000, "the tombstone to go");
        const newer = await claim(two, second, anew, "again");
        await server.kill();
        await server.start();
        for (const [node, who, records] of [
          [two, second, [held(anew, newer, 1, "again")]],
          [one, incarnation, []],
        ] as const) {
          await waitUntil(() => node.directory.reassert(who, records), 5_000, "the store");
        }
        assert.deepEqual(await one.directory.lookup(ended), { owner: null, hasState: false, ended: true });
        assert.equal(await stateOf(two, anew, newer), "1:again");
      });
    });

    it("lets no command through between the reconnect and finding out", async () => {
      await withNode(LEASE, async (one) => {
        await server.save();
        let restarted = false;
        let late = 0;
        let noticed = false;
        // In bursts without end, so that one is there at the very moment the connection is back.
        const write = (): void => {
          if (noticed) return;
          one.keyValue.put("key", RAW_BYTES).then(
            () => {
              if (restarted) late += 1;
            },
            (error) => {
              noticed ||= error.code === "store_reset";
            },
          );
          setImmediate(write);
        };
        write();
        await server.kill();
        restarted = true;
        await server.start();
        await waitUntil(() => noticed, 5_000, "the reset");
        assert.equal(late, 0);
      });
    });

    it("keeps a commit whose answer was lost: state never goes back within an activation", async () => {
      await withNode(LEASE, async (one, incarnation) => {
        const actor = anActor();
        const owner = await claim(one, incarnation, actor, "v1");
        const id = operation();
        const commit = { actor, owner, expectedVersion: 1, bytes: bytesOf("v2"), operation: id };
        await one.directory.commit(commit);
        await server.restart();
        const reassert = (): Promise<{ lost: ActorId[] }> => writeBack(one, incarnation, [held(actor, owner, 1, "v1")]);
        assert.deepEqual(await waitUntil(reassert, 5_000, "the store"), { lost: [] });
        const other = { ...commit, bytes: bytesOf("x"), operation: operation() };
        assert.deepEqual(await one.directory.commit(other), { outcome: "conflict", version: 2 });
        assert.deepEqual(await one.directory.commit(commit), { outcome: "committed", version: 2 });
        assert.equal(await stateOf(one, actor, owner), "2:v2");
      });
    });

    it("tells whoever follows the view at once, without waiting for the next renewal", async () => {
      await withNode(LEASE, async (one) => {
        let hints = 0;
        one.membership.onChange(() => {
          hints += 1;
        });
        await server.restart();
        await waitUntil(() => hints > 0, 5_000, "the hint");
        await waitUntil(
          () =>
            one.membership.view().then(
              () => false,
              (error) => error.code === "store_reset",
            ),
          5_000,
          "the reset",
        );
      });
    });
  });

  describe("while a node writes back", () => {
    it("never tells it that it is dead, or that its actors are not its own", async () => {
      await withNode(LEASE, async (one, incarnation) => {
        const records: HeldRecord[] = [];
        for (let index = 0; index < 700; index += 1) {
          const actor = anActor();
          records.push(held(actor, await claim(one, incarnation, actor, "v1"), 1, "v1"));
        }
        await server.flush();
        await assert.rejects(one.membership.renew(incarnation), { code: "store_reset" });
        let done = false;
        const written = writeBack(one, incarnation, records).finally(() => {
          done = true;
        });
        let renewedMeanwhile = 0;
        const last = records[699];
        assert.ok(last !== undefined);
        const owner = { incarnation, epoch: last.epoch };
        const commit = { actor: last.actor, owner, bytes: RAW_BYTES, expectedVersion: 1, operation: operation() };
        while (!done) {
          const renewed = one.membership.renew(incarnation).then(
            ({ outcome }) => outcome,
            (error) => error.code,
          );
          const committed = one.directory.commit(commit).then(
            ({ outcome }) => outcome,
            (error) => error.code,
          );
          const outcomes: string[] = [await renewed, await committed];
          assert.ok(["renewed", "store_reset"].includes(outcomes[0] ?? ""), outcomes[0]);
          assert.ok(["committed", "store_reset"].includes(outcomes[1] ?? ""), outcomes[1]);
          if (outcomes[0] === "renewed" && outcomes[1] === "store_reset") renewedMeanwhile += 1;
          await new Promise((resolve) => setImmediate(resolve));
        }
        assert.deepEqual(await written, { lost: [] });
        assert.ok(renewedMeanwhile > 0, "renewals had to wait for the records");
      });
    });

    it("has it done again when it was interrupted", async () => {
      await withNode(LEASE, async (one, incarnation) => {
        const actor = anActor();
        const owner = await claim(one, incarnation, actor, "v1");
        await server.flush();
        // The record's key is taken by something that is no record, so that its script fails.
        const { record } = new Keys(prefix).actor(actor);
        await server.command("SET", record, "in the way");
        await assert.rejects(writeBack(one, incarnation, [held(actor, owner, 1, "v1")]), {
          code: "store_unavailable",
        });
        await assert.rejects(one.membership.renew(incarnation), { code: "store_reset" });
        await server.command("DEL", record);
        assert.deepEqual(await writeBack(one, incarnation, [held(actor, owner, 1, "v1")]), { lost: [] });
        assert.equal((await one.membership.renew(incarnation)).outcome, "renewed");
        assert.equal(await stateOf(one, actor, owner), "1:v1");
      });
    });

    it("lets a node in that has not joined yet, because it has nothing to write back", async () => {
      await withNode(LEASE, async (_one, _incarnation, store) => {
        const starting = await store.connect();
        await server.flush();
        await assert.rejects(join(starting, "starting"), { code: "store_reset" });
        const incarnation = await join(starting, "starting");
        assert.equal((await starting.membership.renew(incarnation)).outcome, "renewed");
      });
    });
  });

  it("notices one slot that lost its data while the others did not", async () => {
    await withNode(LEASE, async (one, incarnation) => {
      const actor = anActor();
      const owner = await claim(one, incarnation, actor, "a");
      const { generation } = one;
      const keys = new Keys(prefix).actor(actor);
      await server.command("DEL", keys.generation, keys.record, keys.epochs);
      await assert.rejects(one.directory.lookup(actor), { code: "store_reset" });
      assert.deepEqual(await writeBack(one, incarnation, [held(actor, owner, 1, "a")]), { lost: [] });
      assert.notEqual(one.generation, generation);
      await assert.rejects(claim(one, incarnation, anActor()), { code: "unavailable" });
      assert.equal(await stateOf(one, actor, owner), "1:a");
    });
  });

  it("finishes a generation whose maker died half-way, without a reset", async () => {
    await withNode(LEASE, async (one, incarnation, store) => {
      const keys = new Keys(prefix);
      await server.command("HSET", keys.meta, "ready", "0");
      await server.command("DEL", ...keys.copies);
      const two = await store.connect();
      assert.equal(two.generation, one.generation);
      await claim(one, incarnation, anActor());
    });
  });
});
