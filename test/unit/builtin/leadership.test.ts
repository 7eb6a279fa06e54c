import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Leadership, lead } from "../../../actors/lease/leadership.ts";
import { Lease } from "../../../actors/lease/lease.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { MessageType } from "../../../runtime/actor/message.ts";
import type { TestNode } from "../actor/kit.ts";
import { clock, until, withNodes } from "./kit.ts";

/** Somebody who campaigns, and what became of it. */
function candidate(node: TestNode, holder: string, ttlMs: number, onTerm: (leadership: Leadership) => void = () => {}) {
  const stop = new AbortController();
  const terms: Leadership[] = [];
  const over = lead(node, "chief", holder, {
    ttlMs,
    clock,
    signal: stop.signal,
    onLeader(leadership) {
      terms.push(leadership);
      onTerm(leadership);
      return new Promise((_, reject) => {
        leadership.signal.addEventListener("abort", () => reject(leadership.signal.reason));
      });
    },
  });
  over.catch(() => {});
  return { terms, over, stop: () => stop.abort(), leads: () => terms.at(-1)?.leads() === true };
}

describe("leadership", () => {
  it(
    "is one candidate's at a time, and passes on at once when it steps down",
    withNodes(async ({ a, b, c }) => {
      const candidates = [a, b, c].map((node, i) => candidate(node, `n${i}`, 60_000));
      const fences: number[] = [];
      for (let round = 0; round < 3; round++) {
        await until("somebody to lead", () => candidates.some(({ leads }) => leads()));
        const leaders = candidates.filter(({ leads }) => leads());
        assert.equal(leaders.length, 1);
        fences.push(leaders[0]?.terms[0]?.fence ?? 0);
        leaders[0]?.stop();
        await leaders[0]?.over;
        assert.ok(!leaders[0]?.leads());
      }
      assert.deepEqual(fences, [...new Set(fences)].sort());
      assert.equal(await a.actor(Lease, "chief").holder(), null);
    }),
  );

  it(
    "is kept for much longer than the lease's time",
    withNodes(async ({ a, b }) => {
      const one = candidate(a, "one", 600);
      await until("one to lead", one.leads);
      const two = candidate(b, "two", 600);
      const started = clock.now();
      await until("more than two lease times to pass", () => {
        assert.ok(one.leads() && !two.leads());
        return clock.now() - started > 1_400;
      });
      assert.equal(one.terms.length, 1);
      one.stop();
      await until("two to lead", two.leads);
      two.stop();
      await Promise.all([one.over, two.over]);
    }),
  );

  it(
    "is known to be lost before anybody else has it, when renewals do not come through",
    withNodes(async ({ cluster, a, b, c }) => {
      await c.actor(Lease, "chief").holder();
      const one = candidate(a, "one", 500);
      await until("one to lead", one.leads);
      let both = false;
      const two = candidate(b, "two", 500, () => {
        both = one.leads();
      });
      cluster.cutLink(a, c);
      await until("two to lead", two.leads);
      assert.ok(!both && !one.leads());
      assert.ok(TroupeError.is(one.terms[0]?.signal.reason, "fenced"));
      one.stop();
      two.stop();
      await Promise.all([one.over, two.over]);
    }),
  );

  it(
    "is sought again after it was lost, with a higher fence",
    withNodes(async ({ cluster, a, c }) => {
      await c.actor(Lease, "chief").holder();
      const one = candidate(a, "one", 300);
      await until("one to lead", one.leads);
      // Its release is lost, so the lease still has its first grant.
      const send = cluster.send.bind(cluster);
      cluster.send = (from, to, message) =>
        message[0] === MessageType.Call && message[6] === "release" ? "queued" : send(from, to, message);
      cluster.cutLink(a, c);
      await until("it to be lost", () => one.terms[0]?.signal.aborted === true);
      cluster.healLink(a, c);
      await until("a second term", () => one.terms.length === 2);
      assert.ok((one.terms[1]?.fence ?? 0) > (one.terms[0]?.fence ?? 0));
      cluster.send = send;
      one.stop();
      await one.over;
    }),
  );

  it(
    "is told to be lost when the lease says so",
    withNodes(async ({ a, b }) => {
      const one = candidate(a, "one", 1_500);
      await until("one to lead", one.leads);
      const holder = (await a.actor(Lease, "chief").holder())?.holder ?? "";
      assert.equal(await b.actor(Lease, "chief").release({ holder }), true);
      const started = clock.now();
      await until("it to be lost", () => one.terms[0]?.signal.aborted === true);
      assert.ok(clock.now() - started < 1_000, "only its time ended it");
      one.stop();
      await one.over;
    }),
  );

  it(
    "outlives the lease's node",
    withNodes(async ({ cluster, a, b, c }) => {
      await c.actor(Lease, "chief").holder();
      const one = candidate(a, "one", 2_000);
      await until("one to lead", one.leads);
      cluster.kill(c);
      const fence = one.terms[0]?.fence;
      const started = clock.now();
      await until("renewals on another node", () => {
        assert.ok(one.leads());
        return clock.now() - started > 2_500;
      });
      assert.equal((await b.actor(Lease, "chief").holder())?.fence, fence);
      one.stop();
      await one.over;
    }),
  );

  it(
    "is given up when its work is done, or fails",
    withNodes(async ({ a }) => {
      await lead(a, "chief", "one", { onLeader: () => {}, clock });
      assert.equal(await a.actor(Lease, "chief").holder(), null);
      const broken = new Error("broken");
      const failing = async (): Promise<void> => {
        throw broken;
      };
      await assert.rejects(lead(a, "chief", "one", { onLeader: failing, clock }), (error) => error === broken);
      assert.equal(await a.actor(Lease, "chief").holder(), null);
    }),
  );
});
