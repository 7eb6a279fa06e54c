/**
 * A cancellation scope: an address that work anywhere in the cluster joins, and that is cancelled once for all of it. The
 * key is its id, chosen by whoever opens it.
 *
 * ## What it guarantees
 * - `cancel` reaches everybody who joined, on every node, with the first reason given. It is answered when the
 *   cancellation is stored, so it holds over the death of every node: whoever joins later is told at once.
 * - A scope that follows a parent is cancelled with it. Parents are named by those who join, and followed as long as
 *   anybody is joined.
 * - Joining is telling: when `joined` arrives, a cancel of the scope or of the parent named will be heard.
 *
 * ## How
 * A joined caller holds a stream. `cancel` puts the reason on all of them and then ends the actor for good: the
 * directory's tombstone *is* the stored cancellation, so an uncancelled scope stores nothing, a cancelled one a record
 * that the store forgets by itself. Later calls of that id are answered `ended`, which to a joiner means: cancelled, the
 * reason is no longer known.
 *
 * ## Failure cases
 * - The scope's node dies: streams break, joiners join again (`client.ts`) on the new activation. A cancel that comes
 *   between finds no one, is stored, and meets them when they come.
 * - The store cannot be reached: everybody joined is cancelled all the same, and so is whoever comes while this activation
 *   lives; the caller of `cancel` is told that it was not stored and should repeat it.
 * - A joiner cannot reach the scope: it hears nothing until it can.
 *
 * ## Forgetting
 * An uncancelled scope goes when everybody left (`IDLE_MS`), without a trace. A cancelled id stays cancelled for as long as
 * the runtime keeps tombstones, a day: ids must not be used again within that.
 *
 * ## Bounds
 * `MAX_JOINERS` per scope, then `overloaded`: use child scopes, one per node or per task. `MAX_PARENTS` different parents.
 * Reasons are cut at 1,024 characters.
 */
import { type ActorContext, defineActor } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { refusalSeries } from "../../runtime/observe/refusals.ts";
import { elapsed, reopened } from "../delivery/reopened.ts";
import { CancellationScopeState, MAX_JOINERS, MAX_PARENTS } from "./scope.ts";

/** What a joiner is told. The stream's end in order also means: cancelled. */
export type ScopeEvent = { type: "joined" } | { type: "cancelled"; reason: string };

type Context = ActorContext<undefined, CancellationScopeState>;

const MAX_REASON_LENGTH = 1_024;
/** A scope without joiners goes after this time, milliseconds. */
const IDLE_MS = 2_000;
/** Longest time for the joiners' streams to take the reason, milliseconds. */
const TELL_MS = 200;

export const Cancellation = defineActor({
  kind: "cancellation",
  instance: () => new CancellationScopeState(),
  idleMs: IDLE_MS,
  onActivate(ctx) {
    ctx.instance.open((parent, signal, inForce) => followParent(ctx, parent, signal, inForce));
  },
  onDeactivate: (ctx) => ctx.instance.close(),
  methods: {
    /** `parent`: the id of a scope whose cancellation shall be this one's too. */
    async *join(ctx, parent?: string | null): AsyncGenerator<ScopeEvent> {
      const scope = ctx.instance;
      const joiner = scope.join();
      if (joiner === undefined) throw full(ctx, `has ${MAX_JOINERS} joiners`);
      ctx.signal.addEventListener("abort", () => scope.leave(joiner), { once: true });
      try {
        if (typeof parent === "string") {
          const following = scope.follow(parent);
          if (following === undefined) {
            throw full(ctx, `follows ${MAX_PARENTS} parents`);
          }
          await Promise.race([following, joiner.over]);
        }
        yield { type: "joined" };
        const reason = await joiner.over;
        if (reason !== undefined) yield { type: "cancelled", reason };
      } finally {
        scope.leave(joiner);
      }
    },

    /** False: it was cancelled already, by somebody who was answered or is about to be. Rejects with `ended` after that. */
    async cancel(ctx, reason: string): Promise<boolean> {
      const first = ctx.instance.cancel(String(reason).slice(0, MAX_REASON_LENGTH));
      await end(ctx);
      return first;
    },

    /** How many are joined now. */
    joined: (ctx): number => ctx.instance.joined,
  },
});

/** Stores the cancellation once its reason is on its way to everybody: ending the actor ends their streams. */
async function end(ctx: Context): Promise<void> {
  const told = new AbortController();
  await Promise.race([ctx.instance.deserted(), elapsed(ctx.worker.clock, TELL_MS, told.signal)]);
  told.abort();
  await ctx.end();
}

async function followParent(ctx: Context, parent: string, signal: AbortSignal, inForce: () => void): Promise<void> {
  let reason = `its parent "${parent}" was cancelled`;
  try {
    const ref = ctx.actor(Cancellation, parent).with({ signal });
    for await (const { item } of reopened(() => ref.join(), ctx.worker.clock, signal)) {
      if (item.type === "joined") inForce();
      else reason = item.reason;
    }
  } catch (error) {
    if (!TroupeError.is(error, "ended")) throw error;
  }
  if (signal.aborted || !ctx.instance.cancel(reason)) return;
  try {
    await end(ctx);
  } catch (error) {
    // Everybody joined was told. Whoever comes later and names the parent is told by that.
    ctx.worker.log.warn("a scope cancelled with its parent could not be ended", { actor: ctx.self, error });
  }
}

function full({ key, worker }: Pick<Context, "key" | "worker">, why: string): TroupeError {
  worker.count(refusalSeries("cancellation"));
  return new TroupeError("overloaded", `cancellation scope "${key}" ${why}`, { retryAfterMs: 1_000 });
}
