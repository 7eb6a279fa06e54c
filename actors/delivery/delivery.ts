/**
 * Delivery: publish and subscribe by topic, with one mesh message per node and publication, not per subscriber.
 *
 * Two actors share the work. The *topic* (key: its name) is where publishers publish; it knows nodes, not subscribers. The
 * *hub* of a topic on a node (key: `<topic>@<nodeId>`) holds one stream from the topic, its feed, for as long as anybody
 * on its node subscribes, and hands each message to all of them.
 *
 * ```
 * publish ──► topic ──feed──► hub@a ──► subscribers on a
 *                   └──feed──► hub@b ──► subscribers on b
 * ```
 *
 * ## What it guarantees
 * - At most once: a message reaches a subscriber once or not at all, and only those who subscribed before it was published.
 *   A subscription is in force when its stream says `ready`.
 * - Order: messages of one publisher arrive in the order of its `publish` calls, and all subscribers see messages in the
 *   topic's order.
 * - What is missing is told: a `gap` stands where messages were dropped or may have been lost, with their number where
 *   it is known.
 * - Slow subscribers hurt only themselves: each has a bounded queue that drops its oldest messages. A slow link hurts its
 *   node only: so has each feed.
 * - A dead node's feed goes at once, with its stream. A feed that breaks is opened again, and the hub's subscribers are
 *   told a `gap` of unknown size.
 *
 * ## What it does not
 * `publish` does not wait for anybody. It answers how many nodes the message was queued for; 0 is not an error. Nothing is
 * stored, nothing is replayed.
 *
 * ## Bounds
 * Queues: 1,024 messages, about 4 MiB. Payloads: about 1 MiB, beyond is refused with `too_large`. Feeds of a topic and
 * subscribers of a hub are streams of one activation, which the runtime bounds (`overloaded`).
 */
import type { ActivationContext } from "../../runtime/actor/define.ts";
import { defineActor } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { Fanout } from "./fanout.ts";
import { DropOldest, type Gap, type Message, weightOf } from "./queue.ts";
import { reopened } from "./reopened.ts";

/** What a feed carries. `number`: the last publication before it was in force. */
export type FeedItem = { type: "ready"; number: number } | Message | Gap;
/** What a hub tells a subscriber. */
export type Delivered = { type: "ready" } | Message | Gap;

const MAX_PAYLOAD = 1024 * 1024;
/** Without publications and streams both actors go after this time, milliseconds. */
const IDLE_MS = 10_000;

export const Topic = defineActor({
  kind: "delivery",
  idleMs: IDLE_MS,
  instance: () => ({ feeds: new Set<DropOldest>(), published: 0 }),
  methods: {
    /** Queues `payload` (plain data) for every node that has subscribers, and answers how many those are. */
    publish(ctx, payload: unknown): number {
      const weight = weightOf(payload);
      if (weight > MAX_PAYLOAD) {
        throw new TroupeError(
          "too_large",
          `topic "${ctx.key}": a payload of about ${weight} bytes, ${MAX_PAYLOAD} fit`,
        );
      }
      const topic = ctx.instance;
      const message: Message = { type: "message", number: ++topic.published, payload };
      for (const feed of topic.feeds) feed.push(message, weight);
      return topic.feeds.size;
    },

    /** For hubs: one per node. */
    async *feed(ctx): AsyncGenerator<FeedItem> {
      const queue = new DropOldest();
      const { feeds, published } = ctx.instance;
      feeds.add(queue);
      ctx.signal.addEventListener("abort", () => queue.close(), { once: true });
      try {
        yield { type: "ready", number: published };
        yield* drained(queue);
      } finally {
        feeds.delete(queue);
      }
    },
  },
});

export const Hub = defineActor({
  kind: "delivery-hub",
  placement: "node",
  idleMs: IDLE_MS,
  instance: () => new Fanout(),
  onActivate(ctx) {
    ctx.instance.open((signal) => readFeed(ctx, ctx.instance, signal));
  },
  onDeactivate: (ctx) => ctx.instance.close(),
  methods: {
    async *subscribe(ctx): AsyncGenerator<Delivered> {
      const subscriber = ctx.instance.add();
      ctx.signal.addEventListener("abort", () => ctx.instance.remove(subscriber), { once: true });
      try {
        await subscriber.ready;
        if (subscriber.inForce) yield { type: "ready" };
        yield* drained(subscriber.queue);
      } finally {
        ctx.instance.remove(subscriber);
      }
    },
  },
});

async function* drained(queue: DropOldest): AsyncGenerator<Message | Gap> {
  for (;;) {
    const item = await queue.take();
    if (item === undefined) return;
    yield item;
  }
}

/** Fans out what the topic says, until `signal` fires. Rejects when the topic refuses the feed itself. */
async function readFeed(ctx: ActivationContext<undefined>, fanout: Fanout, signal: AbortSignal): Promise<void> {
  const topic = ctx.actor(Topic, ctx.key.slice(0, ctx.key.lastIndexOf("@")));
  let last = 0;
  for await (const { opening, item } of reopened(() => topic.with({ signal }).feed(), ctx.worker.clock, signal)) {
    switch (item.type) {
      case "ready":
        if (opening > 0) fanout.gap(null);
        last = item.number;
        fanout.ready();
        break;
      case "gap":
        fanout.gap(item.missed);
        last += item.missed ?? 0;
        break;
      case "message":
        // An overloaded link may drop an answer on its way.
        if (item.number !== last + 1) fanout.gap(item.number - last - 1);
        last = item.number;
        fanout.push(item);
    }
  }
}
