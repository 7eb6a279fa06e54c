/** A single node's folder over restarts in good order: what is there again, and who may not have it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { type Clock, systemClock } from "../../runtime/actor/clock.ts";
import { type ActorId, actorId, type Incarnation } from "../../runtime/actor/ids.ts";
import type { ClaimResult, Coordinator, Owner } from "../../runtime/coordinator/contract.ts";
import { openCoordinator } from "../../runtime/coordinator/open.ts";
import { openDatabase } from "../../runtime/coordinator/single_node/database.ts";
import { DirectoryClient } from "../../runtime/placement/directory.ts";
import { MembershipDriver } from "../../runtime/placement/membership_driver.ts";
import { type StoreFolder, storeFolder, writerCommand } from "./single_node_store.ts";
import { anActor, bytesOf, join as joinAs, nodeRecord, operation, RAW_BYTES, textOf } from "./store.ts";

describe("single_node with dir, restarted", () => {
  let folder: StoreFolder;
  let open: Coordinator | undefined;
  beforeEach(() => {
    folder = storeFolder();
  });
  afterEach(async () => {
    await open?.close();
    open = undefined;
    folder.remove();
  });

  const start = async (clock: Clock = systemClock()): Promise<Coordinator> => {
    await open?.close();
    open = await openCoordinator({ kind: "single_node", dir: folder.dir }, { clock });
    return open;
  };
  const claim = async (actor: ActorId, incarnation: Incarnation, more: object = {}): Promise<ClaimResult> =>
    (open as Coordinator).directory.claim({ actor, incarnation, operation: operation(), ...more });
  const own = async (actor: ActorId, incarnation: Incarnation, more: object = {}): Promise<Owner> => {
    const claimed = await claim(actor, incarnation, more);
    assert.ok(claimed.outcome === "claimed", claimed.outcome);
    return { incarnation, epoch: claimed.epoch };
  };

  it("keeps its generation, and gives no incarnation, epoch or view number a second time", async () => {
    const seen = { incarnations: new Set<string>(), epochs: new Set<string>(), views: [] as number[] };
    const { generation } = await start();
    for (let round = 0; round < 3; round += 1) {
      const coordinator = await start();
      assert.equal(coordinator.generation, generation);
      const incarnation = await joinAs(coordinator, "node");
      seen.incarnations.add(incarnation);
      seen.epochs.add((await own(anActor(), incarnation)).epoch);
      seen.views.push((await coordinator.membership.view()).view);
    }
    assert.equal(seen.incarnations.size, 3);
    assert.equal(seen.epochs.size, 3);
    assert.deepEqual(
      seen.views,
      [...new Set(seen.views)].sort((a, b) => a - b),
    );
  });

  it("has the reminders' due index as it was, also in a file of the time before there was one", async () => {
    const [moved, gone, ended] = [anActor(), anActor(), anActor()];
    const node = await joinAs(await start(), "node");
    const due = async (actor: ActorId, dues: (number | null)[]): Promise<Owner> => {
      const owner = await own(actor, node);
      for (const [expectedVersion, dueMs] of dues.entries()) {
        const bytes = RAW_BYTES;
        await open?.directory.commit({ actor, owner, expectedVersion, bytes, operation: operation(), dueMs });
      }
      return owner;
    };
    await due(moved, [500, 700]);
    await due(gone, [500, null]);
    const owner = await due(ended, [500]);
    await open?.directory.end({ actor: ended, owner, operation: operation(), tombstoneMs: 60_000 });
    const take = { shard: 0, nowMs: 1_000, holdUntilMs: 2_000, limit: 10 };
    assert.deepEqual(await (await start()).reminders.take(take), { due: [moved], nextMs: 2_000 });
    assert.deepEqual(await (await start()).reminders.take(take), { due: [], nextMs: 2_000 }, "held over the restart");

    await open?.close();
    const database = await openDatabase(join(folder.dir, "troupe.sqlite"));
    database.exec("DROP TABLE dues; PRAGMA user_version = 1");
    database.close();
    assert.deepEqual(await (await start()).reminders.take(take), { due: [], nextMs: null });
  });

  it("has state, version and owner as they were; the dead owner is fenced off by a takeover", async () => {
    const actor = anActor();
    const dead = await joinAs(await start(), "node");
    const was = await own(actor, dead, { create: RAW_BYTES });
    const commit = { actor, owner: was, expectedVersion: 1, bytes: bytesOf("second"), operation: operation() };
    await open?.directory.commit(commit);

    const { directory, membership } = await start();
    assert.deepEqual(await directory.lookup(actor), { owner: was, hasState: true, ended: false });
    assert.ok((await membership.view()).members.every((member) => member.incarnation !== dead));
    assert.deepEqual(await membership.renew(dead), { outcome: "declared-dead" });
    const alive = await joinAs(open as Coordinator, "node");
    assert.deepEqual(await claim(actor, alive), { outcome: "owned", owner: was });
    const taken = await claim(actor, alive, { takeover: was, requireState: true });
    assert.ok(taken.outcome === "claimed");
    assert.deepEqual(taken.state, { version: 2, bytes: bytesOf("second") });
    assert.deepEqual(await directory.commit(commit), { outcome: "committed", version: 2 }, "a replay");
    const late = { ...commit, expectedVersion: 2, operation: operation() };
    assert.deepEqual(await directory.commit(late), { outcome: "fenced" });
  });

  it("knows whom an actor was handed to", async () => {
    const actor = anActor();
    const coordinator = await start();
    const [from, to] = [await joinAs(coordinator, "from"), await joinAs(coordinator, "to")];
    const request = { actor, from: await own(actor, from), to, operation: operation() };
    const handed = await coordinator.directory.transfer(request);
    assert.ok(handed.outcome === "transferred");
    const { directory } = await start();
    assert.deepEqual((await directory.lookup(actor))?.owner, { incarnation: to, epoch: handed.epoch });
    assert.deepEqual(await directory.transfer(request), handed, "a replay");
  });

  it("is taken over by the rule that every node follows", async () => {
    const actor = anActor();
    const dead = await joinAs(await start(), "node");
    await own(actor, dead, { create: bytesOf("kept") });
    const coordinator = await start();
    const clock = systemClock();
    const driver = new MembershipDriver({ coordinator, clock, ttlMs: 6_000, renewMs: 2_000, graceMs: 600 });
    const alive = await driver.join(nodeRecord("node"));
    const client = new DirectoryClient(coordinator.directory, driver, clock, alive);
    const found = await client.resolve(actor, true);
    assert.ok(found.place === "here");
    assert.equal(textOf(found.state?.bytes), "kept");
    await driver.leave();
  });

  it("remembers who was ended and what was released, with the answers to replays", async () => {
    const [ended, released] = [anActor(), anActor()];
    const incarnation = await joinAs(await start(), "node");
    const owner = await own(ended, incarnation, { create: RAW_BYTES });
    const end = { actor: ended, owner, operation: operation(), tombstoneMs: 60_000 };
    assert.equal(await open?.directory.end(end), "done");
    const release = { actor: released, owner: await own(released, incarnation), operation: operation() };
    assert.equal(await open?.directory.release(release), "done");

    const { directory } = await start();
    assert.equal(await directory.lookup(released), null);
    assert.equal(await directory.end(end), "done");
    assert.equal(await directory.release(release), "done");
    assert.deepEqual(await directory.lookup(ended), { owner: null, hasState: false, ended: true });
    assert.deepEqual(await claim(ended, incarnation, { create: RAW_BYTES }), { outcome: "ended" });
    await own(released, await joinAs(open as Coordinator, "node"));
  });

  it("lets a tombstone go at its time, counted over the restart", async () => {
    let [now, wall] = [0, 1_000_000];
    const clock: Clock = { now: () => now, wallNow: () => wall, after: () => () => {} };
    const actor = anActor();
    const incarnation = await joinAs(await start(clock), "node");
    const owner = await own(actor, incarnation);
    await open?.directory.end({ actor, owner, operation: operation(), tombstoneMs: 1_000 });
    await open?.close();
    [now, wall] = [500_000, wall + 900];
    assert.equal((await (await start(clock)).directory.lookup(actor))?.ended, true);
    await open?.close();
    [now, wall] = [7, wall + 200];
    assert.equal(await (await start(clock)).directory.lookup(actor), null);
  });

  it("has nothing in the file of what ran out, before or after the restart", async () => {
    let now = 0;
    const clock: Clock = { now: () => now, wallNow: () => now, after: () => () => {} };
    let { directory, keyValue } = await start(clock);
    const incarnation = await joinAs(open as Coordinator, "node");
    for (const ms of [100, 5_000]) {
      const actor = anActor();
      const owner = await own(actor, incarnation, { create: RAW_BYTES });
      await directory.end({ actor, owner, operation: operation(), tombstoneMs: ms });
      await keyValue.put(`brief/${ms}`, RAW_BYTES, { ttlMs: ms });
    }
    const inFile = async (): Promise<(number | undefined)[]> => {
      await open?.close();
      const database = await openDatabase(join(folder.dir, "troupe.sqlite"));
      const rows = (table: string) => database.prepare(`SELECT count(*) AS n FROM ${table}`).all()[0]?.whole("n");
      const counts = [rows("actors"), rows("entries")];
      database.close();
      return counts;
    };
    now = 1_000;
    await keyValue.put("lasting", RAW_BYTES);
    await own(anActor(), incarnation);
    assert.deepEqual(await inFile(), [2, 2]);
    ({ directory, keyValue } = await start(clock));
    now = 10_000;
    await keyValue.put("lasting", RAW_BYTES);
    await own(anActor(), incarnation);
    assert.deepEqual(await inFile(), [2, 1]);
  });

  it("has entries with their revisions, not those deleted, and no revision twice", async () => {
    let { keyValue } = await start();
    const kept = await keyValue.put("kept", RAW_BYTES);
    const empty = await keyValue.put("empty", new Uint8Array());
    await keyValue.put("brief", RAW_BYTES, { ttlMs: 60_000 });
    await keyValue.put("deleted", RAW_BYTES);
    await keyValue.delete("deleted");
    await keyValue.put("swapped", RAW_BYTES);

    ({ keyValue } = await start());
    assert.deepEqual(
      (await keyValue.list("")).map(({ key }) => key),
      ["brief", "empty", "kept", "swapped"],
    );
    assert.deepEqual(await keyValue.get("kept"), { key: "kept", value: RAW_BYTES, revision: kept.revision });
    assert.deepEqual(await keyValue.get("empty"), { key: "empty", value: new Uint8Array(), ...empty });
    const swapped = await keyValue.compareAndSet("kept", kept.revision, bytesOf("new"));
    assert.ok(swapped !== null && ![kept.revision, empty.revision].includes(swapped.revision));
    ({ keyValue } = await start());
    assert.equal((await keyValue.get("kept"))?.revision, swapped.revision);
  });

  it("holds a lease for its time and grants greater fences, also when the wall clock went back", async () => {
    const at = (wall: number): Clock => ({ now: () => 0, wallNow: () => wall, after: () => () => {} });
    let { leases } = await start(at(2_000_000));
    const [held, other] = [await leases.tryAcquire("held", "me", 60_000), await leases.tryAcquire("x", "me", 60_000)];
    assert.ok(held !== null && other !== null);
    await leases.release(other);
    const renewed = await leases.tryAcquire("renewed", "me", 1_000);
    assert.ok(renewed !== null && (await leases.renew(renewed, 60_000)));

    ({ leases } = await start(at(2_002_000)));
    assert.deepEqual(await leases.holder("renewed"), renewed);
    ({ leases } = await start(at(1_000_000)));
    assert.deepEqual(await leases.holder("held"), held);
    assert.equal(await leases.tryAcquire("held", "you", 60_000), null);
    const next = await leases.tryAcquire("x", "you", 60_000);
    assert.ok(BigInt(next?.fence ?? 0) > BigInt(other.fence));
    assert.equal(await leases.release(held), true);
    ({ leases } = await start(at(1_000_000)));
    assert.equal(await leases.holder("held"), null);
  });

  it("has names of any characters, each its own", async () => {
    const names = ["a\0b", "a\0c", "a", "\ud800", "\udbff", 'quote " and \\u0000', "line\nbreak", "ä 🎭"];
    const { keyValue, leases } = await start();
    const incarnation = await joinAs(open as Coordinator, "node");
    for (const name of names) {
      await keyValue.put(name, bytesOf(JSON.stringify(name)));
      await own(actorId("counter", name), incarnation, { create: bytesOf(JSON.stringify(name)) });
      assert.notEqual(await leases.tryAcquire(name, name, 60_000), null);
    }
    const again = await start();
    for (const name of names) {
      assert.equal(textOf((await again.keyValue.get(name))?.value), JSON.stringify(name));
      assert.equal((await again.directory.lookup(actorId("counter", name)))?.hasState, true);
      assert.equal((await again.leases.holder(name))?.holder, name);
    }
    assert.equal((await again.keyValue.list("")).length, names.length);
  });

  it("reads back more than it reads at once", async () => {
    const { keyValue } = await start();
    await Promise.all(Array.from({ length: 1_203 }, (_, index) => keyValue.put(`many/${index}`, RAW_BYTES)));
    assert.equal((await (await start()).keyValue.list("many/", 5_000)).length, 1_203);
  });

  it("writes what is on its way before it closes, and refuses verbs after it", async () => {
    const coordinator = await start();
    const put = coordinator.keyValue.put("last", RAW_BYTES);
    await coordinator.close();
    await put;
    await assert.rejects(coordinator.keyValue.get("last"), { code: "store_unavailable", started: "no" });
    assert.notEqual(await (await start()).keyValue.get("last"), null);
  });
});

describe("the folder of a single node", () => {
  let folder: StoreFolder;
  beforeEach(() => {
    folder = storeFolder();
  });
  afterEach(() => folder.remove());

  it("is made for its user alone", async () => {
    const coordinator = await folder.open();
    assert.equal(statSync(folder.dir).mode & 0o777, 0o700);
    assert.equal(statSync(join(folder.dir, "troupe.sqlite")).mode & 0o777, 0o600);
    await coordinator.close();
    assert.equal(existsSync(join(folder.dir, "troupe.pid")), false);
  });

  it("belongs to one at a time: a second is refused, told who has it, and let in when that one closed", async () => {
    const first = await folder.open();
    const sentence = new RegExp(`cluster\\.dir .*data is in use by process ${process.pid}, which holds the lock`);
    await assert.rejects(folder.open(), { code: "store_unavailable", message: sentence });
    await first.keyValue.put("still", RAW_BYTES);
    await assert.rejects(folder.open(), { message: sentence });
    for (const runtime of ["node", "deno"] as const) {
      const [executable, args] = writerCommand(runtime, folder.dir, join(folder.dir, "notes"));
      const { stderr } = spawnSync(executable, args, { encoding: "utf8", timeout: 30_000, killSignal: "SIGKILL" });
      assert.match(stderr, sentence, runtime);
    }
    await first.close();
    await (await folder.open()).close();
  });

  it("is refused when a file is in its place, with the reason and the remedy", async () => {
    writeFileSync(folder.dir, "");
    await assert.rejects(folder.open(), {
      code: "store_unavailable",
      message: /cluster\.dir .*data cannot be used: .+; it must be a folder that this user may write/,
    });
  });

  it("is refused when it cannot be written", async () => {
    // Root may write into any folder, but not into a file as if it were one.
    if (process.getuid?.() === 0) writeFileSync(folder.dir, "");
    else mkdirSync(folder.dir, { mode: 0o500 });
    await assert.rejects(folder.open(), {
      code: "store_unavailable",
      message: /cannot be used: .*; it must be a folder/,
    });
  });

  it("is refused when its file is no database, another program's, or a newer Troupe's, and left as it was", async () => {
    mkdirSync(folder.dir);
    const path = join(folder.dir, "troupe.sqlite");
    writeFileSync(path, "this is a text that somebody put there".repeat(10));
    await assert.rejects(folder.open(), { code: "store_unavailable", message: /damaged or no SQLite file/ });
    const other = storeFolder();
    mkdirSync(other.dir);
    const change = async (sql: string): Promise<void> => {
      const database = await openDatabase(join(other.dir, "troupe.sqlite"));
      database.exec(sql);
      database.close();
    };
    await change("CREATE TABLE recipes (name TEXT)");
    await assert.rejects(other.open(), { code: "store_unavailable", message: /not written by Troupe/ });
    await change("DROP TABLE recipes");
    await (await other.open()).close();
    await change("PRAGMA user_version = 2000");
    await assert.rejects(other.open(), { code: "store_unavailable", message: /newer Troupe \(schema 2000/ });
    await change("PRAGMA user_version = 2");
    await (await other.open()).close();
    await change("UPDATE facts SET value = 7 WHERE name = 'starts'; DROP TABLE leases");
    await assert.rejects(other.open(), { code: "store_unavailable", message: /cannot be read: .*leases/ });
    other.remove();
  });
});
