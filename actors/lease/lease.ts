/**
 * A named lease: one holder at a time, for a limited time, with a fencing token; the key is its name.
 *
 * ## What it guarantees
 * - At most one holder, by the holders' own cautious reckoning: a holder counts its time from when it *sent* its request
 *   (plus `waitedMs`, the time the lease knows it made it wait), the activation counts from after the grant was stored,
 *   which is later.
 * - `fence` grows with every grant, strictly, for as long as the store keeps the lease's state: over releases, lapses,
 *   passivation, takeover and restart. It is stored before the grant is answered. What the lease protects should refuse a
 *   fence below the highest it has seen: that is the only protection from a holder that was frozen past its time.
 * - Waiting is first come, first served. `tryAcquire` never overtakes somebody who waits.
 * - A caller that gave up (signal, deadline, `waitMs`, death of its node) leaves the queue; a grant that was being stored
 *   for it goes to the next.
 *
 * ## Time over a takeover
 * The duration of a grant is stored, never its end: clocks of two nodes have nothing in common. A new activation takes
 * the stored holder to have been granted its whole time just now. So nobody is let in while the old holder could still
 * believe in its lease, and the old holder may go on renewing with its fence.
 *
 * A renewal costs the store nothing, unless it asks for a longer life than is stored. That is safe because a node that
 * may have been declared dead starts no turns, so every renewal was answered before the takeover began.
 *
 * ## Failure cases
 * - The store cannot be reached: no grants, the caller is told; fences that may have been stored are never used again.
 * - Ownership was lost: the commit is refused and the grant never answered.
 * - The node is drained: those who wait are told `unavailable` within two seconds, and ask again.
 * - A holder dies: its lease lapses after its `ttlMs`. A lapsed lease cannot be renewed.
 *
 * ## Bounds
 * `MAX_WAITERS` callers wait for one lease, further ones are refused with `overloaded`.
 */
import { type ActorContext, concurrent, defineActor } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { refusalSeries } from "../../runtime/observe/refusals.ts";
import { LeaseLine, MAX_WAITERS, type StoredGrant, type Waiter } from "./line.ts";

export interface AcquireRequest {
  /** Names the party. The same holder asking again is given the grant it has. 1 to 256 characters. */
  holder: string;
  /** Milliseconds, 1 to 86,400,000. */
  ttlMs: number;
  /** Longest wait, milliseconds; 0 does not wait. The call's own deadline counts too. Default: only that. */
  waitMs?: number;
}

export interface LeaseGrant {
  name: string;
  holder: string;
  /** Larger than that of every grant of this name before. */
  fence: number;
  ttlMs: number;
  /** How long the request waited at the lease before it was granted. */
  waitedMs: number;
}

interface LeaseState {
  /** The last one used. */
  fence: number;
  grant: StoredGrant | null;
}

type Context = ActorContext<LeaseState, LeaseLine>;

/** Longest life of a grant: a day, milliseconds. */
const MAX_TTL_MS = 86_400_000;
const MAX_HOLDER_LENGTH = 256;
/** Turns beside the waiting ones: releases and renewals must always get in. */
const OTHER_TURNS = 1_000;

export const Lease = defineActor({
  kind: "lease",
  mode: concurrent(MAX_WAITERS + OTHER_TURNS),
  state: { initial: (): LeaseState => ({ fence: 0, grant: null }) },
  instance: () => new LeaseLine(),
  idleMs: 60_000,
  onActivate(ctx) {
    // The stored holder may have been told its time at the very end of the activation before.
    const { grant } = ctx.state;
    if (grant !== null) ctx.instance.until = ctx.worker.clock.now() + grant.ttlMs;
  },
  onDeactivate(ctx) {
    ctx.instance.stopTimer?.();
  },
  methods: {
    /** Waits for its turn. `null`: `waitMs` passed. Rejects with `overloaded`, `store_unavailable`, `fenced`. */
    acquire: (ctx, request: AcquireRequest): Promise<LeaseGrant | null> => acquire(ctx, request),

    /** `null`: somebody holds it or waits for it. */
    tryAcquire: (ctx, request: AcquireRequest): Promise<LeaseGrant | null> => acquire(ctx, { ...request, waitMs: 0 }),

    /** Counts the holder's time anew. False: it does not hold the lease (any more); it must stop. */
    async renew(ctx, request: { holder: string; fence: number; ttlMs: number }): Promise<boolean> {
      const { holder, fence, ttlMs } = request;
      checkTtl(ttlMs);
      const grant = current(ctx);
      if (grant === null || grant.holder !== holder || grant.fence !== fence) return false;
      const line = ctx.instance;
      // Longer first, stored second, answered last: a failure between leaves the lease longer than was told.
      line.until = Math.max(line.until, ctx.worker.clock.now() + ttlMs);
      if (ttlMs > grant.ttlMs) {
        grant.ttlMs = ttlMs;
        await ctx.commit();
      }
      return ctx.state.grant?.fence === fence;
    },

    /** Gives it up. False: it was not held. Without `fence`: whatever grant the holder has. */
    async release(ctx, request: { holder: string; fence?: number }): Promise<boolean> {
      const grant = current(ctx);
      if (grant === null || grant.holder !== request.holder) return false;
      if (request.fence !== undefined && grant.fence !== request.fence) return false;
      // Its grant is still being stored: whoever asked for it is not ready to give it back.
      if (ctx.instance.storing) return false;
      ctx.state.grant = null;
      // The next holder's grant, once stored, is the release stored.
      if (ctx.instance.waiting > 0) void handOut(ctx);
      else await ctx.commit();
      return true;
    },

    /** Who holds it now. */
    holder(ctx): { holder: string; fence: number } | null {
      const grant = current(ctx);
      return grant === null ? null : { holder: grant.holder, fence: grant.fence };
    },
  },
});

