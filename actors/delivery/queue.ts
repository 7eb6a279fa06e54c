/**
 * A bounded queue that drops the oldest and says so: what stands between a publisher and a consumer slower than it.
 *
 * Bounded by messages and by weight (about bytes). At a bound the oldest messages go, and in their place the consumer is
 * given a `gap` that says how many; gaps next to each other are one.
 */

/** A published message. `number` counts the topic's publications. */
export interface Message {
  type: "message";
  number: number;
  payload: unknown;
}

/** Messages are missing here. `missed` is how many, or null where nobody knows. */
export interface Gap {
  type: "gap";
  missed: number | null;
}

export const QUEUE_MESSAGES = 1_024;
export const QUEUE_WEIGHT = 4 * 1024 * 1024;

export class DropOldest {
  readonly #items: { message: Message; weight: number }[] = [];
  #weight = 0;
  /** Stands before the first item. */
  #gap: Gap | undefined;
  #wake: (() => void) | undefined;
  #closed = false;
  #failure: unknown;

  /** A message alone is always taken, however heavy. */
  push(message: Message, weight: number): void {
    this.#items.push({ message, weight });
    this.#weight += weight;
    while (this.#items.length > QUEUE_MESSAGES || (this.#items.length > 1 && this.#weight > QUEUE_WEIGHT)) {
      this.#weight -= this.#items.shift()?.weight ?? 0;
      this.#miss(1);
    }
    this.#wake?.();
  }

  /** Something was missed after what is queued now. All of it goes too: what counts to the consumer is that it missed. */
  gap(missed: number | null): void {
    this.#miss(missed === null ? null : missed + this.#items.length);
    this.#items.length = 0;
    this.#weight = 0;
    this.#wake?.();
  }

  /** The next; undefined once it is closed. One call at a time. Throws what `fail` was given. */
  async take(): Promise<Message | Gap | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#closed) return undefined;
      const gap = this.#gap;
      if (gap !== undefined) {
        this.#gap = undefined;
        return gap;
      }
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#weight -= item.weight;
        return item.message;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#failure = error;
    this.#wake?.();
  }

  #miss(missed: number | null): void {
    const before = this.#gap === undefined ? 0 : this.#gap.missed;
    this.#gap = { type: "gap", missed: before === null || missed === null ? null : before + missed };
  }
}

/** Values looked at for a weight; the rest of a larger payload is not counted. */
const MAX_VISITED = 1_000;

/** About how many bytes a payload holds. Enough for a bound, cheap enough for each publication. */
export function weightOf(payload: unknown): number {
  let weight = 64;
  const left: unknown[] = [payload];
  for (let visited = 0; visited < MAX_VISITED && left.length > 0; visited++) {
    const value = left.pop();
    if (typeof value === "string") weight += value.length;
    else if (ArrayBuffer.isView(value)) weight += value.byteLength;
    else if (typeof value === "object" && value !== null) {
      weight += 16;
      const parts = Array.isArray(value) ? value : Object.values(value);
      for (let i = 0; i < parts.length && left.length < MAX_VISITED; i++) left.push(parts[i]);
    } else weight += 8;
  }
  return weight;
}
