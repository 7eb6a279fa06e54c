/**
 * What an upstream offers, asked once and remembered: for a while, then asked again while the old answer still serves.
 * A failure may be remembered too, briefly, so that a broken upstream is not hammered by every session that opens.
 */
import type { Clock } from "../../runtime/actor/clock.ts";

export class Remembered<Value> {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #failureTtlMs: number;
  #value: { value: Value; until: number } | undefined;
  #failure: { error: unknown; until: number } | undefined;
  #asking: Promise<Value> | undefined;

  constructor(clock: Clock, ttlMs: number, failureTtlMs: number) {
    this.#clock = clock;
    this.#ttlMs = ttlMs;
    this.#failureTtlMs = failureTtlMs;
  }

  /** The value; asks at most once at a time. Rejects with what `ask` rejected with while there is no value. */
  get(ask: () => Promise<Value>): Promise<Value> {
    const now = this.#clock.now();
    const known = this.#value;
    if (known !== undefined && now < known.until) return Promise.resolve(known.value);
    if (this.#asking === undefined && !(this.#failure !== undefined && now < this.#failure.until)) this.#renew(ask);
    if (known !== undefined) return Promise.resolve(known.value);
    return this.#asking ?? Promise.reject(this.#failure?.error);
  }

  #renew(ask: () => Promise<Value>): void {
    const asking = ask();
    this.#asking = asking;
    asking.then(
      (value) => {
        this.#asking = undefined;
        this.#failure = undefined;
        this.#value = { value, until: this.#clock.now() + this.#ttlMs };
      },
      (error) => {
        this.#asking = undefined;
        this.#failure = { error, until: this.#clock.now() + this.#failureTtlMs };
      },
    );
  }
}
