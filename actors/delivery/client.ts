/**
 * Publishing and subscribing, as callers write it.
 */
import { type Clock, systemClock } from "../../runtime/actor/clock.ts";
import type { ActorCaller } from "../../runtime/actor/define.ts";
import { Hub, Topic } from "./delivery.ts";
import type { Gap, Message } from "./queue.ts";
import { type Reopened, reopened } from "./reopened.ts";

/** Somebody who knows which node it is on: a node, or the context of an actor. */
export type LocalCaller = ActorCaller &
  ({ readonly nodeId: string } | { readonly worker: { readonly nodeId: string } });

/** A message, or the mark that messages are missing here. */
export type Delivery<T> = { type: "message"; payload: T } | Gap;

/** In force from when it is handed out. Read it with one `for await`; leaving the loop ends it. */
export interface Subscription<T> extends AsyncIterable<Delivery<T>> {
  readonly topic: string;
  close(): void;
}

export interface SubscribeOptions {
  /** Ends the subscription. */
  signal?: AbortSignal;
  clock?: Clock;
}

/** Publishes plain data. Answers for how many nodes it was queued. Rejects with `too_large`, or when the topic is unreachable. */
export function publish(caller: ActorCaller, topic: string, payload: unknown): Promise<number> {
  return caller.actor(Topic, topic).publish(payload);
}

/**
 * Subscribes to `topic`; resolves when the subscription is in force. It outlives moves of the topic and restarts of workers,
 * and tells what it may have missed by a `gap`. `T` is the caller's word for what is published there.
 */
export async function subscribe<T = unknown>(
  caller: LocalCaller,
  topic: string,
  options: SubscribeOptions = {},
): Promise<Subscription<T>> {
  const { clock = systemClock(), signal: outer } = options;
  const nodeId = "nodeId" in caller ? caller.nodeId : caller.worker.nodeId;
  const closing = new AbortController();
  const close = (): void => {
    outer?.removeEventListener("abort", close);
    closing.abort();
  };
  if (outer?.aborted === true) close();
  else outer?.addEventListener("abort", close);
  const hub = caller.actor(Hub, `${topic}@${nodeId}`).with({ signal: closing.signal });
  const stream = reopened(() => hub.subscribe(), clock, closing.signal);
  // The hub's first word is that the subscription is in force.
  const first = await stream.next();
  return { topic, close, [Symbol.asyncIterator]: () => deliveries<T>(first.done === true, stream, close) };
}

async function* deliveries<T>(
  ended: boolean,
  stream: AsyncGenerator<Reopened<{ type: "ready" } | Message | Gap>>,
  close: () => void,
): AsyncGenerator<Delivery<T>> {
  try {
    if (ended) return;
    for await (const { item } of stream) {
      if (item.type === "message") yield { type: "message", payload: item.payload as T };
      else if (item.type === "gap") yield item;
      else yield { type: "gap", missed: null };
    }
  } finally {
    close();
  }
}
