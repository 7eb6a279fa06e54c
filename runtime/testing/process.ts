/**
 * A simulated process: what runs in it runs only while the process does.
 *
 * - *frozen* (SIGSTOP): its clock goes on, nothing runs; what came due meanwhile runs when it is thawed, in order.
 * - *suspended* (the machine sleeps): as frozen, and its monotonic clock stands still; only the wall clock shows it.
 * - *killed*: nothing of it ever runs again. Requests that it had sent are on their way all the same.
 *
 * Its clock has an origin of its own and may run a little fast or slow.
 */
import type { Clock } from "../actor/clock.ts";
import type { VirtualTime } from "./virtual_time.ts";

/** Wall clock time at which every run starts. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

export class SimulatedProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #time: VirtualTime;
  readonly #rate: number;
  readonly #origin: number;
  #state: "running" | "frozen" | "suspended" | "killed" = "running";
  /** What came due while it did not run. */
  #backlog: (() => void)[] = [];
  #suspendedAt = 0;
  #suspendedMs = 0;
  #wallShift = 0;

  /** `rate`: seconds of its clock per second of true time. */
  constructor(name: string, time: VirtualTime, rate: number) {
    this.name = name;
    this.#time = time;
    this.#rate = rate;
    this.#origin = Math.floor(time.between(0, 1_000_000));
    this.clock = {
      now: () => this.#monotonic(),
      wallNow: () => Math.floor(EPOCH_MS + time.now + this.#wallShift),
      after: (ms, callback) => this.after(ms / this.#rate, callback),
    };
  }

  get running(): boolean {
    return this.#state === "running";
  }

  get killed(): boolean {
    return this.#state === "killed";
  }

  /** Runs `callback` after `ms` of true time, when the process runs then, else once it runs again. */
  after(ms: number, callback: () => void): () => void {
    let cancelled = false;
    const run = (): void => {
      if (cancelled) return;
      if (this.#state === "running") callback();
      else if (this.#state !== "killed") this.#backlog.push(run);
    };
    const cancel = this.#time.after(ms, run);
    return () => {
      cancelled = true;
      cancel();
    };
  }

  freeze(): void {
    if (this.#state === "running") this.#state = "frozen";
  }

  suspend(): void {
    if (this.#state !== "running") return;
    this.#state = "suspended";
    this.#suspendedAt = this.#time.now;
  }

  /** Ends a freeze or a suspension. */
  thaw(): void {
    if (this.#state === "suspended") this.#suspendedMs += this.#time.now - this.#suspendedAt;
    else if (this.#state !== "frozen") return;
    this.#state = "running";
    const waiting = this.#backlog;
    this.#backlog = [];
    for (const run of waiting) this.#time.after(0, run);
  }

  kill(): void {
    this.#state = "killed";
    this.#backlog = [];
  }

  /** Somebody sets the wall clock. */
  shiftWallClock(ms: number): void {
    this.#wallShift += ms;
  }

  #monotonic(): number {
    const asleep = this.#state === "suspended" ? this.#time.now - this.#suspendedAt : 0;
    return this.#origin + (this.#time.now - this.#suspendedMs - asleep) * this.#rate;
  }
}
