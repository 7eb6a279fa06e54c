/**
 * Three nodes with the built-in actors, and ways to wait.
 */
import { Cancellation } from "../../../actors/cancellation/cancellation.ts";
import { Hub, Topic } from "../../../actors/delivery/delivery.ts";
import { Lease } from "../../../actors/lease/lease.ts";
import { Presence } from "../../../actors/presence/presence.ts";
import { type Clock, systemClock } from "../../../runtime/actor/clock.ts";
import type { AnyActorDefinition } from "../../../runtime/actor/define.ts";
import type { Incarnation } from "../../../runtime/actor/ids.ts";
import type { Message } from "../../../runtime/actor/message.ts";
import { TestCluster, type TestNode } from "../actor/kit.ts";

/** A cluster in which the dead are silent, and every message between nodes can be looked at. */
export class BuiltInCluster extends TestCluster {
  onMessage: (from: Incarnation, to: Incarnation, message: Message) => void = () => {};

  override send(from: Incarnation, to: Incarnation, message: Message): "queued" | "no-link" {
    if (this.dead.has(from)) return "no-link";
    this.onMessage(from, to, message);
    return super.send(from, to, message);
  }
}

function threeNodes() {
  const cluster = new BuiltInCluster();
  const [a, b, c] = ["a", "b", "c"].map((id) => cluster.add(id, Lease, Presence, Topic, Hub, Cancellation));
  if (a === undefined || b === undefined || c === undefined) throw new Error("three nodes were added");
  return { cluster, a, b, c };
}

/** A test on three fresh nodes, which end with it. */
export function withNodes(body: (nodes: ReturnType<typeof threeNodes>) => Promise<void>): () => Promise<void> {
  return async () => {
    const nodes = threeNodes();
    try {
      await body(nodes);
    } finally {
      for (const node of [nodes.a, nodes.b, nodes.c]) nodes.cluster.kill(node);
    }
  };
}

/** A node that knows its name, as a real one does. */
export function named(node: TestNode) {
  return {
    nodeId: String(node.host.services.nodeId),
    actor: <D extends AnyActorDefinition>(definition: D, key: string) => node.actor(definition, key),
  };
}

/** Real time, whose timers keep the test alive. */
export const clock: Clock = {
  ...systemClock(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves when `holds` does; rejects after 10 s naming `what`. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited 10 s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Whether a promise is still pending after everything that is ready has run. */
export async function pending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const mark = (): void => {
    settled = true;
  };
  promise.then(mark, mark);
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  return !settled;
}

/** Collects a stream in the background. */
export function collect<T>(stream: AsyncIterable<T>): { items: T[]; done: Promise<void> } {
  const items: T[] = [];
  const done = (async () => {
    for await (const item of stream) items.push(item);
  })();
  done.catch(() => {});
  return { items, done };
}
