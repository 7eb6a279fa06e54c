/**
 * Starts worker threads, and imports users' modules in them, wherever the code runs: TypeScript source on Deno,
 * TypeScript source on Node.js (through `tsx`), or the built JavaScript.
 *
 * Node.js does not hand a loader down to its workers, so a `.ts` entry goes through `boot.mjs`, which registers `tsx`
 * first. The built package starts its `.js` entry directly and never loads `tsx`, unless a user's module is TypeScript.
 */
import { type ResourceLimits, type TransferListItem, Worker } from "node:worker_threads";
import { keepAhead, takeAhead } from "./ahead.ts";

/** Whether this is Deno. */
export const isDeno = "Deno" in globalThis;

export interface SpawnOptions {
  transferList?: TransferListItem[];
  /** Heap and stack limits, MiB. A worker that passes them is ended; see `heap.ts`. */
  resourceLimits?: ResourceLimits | undefined;
  /** Shown by debuggers and profilers. */
  name?: string;
}

/**
 * Starts a worker whose first module is `entry`, with `workerData` (plus `entry`, the address as text) as its data.
 * Resolve `entry` with `new URL("./entry.ts", import.meta.url)`: use `sibling` so that it also holds when built.
 */
export function spawnWorker(entry: URL, workerData: Readonly<Record<string, unknown>>, options: SpawnOptions): Worker {
  return (
    takeAhead(entry, options.resourceLimits, workerData, options.transferList ?? []) ??
    spawn(entry, workerData, options)
  );
}

/** Starts threads that will run `entry` and meanwhile import `modules`; see ahead.ts. */
export function spawnAhead(
  entry: URL,
  count: number,
  modules: readonly string[],
  resourceLimits: ResourceLimits,
): void {
  if (isDeno) return;
  for (let index = 0; index < count; index++) {
    const options = { resourceLimits, name: `troupe-worker-${index}` };
    keepAhead(spawnWaiting(entry, modules, options), entry, resourceLimits);
  }
}

/**
 * Starts a thread that will run `entry`: it imports `modules` and waits for its `workerData` as its first message, see
 * `bootOf` in control.ts.
 */
export function spawnWaiting(entry: URL, modules: readonly string[], options: SpawnOptions): Worker {
  return spawn(entry, { ahead: modules }, options);
}

function spawn(entry: URL, workerData: Readonly<Record<string, unknown>>, options: SpawnOptions): Worker {
  const { transferList, resourceLimits, name } = options;
  const needsLoader = !isDeno && isTypeScript(entry);
  return new Worker(needsLoader ? new URL("../../runtime/worker/boot.mjs", import.meta.url) : entry, {
    workerData: { ...workerData, entry: entry.href },
    ...(transferList === undefined ? {} : { transferList }),
    ...(resourceLimits === undefined ? {} : { resourceLimits }),
    ...(name === undefined ? {} : { name }),
  });
}

/**
 * The module `name` (without extension) beside the module at `base` (its `import.meta.url`): `.ts` while running from
 * source, `.js` when built.
 */
export function sibling(name: string, base: string): URL {
  return new URL(`${name}${isTypeScript(new URL(base)) ? ".ts" : ".js"}`, base);
}

/**
 * Imports a user's module. On Node.js, `tsx` is registered for this thread before its first TypeScript module is
 * loaded; not on trial, because a load that failed is remembered. Rejects with what the import rejected with.
 */
export async function importModule(url: URL): Promise<unknown> {
  if (!hasLoader && isTypeScript(url)) {
    hasLoader = true;
    const { register } = await import("tsx/esm/api");
    register();
  }
  return await import(url.href);
}

/** Whether this thread loads TypeScript: Deno does, and so does whatever loaded this very file as TypeScript. */
let hasLoader = isDeno || isTypeScript(new URL(import.meta.url));

function isTypeScript(url: URL): boolean {
  return /\.[mc]?ts$/.test(url.pathname);
}
