/**
 * Admission: when a node or one of its workers has more than it can do, new work is refused at once, with `overloaded` and
 * when to come back, instead of everything getting slower for everybody.
 *
 * Each thread has a gate. Every `LOOK_MS` it gets a reading of the thread: how late the thread's timers fire, and which
 * share of its heap is used. After `SUSTAINED` readings in a row over a limit it shuts, with the reason; after as many
 * under `REOPEN` of the limits it opens again, so that it does neither for one long turn, one collection of garbage, or a
 * process that was stopped for a while. A worker that does not turn at all gives no readings of its own: its silence
 * counts as lateness once it is longer than `LONG_TURN_MS`, because every look at one long turn would count it anew.
 *
 * What a shut gate refuses is the router's business (`router.ts`): new calls, activations and sessions, on the I/O
 * thread's gate for the whole node, on a worker's for the actors on it. Calls of the control lane, those that an accepted
 * call waits for, and the node's own actor pass.
 */
import type { Clock } from "../actor/clock.ts";
import { IO_THREAD } from "../actor/message.ts";
import type { Logger } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";

/** Why a gate is shut. */
export type ShutReason = "loop_delay" | "heap";

/** One look at a thread. */
export interface ThreadReading {
  /** How late its last timer fired, milliseconds. */
  delayMs: number;
  /** Used share of the heap that the runtime allows it, 0 to 1. */
  heapShare: number;
}

export interface AdmissionLimits {
  /** Milliseconds; 0: not limited. */
  delayMs: number;
  /** 0 to 1; 1: not limited. */
  heapShare: number;
}

/** Gates that are shut, by thread. */
export type ShutGates = ReadonlyMap<number, ShutReason>;

const LOOK_MS = 250;
/** A silence up to this is one long turn, milliseconds. */
const LONG_TURN_MS = 2_000;
const SUSTAINED = 3;
/** Share of a limit under which a gate opens again. */
const REOPEN = 0.8;

/** A worker's lateness: its own last word, or its silence where that is no longer one long turn. */
export function latenessMs(lateMs: number, silentMs: number): number {
  return silentMs > LONG_TURN_MS ? Math.max(lateMs, silentMs) : lateMs;
}

/** The gate of one thread. Pure: readings in, state out. */
export class Gate {
  readonly #limits: AdmissionLimits;
  #shut: ShutReason | undefined;
  /** Readings in a row that speak for the other state. */
  #against = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Why it is shut after this reading; undefined: it is open. */
  read(reading: ThreadReading): ShutReason | undefined {
    const over = this.#over(reading, this.#shut === undefined ? 1 : REOPEN);
    this.#against = (over === undefined) === (this.#shut === undefined) ? 0 : this.#against + 1;
    if (this.#against >= SUSTAINED || (this.#shut !== undefined && over !== undefined)) {
      this.#shut = over;
      this.#against = 0;
    }
    return this.#shut;
  }

  #over({ delayMs, heapShare }: ThreadReading, part: number): ShutReason | undefined {
    const limits = this.#limits;
    if (limits.heapShare < 1 && heapShare > limits.heapShare * part) return "heap";
    if (limits.delayMs > 0 && delayMs > limits.delayMs * part) return "loop_delay";
    return undefined;
  }
}

export interface AdmissionOptions {
  limits: AdmissionLimits;
  clock: Clock;
  /** Readings of all threads that run now, by number. */
  read: () => ReadonlyMap<number, ThreadReading>;
  /** Called when a gate shut or opened. */
  changed: (shut: ShutGates) => void;
  log: Logger;
  metrics: Metrics;
}

/** The gates of a node. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #gates = new Map<number, Gate>();
  #shut: ShutGates = new Map();
  #stopped = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    options.metrics.gauge("troupe_overloaded_threads", "Threads that take no new work now", () => this.#shut.size);
    this.#wait();
  }

  stop(): void {
    this.#stopped = true;
  }

  #wait(): void {
    this.#options.clock.after(LOOK_MS, () => {
      if (this.#stopped) return;
      this.#look();
      this.#wait();
    });
  }

  #look(): void {
    const { read, limits, changed } = this.#options;
    const readings = read();
    const shut = new Map<number, ShutReason>();
    for (const [thread, reading] of readings) {
      let gate = this.#gates.get(thread);
      if (gate === undefined) {
        gate = new Gate(limits);
        this.#gates.set(thread, gate);
      }
      const reason = gate.read(reading);
      if (reason !== undefined) shut.set(thread, reason);
      if (reason !== this.#shut.get(thread)) this.#tell(thread, reason, reading);
    }
    // A worker that ended starts with a gate of its own.
    for (const thread of this.#gates.keys()) if (!readings.has(thread)) this.#gates.delete(thread);
    const before = this.#shut;
    this.#shut = shut;
    if (shut.size !== before.size || [...shut].some(([thread, reason]) => before.get(thread) !== reason)) changed(shut);
  }

  #tell(thread: number, reason: ShutReason | undefined, { delayMs, heapShare }: ThreadReading): void {
    const { log, limits } = this.#options;
    const name = thread === IO_THREAD ? "the node" : `worker ${thread}`;
    const figures = { delayMs: Math.round(delayMs), heapShare: Number(heapShare.toFixed(2)), limits };
    if (reason === undefined) log.info(`${name} takes new work again`, figures);
    else log.warn(`${name} is overloaded and refuses new work`, { reason, ...figures });
  }
}
