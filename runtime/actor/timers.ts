/**
 * Timers of one activation: volatile, on the thread's wheel, run as turns in the background lane.
 *
 * A timer belongs to its activation: it does nothing any more once that stops, wherever the actor lives next (what must
 * happen anyhow is a reminder, `reminders.ts`). A turn of it counts as any other for the mode, so it never overlaps what
 * must not overlap, and it waits behind calls. At most one turn of a timer is queued or running: a repeated timer whose
 * turn takes longer than its period, or whose thread was late, leaves periods out and never catches up in a burst.
 * A turn that cannot start (mailbox full, node parked) is left out too, and counted.
 *
 * Bounds: `MAX_TIMERS` per activation; a further one throws `overloaded`.
 */
import type { Activation } from "./activation.ts";
import type { ActorContext, TimerTime } from "./define.ts";
import { TroupeError } from "./errors.ts";
import { Lane } from "./message.ts";
import type { Turn } from "./turn.ts";
import { Deadline } from "./wheel.ts";

/** The turn of a timer; its argument is the timer's number. */
export const TIMER_TURN = "@timer";
const MAX_TIMERS = 1_024;

type Run = (ctx: ActorContext<unknown, unknown>) => unknown;

class Timer extends Deadline {
  readonly everyMs: number | undefined;
  readonly run: Run;
  readonly #due: (timer: Timer) => void;

  constructor(deadline: number, everyMs: number | undefined, run: Run, due: (timer: Timer) => void) {
    super();
    this.deadline = deadline;
    this.everyMs = everyMs;
    this.run = run;
    this.#due = due;
  }

  override expired(): void {
    this.#due(this);
  }
}

export class Timers {
  readonly #activation: Activation;
  readonly #timers = new Map<number, Timer>();
  #lastNumber = 0;

  constructor(activation: Activation) {
    this.#activation = activation;
  }

  /** Starts a timer; the answer cancels it. Throws `invalid_argument`, `overloaded`. */
  start(when: TimerTime, run: Run): () => void {
    const { id, host, status } = this.#activation;
    const { afterMs, everyMs } = typeof when === "number" ? { afterMs: when, everyMs: undefined } : when;
    const first = afterMs ?? everyMs;
    if (!isDelay(first, 0) || !(everyMs === undefined || isDelay(everyMs, 1))) {
      throw new TroupeError(
        "invalid_argument",
        `${id}: a timer needs milliseconds from 0 (everyMs: from 1), got ${JSON.stringify(when)}`,
        { started: "no" },
      );
    }
    if (this.#timers.size >= MAX_TIMERS) {
      host.refused("alarms", id);
      throw new TroupeError("overloaded", `${id} has ${MAX_TIMERS} timers; cancel some first`, { started: "no" });
    }
    if (status === "stopping" || status === "stopped") return () => {};
    const number = ++this.#lastNumber;
    const timer = new Timer(host.clock.now() + first, everyMs, run, () => this.#due(number));
    this.#timers.set(number, timer);
    host.wheel.add(timer);
    return () => this.#cancel(number);
  }

  /** The turn of timer `number`. */
  run(number: number, turn: Turn): unknown {
    return this.#timers.get(number)?.run(turn);
  }

  /** The activation stops. */
  clear(): void {
    for (const timer of this.#timers.values()) this.#activation.host.wheel.remove(timer);
    this.#timers.clear();
  }

  #cancel(number: number): void {
    const timer = this.#timers.get(number);
    if (timer === undefined) return;
    this.#timers.delete(number);
    this.#activation.host.wheel.remove(timer);
  }

  #due(number: number): void {
    const { id, host } = this.#activation;
    const over = (): void => this.#over(number);
    host.calls.call(id, TIMER_TURN, [number], { lane: Lane.Background }, null).then(over, (error: unknown) => {
      const began = !TroupeError.is(error) || error.started !== "no";
      host.services.count(began ? "troupe_timers_failed_total" : "troupe_timers_skipped_total");
      if (began && this.#timers.has(number)) host.services.log.warn("an actor's timer failed", { actor: id, error });
      over();
    });
  }

  /** The turn is over: the next one, in step with the first where that is still to come. */
  #over(number: number): void {
    const timer = this.#timers.get(number);
    if (timer === undefined) return;
    if (timer.everyMs === undefined) {
      this.#timers.delete(number);
      return;
    }
    const now = this.#activation.host.clock.now();
    const left = Math.max(1, Math.ceil((now - timer.deadline) / timer.everyMs));
    timer.deadline += left * timer.everyMs;
    this.#activation.host.wheel.add(timer);
  }
}

function isDelay(ms: number | undefined, least: number): ms is number {
  return ms !== undefined && Number.isFinite(ms) && ms >= least;
}
