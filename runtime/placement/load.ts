/**
 * How busy a node is, as one number that nodes tell each other every second, for placement by load.
 *
 * The figure is the delay of the I/O loop (measured by how late a timer fires, because Deno's own counters read zero),
 * plus what waits and what lives here, each scaled so that "clearly busy" is about 1: 50 ms of delay, 1,000 calls in
 * flight, 16 MiB in mailboxes, 50,000 resident actors. It is advice: a stale or missing figure places an actor less well, never wrongly.
 */
import type { Clock } from "../actor/clock.ts";
import type { Incarnation } from "../actor/ids.ts";

const BUSY_DELAY_MS = 50;
const BUSY_CALLS = 1_000;
const BUSY_QUEUED_BYTES = 16 * 1_048_576;
const BUSY_RESIDENTS = 50_000;
/** Busier than any node that takes actors. */
const FULL = 1_000;
/** How often the loop is measured, milliseconds. */
const MEASURE_MS = 100;
/** Weight of a new measurement in the moving average. */
const WEIGHT = 0.2;
/** A figure older than this is not believed, milliseconds. */
const FRESH_MS = 5_000;

/** Measures this node's I/O loop. */
export class LoopDelay {
  readonly #clock: Clock;
  #averageMs = 0;
  #lastMs = 0;
  #stopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#measure();
  }

  /** Moving average of how late timers fire, milliseconds. */
  get averageMs(): number {
    return this.#averageMs;
  }

  /** How late the last one fired. */
  get lastMs(): number {
    return this.#lastMs;
  }

  stop(): void {
    this.#stopped = true;
  }

  #measure(): void {
    const due = this.#clock.now() + MEASURE_MS;
    this.#clock.after(MEASURE_MS, () => {
      if (this.#stopped) return;
      const late = Math.max(0, this.#clock.now() - due);
      this.#lastMs = late;
      this.#averageMs += WEIGHT * (late - this.#averageMs);
      this.#measure();
    });
  }
}

export interface LoadParts {
  /** Average lateness of the I/O loop's timers. */
  delayMs: number;
  /** In flight, by the node's router. */
  calls: number;
  /** In the mailboxes of all threads. */
  queuedBytes: number;
  residents: number;
  /** It takes no new actors (`admission.ts`). */
  full: boolean;
}

/** One node's load from its parts. */
export function loadOf({ delayMs, calls, queuedBytes, residents, full }: LoadParts): number {
  const waiting = calls / BUSY_CALLS + queuedBytes / BUSY_QUEUED_BYTES;
  return delayMs / BUSY_DELAY_MS + waiting + residents / BUSY_RESIDENTS + (full ? FULL : 0);
}

/** What the peers said last. */
export class PeerLoads {
  readonly #clock: Clock;
  readonly #loads = new Map<Incarnation, { load: number; at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  heard(peer: Incarnation, load: number): void {
    this.#loads.set(peer, { load, at: this.#clock.now() });
  }

  forget(peer: Incarnation): void {
    this.#loads.delete(peer);
  }

  /** The peer's load, or a middling one when nothing fresh is known. */
  of(peer: Incarnation): number {
    const known = this.#loads.get(peer);
    return known === undefined || this.#clock.now() - known.at > FRESH_MS ? 0.5 : known.load;
  }
}
