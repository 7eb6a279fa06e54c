import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { acquireLease } from "../../../actors/lease/client.ts";
import { type AcquireRequest, Lease, type LeaseGrant } from "../../../actors/lease/lease.ts";
import { MAX_WAITERS } from "../../../actors/lease/line.ts";
import { decodeEnvelope } from "../../../runtime/actor/codec.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { actorId } from "../../../runtime/actor/ids.ts";
import { HostMessageType } from "../../../runtime/actor/message.ts";
import type { TestNode } from "../actor/kit.ts";
import { clock, pending, until, withNodes } from "./kit.ts";

const LONG = 60_000;

/** Acquires and insists on being granted. */
async function acquire(node: TestNode, name: string, request: AcquireRequest): Promise<LeaseGrant> {
  const grant = await node.actor(Lease, name).acquire(request);
  assert.ok(grant !== null, `${request.holder} was not granted "${name}"`);
  return grant;
}

function stored(node: TestNode, name: string): { fence: number; grant: { holder: string; ttlMs: number } | null } {
  const bytes = node.directory.rows.get(`lease/${name}`)?.bytes;
  assert.ok(bytes, "nothing is stored");
  return decodeEnvelope(bytes).state as ReturnType<typeof stored>;
}

/** Commits of a node wait until the answer is called. */
function holdCommits(node: TestNode): () => void {
  const { io } = node.host;
  const commit = io.commit.bind(io);
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  io.commit = async (...args) => {
    await held;
    return commit(...args);
  };
  return release;
}

