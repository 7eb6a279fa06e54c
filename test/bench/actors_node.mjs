/**
 * A Troupe node of the actor benchmark, run from the built package, with the caller in its main thread: what an
 * application has that starts a node with `startNode` and calls actors.
 */
import { converse } from "./actors_conversation.mjs";
import { Driver, Echo, Known } from "./actors_kinds.mjs";
import { check, flood, sequence, TARGETS } from "./actors_load.mjs";

const { startNode } = await import(process.env.TROUPE_BUILT);
const quiet = { debug() {}, info() {}, warn() {}, error: console.error, with: () => quiet };
let node;

function targets(prefix) {
  return Array.from({ length: TARGETS }, (_, index) => {
    const ref = node.actor(Echo, `${prefix}${index}`);
    return (text) => ref.echo(text);
  });
}

/** Calls `one(index)` for `count` indexes, `inFlight` at a time. After a failure a caller lets the event loop run. */
async function each(count, inFlight, one) {
  let next = 0;
  let failed = 0;
  let error;
  const begin = performance.now();
  const caller = async () => {
    while (next < count) {
      try {
        await one(next++);
      } catch (cause) {
        failed++;
        error ??= String(cause);
        await new Promise(setImmediate);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, inFlight) }, caller));
  return { calls: count, seconds: (performance.now() - begin) / 1000, failed, firstError: error };
}

await converse({
  async start({ config }) {
    node = await startNode({ ...config, extensions: [new URL("./actors_kinds.mjs", import.meta.url)] }, { log: quiet });
    return { url: node.url };
  },
  /** Calls the targets, which makes them live here where nobody has them yet. */
  check: ({ prefix }) => check(targets(prefix)),
  flood: ({ prefix, seconds, inFlight }) => flood(targets(prefix), seconds, inFlight),
  sequence: ({ prefix, seconds }) => sequence(targets(prefix), seconds),
  /** The caller is an actor on the targets' worker. */
  inside: ({ seconds, inFlight }) => node.actor(Driver, "one").run({ seconds, inFlight }),
  /** New actors, each called once. */
  activate: ({ prefix, count, inFlight }) => each(count, inFlight, (n) => node.actor(Echo, `${prefix}${n}`).echo("")),
  /** New actors with stored state. */
  create: ({ count, inFlight }) => each(count, inFlight, (n) => node.actor(Known, `k${n}`).create()),
  /** `calls` calls, each of one of the first `known` actors by chance. */
  wander: ({ known, calls, inFlight }) =>
    each(calls, inFlight, async () => {
      const key = `k${Math.floor(Math.random() * known)}`;
      if ((await node.actor(Known, key).read()) !== 1) throw new Error(`${key} has lost its state`);
    }),
  /** Milliseconds from the call that ends the actor's worker to its first answer afterwards. */
  async crash() {
    const ref = node.actor(Echo, "crashing").with({ timeoutMs: 10_000 });
    await ref.echo("");
    const ended = node.events.next("worker-restarted");
    const begin = performance.now();
    ref.crash().catch(() => {});
    await ended;
    const noticed = performance.now() - begin;
    for (;;) {
      try {
        await ref.echo("");
        return { ms: performance.now() - begin, noticed };
      } catch (error) {
        if (performance.now() - begin > 10_000) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  },
  /** Actors that are active here, by the node's own metrics. */
  async residents() {
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    return { residents: Number(/^troupe_actors (\d+)/m.exec(metrics)?.[1]) };
  },
  async stop() {
    await node?.close();
  },
});
