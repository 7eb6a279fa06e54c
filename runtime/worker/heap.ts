/**
 * How much heap a thread may have, and how much of it is used.
 *
 * A thread that reaches its limit is ended by the runtime, so a leak takes its worker and not the machine: that is what
 * the limit is for. Without one each thread may have what the runtime gives a whole process.
 */
import { totalmem } from "node:os";
import { getHeapStatistics } from "node:v8";

const MIB = 1_048_576;
/** Part of the machine's memory that all threads of a node share. */
const SHARE = 0.75;
const LEAST_MIB = 256;
const MOST_MIB = 4_096;

/** Used part of this thread's heap, 0 to 1, of what the runtime allows it. */
export function heapShare(): number {
  const { used_heap_size, heap_size_limit } = getHeapStatistics();
  return heap_size_limit > 0 ? used_heap_size / heap_size_limit : 0;
}

const { heap_size_limit: limitAtStart } = getHeapStatistics();

/**
 * Whether this thread has met its limit and goes on all the same. Node.js ends such a thread; Deno breaks off whatever ran
 * just then, raises the limit and goes on, with nobody knowing what was left half done.
 */
export function brokeHeapLimit(): boolean {
  return getHeapStatistics().heap_size_limit > limitAtStart;
}

/** The heap of a worker where nothing is configured, MiB: an equal part for each of the node's threads. */
export function defaultHeapMib(workers: number, memoryBytes: number = machineMemory()): number {
  const part = (memoryBytes * SHARE) / MIB / (workers + 1);
  return Math.round(Math.min(MOST_MIB, Math.max(LEAST_MIB, part)));
}

/** What this process may have: the container's limit where there is one. */
function machineMemory(): number {
  const total = totalmem();
  const constrained = process.constrainedMemory?.() ?? 0;
  return constrained > 0 && constrained < total ? constrained : total;
}