describe("a lease", () => {
  it(
    "has one holder at a time, and lets the others in one by one, first come, first served",
    withNodes(async ({ a, b, c }) => {
      const order: string[] = [];
      let holders = 0;
      const first = await acquire(a, "x", { holder: "first", ttlMs: LONG });
      const queue: Promise<void>[] = [];
      for (let i = 0; i < 9; i++) {
        const node = [a, b, c][i % 3] as TestNode;
        const holder = `h${i}`;
        queue.push(
          acquire(node, "x", { holder, ttlMs: LONG }).then(async ({ fence }) => {
            assert.equal(++holders, 1);
            order.push(holder);
            await new Promise(setImmediate);
            holders--;
            assert.equal(await node.actor(Lease, "x").release({ holder, fence }), true);
          }),
        );
        // The calls of three nodes arrive in this order.
        await until("the call to arrive", () => a.host.turns.size === i + 1);
      }
      await a.actor(Lease, "x").release({ holder: "first", fence: first.fence });
      await Promise.all(queue);
      assert.deepEqual(
        order,
        Array.from({ length: 9 }, (_, i) => `h${i}`),
      );
    }),
  );

  it(
    "never uses a fence again: over releases, lapses, passivation, a worker's and a node's death",
    withNodes(async ({ cluster, a, b, c }) => {
      const fences: number[] = [];
      const take = async (node: TestNode, holder: string, ttlMs: number): Promise<void> => {
        fences.push((await acquire(node, "x", { holder, ttlMs })).fence);
      };
      await take(a, "p", LONG);
      await a.actor(Lease, "x").release({ holder: "p" });
      await take(b, "q", 10);
      await take(b, "r", 10);
      a.host.deliver([HostMessageType.Drop, actorId("lease", "x"), "passivate"]);
      await until("it to be passivated", () => a.host.residents === 0);
      await take(c, "s", 10);
      c.restartThread();
      await take(c, "t", 10);
      cluster.kill(c);
      await take(b, "u", 10);
      for (let i = 1; i < fences.length; i++) assert.ok((fences[i] ?? 0) > (fences[i - 1] ?? 0), String(fences));
    }),
  );

  it(
    "stores fence and grant before it answers",
    withNodes(async ({ a }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      assert.deepEqual(stored(a, "x"), { fence, grant: { holder: "p", fence, ttlMs: LONG } });
    }),
  );

  it(
    "grants nothing that the store refused",
    withNodes(async ({ a }) => {
      a.fenced = true;
      await assert.rejects(a.actor(Lease, "x").acquire({ holder: "p", ttlMs: LONG }), TroupeError);
    }),
  );

  it(
    "lets nobody in after a takeover while the old holder's time could still run",
    withNodes(async ({ cluster, a, b, c }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: 300 });
      await b.actor(Lease, "x").holder();
      cluster.kill(a);
      // The lease moves at this call, whose node counts the whole time from here.
      const taken = performance.now();
      assert.equal(await b.actor(Lease, "x").tryAcquire({ holder: "q", ttlMs: LONG }), null);
      assert.deepEqual(await b.actor(Lease, "x").holder(), { holder: "p", fence });
      await acquire(c, "x", { holder: "q", ttlMs: LONG });
      assert.ok(performance.now() - taken >= 299, `granted after ${performance.now() - taken} ms`);
    }),
  );

  it(
    "goes on with its holder after a takeover",
    withNodes(async ({ cluster, a, b }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      cluster.kill(a);
      assert.equal(await b.actor(Lease, "x").renew({ holder: "p", fence, ttlMs: LONG }), true);
      assert.equal(await b.actor(Lease, "x").release({ holder: "p", fence }), true);
      assert.ok((await acquire(b, "x", { holder: "q", ttlMs: LONG })).fence > fence);
    }),
  );

  it(
    "stores a longer life before it tells, so that a takeover waits for that",
    withNodes(async ({ a }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: 1_000 });
      const { commits } = a;
      assert.equal(await a.actor(Lease, "x").renew({ holder: "p", fence, ttlMs: LONG }), true);
      assert.equal(stored(a, "x").grant?.ttlMs, LONG);
      assert.equal(a.commits, commits + 1);
    }),
  );

  it(
    "renews without the store",
    withNodes(async ({ a, b }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      const { commits } = a;
      for (let i = 0; i < 20; i++) {
        assert.equal(await b.actor(Lease, "x").renew({ holder: "p", fence, ttlMs: LONG }), true);
      }
      assert.equal(a.commits, commits);
    }),
  );

  it(
    "lapses, and knows its holder no more",
    withNodes(async ({ a, b }) => {
      const started = performance.now();
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: 300 });
      const next = await acquire(b, "x", { holder: "q", ttlMs: LONG });
      assert.ok(performance.now() - started >= 299);
      assert.ok(next.waitedMs > 0 && next.fence > fence);
      assert.equal(await a.actor(Lease, "x").renew({ holder: "p", fence, ttlMs: LONG }), false);
      assert.equal(await a.actor(Lease, "x").release({ holder: "p", fence }), false);
      assert.deepEqual(await a.actor(Lease, "x").holder(), { holder: "q", fence: next.fence });
    }),
  );

  it(
    "lapses later for each renewal",
    withNodes(async ({ a }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: 600 });
      const next = acquire(a, "x", { holder: "q", ttlMs: LONG });
      const started = performance.now();
      let renewed = started;
      while (performance.now() - started < 800) {
        await new Promise(setImmediate);
        if (performance.now() - renewed < 20) continue;
        assert.equal(await a.actor(Lease, "x").renew({ holder: "p", fence, ttlMs: 600 }), true);
        renewed = performance.now();
      }
      await next;
      assert.ok(performance.now() - renewed >= 590);
    }),
  );

  it(
    "refuses a fence that is not the present one",
    withNodes(async ({ a }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      await a.actor(Lease, "x").release({ holder: "p", fence });
      const again = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      assert.equal(await a.actor(Lease, "x").release({ holder: "p", fence }), false);
      assert.equal(await a.actor(Lease, "x").renew({ holder: "p", fence, ttlMs: LONG }), false);
      assert.equal(await a.actor(Lease, "x").renew({ holder: "q", fence: again.fence, ttlMs: LONG }), false);
      assert.equal(await a.actor(Lease, "x").renew({ holder: "p", fence: again.fence, ttlMs: LONG }), true);
    }),
  );

  it(
    "gives a holder that asks again the grant it has",
    withNodes(async ({ a, b }) => {
      const one = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      assert.equal((await acquire(b, "x", { holder: "p", ttlMs: LONG })).fence, one.fence);
      const both = [1, 2].map(() => acquire(b, "x", { holder: "q", ttlMs: LONG }));
      await until("both to wait", () => a.host.turns.size === 2);
      await a.actor(Lease, "x").release({ holder: "p" });
      const [first, second] = await Promise.all(both);
      assert.equal(first?.fence, second?.fence);
    }),
  );

  it(
    "forgets who waited when the caller gives up, runs out of time, or dies",
    withNodes(async ({ cluster, a, b, c }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      const controller = new AbortController();
      const aborted = a
        .actor(Lease, "x")
        .with({ signal: controller.signal })
        .acquire({ holder: "aborted", ttlMs: LONG });
      const late = a.actor(Lease, "x").with({ timeoutMs: 50 }).acquire({ holder: "late", ttlMs: LONG });
      const dead = c.actor(Lease, "x").acquire({ holder: "dead", ttlMs: LONG });
      dead.catch(() => {});
      await until("three to wait", () => a.host.turns.size === 3);
      const last = acquire(b, "x", { holder: "last", ttlMs: LONG });
      controller.abort();
      cluster.kill(c);
      await assert.rejects(aborted, (error) => TroupeError.is(error, "cancelled"));
      await assert.rejects(late, (error) => TroupeError.is(error, "deadline_exceeded"));
      await until("one to wait", () => a.host.turns.size === 1);
      await a.actor(Lease, "x").release({ holder: "p", fence });
      // Nobody who had gone was granted anything in between.
      assert.equal((await last).fence, fence + 1);
    }),
  );

  it(
    "passes a grant on when its caller gave up while it was being stored",
    withNodes(async ({ a }) => {
      const release = holdCommits(a);
      const controller = new AbortController();
      const gone = a.actor(Lease, "x").with({ signal: controller.signal }).acquire({ holder: "gone", ttlMs: LONG });
      const next = acquire(a, "x", { holder: "next", ttlMs: LONG });
      await until("both to be there", () => a.host.turns.size === 2);
      assert.ok(await pending(next));
      controller.abort();
      await assert.rejects(gone, (error) => TroupeError.is(error, "cancelled"));
      release();
      const { fence } = await next;
      assert.deepEqual(await a.actor(Lease, "x").holder(), { holder: "next", fence });
    }),
  );

  it(
    "grants to one only while its grant is being stored",
    withNodes(async ({ a, b }) => {
      const release = holdCommits(a);
      const both = [a, b].map((node, i) =>
        node.actor(Lease, "x").acquire({ holder: `h${i}`, ttlMs: LONG, waitMs: 50 }),
      );
      await until("both to be there", () => a.host.turns.size === 2);
      assert.equal(await both[1], null);
      release();
      assert.equal((await both[0])?.holder, "h0");
    }),
  );

  it(
    "tells who waited too long, and keeps no place for it",
    withNodes(async ({ a }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      assert.equal(await a.actor(Lease, "x").acquire({ holder: "q", ttlMs: LONG, waitMs: 20 }), null);
      await a.actor(Lease, "x").release({ holder: "p", fence });
      assert.equal(await a.actor(Lease, "x").holder(), null);
    }),
  );

  it(
    "lets nobody overtake those who wait",
    withNodes(async ({ a }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      const waiting = acquire(a, "x", { holder: "q", ttlMs: LONG });
      await until("it to wait", () => a.host.turns.size === 1);
      const released = a.actor(Lease, "x").release({ holder: "p", fence });
      const overtaking = a.actor(Lease, "x").tryAcquire({ holder: "r", ttlMs: LONG });
      assert.deepEqual([await released, await overtaking], [true, null]);
      assert.equal((await waiting).holder, "q");

      // Lapsed, but the timer that lets the next one in has not fired yet.
      const { fence: short } = await waiting;
      await a.actor(Lease, "x").release({ holder: "q", fence: short });
      await acquire(a, "x", { holder: "s", ttlMs: 20 });
      const patient = acquire(a, "x", { holder: "t", ttlMs: LONG });
      const lapsed = performance.now() + 30;
      while (performance.now() < lapsed);
      assert.equal(await a.actor(Lease, "x").tryAcquire({ holder: "u", ttlMs: LONG }), null);
      assert.equal((await patient).holder, "t");
    }),
  );

  it(
    "refuses more than its queue holds, and still lets the holder release",
    withNodes(async ({ cluster, a, b }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: LONG });
      const ref = b.actor(Lease, "x");
      const waiting = Array.from({ length: MAX_WAITERS }, (_, i) => ref.acquire({ holder: `h${i}`, ttlMs: LONG }));
      for (const each of waiting) each.catch(() => {});
      await until("all to wait", () => a.host.turns.size === MAX_WAITERS);
      await assert.rejects(ref.acquire({ holder: "one more", ttlMs: LONG }), (error) =>
        TroupeError.is(error, "overloaded"),
      );
      assert.equal(a.counts.get('troupe_refusals_total{reason="lease"}'), 1);
      assert.equal(await a.actor(Lease, "x").release({ holder: "p", fence }), true);
      assert.equal((await waiting[0])?.holder, "h0");
      cluster.kill(b);
      await until("the dead to be forgotten", () => a.host.turns.size === 0);
    }),
  );

  it(
    "refuses arguments that mean nothing",
    withNodes(async ({ a }) => {
      for (const request of [
        { holder: "", ttlMs: 1 },
        { holder: "p", ttlMs: 0 },
        { holder: "p", ttlMs: Number.NaN },
      ]) {
        await assert.rejects(a.actor(Lease, "x").acquire(request), (error) =>
          TroupeError.is(error, "invalid_argument"),
        );
      }
    }),
  );
});

