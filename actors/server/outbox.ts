/**
 * What a shared upstream has for one of its sessions and the session has not taken yet: a bounded queue with one reader.
 *
 * At the bound, ephemeral events (progress, log lines) are dropped; an event that says only "this changed" is queued once
 * however often it comes; anything else is refused, and the caller decides.
 */
import type { SharedEvent } from "./events.ts";

const MAX_EVENTS = 1_024;

export class Outbox {
  #events: SharedEvent[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  /** False: there is no room for it. */
  push(event: SharedEvent): boolean {
    if (this.#closed) return false;
    if (isChange(event) && this.#events.some((queued) => isSameChange(queued, event))) return true;
    if (this.#events.length >= MAX_EVENTS) return false;
    this.#events.push(event);
    this.#wake?.();
    return true;
  }

  /** Nothing more comes; what is queued is still read. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** All that is queued, at least one; undefined at the end. One reader at a time. */
  async take(): Promise<SharedEvent[] | undefined> {
    while (this.#events.length === 0) {
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const events = this.#events;
    this.#events = [];
    return events;
  }
}

function isChange(event: SharedEvent): boolean {
  return event.kind === "notification" && (event.method.endsWith("/list_changed") || event.method.endsWith("/updated"));
}

function isSameChange(queued: SharedEvent, event: SharedEvent): boolean {
  if (queued.kind !== "notification" || event.kind !== "notification" || queued.method !== event.method) return false;
  return queued.params?.uri === event.params?.uri;
}
