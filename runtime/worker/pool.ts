/**
 * The node's worker threads: started, watched, restarted, stopped.
 *
 * ## Life of a worker
 * spawned → says it is ready → `init` → running → exit → back-off → spawned again. Two ports go with each life: `data`
 * for messages, `control` for the conversation; both are closed *before* an exit is reported, so nothing of the old
 * life can arrive after its actors were claimed again.
 *
 * ## Proof that a worker stopped
 * `onExit` is reported only when the thread's own end is known, because its actors may then run elsewhere. A thread
 * that ends by itself (a crash, an uncaught error, after `stop`) proves that on every runtime. A thread that must be
 * *terminated* proves it on Node.js by its exit event; when that does not come within 2 s, and on Deno always (there
 * `terminate` returns while the loop may run on, sockets and all), `onUnproven` is reported instead: the node must
 * declare itself dead and exit. No exit of that worker is reported afterwards, and nothing takes its place.
 *
 * ## A spare
 * Where a pool has one worker, nobody else can take over its actors while another is started. Such a pool keeps a thread
 * waiting that has loaded the modules already (spare.ts). It is started `SPARE_AFTER_MS` after the worker runs, so that
 * it is in the way of neither a start nor a takeover.
 *
 * ## Bounds
 * Silent for 5 s: reported; for 15 s: ended. The first exit restarts at once, further ones back off from
 * 100 ms, and after 5 exits within a minute the circuit opens: one try a minute, and the reason said. Stopping waits a bounded time, then terminates.
 */