describe("a held lease", () => {
  it(
    "is believed in for no longer than the lease counts, however long it waited",
    withNodes(async ({ a, b }) => {
      const first = await acquireLease(a, "x", { ttlMs: 400, clock });
      assert.ok(first);
      const second = await acquireLease(b, "x", { ttlMs: 1_000, waitMs: 5_000, clock });
      const answered = clock.now();
      assert.ok(second);
      assert.ok(second.held());
      assert.ok(!first.held(), "two believe they hold it");
      assert.ok(second.until <= answered + 1_000, "it counts from the answer, or later");
      assert.ok(second.until > answered + 750, "its wait was counted as holding");
      assert.equal(await second.release(), true);
      assert.ok(!second.held());
    }),
  );

  it(
    "is asked for again when the lease's node dies meanwhile",
    withNodes(async ({ cluster, a, b }) => {
      const { fence } = await acquire(a, "x", { holder: "p", ttlMs: 50 });
      await a.actor(Lease, "x").renew({ holder: "p", fence, ttlMs: 100 });
      const waiting = acquireLease(b, "x", { ttlMs: LONG, waitMs: 5_000, clock });
      await until("it to wait", () => a.host.turns.size === 1);
      cluster.kill(a);
      assert.ok(((await waiting)?.fence ?? 0) > fence);
    }),
  );

  it(
    "is not left behind by somebody who gave up",
    withNodes(async ({ a, b }) => {
      await acquireLease(a, "x", { holder: "p", ttlMs: LONG, clock });
      const controller = new AbortController();
      const { signal } = controller;
      const waiting = acquireLease(b, "x", { holder: "q", ttlMs: LONG, waitMs: LONG, signal, clock });
      await until("it to wait", () => a.host.turns.size === 1);
      controller.abort();
      await assert.rejects(waiting, (error) => TroupeError.is(error, "cancelled"));
      await a.actor(Lease, "x").release({ holder: "p" });
      assert.equal(await b.actor(Lease, "x").holder(), null);
    }),
  );
});
