/**
 * A worker's side of its pool: what the I/O thread may ask of it, what it is given, and how it starts and ends.
 *
 * An entry module calls `runWorker` once. That starts the heartbeat the watchdog looks at, aligns the clock, lets the
 * entry build its control object, and says it is ready; the pool then calls `init` with the settings. A worker whose
 * `init` fails ends itself, and so does one that was stopped: the thread's own end is the only proof on every runtime
 * that nothing in it runs any more.
 *
 * `park` and `resume` are hints that make waiting work move early; what holds a turn back is the lease word.
 */
import { once } from "node:events";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { ThreadPort, type ThreadPortEnd } from "../../transports/worker/port.ts";
import { type Clock, systemClock } from "../actor/clock.ts";
import type { AbortReason } from "../actor/errors.ts";
import { clockOffset } from "./clock_offset.ts";
import { converse, type Remote } from "./conversation.ts";
import { brokeHeapLimit, heapShare } from "./heap.ts";
import { LeaseWord } from "./lease_word.ts";
import { importModule } from "./spawn.ts";

/** Time an answer gets to leave before the thread ends, milliseconds. */
const ANSWER_MS = 5;

/** Why a worker is stopped; neither reaches the outside as a cancel. */
export type StopReason = Extract<AbortReason, "drain" | "fenced">;

/** What the I/O thread calls in a worker. Settings and statistics are plain data. */
export interface WorkerControl<Settings = unknown, Stats = unknown> {
  /** First call, once: load modules, be ready for messages. A rejection ends the worker and is the reason given. */
  init(settings: Settings): void | Promise<void>;
  /** The lease ran out: start no turn, allow no effect. */
  park(): void | Promise<void>;
  /** The lease holds again. */
  resume(): void | Promise<void>;
  /** Stop every actor; the thread ends when this settles. */
  stop(reason: StopReason): void | Promise<void>;
  stats(): Stats | Promise<Stats>;
  /** What waits in mailboxes, asked with every heartbeat. */
  queuedBytes?(): number;
}

/** What the pool itself offers each worker, beside the node's own methods. */
export interface PoolIo {
  /** The I/O thread's monotonic time, milliseconds. */
  clock(): number;
  /** The worker can be given its settings. */
  ready(): void;
}

/** What a worker has to work with. */
export interface WorkerEnvironment<Io extends object> {
  /** From 0; stays the same when the worker is restarted. */
  readonly index: number;
  /** Number of this thread in message origins: `index + 1`. */
  readonly thread: number;
  /** Aligned with the I/O thread's clock, never behind it. */
  readonly clock: Clock;
  /** Messages to and from the I/O thread. Set its handler before `init` settles. */
  readonly data: ThreadPort;
  /** The node's methods on the I/O thread. */
  readonly io: Remote<Io>;
  readonly lease: LeaseWord;
}

/**
 * What each cell says: beats so far, how late the last beat was (milliseconds), used heap (thousandths of its limit), what
 * waits in mailboxes (KiB).
 */
export const Vital = { Beats: 0, LateMs: 1, HeapPermille: 2, QueuedKib: 3 } as const;
export const VITAL_CELLS = 4;

/** How the pool hands its things over, inside `workerData`. */
export interface WorkerBoot {
  index: number;
  data: ThreadPortEnd;
  control: MessagePort;
  lease: SharedArrayBuffer;
  /** 32-bit cells that the worker's loop writes: see `Vital`. */
  heartbeat: SharedArrayBuffer;
  heartbeatMs: number;
}

/**
 * Runs this thread as a pool's worker, under the control object that `make` returns. Called once, by the entry module.
 * A control object may have more methods than `WorkerControl`; the pool's owner calls them the same way. Rejects, and
 * so ends the thread, when `make` throws.
 */
export async function runWorker<Io extends object>(
  make: (environment: WorkerEnvironment<Io>) => WorkerControl | Promise<WorkerControl>,
): Promise<void> {
  const boot = await bootOf(workerData);
  const told: Pick<WorkerControl, "queuedBytes"> = {};
  startHeartbeat(boot, told);
  // A conversation about the clock first; the control object is offered over the same port once it exists.
  const offered: object[] = [];
  const { remote } = converse<PoolIo>(boot.control, offered);
  const offset = await clockOffset(() => performance.now(), remote.clock);
  const control = await make({
    index: boot.index,
    thread: boot.index + 1,
    clock: systemClock(offset),
    data: new ThreadPort(boot.data),
    io: remote as Remote<object> as Remote<Io>,
    lease: new LeaseWord(boot.lease),
  });
  told.queuedBytes = () => control.queuedBytes?.() ?? 0;
  offered.push(lifecycleOf(control), control);
  await remote.ready();
}

/** `init` and `stop` with what follows from them for the thread. */
function lifecycleOf(control: WorkerControl): Pick<WorkerControl, "init" | "stop"> {
  return {
    async init(settings) {
      try {
        await control.init(settings);
      } catch (error) {
        endThread(1);
        throw error;
      }
    },
    async stop(reason) {
      try {
        await control.stop(reason);
      } finally {
        endThread(0);
      }
    },
  };
}

/** Ends this thread after the answer under way was posted. */
function endThread(code: number): void {
  setTimeout(() => process.exit(code), ANSWER_MS);
}

/** Writes the watchdog's cells from this thread's loop; never keeps the thread alive by itself. */
function startHeartbeat({ heartbeat, heartbeatMs }: WorkerBoot, told: Pick<WorkerControl, "queuedBytes">): void {
  const cells = new Int32Array(heartbeat);
  let due = performance.now();
  const beat = (): void => {
    // Uncaught, so that the thread ends as from any other error.
    if (brokeHeapLimit()) throw new Error("the worker reached its heap limit");
    const now = performance.now();
    Atomics.store(cells, Vital.LateMs, Math.max(0, Math.round(now - due)));
    Atomics.store(cells, Vital.HeapPermille, Math.round(1_000 * heapShare()));
    Atomics.store(cells, Vital.QueuedKib, Math.round((told.queuedBytes?.() ?? 0) / 1_024));
    Atomics.add(cells, Vital.Beats, 1);
    due = now + heartbeatMs;
    setTimeout(beat, heartbeatMs).unref();
  };
  beat();
}

/** What the pool gave this thread at its start; or, where it was started ahead (ahead.ts), what it is given at last. */
async function bootOf(given: { troupe?: WorkerBoot; ahead?: readonly string[] } | null): Promise<WorkerBoot> {
  if (given?.troupe !== undefined) return given.troupe;
  if (given?.ahead === undefined || parentPort === null) {
    throw new Error("runWorker() was called on a thread that no WorkerPool started");
  }
  const later = once(parentPort, "message") as Promise<[{ troupe: WorkerBoot }]>;
  let taken = false;
  for (const url of given.ahead) {
    importModule(new URL(url)).catch(() => {
      // A failed import is remembered for the thread's life, and what it failed for may be over when it is taken. After
      // that it is reported by whoever needs it.
      if (!taken) process.exit(1);
    });
  }
  const [{ troupe }] = await later;
  taken = true;
  return troupe;
}
