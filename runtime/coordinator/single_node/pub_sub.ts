/**
 * Publish and subscribe within the process. Listeners run after `publish` was called, never inside it.
 */
import type { PubSub } from "../contract.ts";

type Listener = (payload: Uint8Array) => void;

export class MemoryPubSub implements PubSub {
  readonly #topics = new Map<string, Set<Listener>>();

  async publish(topic: string, payload: Uint8Array): Promise<void> {
    const listeners = this.#topics.get(topic);
    if (listeners === undefined) return;
    const bytes = payload.slice();
    for (const listener of listeners) {
      queueMicrotask(() => {
        if (listeners.has(listener)) listener(bytes.slice());
      });
    }
  }

  async subscribe(topic: string, listener: Listener): Promise<() => Promise<void>> {
    const entry: Listener = (payload) => listener(payload);
    const listeners = this.#topics.get(topic) ?? new Set();
    listeners.add(entry);
    this.#topics.set(topic, listeners);
    return async () => {
      listeners.delete(entry);
      if (listeners.size === 0 && this.#topics.get(topic) === listeners) this.#topics.delete(topic);
    };
  }
}
