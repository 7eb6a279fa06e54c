/**
 * Requests that joined a cancellation scope: `params._meta["troupe/cancellationScope"]` names it, and whoever cancels that
 * scope, on any node, cancels the request as its client could, down to the upstream. Its client did not ask for that, so
 * it is answered, with an error that says so.
 *
 * A request that names no scope pays nothing. One that does holds a stream from the scope until it is over; a scope that
 * cannot be joined cancels it, because work that cannot be cancelled should not go on.
 */

import type { Clock } from "../../runtime/actor/clock.ts";
import type { ActorCaller } from "../../runtime/actor/define.ts";
import { cancellationScope } from "../cancellation/client.ts";
import { isObject } from "./rpc.ts";

export const SCOPE_META = "troupe/cancellationScope";
/** Characters; a longer name names nothing. */
const MAX_SCOPE = 256;

/** The scope that `meta` names, if it names one. */
export function scopeOf(meta: unknown): string | undefined {
  const id = isObject(meta) ? meta[SCOPE_META] : undefined;
  return typeof id === "string" && id.length > 0 && id.length <= MAX_SCOPE ? id : undefined;
}

/**
 * Joins the scope that `meta` names; undefined: it names none. `onCancelled` is called once, unless what this returns
 * was called before.
 */
export function joinScope(
  caller: ActorCaller,
  clock: Clock,
  meta: Readonly<Record<string, unknown>>,
  onCancelled: (reason: string) => void,
): (() => void) | undefined {
  const id = scopeOf(meta);
  if (id === undefined) return undefined;
  const scope = cancellationScope(caller, id, { clock });
  const { signal } = scope;
  signal.addEventListener("abort", () => onCancelled(signal.reason instanceof Error ? signal.reason.message : ""), {
    once: true,
  });
  return () => scope.close();
}
