/**
 * One thread that waits to take the place of a worker that ends. Half a second of a restart is loading code; the spare has
 * loaded Troupe's and the users' modules before, so that what is left is to give it its ports.
 *
 * It holds no actor and no port, and its loop is asleep, apart from what users' modules do when they are imported. So
 * whether it has stopped need not be proven either. A spare that dies while it waits, or cannot import a module, is
 * forgotten until the next is asked for; the pool then spawns as if there had been none. It may be missing, it is never
 * wrong.
 */
import type { ResourceLimits, TransferListItem, Worker } from "node:worker_threads";
import type { Logger } from "../observe/log.ts";
import { spawnWaiting } from "./spawn.ts";

export interface SpareOptions {
  /** The module each worker runs. */
  entry: URL;
  /** What a worker will import, as file URLs. */
  modules: readonly string[];
  resourceLimits?: ResourceLimits | undefined;
  log: Logger;
}

export class Spare {
  readonly #options: SpareOptions;
  #worker: Worker | undefined;

  constructor(options: SpareOptions) {
    this.#options = options;
  }

  /** Whether a thread waits. */
  get waits(): boolean {
    return this.#worker !== undefined;
  }

  /** Has a thread wait, if none does. */
  fill(): void {
    if (this.#worker !== undefined) return;
    const { entry, modules, resourceLimits, log } = this.#options;
    const worker = spawnWaiting(entry, modules, { resourceLimits, name: "troupe-worker-spare" });
    this.#worker = worker;
    const forget = (): void => {
      if (this.#worker === worker) this.#worker = undefined;
    };
    worker.once("error", (error: Error) => {
      log.warn("a spare worker failed while it waited", { error });
      forget();
    });
    worker.once("exit", forget);
    // The spare of a node that nobody closed may not hold its process.
    worker.unref();
  }

  /** The thread that waited, now with this `workerData`; undefined where none did. */
  take(workerData: Readonly<Record<string, unknown>>, transferList: readonly TransferListItem[]): Worker | undefined {
    const worker = this.#worker;
    if (worker === undefined) return undefined;
    this.#worker = undefined;
    worker.removeAllListeners();
    worker.ref();
    worker.postMessage(workerData, transferList);
    return worker;
  }

  /** Ends the thread that waits. */
  close(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
  }
}
