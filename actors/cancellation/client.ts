/**
 * A cancellation scope as its users hold it: an `AbortSignal` that fires when anybody, anywhere, cancels the scope.
 */
import { type Clock, systemClock } from "../../runtime/actor/clock.ts";
import type { ActorCaller } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { isPassing, pause, reopened } from "../delivery/reopened.ts";
import { Cancellation } from "./cancellation.ts";

export interface CancellationScope {
  readonly id: string;
  /** Fires once when the scope is cancelled. Its reason is a `TroupeError` with code `cancelled` and the reason as message. */
  readonly signal: AbortSignal;
  /** Resolves when a cancel from anywhere will be heard, or was; rejects when the scope cannot be joined, or `close` came first. */
  readonly joined: Promise<void>;
  /**
   * Cancels it for everybody; this side's signal fires at once. True: it was the first (after a broken link: or a
   * repetition of the first). Rejects when the cancellation could not be stored; repeat it then.
   */
  cancel(reason?: string): Promise<boolean>;
  /** A scope that is cancelled with this one. Others who join it should name it as a child too. */
  child(id: string): CancellationScope;
  /** Stops listening: the signal fires no more. Nobody is cancelled. */
  close(): void;
}

export interface ScopeOptions {
  /** Id of a scope that cancels this one. */
  parent?: string;
  clock?: Clock;
}

/** Times that `cancel` is tried. */
const TRIES = 8;

/** Joins scope `id`. It is left with `close`, or when this node dies. */
export function cancellationScope(caller: ActorCaller, id: string, options: ScopeOptions = {}): CancellationScope {
  return new Scope(caller, id, options.parent ?? null, options.clock ?? systemClock());
}

class Scope implements CancellationScope {
  readonly id: string;
  readonly joined: Promise<void>;
  readonly #caller: ActorCaller;
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #closing = new AbortController();

  constructor(caller: ActorCaller, id: string, parent: string | null, clock: Clock) {
    this.id = id;
    this.#caller = caller;
    this.#clock = clock;
    this.joined = new Promise((resolve, reject) => {
      this.#listen(parent, resolve).then(() => {
        if (this.signal.aborted) resolve();
        else reject(new TroupeError("cancelled", `scope "${id}" was closed before it was joined`));
      }, reject);
    });
    // Not everybody waits for it.
    this.joined.catch(() => {});
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  async cancel(reason = "cancelled"): Promise<boolean> {
    this.#fire(reason);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#caller.actor(Cancellation, this.id).cancel(reason);
      } catch (error) {
        if (TroupeError.is(error, "ended")) return false;
        if (!isPassing(error) || attempt === TRIES) throw error;
        await pause(this.#clock, attempt, error, new AbortController().signal);
      }
    }
  }

  child(id: string): CancellationScope {
    return new Scope(this.#caller, id, this.id, this.#clock);
  }

  close(): void {
    this.#closing.abort();
  }

  async #listen(parent: string | null, onJoined: () => void): Promise<void> {
    const { signal } = this.#closing;
    let reason = "the scope was cancelled before";
    try {
      const ref = this.#caller.actor(Cancellation, this.id).with({ signal });
      for await (const { item } of reopened(() => ref.join(parent), this.#clock, signal)) {
        if (item.type === "cancelled") reason = item.reason;
        onJoined();
      }
    } catch (error) {
      if (!TroupeError.is(error, "ended")) {
        // Work that cannot be cancelled should not go on.
        this.#fire(error instanceof Error ? error.message : String(error));
        throw error;
      }
    }
    if (signal.aborted) return;
    onJoined();
    this.#fire(reason);
  }

  #fire(reason: string): void {
    if (this.#closing.signal.aborted || this.#controller.signal.aborted) return;
    const error = new TroupeError("cancelled", reason, { started: "yes", data: { scope: this.id, reason } });
    this.#controller.abort(error);
    this.#closing.abort();
  }
}
