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
  readonly #items: { item: Message | Gap; weight: number }[] = [];
  #weight = 0;
  #wake: (() => void) | undefined;
  #closed = false;
  #failure: unknown;

  /** A message alone is always taken, however heavy. */
  push(message: Message, weight: number): void {
    this.#items.push({ item: message, weight });
    this.#weight += weight;
    if (this.#items.length > QUEUE_MESSAGES || this.#weight > QUEUE_WEIGHT) this.#dropOldest();
    this.#wake?.();
  }

  /** Something was missed after what is queued now. */
  gap(missed: number | null): void {
    const last = this.#items.at(-1);
    if (last?.item.type === "gap") last.item = merged(last.item, missed);
    else this.#items.push({ item: { type: "gap", missed }, weight: 0 });
    this.#wake?.();
  }

  /** The next; undefined once it is closed. One call at a time. Throws what `fail` was given. */
  async take(): Promise<Message | Gap | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#closed) return undefined;
      const first = this.#items.shift();
      if (first !== undefined) {
        this.#weight -= first.weight;
        return first.item;
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

  #dropOldest(): void {
    let gap: Gap = { type: "gap", missed: 0 };
    // One less than the bound, because the gap takes a place.
    while (this.#items.length >= QUEUE_MESSAGES || (this.#items.length > 1 && this.#weight > QUEUE_WEIGHT)) {
      const dropped = this.#items.shift();
      if (dropped === undefined) break;
      this.#weight -= dropped.weight;
      gap = merged(gap, dropped.item.type === "gap" ? dropped.item.missed : 1);
    }
    const next = this.#items[0];
    if (next?.item.type === "gap") next.item = merged(gap, next.item.missed);
    else if (gap.missed !== 0) this.#items.unshift({ item: gap, weight: 0 });
  }
}

function merged(gap: Gap, missed: number | null): Gap {
  return { type: "gap", missed: gap.missed === null || missed === null ? null : gap.missed + missed };
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
