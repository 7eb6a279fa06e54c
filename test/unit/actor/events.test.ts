import assert from "node:assert/strict";
import { it } from "node:test";
import { defineActor } from "../../../runtime/actor/define.ts";
import type { DiagnosticEvent } from "../../../runtime/observe/events.ts";
import { singleNode, TestCluster } from "./kit.ts";

const Simple = defineActor({
  kind: "simple",
  mailbox: { messages: 1 },
  state: { initial: () => ({ n: 0 }) },
  methods: {
    go: () => 1,
    hang: (ctx) =>
      new Promise<void>((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason))),
    sleep: (ctx) => ctx.passivate(),
    write: (ctx) => ctx.commit(),
  },
});

it("tells claims, activations, cancels, refusals and ends as they happen", async () => {
  const node = singleNode(Simple);
  const heard: DiagnosticEvent[] = [];
  node.events.on((event) => heard.push(event));
  const controller = new AbortController();
  const call = node.actor(Simple, "x").with({ signal: controller.signal }).hang();
  const queued = node.actor(Simple, "x").go();
  await new Promise(setImmediate);
  await assert.rejects(node.actor(Simple, "x").go());
  controller.abort();
  await assert.rejects(call);
  await queued;
  const ended = node.events.next("deactivated", ({ actor }) => actor === "simple/x");
  await node.actor(Simple, "x").sleep();
  assert.equal((await ended).reason, "passivate");
  assert.deepEqual(
    heard.map(({ type }) => type),
    ["claimed", "activated", "shed", "cancelled", "deactivated"],
  );
});

it("tells a fenced activation and a route that was out of date", async () => {
  const cluster = new TestCluster();
  const [a, b] = [cluster.add("a", Simple), cluster.add("b", Simple)];
  await a.actor(Simple, "x").go();
  await b.actor(Simple, "x").go();
  a.fenced = true;
  const fenced = a.events.next("fenced");
  await assert.rejects(a.actor(Simple, "x").write());
  assert.equal((await fenced).actor, "simple/x");
});

it("tells of a turn that takes long while it runs and at its end: actor, method, and what waits behind it", async () => {
  const node = singleNode(Simple);
  const heard: DiagnosticEvent[] = [];
  node.events.on((event) => void (event.type === "slow-turn" && heard.push(event)));
  const controller = new AbortController();
  const call = node.actor(Simple, "x").with({ signal: controller.signal }).hang();
  const queued = node.actor(Simple, "x").go();
  const running = await node.events.next("slow-turn");
  assert.equal(heard.length, 1);
  controller.abort();
  await assert.rejects(call);
  await queued;
  const [first, last] = heard;
  assert.equal(first, running);
  assert.ok(last?.type === "slow-turn" && last.ms >= running.ms && running.ms >= 1_000);
  const what = { type: "slow-turn", actor: "simple/x", method: "hang", waiting: 1, behind: ["go"] };
  assert.deepEqual(
    [running, last],
    [
      { ...what, ms: running.ms, over: false },
      { ...what, ms: last.ms, over: true },
    ],
  );
  assert.equal(node.counts.get("troupe_slow_turns_total"), 1);
});

it("gives a slow reader the newest events, and never more than it keeps", async () => {
  const { events } = singleNode(Simple);
  const reader = events[Symbol.asyncIterator]();
  const first = reader.next();
  await Promise.resolve();
  for (let n = 0; n < 5_000; n++) events.emit({ type: "shed", actor: "simple/x", reason: String(n) });
  await first;
  let last: DiagnosticEvent | undefined;
  for (let n = 0; n < 1_000; n++) last = (await reader.next()).value;
  assert.ok(last?.type === "shed" && Number(last.reason) > 4_000);
  await reader.return?.(undefined);
  assert.equal(events.heard, false);
});
