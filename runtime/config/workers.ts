import { availableParallelism } from "node:os";

/** Threads that run actors where nothing is configured: a core each, one left for the I/O thread. */
export function defaultWorkers(): number {
  return Math.max(1, availableParallelism() - 1);
}
