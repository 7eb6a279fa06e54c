/**
 * When a worker that ended is started again: at once, since clients wait for it; after another exit soon after, with a
 * delay that doubles with each; and not any more when it keeps ending (the circuit is open). An open circuit tries again
 * once a minute, so a fault that goes away by itself needs no operator.
 */

export interface RestartLimits {
  /** Delay after the second exit within `windowMs`, milliseconds. Default 100. */
  firstMs: number;
  /** Longest delay while the circuit is closed. Default 5,000. */
  longestMs: number;
  /** Exits within `windowMs` that open the circuit. Default 5. */
  exits: number;
  /** Default 60,000. */
  windowMs: number;
  /** Delay while the circuit is open. Default 60,000. */
  openMs: number;
}

export const DEFAULT_RESTART: RestartLimits = {
  firstMs: 100,
  longestMs: 5_000,
  exits: 5,
  windowMs: 60_000,
  openMs: 60_000,
};

export class RestartPolicy {
  readonly #limits: RestartLimits;
  #exits: number[] = [];

  constructor(limits: RestartLimits) {
    this.#limits = limits;
  }

  /** Notes an exit at `nowMs`; answers when to start again, and whether the circuit is open. */
  exited(nowMs: number): { delayMs: number; open: boolean } {
    const { firstMs, longestMs, exits, windowMs, openMs } = this.#limits;
    this.#exits = [...this.#exits.filter((at) => nowMs - at < windowMs), nowMs].slice(-exits);
    if (this.#exits.length >= exits) return { delayMs: openMs, open: true };
    if (this.#exits.length === 1) return { delayMs: 0, open: false };
    return { delayMs: Math.min(longestMs, firstMs * 2 ** (this.#exits.length - 2)), open: false };
  }
}
