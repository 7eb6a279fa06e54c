/**
 * `npm run example:tour`: timers, reminders and the built-in actors (lease, leadership, presence, topics, cancellation
 * scopes) and jobs, one after the other on one node. A cluster does the same; a lease is then a lease among all nodes.
 */
import {
  acquireLease,
  cancellationScope,
  defineJob,
  lead,
  presence,
  publish,
  startNode,
  subscribe,
  TroupeError,
} from "../../runtime/index.ts";
import { TrialActor } from "./trial.ts";

const node = await startNode({
  gateway: { server: { bind_address: "127.0.0.1:0" } },
  extensions: [new URL("./trial.ts", import.meta.url)],
});
try {
  // A reminder fires though nobody calls the actor, and though it is not in memory. A timer only while it is.
  const trial = node.actor(TrialActor, "ada");
  await trial.begin(300);
  for await (const state of trial.watch()) {
    console.log(`trial: ${state}`);
    if (state === "over") break;
  }

  // A lease is a named lock with a time limit. Give its fence to what it protects.
  const lease = await acquireLease(node, "report", { ttlMs: 10_000 });
  const second = await acquireLease(node, "report", { ttlMs: 10_000 });
  console.log(`lease: held ${lease?.held()}, a second one ${second === null ? "has to wait" : "is given too"}`);
  await lease?.release();

  // Leadership is a lease that is kept. `signal` fires before anybody else can lead.
  await lead(node, "scheduler", "me", { onLeader: ({ fence }) => console.log(`leader: fence above 0 ${fence > 0}`) });

  // Presence: who is here. A member goes with its node.
  const room = presence(node, "room");
  await room.join("ada", { mood: "fine" });
  console.log(`presence: ${(await room.members()).map(({ member }) => member).join()}`);
  room.close();

  // Topics: one message for each node that has subscribers.
  const news = await subscribe<string>(node, "news");
  await publish(node, "news", "hello");
  for await (const delivery of news) {
    if (delivery.type !== "message") continue;
    console.log(`topic: ${delivery.payload}`);
    break;
  }

  // A scope that work anywhere may join: cancelled once, cancelled for all.
  const scope = cancellationScope(node, "import-7");
  await scope.joined;
  await cancellationScope(node, "import-7").cancel("enough");
  if (!scope.signal.aborted) await new Promise((resolve) => scope.signal.addEventListener("abort", resolve));
  console.log(`scope: ${TroupeError.is(scope.signal.reason, "cancelled")}`);

  // Jobs: background work that is tried again. `key` makes adding it twice harmless.
  const Mail = defineJob<{ to: string }, string>("mail", { attempts: 3, backoff: { kind: "fixed", delayMs: 50 } });
  const jobs = await node.jobs();
  jobs.process(Mail, async ({ data, attempt }, { progress }) => {
    await progress({ attempt });
    if (attempt === 1) throw new Error("the mail server is busy");
    return `sent to ${data.to} in attempt ${attempt}`;
  });
  const { id } = await jobs.add(Mail, { to: "ada@example.com" }, { key: "welcome-ada" });
  for await (const event of jobs.watch(id)) {
    if (event.type === "completed") console.log(`job: ${event.result}`);
  }
} finally {
  await node.drain();
}
