/**
 * Cancels of requests that this session does not know. Most come late: the request was answered meanwhile, and nothing is
 * left to do. Some come early: a client's cancel is not held up by anything, while its request may wait, at another
 * replica or in the mailbox, because the session moves. So each leaves a tombstone for a while, and the request it names
 * is not begun when it comes. Request ids are not used twice within a session (MCP, Requests), so that nothing else is hit.
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

export class EarlyCancels {
  readonly #clock: Clock;
  /** Until when each is kept; oldest first. */
  readonly #until = new Map<RpcId, number>();

  /** `handed`: those of the former owner. */
  constructor(clock: Clock, handed: readonly RpcId[] = []) {
    this.#clock = clock;
    for (const id of handed) this.note(id);
  }

  /** A cancel of `id` came, and there is no such request. */
  note(id: RpcId): void {
    this.#until.delete(id);
    this.#until.set(id, this.#clock.now() + KEPT_MS);
    for (const oldest of this.#until.keys()) {
      if (this.#until.size <= MAX_CANCELS) break;
      this.#until.delete(oldest);
    }
  }

  /** Whether the request that comes now was cancelled before. */
  take(id: RpcId): boolean {
    const until = this.#until.get(id);
    return this.#until.delete(id) && until !== undefined && this.#clock.now() < until;
  }

  /** Those that still count. */
  ids(): RpcId[] {
    const now = this.#clock.now();
    return [...this.#until].flatMap(([id, until]) => (now < until ? id : []));
  }
}
