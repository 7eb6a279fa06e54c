/**
 * A hub's subscribers, and the feed that lasts as long as there are any.
 *
 * A subscriber is ready once the feed is: what is published after that reaches it, or a gap does.
 */
import { DropOldest, type Message, weightOf } from "./queue.ts";

export interface Subscriber {
  readonly queue: DropOldest;
  /** Resolves when the feed is open; also when the subscriber was removed, or the feed failed. */
  readonly ready: Promise<void>;
  readonly inForce: boolean;
}

interface Member extends Subscriber {
  inForce: boolean;
  resolve(): void;
}

export class Fanout {
  readonly #members = new Set<Member>();
  #readFeed: (signal: AbortSignal) => Promise<void> = async () => {};
  /** Ends the feed that is being read. */
  #feed: AbortController | undefined;
  #fed = false;

  /** Called once: how a feed is read. */
  open(readFeed: (signal: AbortSignal) => Promise<void>): void {
    this.#readFeed = readFeed;
  }

  add(): Subscriber {
    let resolve = (): void => {};
    const ready = new Promise<void>((done) => {
      resolve = done;
    });
    const member: Member = { queue: new DropOldest(), ready, resolve, inForce: false };
    this.#members.add(member);
    if (this.#feed === undefined) this.#start();
    else if (this.#fed) admit(member);
    return member;
  }

  remove(subscriber: Subscriber): void {
    for (const member of this.#members) {
      if (member !== subscriber) continue;
      this.#members.delete(member);
      member.queue.close();
      member.resolve();
    }
    if (this.#members.size === 0) this.close();
  }

  /** The feed is open. */
  ready(): void {
    this.#fed = true;
    for (const member of this.#members) admit(member);
  }

  push(message: Message): void {
    const weight = weightOf(message.payload);
    for (const { queue, inForce } of this.#members) if (inForce) queue.push(message, weight);
  }

  gap(missed: number | null): void {
    for (const { queue, inForce } of this.#members) if (inForce) queue.gap(missed);
  }

  /** Ends the feed. */
  close(): void {
    this.#feed?.abort();
    this.#feed = undefined;
    this.#fed = false;
  }

  #start(): void {
    const feed = new AbortController();
    this.#feed = feed;
    this.#readFeed(feed.signal).catch((error) => {
      if (this.#feed !== feed) return;
      this.close();
      for (const member of this.#members) {
        member.queue.fail(error);
        member.resolve();
      }
    });
  }
}

function admit(member: Member): void {
  member.inForce = true;
  member.resolve();
}