import { MessageChannel, type MessagePort, type ResourceLimits, type Worker } from "node:worker_threads";
import { createThreadChannel, ThreadPort } from "../../transports/worker/port.ts";
import type { Clock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import type { Logger } from "../observe/log.ts";
import { type PoolIo, type StopReason, VITAL_CELLS, Vital, type WorkerBoot, type WorkerControl } from "./control.ts";
import { type Conversation, converse, type Remote } from "./conversation.ts";
import type { LeaseWord } from "./lease_word.ts";
import { DEFAULT_RESTART, type RestartLimits, RestartPolicy } from "./restart.ts";
import { Spare } from "./spare.ts";
import { isDeno, spawnWorker } from "./spawn.ts";
import { DEFAULT_WATCHDOG, Watchdog, type WatchdogLimits } from "./watchdog.ts";

/** How long an ended thread may take to prove it. */
const PROOF_MS = 2_000;
/** Default for `spareAfterMs`. */
const SPARE_AFTER_MS = 1_000;
/** Default for `closeMs`. */
const DEFAULT_CLOSE_MS = 5_000;

export interface WorkerPoolEvents {
  /** The worker runs and can be sent messages; also after each restart, with a new port. Set the port's handler here. */
  onReady(index: number, data: ThreadPort): void;
  /** The thread has ended for certain; its ports are closed. */
  onExit(index: number, code: number, reason: string): void;
  /** Its loop has not turned for that long. */
  onSilent?(index: number, silentMs: number): void;
  /** Whether the thread still runs cannot be told: the node must declare itself dead and exit. */
  onUnproven(index: number, reason: string): void;
  /** It keeps ending; it is tried again only once a minute. */
  onCircuitOpen?(index: number, reason: string): void;
}

export interface WorkerPoolOptions<Settings> {
  /** The module each worker runs; it calls `runWorker`. */
  entry: URL;
  /** Number of workers, at least 1. */
  size: number;
  /** What worker `index` is given at each start; plain data. */
  settings(index: number): Settings;
  /** The methods worker `index` may call on this thread. */
  io(index: number): object;
  clock: Clock;
  lease: LeaseWord;
  log: Logger;
  events: WorkerPoolEvents;
  resourceLimits?: ResourceLimits;
  /** How long `close` waits for a worker to stop its actors, milliseconds. Default 5,000. */
  closeMs?: number;
  watchdog?: Partial<WatchdogLimits>;
  restart?: Partial<RestartLimits>;
  /** What a worker imports, as file URLs, for a spare one; without it there is none. */
  spareModules?: readonly string[];
  /** How long a worker runs before its spare is started, milliseconds. Default 1,000. */
  spareAfterMs?: number;
  /** Whether a terminated thread's exit event proves that it stopped. Default: on Node.js. */
  terminateIsProof?: boolean;
}

export type WorkerState = "starting" | "running" | "waiting" | "unproven" | "stopped";

/** One life of a worker. */
interface Life<Control extends object> {
  worker: Worker;
  data: ThreadPort;
  controlPort: MessagePort;
  conversation: Conversation<Control>;
  heartbeat: Int32Array;
  watchdog: Watchdog;
  /** The last error the thread reported. */
  error: Error | undefined;
  /** Why it is being ended from here. */
  ending: string | undefined;
  running: boolean;
  exited: boolean;
  /** Settles when it runs; rejects when it ended before. */
  started: Promise<void>;
  /** Resolves with its exit, or when it was found unproven. */
  ended: Promise<void>;
  settle: { running(): void; failed(error: Error): void; ended(): void };
}

interface Slot<Control extends object> {
  state: WorkerState;
  life: Life<Control> | undefined;
  restart: RestartPolicy;
  cancelRestart: (() => void) | undefined;
}

/** A fixed number of worker threads. */
export class WorkerPool<Settings, Control extends WorkerControl<Settings> = WorkerControl<Settings>> {
  readonly size: number;
  readonly #options: WorkerPoolOptions<Settings>;
  readonly #watchdogLimits: WatchdogLimits;
  readonly #proves: boolean;
  readonly #slots: Slot<Control>[];
  /** Workers that ran before. */
  readonly #ran = new Set<number>();
  readonly #spare: Spare | undefined;
  #cancelSpare: (() => void) | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #closing: Promise<{ unproven: number[] }> | undefined;

  constructor(options: WorkerPoolOptions<Settings>) {
    this.#options = options;
    this.size = options.size;
    this.#watchdogLimits = { ...DEFAULT_WATCHDOG, ...options.watchdog };
    this.#proves = options.terminateIsProof ?? !isDeno;
    const { entry, spareModules: modules, resourceLimits, log } = options;
    if (options.size === 1 && modules !== undefined) this.#spare = new Spare({ entry, modules, resourceLimits, log });
    const limits = { ...DEFAULT_RESTART, ...options.restart };
    this.#slots = Array.from({ length: options.size }, () => ({
      state: "waiting",
      life: undefined,
      restart: new RestartPolicy(limits),
      cancelRestart: undefined,
    }));
  }

  /** Starts all workers; resolves when each runs. Rejects with the first failure, after stopping the others. */
  async start(): Promise<void> {
    this.#watch = setInterval(() => this.#look(), this.#watchdogLimits.intervalMs);
    this.#watch.unref();
    const lives = this.#slots.map((_slot, index) => this.#spawn(index));
    try {
      await Promise.all(lives.map((life) => life.started));
    } catch (error) {
      await this.close("drain");
      throw error;
    }
  }

  state(index: number): WorkerState {
    return this.#slot(index).state;
  }

  /** The data port of a running worker. */
  port(index: number): ThreadPort | undefined {
    const { life } = this.#slot(index);
    return life?.running ? life.data : undefined;
  }

  /** The control methods of a running worker. Calls reject with `unavailable` when it ends. */
  control(index: number): Remote<Control> | undefined {
    const { life } = this.#slot(index);
    return life?.running ? life.conversation.remote : undefined;
  }

  /** Tells every running worker that the lease ran out. A hint: the lease word is what holds turns back. */
  park(): void {
    for (const slot of this.#slots) this.#tell(slot, "park");
  }

  /**
   * How worker `index` is doing; undefined while it does not run. `lateMs`, `heapShare` and `queuedBytes` are its own last
   * word, `silentMs` how long it has not turned since.
   */
  vitals(index: number): { lateMs: number; silentMs: number; heapShare: number; queuedBytes: number } | undefined {
    const { life } = this.#slot(index);
    if (!life?.running) return undefined;
    return {
      lateMs: Atomics.load(life.heartbeat, Vital.LateMs),
      silentMs: Math.max(0, life.watchdog.silentMs - this.#watchdogLimits.intervalMs),
      heapShare: Atomics.load(life.heartbeat, Vital.HeapPermille) / 1_000,
      queuedBytes: Atomics.load(life.heartbeat, Vital.QueuedKib) * 1_024,
    };
  }

  /** Tells every running worker that the lease holds again. */
  resume(): void {
    for (const slot of this.#slots) this.#tell(slot, "resume");
  }

  /**
   * Stops every worker: asks it to stop its actors, waits `closeMs` at most, then terminates it. Answers which workers
   * could not be proven to have stopped; with any, the process must exit. Later calls get the first one's answer.
   */
  close(reason: StopReason): Promise<{ unproven: number[] }> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  async #close(reason: StopReason): Promise<{ unproven: number[] }> {
    await Promise.all(this.#slots.map((slot, index) => this.#stop(slot, index, reason)));
    clearInterval(this.#watch);
    this.#cancelSpare?.();
    this.#spare?.close();
    return { unproven: this.#slots.flatMap((slot, index) => (slot.state === "unproven" ? [index] : [])) };
  }

  async #stop(slot: Slot<Control>, index: number, reason: StopReason): Promise<void> {
    slot.cancelRestart?.();
    const { life } = slot;
    if (life === undefined) {
      if (slot.state !== "unproven") slot.state = "stopped";
      return;
    }
    if (life.running) {
      // Sent as `Remote<WorkerControl>`: what every control object has, whatever else this one offers.
      const remote: Remote<Pick<WorkerControl, "stop">> = life.conversation.remote;
      remote.stop(reason).catch((error: unknown) => {
        if (!life.exited) this.#options.log.warn("a worker failed to stop its actors", { worker: index, error });
      });
      await within(this.#options.closeMs ?? DEFAULT_CLOSE_MS, life.ended);
    }
    if (!life.exited) this.#terminate(index, life, "it did not stop in time");
    await life.ended;
  }

  #tell(slot: Slot<Control>, what: "park" | "resume"): void {
    if (!slot.life?.running) return;
    const remote: Remote<Pick<WorkerControl, "park" | "resume">> = slot.life.conversation.remote;
    // It only fails when the worker ends, which is reported as such.
    remote[what]().catch(() => {});
  }

  #spawn(index: number): Life<Control> {
    const slot = this.#slot(index);
    const { entry, resourceLimits, lease, log } = this.#options;
    const [near, far] = createThreadChannel();
    const control = new MessageChannel();
    const heartbeat = new SharedArrayBuffer(4 * VITAL_CELLS);
    const boot: WorkerBoot = {
      index,
      data: far,
      control: control.port2,
      lease: lease.buffer,
      heartbeat,
      heartbeatMs: this.#watchdogLimits.intervalMs,
    };
    const transferList = [far.port, control.port2];
    const worker =
      this.#spare?.take({ troupe: boot }, transferList) ??
      spawnWorker(entry, { troupe: boot }, { transferList, resourceLimits, name: `troupe-worker-${index}` });
    const poolIo: PoolIo = {
      clock: () => this.#options.clock.now(),
      ready: () => void this.#init(index, life),
    };
    const life: Life<Control> = {
      worker,
      data: new ThreadPort(near),
      controlPort: control.port1,
      conversation: converse<Control>(control.port1, [poolIo, this.#options.io(index)]),
      heartbeat: new Int32Array(heartbeat),
      watchdog: new Watchdog(this.#watchdogLimits, this.#options.clock.now()),
      error: undefined,
      ending: undefined,
      running: false,
      exited: false,
      ...settlements(),
    };
    slot.life = life;
    slot.state = "starting";
    worker.on("error", (error: Error) => {
      life.error = error;
      log.error("a worker failed", { worker: index, error });
    });
    worker.on("exit", (code: number) => this.#exited(index, life, code));
    return life;
  }

  async #init(index: number, life: Life<Control>): Promise<void> {
    const remote: Remote<Pick<WorkerControl, "init">> = life.conversation.remote;
    try {
      await remote.init(this.#options.settings(index));
    } catch (error) {
      // The worker ends itself; its exit is reported with this reason.
      life.error ??= error instanceof Error ? error : new Error(String(error));
      return;
    }
    if (life.exited || life.ending !== undefined) return;
    life.running = true;
    this.#slot(index).state = "running";
    if (this.#ran.has(index)) this.#options.log.info("a worker runs again", { worker: index });
    this.#ran.add(index);
    this.#options.events.onReady(index, life.data);
    life.settle.running();
    this.#cancelSpare?.();
    this.#cancelSpare = this.#options.clock.after(this.#options.spareAfterMs ?? SPARE_AFTER_MS, () => {
      if (this.#closing === undefined) this.#spare?.fill();
    });
  }

  /** Whether a thread waits to take the place of the worker. */
  get hasSpare(): boolean {
    return this.#spare?.waits === true;
  }

  /** The thread has ended. */
  #exited(index: number, life: Life<Control>, code: number): void {
    const slot = this.#slot(index);
    // A terminated thread's exit is proof only where terminating is; the other kind was reported as unproven already.
    if (life.exited || slot.state === "unproven") return;
    const why = life.ending ?? life.error?.message;
    const reason = `worker ${index} ended with code ${code}${why === undefined ? "" : `: ${why}`}`;
    const ran = life.running;
    this.#discard(slot, life, reason);
    slot.state = this.#closing === undefined ? "waiting" : "stopped";
    life.settle.failed(life.error ?? new TroupeError("unavailable", reason));
    if (ran) this.#options.events.onExit(index, code, reason);
    if (this.#closing === undefined) this.#scheduleRestart(index, slot, reason);
    life.settle.ended();
  }

  #scheduleRestart(index: number, slot: Slot<Control>, reason: string): void {
    const { clock, log, events } = this.#options;
    const { delayMs, open } = slot.restart.exited(clock.now());
    log.warn("a worker ended and will be started again", { worker: index, reason, delayMs });
    if (open) events.onCircuitOpen?.(index, reason);
    slot.cancelRestart = clock.after(delayMs, () => {
      slot.cancelRestart = undefined;
      // Its failure is an exit, which is handled as every other.
      this.#spawn(index).started.catch(() => {});
    });
  }

  #look(): void {
    const now = this.#options.clock.now();
    this.#slots.forEach((slot, index) => {
      const { life } = slot;
      if (life === undefined || life.ending !== undefined) return;
      const verdict = life.watchdog.look(Atomics.load(life.heartbeat, Vital.Beats), now, life.running);
      const silentMs = Math.round(life.watchdog.silentMs);
      if (verdict === "warn") {
        this.#options.log.warn("a worker's loop does not turn", { worker: index, silentMs });
        this.#options.events.onSilent?.(index, silentMs);
      } else if (verdict === "end") {
        this.#terminate(index, life, `it gave no sign of life for ${silentMs} ms`);
      }
    });
  }

  /** Ends a thread from outside. */
  #terminate(index: number, life: Life<Control>, why: string): void {
    life.ending = why;
    this.#options.log.error("a worker is terminated", { worker: index, reason: why });
    if (this.#proves) {
      this.#options.clock.after(PROOF_MS, () => {
        if (!life.exited) this.#unproven(index, life, `worker ${index} did not end within ${PROOF_MS} ms: ${why}`);
      });
    } else {
      this.#unproven(index, life, `worker ${index} was terminated, which proves nothing on this runtime: ${why}`);
    }
    void life.worker.terminate();
  }

  #unproven(index: number, life: Life<Control>, reason: string): void {
    const slot = this.#slot(index);
    this.#discard(slot, life, reason);
    slot.state = "unproven";
    life.settle.failed(new TroupeError("unavailable", reason));
    this.#options.events.onUnproven(index, reason);
    life.settle.ended();
  }

  /** Closes what leads to a life and forgets it. */
  #discard(slot: Slot<Control>, life: Life<Control>, reason: string): void {
    life.exited = true;
    life.running = false;
    slot.life = undefined;
    life.data.close();
    life.conversation.fail(new TroupeError("unavailable", reason));
    life.controlPort.close();
  }

  #slot(index: number): Slot<Control> {
    const slot = this.#slots[index];
    if (slot === undefined) throw new RangeError(`there is no worker ${index}: the pool has ${this.size}`);
    return slot;
  }
}

function settlements(): Pick<Life<never>, "started" | "ended" | "settle"> {
  let running = (): void => {};
  let failed = (_error: Error): void => {};
  let ended = (): void => {};
  const startedPromise = new Promise<void>((resolve, reject) => {
    running = resolve;
    failed = reject;
  });
  // Heard by `start` and by nobody after it.
  startedPromise.catch(() => {});
  const endedPromise = new Promise<void>((resolve) => {
    ended = resolve;
  });
  return { started: startedPromise, ended: endedPromise, settle: { running, failed, ended } };
}

async function within(ms: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const lapse = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, lapse]);
  clearTimeout(timer);
}
