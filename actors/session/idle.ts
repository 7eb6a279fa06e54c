/**
 * Ends sessions that nobody uses. Clients rarely send DELETE, so without this every session would stay for ever.
 *
 * One timer per worker walks over its sessions, instead of a timer in each: an idle session costs one entry in a set. A
 * round ends at most `MAX_ENDS` sessions, because each end is a write to the store; the rest waits for the next round.
 */
import type { WorkerServices } from "../../runtime/actor/define.ts";
import { sessionSettings } from "./settings.ts";

const MAX_ENDS = 256;
const MIN_ROUND_MS = 50;
const MAX_ROUND_MS = 60_000;

export interface SweptSession {
  /** Trims what has a time limit. Returns for how long nobody has used the session, milliseconds. */
  sweep(now: number): number;
  /** Ends it, unused. Must not throw. */
  expire(): void;
}

class IdleSweep {
  readonly #sessions = new Set<SweptSession>();
  readonly #worker: WorkerServices;
  #running = false;

  constructor(worker: WorkerServices) {
    this.#worker = worker;
  }

  add(session: SweptSession): void {
    this.#sessions.add(session);
    this.#arm();
  }

  delete(session: SweptSession): void {
    this.#sessions.delete(session);
  }

  #arm(): void {
    if (this.#running || this.#sessions.size === 0) return;
    this.#running = true;
    const { idleTimeoutMs } = sessionSettings(this.#worker);
    const wanted = idleTimeoutMs > 0 ? idleTimeoutMs / 8 : MAX_ROUND_MS;
    this.#worker.clock.after(Math.min(MAX_ROUND_MS, Math.max(MIN_ROUND_MS, wanted)), () => {
      this.#running = false;
      this.#round(idleTimeoutMs);
      this.#arm();
    });
  }

  #round(idleTimeoutMs: number): void {
    const now = this.#worker.clock.now();
    let ends = 0;
    for (const session of this.#sessions) {
      const unused = session.sweep(now);
      if (idleTimeoutMs === 0 || unused < idleTimeoutMs || ends >= MAX_ENDS) continue;
      ends++;
      session.expire();
    }
    if (ends > 0) this.#worker.count("troupe_session_expired_total", ends);
  }
}

const sweeps = new WeakMap<WorkerServices, IdleSweep>();

/** The sweep of a worker. */
export function idleSweep(worker: WorkerServices): IdleSweep {
  let sweep = sweeps.get(worker);
  if (sweep === undefined) {
    sweep = new IdleSweep(worker);
    sweeps.set(worker, sweep);
  }
  return sweep;
}