/** The grant that has not lapsed. */
function current(ctx: Context): StoredGrant | null {
  return ctx.state.grant !== null && ctx.worker.clock.now() < ctx.instance.until ? ctx.state.grant : null;
}

async function acquire(ctx: Context, request: AcquireRequest): Promise<LeaseGrant | null> {
  const { holder, ttlMs, waitMs } = request;
  checkHolder(holder);
  checkTtl(ttlMs);
  const line = ctx.instance;
  const { clock } = ctx.worker;
  const held = current(ctx);
  if (held !== null && held.holder === holder && !line.storing) {
    // Its first answer was lost on the way.
    line.until = Math.max(line.until, clock.now() + ttlMs);
    if (ttlMs > held.ttlMs) {
      held.ttlMs = ttlMs;
      await ctx.commit();
    }
    return { name: ctx.key, holder, fence: held.fence, ttlMs, waitedMs: 0 };
  }
  const busy = held !== null || line.waiting > 0;
  if (busy && waitMs !== undefined && waitMs <= 0) return null;
  return new Promise<LeaseGrant | null>((resolve, reject) => {
    const since = clock.now();
    const { signal } = ctx;
    let stopWait = (): void => {};
    const settled = (): void => {
      stopWait();
      signal.removeEventListener("abort", onAbort);
    };
    const waiter: Waiter = {
      holder,
      ttlMs,
      gone: false,
      grant(fence, grantedMs) {
        settled();
        resolve({ name: ctx.key, holder, fence, ttlMs: grantedMs, waitedMs: clock.now() - since });
      },
      fail(error) {
        settled();
        reject(error);
      },
    };
    function onAbort(): void {
      line.leave(waiter);
      waiter.fail(signal.reason);
    }
    if (!line.join(waiter)) {
      ctx.worker.count(refusalSeries("lease"));
      const why = `lease "${ctx.key}": ${MAX_WAITERS} callers wait for it`;
      return reject(new TroupeError("overloaded", why, { started: "no", retryAfterMs: 1_000 }));
    }
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) return onAbort();
    if (waitMs !== undefined && busy) {
      stopWait = clock.after(Math.min(waitMs, MAX_TTL_MS), () => {
        line.leave(waiter);
        settled();
        resolve(null);
      });
    }
    void handOut(ctx);
  });
}

/** Grants to whoever waits, while the lease is free. Each grant is stored before it is told. Never rejects. */
async function handOut(ctx: Context): Promise<void> {
  const line = ctx.instance;
  while (current(ctx) === null) {
    const waiter = line.next();
    if (waiter === undefined) break;
    await grantTo(ctx, waiter);
  }
  watchLapse(ctx);
}

async function grantTo(ctx: Context, waiter: Waiter): Promise<void> {
  const { state, instance: line } = ctx;
  const { holder, ttlMs } = waiter;
  const fence = ++state.fence;
  state.grant = { holder, fence, ttlMs };
  line.until = Number.POSITIVE_INFINITY;
  try {
    await ctx.commit();
  } catch (error) {
    // It may be stored. Then this fence is spent, and a takeover waits out a grant that nobody was told of.
    state.grant = null;
    line.until = 0;
    if (!waiter.gone) waiter.fail(error);
    return;
  }
  const told = [waiter, ...line.takeAll(holder)].filter((each) => !each.gone);
  if (told.length === 0) {
    // Where nobody else waits it stays stored until the next commit: a takeover meanwhile only waits for longer.
    state.grant = null;
    line.until = 0;
    return;
  }
  line.until = ctx.worker.clock.now() + ttlMs;
  for (const each of told) each.grant(fence, ttlMs);
}

/** Wakes up when the present grant may have lapsed, as long as somebody waits for that. */
function watchLapse(ctx: Context): void {
  const line = ctx.instance;
  line.stopTimer?.();
  line.stopTimer = undefined;
  // Whoever stores a grant comes back here after it.
  if (line.waiting === 0 || line.storing) return;
  line.stopTimer = ctx.worker.clock.after(Math.max(1, line.until - ctx.worker.clock.now()), () => {
    line.stopTimer = undefined;
    void handOut(ctx);
  });
}

function checkHolder(holder: unknown): void {
  if (typeof holder === "string" && holder.length > 0 && holder.length <= MAX_HOLDER_LENGTH) return;
  throw new TroupeError(
    "invalid_argument",
    `a lease's holder must be a string of 1 to ${MAX_HOLDER_LENGTH} characters`,
    {
      started: "no",
    },
  );
}

function checkTtl(ttlMs: unknown): void {
  if (typeof ttlMs === "number" && ttlMs >= 1 && ttlMs <= MAX_TTL_MS) return;
  throw new TroupeError("invalid_argument", `a lease's ttlMs must be 1 to ${MAX_TTL_MS}, got ${String(ttlMs)}`, {
    started: "no",
  });
}
