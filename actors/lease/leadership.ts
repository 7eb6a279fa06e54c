/**
 * Leadership: a lease that somebody keeps renewing, for as long as it leads.
 *
 * `lead` campaigns (waits its turn at the lease), leads, and campaigns again when it lost. Who leads is told so by
 * `onLeader`, and told that it no longer leads by `signal`, at the latest a tenth of the lease's time before anybody else
 * can be granted it: because no renewal came through, or because the lease said so. What leaders write should carry
 * `fence`; a leader frozen past its time learns nothing before it thaws.
 */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../../runtime/actor/clock.ts";
import type { ActorCaller } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { elapsed, isPassing, pause } from "../delivery/reopened.ts";
import { acquireLease, type HeldLease } from "./client.ts";

/** One term. */
export interface Leadership {
  readonly name: string;
  readonly holder: string;
  /** Larger than that of every term before, whoever led. */
  readonly fence: number;
  /** Fires when the term is over. Its reason is a `TroupeError`: `fenced` when it was lost, else the caller's own. */
  readonly signal: AbortSignal;
  /** Whether it certainly leads now: for a last look before an effect. */
  leads(): boolean;
}

export interface LeadOptions {
  /**
   * Runs for each term. Must settle soon after the term's `signal` fires: there is no new campaign before. Settling by
   * itself gives leadership up, and ends `lead`.
   */
  onLeader: (leadership: Leadership) => void | Promise<void>;
  /** Ends it: steps down, releases the lease. */
  signal?: AbortSignal;
  /** Milliseconds. Default 15,000. Shorter than five seconds may not survive the move of the lease to another node. */
  ttlMs?: number;
  clock?: Clock;
}

/** How long one call waits in the queue before it is made again, milliseconds. */
const CAMPAIGN_MS = 30_000;

/**
 * Leads `name` as `holder` whenever it is its turn. Resolves when `signal` fired or `onLeader` settled by itself, after
 * the lease was given back; rejects with what `onLeader` threw, or when the lease refuses the request itself.
 */
export async function lead(caller: ActorCaller, name: string, holder: string, options: LeadOptions): Promise<void> {
  const { onLeader, ttlMs = 15_000, clock = systemClock(), signal = new AbortController().signal } = options;
  for (let attempt = 1; !signal.aborted; ) {
    let lease: HeldLease | null;
    // A name for each term: an earlier term's grant must not be handed to this one, its fence would be the same.
    const party = `${holder}#${randomUUID().slice(0, 8)}`;
    try {
      lease = await acquireLease(caller, name, { holder: party, ttlMs, waitMs: CAMPAIGN_MS, signal, clock });
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
      await pause(clock, attempt++, error, signal);
      continue;
    }
    attempt = 1;
    if (lease !== null && (await serveTerm(lease, holder, onLeader, ttlMs, clock, signal)) === "finished") return;
  }
}

async function serveTerm(
  lease: HeldLease,
  holder: string,
  onLeader: LeadOptions["onLeader"],
  ttlMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<"finished" | "lost"> {
  const { name, fence } = lease;
  const term = new AbortController();
  let lost = false;
  const lose = (): void => {
    if (term.signal.aborted) return;
    lost = true;
    term.abort(new TroupeError("fenced", `${holder} no longer leads "${name}" (fence ${fence})`, { started: "yes" }));
  };
  const stepDown = (): void => term.abort(signal.reason);
  signal.addEventListener("abort", stepDown);
  if (signal.aborted) stepDown();
  const watch = watchTerm(lease, lose, ttlMs, clock, term.signal);
  try {
    await onLeader({ name, holder, fence, signal: term.signal, leads: () => !term.signal.aborted && lease.held() });
  } catch (error) {
    // What was stopped may well say so by throwing why.
    if (!term.signal.aborted || error !== term.signal.reason) throw error;
  } finally {
    signal.removeEventListener("abort", stepDown);
    term.abort(new TroupeError("cancelled", `${holder} gave up leading "${name}"`, { started: "yes" }));
    await watch;
    // Also what was lost only by this side's clock. Where it fails, its time runs out.
    const released = lease.release().catch(() => false);
    if (!lost) await released;
  }
  return lost ? "lost" : "finished";
}

/** Renews until `over` fires; calls `lose` in time. Never rejects. */
async function watchTerm(
  lease: HeldLease,
  lose: () => void,
  ttlMs: number,
  clock: Clock,
  over: AbortSignal,
): Promise<void> {
  const margin = ttlMs / 10;
  // Apart from the renewals: one that hangs must not delay it.
  const guard = (): void => {
    const left = lease.until - margin - clock.now();
    if (left <= 0) lose();
    else stopGuard = clock.after(left, guard);
  };
  let stopGuard = (): void => {};
  guard();
  let wait = ttlMs / 3;
  while (!over.aborted) {
    await elapsed(clock, wait, over);
    if (over.aborted) break;
    try {
      if (!(await lease.renew({ timeoutMs: ttlMs / 3, signal: over }))) lose();
      wait = ttlMs / 3;
    } catch {
      wait = ttlMs / 20;
    }
  }
  stopGuard();
}
