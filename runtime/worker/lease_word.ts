/**
 * The node's lease, readable by every thread: the time until which this incarnation may let its actors take effect.
 *
 * The I/O thread writes it after each acknowledged renewal; workers read it before a turn starts. It is one 64-bit word
 * of shared memory, so a worker that is busy, or an I/O thread that was suspended, cannot leave it half written or out
 * of date: when nobody renews, the word runs out by itself. Times are the I/O thread's monotonic clock, to which each
 * worker's clock is aligned (`clock_offset.ts`).
 */
const PARKED = -(2n ** 62n);
/** The word counts microseconds. */
const PER_MS = 1_000;

export class LeaseWord {
  /** The word itself, to hand to a worker. */
  readonly buffer: SharedArrayBuffer;
  readonly #word: BigInt64Array<SharedArrayBuffer>;

  /** Without `buffer`: a new word, parked. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(8);
    this.#word = new BigInt64Array(this.buffer);
    if (buffer === undefined) this.park();
  }

  /** The lease now runs until `deadlineMs`, rounded down to the microsecond. */
  write(deadlineMs: number): void {
    Atomics.store(this.#word, 0, Number.isFinite(deadlineMs) ? BigInt(Math.floor(deadlineMs * PER_MS)) : PARKED);
  }

  /** There is no lease until the next `write`. */
  park(): void {
    Atomics.store(this.#word, 0, PARKED);
  }

  /** Until when the lease runs, milliseconds of the I/O thread's clock; `-Infinity` while parked. */
  read(): number {
    const word = Atomics.load(this.#word, 0);
    return word === PARKED ? Number.NEGATIVE_INFINITY : Number(word) / PER_MS;
  }

  /** Whether actors may take effect at `nowMs`. */
  holds(nowMs: number): boolean {
    return nowMs < this.read();
  }
}
