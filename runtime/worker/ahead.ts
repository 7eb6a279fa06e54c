/**
 * Worker threads that are started before the configuration is read. Half of a node's start is loading code, on the main
 * thread and then on its workers; a thread started ahead loads its share meanwhile, on another core.
 *
 * Such a thread runs the entry of the pool and imports the modules it was told of, then waits for its `workerData` as its
 * first message. A pool that spawns a thread with the same entry and limits takes one; what nobody takes is ended with
 * `endAhead`. A thread that dies before it is taken is forgotten, and the pool spawns as if there had been none. A guess
 * that was wrong costs time, never behaviour.
 *
 * Not on Deno, whose threads start within a fraction of that.
 */
import type { ResourceLimits, TransferListItem, Worker } from "node:worker_threads";

interface Ahead {
  worker: Worker;
  kind: string;
}

const waiting = new Set<Ahead>();

/** Threads that wait to be taken. */
export function aheadCount(): number {
  return waiting.size;
}

/** Keeps `worker`, which runs `entry` and waits for its data, until it is taken or ended. */
export function keepAhead(worker: Worker, entry: URL, limits: ResourceLimits | undefined): void {
  const ahead: Ahead = { worker, kind: kindOf(entry, limits) };
  waiting.add(ahead);
  const forget = (): void => void waiting.delete(ahead);
  worker.once("error", forget);
  worker.once("exit", forget);
  // A program that fails before its node starts may end.
  worker.unref();
}

/** A thread that fits, now with this `workerData`; undefined where none waits. */
export function takeAhead(
  entry: URL,
  limits: ResourceLimits | undefined,
  workerData: Readonly<Record<string, unknown>>,
  transferList: readonly TransferListItem[],
): Worker | undefined {
  const kind = kindOf(entry, limits);
  for (const ahead of waiting) {
    if (ahead.kind !== kind) continue;
    waiting.delete(ahead);
    const { worker } = ahead;
    worker.removeAllListeners();
    worker.ref();
    worker.postMessage(workerData, transferList);
    return worker;
  }
  return undefined;
}

/** Ends the threads that nobody took. */
export function endAhead(): void {
  for (const { worker } of waiting) void worker.terminate();
  waiting.clear();
}

function kindOf(entry: URL, limits: ResourceLimits | undefined): string {
  return `${entry.href} ${JSON.stringify(limits)}`;
}
