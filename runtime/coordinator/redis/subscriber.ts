/**
 * The subscriber connection: channels and who listens to them, put back in force after each reconnect.
 *
 * What was published while the connection was down is gone; every listener is told by `gap` once its channel is in
 * force again.
 */
import type { Buffer } from "node:buffer";
import { TroupeError } from "../../actor/errors.ts";
import type { RedisConnection } from "./connection.ts";

/** Channels one process subscribes to; more are refused with `overloaded`. */
const MAX_CHANNELS = 100_000;

export interface ChannelListener {
  message(payload: Uint8Array): void;
  /** Messages may have been missed. */
  gap(): void;
}

interface Channel {
  listeners: Set<ChannelListener>;
  /** Settles when the subscription is in force, or cannot be. */
  inForce: Promise<void>;
}

export class RedisSubscriber {
  readonly #connection: RedisConnection;
  readonly #channels = new Map<string, Channel>();

  constructor(connection: RedisConnection) {
    this.#connection = connection;
    connection.client.on("messageBuffer", (channel: Buffer, payload: Buffer) => {
      const found = this.#channels.get(channel.toString("utf8"));
      if (found === undefined) return;
      const bytes = new Uint8Array(payload);
      for (const listener of [...found.listeners]) listener.message(bytes);
    });
  }

  /** Resolves when in force; the answer ends it. Throws `store_unavailable`, `overloaded`. */
  async listen(name: string, listener: ChannelListener): Promise<() => Promise<void>> {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      if (this.#channels.size >= MAX_CHANNELS) {
        throw new TroupeError("overloaded", `this process subscribes to ${MAX_CHANNELS} channels already`, {
          started: "no",
        });
      }
      const inForce = this.#connection.send("subscribe", async () => {
        await this.#connection.client.subscribe(name);
      });
      channel = { listeners: new Set(), inForce };
      this.#channels.set(name, channel);
    }
    channel.listeners.add(listener);
    try {
      await channel.inForce;
    } catch (error) {
      this.#forget(name, channel, listener);
      throw error;
    }
    return async () => {
      if (!this.#forget(name, channel, listener)) return;
      // Down: then the channel is not put back after the reconnect, which ends it as well.
      if (this.#connection.trouble !== null) return;
      await this.#connection.send("unsubscribe", async () => {
        await this.#connection.client.unsubscribe(name);
      });
    };
  }

  /** Runs on each connect of the connection: puts every channel back in force. */
  async resubscribe(): Promise<void> {
    const channels = [...this.#channels];
    if (channels.length === 0) return;
    await this.#connection.probe("subscribe", async () => {
      await this.#connection.client.subscribe(...channels.map(([name]) => name));
    });
    for (const [, channel] of channels) {
      for (const listener of [...channel.listeners]) listener.gap();
    }
  }

  /** Whether that was the channel's last listener. */
  #forget(name: string, channel: Channel, listener: ChannelListener): boolean {
    channel.listeners.delete(listener);
    if (channel.listeners.size > 0 || this.#channels.get(name) !== channel) return false;
    this.#channels.delete(name);
    return true;
  }
}
