/**
 * One call at an activation: from its arrival, through its turn, to its answer. It is also the context that the method
 * is given, so a call costs one object.
 *
 * States: `queued` → `running` → `settled`. A call settles once; a handler that goes on after its call was settled
 * (deadline passed, cancelled past its grace) is left alone, and still counts as running for the turn mode.
 */
import type { Activation } from "./activation.ts";
import type { Child, ParentTurn } from "./calls.ts";
import type { ActorContext, AnyActorDefinition, Ref, Reminders, TimerTime, WorkerServices } from "./define.ts";
import { type AbortReason, type ErrorCode, TroupeError } from "./errors.ts";
import type { ActorId, Epoch } from "./ids.ts";
import type { CallMessage, Lane } from "./message.ts";
import { makeRef } from "./ref.ts";
import { Deadline } from "./wheel.ts";

const CODE_OF_ABORT: Record<AbortReason, ErrorCode> = {
  cancelled: "cancelled",
  deadline: "deadline_exceeded",
  disconnected: "disconnected",
  callerDied: "caller_died",
  fenced: "fenced",
  drain: "draining",
};

/** The error that a turn's signal fires with. */
export function abortError(reason: AbortReason, actor: ActorId): TroupeError {
  return new TroupeError(CODE_OF_ABORT[reason], `${actor}: the turn was stopped (${reason})`, {
    started: "yes",
    data: { reason },
  });
}

const NOTHING_ATTACHED: readonly Turn[] = [];

export class Turn extends Deadline implements ParentTurn, ActorContext<unknown, unknown> {
  readonly activation: Activation;
  readonly message: CallMessage;
  status: "queued" | "running" | "settled" = "queued";
  readOnly = false;
  /** Whether the call came through the router, which then waits for its answer. */
  routed = false;
  /** Links of the activation's list of turns whose handlers run, settled or not. */
  previousRunning: Turn | undefined;
  nextRunning: Turn | undefined;
  abortedWith: TroupeError | null = null;
  child: Child | null = null;
  /** When its handler began, on the host's clock. */
  startedAt = 0;
  /** For a stream: items it may send now. */
  credit: number;
  iterator: AsyncIterator<unknown> | undefined;
  onCredit: (() => void) | undefined;
  /** Repeats of this request that wait for its answer. */
  #attached: Turn[] | undefined;
  #bytes: number | undefined;
  #controller: AbortController | undefined;
  #chain: readonly ActorId[] | undefined;

  constructor(activation: Activation, message: CallMessage, deadline: number) {
    super();
    this.activation = activation;
    this.message = message;
    this.deadline = deadline;
    this.credit = message[10];
  }

  /** About how many bytes its arguments hold; read when it is queued, which most calls never are. */
  get bytes(): number {
    this.#bytes ??= sizeOf(this.message[7]);
    return this.#bytes;
  }
  get lane(): Lane {
    return this.message[9];
  }
  get self(): ActorId {
    return this.activation.id;
  }
  get key(): string {
    return this.activation.key;
  }
  get epoch(): Epoch {
    return this.activation.epoch;
  }
  get state(): unknown {
    return this.activation.state;
  }
  set state(state: unknown) {
    this.activation.state = state;
  }
  get instance(): unknown {
    return this.activation.instance;
  }
  get worker(): WorkerServices {
    return this.activation.host.services;
  }
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.abortedWith !== null) this.#controller.abort(this.abortedWith);
    }
    return this.#controller.signal;
  }
  get chainForCalls(): readonly ActorId[] {
    this.#chain ??= [...this.message[11], this.activation.id];
    return this.#chain;
  }

  commit(): Promise<void> {
    return this.activation.commit();
  }
  end(): Promise<void> {
    return this.activation.end();
  }
  passivate(): void {
    this.activation.stop("passivate");
  }
  waitUntil(work: PromiseLike<unknown>): void {
    this.activation.waitUntil(work);
  }
  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D> {
    return makeRef(this.activation.host.calls, definition, key, this);
  }

  get reminders(): Reminders {
    return this.activation.reminders;
  }
  timer(when: TimerTime, run: (ctx: ActorContext<unknown, unknown>) => unknown): () => void {
    return this.activation.timer(when, run);
  }

  /** A repeat of this turn's request gets its answer. */
  attach(repeat: Turn): void {
    this.#attached ??= [];
    this.#attached.push(repeat);
  }

  takeAttached(): readonly Turn[] {
    const attached = this.#attached ?? NOTHING_ATTACHED;
    this.#attached = undefined;
    return attached;
  }

  /** Fires the signal and cancels what this turn has called. */
  abort(reason: AbortReason): void {
    if (this.abortedWith !== null) return;
    this.abortedWith = abortError(reason, this.activation.id);
    this.#controller?.abort(this.abortedWith);
    // Taken first: a call that is cancelled may settle at once, and leaves the list then.
    const children: Child[] = [];
    for (let { child } = this; child !== null; child = child.nextSibling) children.push(child);
    for (const child of children.reverse()) child.cancel(reason);
    this.onCredit?.();
  }

  override expired(): void {
    this.activation.expire(this);
  }
}

/** About how many bytes the arguments hold: text and bytes, one level deep. Enough for a bound. */
function sizeOf(args: readonly unknown[]): number {
  let bytes = 64;
  for (const argument of args) {
    if (typeof argument === "string") bytes += argument.length;
    else if (argument instanceof Uint8Array) bytes += argument.byteLength;
    else if (typeof argument === "object" && argument !== null) {
      for (const key in argument) {
        const value = (argument as Record<string, unknown>)[key];
        if (typeof value === "string") bytes += value.length;
        else if (value instanceof Uint8Array) bytes += value.byteLength;
      }
    }
  }
  return bytes;
}
