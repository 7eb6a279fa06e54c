/**
 * Publish and subscribe on Redis channels: at most once, no replay, nothing stored.
 */
import { Buffer } from "node:buffer";
import type { PubSub } from "../contract.ts";
import type { RedisConnection } from "./connection.ts";
import type { Keys } from "./keys.ts";
import type { RedisSubscriber } from "./subscriber.ts";

export class RedisPubSub implements PubSub {
  readonly #keys: Keys;
  readonly #commands: RedisConnection;
  readonly #subscriber: RedisSubscriber;

  constructor(keys: Keys, commands: RedisConnection, subscriber: RedisSubscriber) {
    this.#keys = keys;
    this.#commands = commands;
    this.#subscriber = subscriber;
  }

  async publish(topic: string, payload: Uint8Array): Promise<void> {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    await this.#commands.send("publish", () => this.#commands.client.publish(this.#keys.topic(topic), bytes));
  }

  async subscribe(topic: string, listener: (payload: Uint8Array) => void): Promise<() => Promise<void>> {
    return await this.#subscriber.listen(this.#keys.topic(topic), { message: listener, gap() {} });
  }
}
