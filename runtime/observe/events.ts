/**
 * What happened to actors and nodes, as typed events: one stream that tests await instead of sleeping, and that an
 * operator's view can draw. Nothing in the product depends on who listens; with nobody listening an event costs a look
 * at an empty set. Ids are plain text here, because this folder imports nothing.
 */
export type DiagnosticEvent =
  /** This node became the owner of an actor. */
  | { type: "claimed"; actor: string; epoch: string }
  /** An activation began on a thread; `from`: with what the one of that epoch handed over. */
  | { type: "activated"; actor: string; epoch: string; thread: number; from: string | null }
  | { type: "deactivated"; actor: string; reason: string }
  /** A route to an actor was found out of date. */
  | { type: "rerouted"; actor: string; from: string }
  /** This node handed an actor that it owned under the epoch `from` to the node `to`. */
  | { type: "moved"; actor: string; from: string; to: string; epoch: string }
  /** An activation lost its actor to another owner. */
  | { type: "fenced"; actor: string }
  /** A call was refused at a bound. */
  | { type: "shed"; actor: string; reason: string }
  /**
   * A turn takes long, told once while it runs (`over` false) and at its end. `waiting` calls stand behind it, the methods
   * of the first few are named.
   */
  | { type: "slow-turn"; actor: string; method: string; ms: number; over: boolean; waiting: number; behind: string[] }
  | { type: "cancelled"; actor: string; method: string; reason: string; started: boolean }
  /** A reminder's turn began, `lateMs` after its time. */
  | { type: "reminded"; actor: string; name: string; lateMs: number }
  | { type: "worker-restarted"; thread: number; reason: string }
  /** Another node does not run the same code; see `placement/skew.ts`. */
  | { type: "skew"; node: string; what: string }
  | { type: "parked" }
  | { type: "rejoined"; incarnation: string }
  | { type: "drained"; node: string };

/** Events a reader may be behind before the oldest are dropped. */
const MAX_BEHIND = 1_024;

/** Told as they happen to whoever listens. */
export class DiagnosticEvents {
  readonly #listeners = new Set<(event: DiagnosticEvent) => void>();
  /** Called when the first listener comes and when the last one goes. */
  onHeard: ((heard: boolean) => void) | undefined;

  /** Whether an event would be heard, for places where making one has a cost. */
  get heard(): boolean {
    return this.#listeners.size > 0;
  }

  emit(event: DiagnosticEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** Calls `listener`, which must not throw, with each event. Returns what stops it. */
  on(listener: (event: DiagnosticEvent) => void): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.onHeard?.(true);
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.onHeard?.(false);
    };
  }

  /** The next event of `type` that `matches`. Rejects when `signal` fires first. */
  next<Type extends DiagnosticEvent["type"]>(
    type: Type,
    matches: (event: Extract<DiagnosticEvent, { type: Type }>) => boolean = () => true,
    signal?: AbortSignal,
  ): Promise<Extract<DiagnosticEvent, { type: Type }>> {
    return new Promise((resolve, reject) => {
      const stop = this.on((event) => {
        if (event.type !== type) return;
        const found = event as Extract<DiagnosticEvent, { type: Type }>;
        if (!matches(found)) return;
        stop();
        signal?.removeEventListener("abort", onAbort);
        resolve(found);
      });
      const onAbort = (): void => {
        stop();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** All events from now on. A reader that falls behind loses the oldest ones. */
  async *[Symbol.asyncIterator](): AsyncGenerator<DiagnosticEvent> {
    const queue: DiagnosticEvent[] = [];
    let wake: (() => void) | undefined;
    const stop = this.on((event) => {
      if (queue.push(event) > MAX_BEHIND) queue.shift();
      wake?.();
    });
    try {
      for (;;) {
        const event = queue.shift();
        if (event !== undefined) {
          yield event;
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      stop();
    }
  }
}
