/** The sweep of actors that nobody living owns, over the directory in memory and a clock that the test moves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ActorId, actorId, type Incarnation } from "../../../runtime/actor/ids.ts";
import type { MembershipView, Orphans } from "../../../runtime/coordinator/contract.ts";
import { SingleNodeMemory } from "../../../runtime/coordinator/single_node/memory.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { DirectoryClient } from "../../../runtime/placement/directory.ts";
import { Sweep } from "../../../runtime/placement/sweep.ts";
import { bytesOf, nodeRecord, operation, RAW_BYTES, textOf } from "../../contract/store.ts";
import { ManualClock } from "../http/kit.ts";

const IDLE_MS = 60_000;
const KEEP = "keep";

async function setUp() {
  const clock = new ManualClock();
  const { membership, directory } = new SingleNodeMemory(
    { generation: "1.test" as MembershipView["generation"], start: 1 },
    clock,
  );
  const join = async (id: string) => (await membership.join(nodeRecord(id), operation())).incarnation;
  const dead = await join("dead");
  const self = await join("self");
  const beside = await join("beside");
  const declare = async (incarnation: Incarnation) => {
    const beats = await membership.heartbeats([incarnation]);
    assert.equal(await membership.declareDead(incarnation, beats.get(incarnation) ?? -1), "declared");
  };
  const deaths = {
    isDead: () => false,
    confirmDead: async (incarnation: Incarnation) => !(await membership.heartbeats([incarnation])).has(incarnation),
  };
  const own = async (incarnation: Incarnation, actor: ActorId, create?: Uint8Array) => {
    const claimed = await directory.claim({ actor, incarnation, operation: operation(), create });
    assert.ok(claimed.outcome === "claimed");
    return { incarnation, epoch: claimed.epoch };
  };
  const swept: string[] = [];
  const keepUntil = { ms: 0 };
  let pages = 0;
  const sweepOf = (who: Incarnation) => {
    let view: MembershipView | undefined;
    const orphans: Orphans = {
      page: (request) => {
        pages += 1;
        return directory.page(request);
      },
    };
    const sweep = new Sweep({
      orphans,
      directory: new DirectoryClient(directory, deaths, clock, who),
      view: () => view ?? { generation: "1.test" as MembershipView["generation"], view: 0, members: [] },
      self: () => who,
      idleMs: (kind) => (kind === "session" ? IDLE_MS : undefined),
      keeps: (kind, state) => kind === "session" && textOf(state) === KEEP && clock.now() < keepUntil.ms,
      shortestMs: IDLE_MS,
      clock,
      log: silentLogger,
      onSwept: (kind) => swept.push(kind),
    });
    sweep.start();
    /** Reads the view; whom it leaves out, the node takes for dead. */
    const look = async (without?: Incarnation): Promise<void> => {
      const { members, ...rest } = await membership.view();
      view = { ...rest, members: members.filter(({ incarnation }) => incarnation !== without) };
    };
    return { sweep, look };
  };
  /** Lets time pass, and what is due be done. */
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 100) {
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { directory, dead, self, beside, declare, own, sweepOf, pass, swept, keepUntil, clock, pages: () => pages };
}

test("a session whose owner died and that nobody called again ends after its idle time, not before", async () => {
  const { directory, dead, self, declare, own, sweepOf, pass, swept } = await setUp();
  const [left, living] = [actorId("session", "left"), actorId("session", "living")];
  await own(dead, left, RAW_BYTES);
  await own(self, living, RAW_BYTES);
  await declare(dead);
  const { sweep, look } = sweepOf(self);
  await look();
  await pass(IDLE_MS - 5_000);
  assert.equal((await directory.lookup(left))?.hasState, true);
  assert.equal(sweep.watched, 1);
  await pass(10_000);
  assert.deepEqual(await directory.lookup(left), { owner: null, hasState: false, ended: true });
  assert.equal((await directory.lookup(living))?.hasState, true);
  assert.deepEqual(swept, ["session"]);
  assert.equal(sweep.watched, 0);
});

test("a session that was given up, and used again in between, is given its whole time anew", async () => {
  const { directory, dead, self, declare, own, sweepOf, pass, swept } = await setUp();
  await declare(dead);
  const actor = actorId("session", "given-up");
  const giveUp = async (): Promise<void> => {
    const owner = await own(self, actor);
    assert.equal(await directory.release({ actor, owner, operation: operation() }), "done");
  };
  const owner = await own(self, actor, RAW_BYTES);
  await directory.release({ actor, owner, operation: operation() });
  const { look } = sweepOf(self);
  await look();
  await pass(IDLE_MS - 10_000);
  await giveUp();
  await pass(IDLE_MS - 10_000);
  assert.deepEqual(swept, []);
  await pass(20_000);
  assert.deepEqual(swept, ["session"]);
});

test("a session whose state says that it must stay does, and its time begins anew until it need not", async () => {
  const { directory, dead, self, declare, own, sweepOf, pass, swept, keepUntil, clock } = await setUp();
  const [kept, other] = [actorId("session", "kept"), actorId("session", "other")];
  await own(dead, kept, bytesOf(KEEP));
  await own(dead, other, RAW_BYTES);
  await declare(dead);
  keepUntil.ms = clock.now() + 3 * IDLE_MS;
  const { look } = sweepOf(self);
  await look();
  await pass(2 * IDLE_MS);
  assert.deepEqual(swept, ["session"]);
  assert.deepEqual(await directory.lookup(kept), { owner: null, hasState: true, ended: false });
  await pass(3 * IDLE_MS);
  assert.deepEqual(swept, ["session", "session"]);
  assert.equal((await directory.lookup(kept))?.ended, true);
});

test("state of other kinds stays for ever; a dead node's record without state is forgotten", async () => {
  const { directory, dead, self, declare, own, sweepOf, pass, swept } = await setUp();
  const [kept, bare] = [actorId("account", "kept"), actorId("account", "bare")];
  await own(dead, kept, RAW_BYTES);
  await own(dead, bare);
  await declare(dead);
  const { sweep, look } = sweepOf(self);
  await look();
  await pass(1_200_000);
  assert.equal((await directory.lookup(kept))?.hasState, true);
  assert.equal(await directory.lookup(bare), null);
  assert.deepEqual(swept, ["account"]);
  sweep.close();
});

test("one node walks, the first; the others ask the store nothing", async () => {
  const { self, beside, dead, declare, sweepOf, pass, pages } = await setUp();
  await declare(dead);
  const { look } = sweepOf([self, beside].sort()[1] as Incarnation);
  await look();
  await pass(IDLE_MS);
  assert.equal(pages(), 0);
  const first = sweepOf([self, beside].sort()[0] as Incarnation);
  await first.look();
  await pass(IDLE_MS);
  assert.ok(pages() > 0);
});

test("a node that is not in the view, or is wrong about a death, ends nothing", async () => {
  const { directory, dead, self, own, sweepOf, pass, swept, pages } = await setUp();
  const actor = actorId("session", "alive");
  await own(dead, actor, RAW_BYTES);
  const { look } = sweepOf(self);
  await pass(2 * IDLE_MS);
  await look(dead);
  await pass(2 * IDLE_MS);
  assert.ok(pages() > 0);
  assert.deepEqual(swept, []);
  assert.equal((await directory.lookup(actor))?.hasState, true);
});
