/**
 * How many sessions a node takes, and how many of them from one caller.
 *
 * Checked where a session is opened, because that is where it then lives. A full node answers 503: another one may have
 * room, and an idle session's end makes some. A caller with too many answers for it itself: 429.
 *
 * The number of sessions here is counted over all actors, so it is read at most once a second and estimated in between from
 * what was opened since. The sessions of a caller are those opened through this node that still live here; they are only
 * remembered where there is a bound for them. Beyond either bound what has ended since is forgotten first.
 */
import type { PostAnswer, Principal } from "../../actors/session/contract.ts";
import { RpcCode, refused } from "../../actors/session/rpc.ts";
import type { Clock } from "../../runtime/actor/clock.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { Metrics } from "../../runtime/observe/metrics.ts";
import { REFUSALS_HELP, REFUSALS_METRIC, type RefusalReason } from "../../runtime/observe/refusals.ts";
import type { RpcId } from "../upstream/contract.ts";

const COUNT_MS = 1_000;
/** A session that ends when idle makes room after minutes, a DELETE at once. */
const RETRY_MS = 5_000;

export interface SessionCapsOptions {
  maxSessions: number;
  /** Undefined: no bound of its own. */
  maxPerPrincipal: number | undefined;
  /** Sessions that live on this node, all of them. */
  count: () => number;
  /** Whether that session lives here. */
  lives: (sessionId: string) => boolean;
  clock: Clock;
  metrics: Metrics;
}

export class SessionCaps {
  readonly #options: SessionCapsOptions;
  readonly #opened = new Map<Principal, Set<string>>();
  #estimate = 0;
  #countedAt = Number.NEGATIVE_INFINITY;

  constructor(options: SessionCapsOptions) {
    this.#options = options;
  }

  /** Null: `principal` may open a session here. Otherwise a refusal, or an error that says that this node is full. */
  refusal(principal: Principal, id: RpcId | null): PostAnswer | TroupeError | null {
    const { maxSessions, maxPerPrincipal } = this.#options;
    if (this.#sessionsHere() >= maxSessions) {
      this.#refused("sessions");
      const message = `this node has ${maxSessions} sessions, its limit (mcp.configurations.sessions.max_sessions)`;
      return new TroupeError("overloaded", message, { started: "no", retryAfterMs: RETRY_MS });
    }
    if (maxPerPrincipal === undefined || this.#sessionsOf(principal) < maxPerPrincipal) return null;
    this.#refused("principal");
    const message = `Too Many Requests: this caller has ${maxPerPrincipal} sessions here; end some of them with DELETE`;
    return refused(429, RpcCode.overloaded, message, id, { retryAfterMs: RETRY_MS });
  }

  opened(principal: Principal, sessionId: string): void {
    this.#estimate++;
    if (this.#options.maxPerPrincipal === undefined) return;
    const ids = this.#opened.get(principal);
    if (ids === undefined) this.#opened.set(principal, new Set([sessionId]));
    else ids.add(sessionId);
  }

  #sessionsHere(): number {
    const { count, clock, maxSessions } = this.#options;
    const now = clock.now();
    if (now - this.#countedAt >= COUNT_MS || this.#estimate >= maxSessions) {
      this.#estimate = count();
      this.#countedAt = now;
      if (this.#opened.size > maxSessions) for (const principal of [...this.#opened.keys()]) this.#prune(principal);
    }
    return this.#estimate;
  }

  #sessionsOf(principal: Principal): number {
    const known = this.#opened.get(principal)?.size ?? 0;
    return known < (this.#options.maxPerPrincipal ?? Number.POSITIVE_INFINITY) ? known : this.#prune(principal);
  }

  /** Forgets what has ended or moved away; answers what is left. */
  #prune(principal: Principal): number {
    const ids = this.#opened.get(principal);
    if (ids === undefined) return 0;
    for (const id of ids) if (!this.#options.lives(id)) ids.delete(id);
    if (ids.size === 0) this.#opened.delete(principal);
    return ids.size;
  }

  #refused(reason: RefusalReason): void {
    this.#options.metrics.counter(REFUSALS_METRIC, REFUSALS_HELP, { reason }).add();
  }
}
