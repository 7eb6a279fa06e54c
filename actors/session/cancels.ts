/**
 * Cancels that concern a request which is still to come.
 *
 * Most cancels of a request that this session does not know are late: it was answered meanwhile. Some are early: a client's
 * cancel is not held up by anything, while its request may wait, at another replica or in the mailbox, because the session
 * moves. So each leaves a tombstone for a while, and the request it names is not begun when it comes. Request ids are not
 * used twice within a session (MCP, Requests), so that nothing else is hit.
 *
 * A request that was begun and cancelled may come once more: its edge sends it again where it lost the stream that was to
 * say that nothing follows (`PostCall.again`). Only then its tombstone counts.
 *
 * Tombstones go along when the session moves; a crash of the owner takes them, as it takes every cancel that is under way.
 * Bound: `MAX_CANCELS` per session, the oldest goes first.
 */
import type { Clock } from "../../runtime/actor/clock.ts";
import type { RpcId } from "../../transports/upstream/contract.ts";

/** Longer than a session on its way to another node waits for its calls, where `node.drain_ms` has its default. */
const KEPT_MS = 30_000;
/** As many as the calls that a session may have at once by default. */
const MAX_CANCELS = 64;

/** A cancelled request, and whether it had begun. */
export type CancelledRequest = readonly [id: RpcId, begun: boolean];

export class Cancels {
  readonly #clock: Clock;
  /** Oldest first. */
  readonly #noted = new Map<RpcId, { begun: boolean; until: number }>();

  /** `handed`: those of the former owner. */
  constructor(clock: Clock, handed: readonly CancelledRequest[] = []) {
    this.#clock = clock;
    for (const [id, begun] of handed) this.note(id, begun);
  }

  note(id: RpcId, begun: boolean): void {
    this.#noted.delete(id);
    this.#noted.set(id, { begun, until: this.#clock.now() + KEPT_MS });
    for (const oldest of this.#noted.keys()) {
      if (this.#noted.size <= MAX_CANCELS) break;
      this.#noted.delete(oldest);
    }
  }

  /** Whether the request that comes now, or `again`, was cancelled before. */
  take(id: RpcId, again: boolean): boolean {
    const noted = this.#noted.get(id);
    if (noted === undefined) return false;
    this.#noted.delete(id);
    return this.#clock.now() < noted.until && (again || !noted.begun);
  }

  /** Those that still count. */
  list(): CancelledRequest[] {
    const now = this.#clock.now();
    return [...this.#noted].flatMap(([id, { begun, until }]) => (now < until ? [[id, begun] as const] : []));
  }
}
