/**
 * One live actor: its mailbox, its running turns, its state, and its end.
 *
 * ## Life
 * `activating` (onActivate runs, calls wait) → `active` → `stopping` (no new turns; running ones finish, streams are
 * ended) → `stopped` (onDeactivate ran). Calls that had not begun when it stopped go back to the router, which finds
 * out where the actor lives now; nothing that was accepted is lost by passivation.
 *
 * ## Going on elsewhere
 * `leave` prepares a migration (placement/migration.ts): `leaving` (running turns end; of new calls only those of the
 * control lane and those that a running turn waits for begin, the rest waits in the mailbox within its bounds) → `frozen`
 * (nothing begins, streams are ended, onMigrate and onDeactivate run) → `stopped`, and what a successor needs is handed to
 * the router. Until onMigrate has answered it can stay after all: when its turns do not end in time, or onMigrate throws.
 *
 * ## Turns
 * The mode decides which turns overlap (define.ts). Streams run beside turns and do not count: a consumer that stays for
 * hours must not block the actor. A call whose chain passes through a serial actor that is busy with it can never be
 * answered, so it is refused at once, with the chain.
 *
 * ## State
 * `commit` writes the state as it is when the write starts; commits asked for meanwhile share the next write. The store
 * checks (incarnation, epoch) and version: `fenced` or `conflict` means that somebody else owns the actor, and this
 * activation stops without touching anything outside (losing ownership is not a cancel).
 */
import { decodeEnvelope, decodeHandover, encodeEnvelope, encodeHandover } from "./codec.ts";
import type {
  ActorContext,
  AnyActorDefinition,
  DeactivateReason,
  MethodShape,
  Ref,
  StartContext,
  TimerTime,
  WorkerServices,
} from "./define.ts";
import { type AbortReason, encodeError, TroupeError, type WireError } from "./errors.ts";
import type { HeldState, Host, RunnableDefinition } from "./host.ts";
import { type ActorId, type Epoch, keyOf } from "./ids.ts";
import { MAILBOX_BYTES, MAILBOX_MESSAGES, Mailbox } from "./mailbox.ts";
import { type CallMessage, Delivery, Lane, MessageType } from "./message.ts";
import { ownTurn } from "./own_turns.ts";
import { makeRef } from "./ref.ts";
import { ReminderTable } from "./reminders.ts";
import { Repeats } from "./repeats.ts";
import { currentState, validated } from "./schema.ts";
import { TIMER_TURN, Timers } from "./timers.ts";
import { abortError, Turn } from "./turn.ts";

/** Turns one activation may start before others get their chance. */
const TURNS_PER_SLICE = 32;
/** Longest time a cancelled turn's caller waits for the handler, milliseconds. */
const CANCEL_GRACE_MS = 1_000;
/** Longest time for onDeactivate, for onMigrate, and for running turns of a stopping activation, milliseconds. */
const DEACTIVATE_MS = 2_000;
/** Unused for so long, an activation with nothing in memory is passivated where others are moved, milliseconds. */
const RELEASED_AFTER_MS = 60_000;
/** A turn that takes this long is reported, milliseconds. */
export const SLOW_TURN_MS = 1_000;
/** Calls that are named when they stand behind a slow turn. */
const BEHIND = 8;
const MAX_STREAMS = 65_536;

export class Activation implements StartContext<unknown, unknown> {
  readonly id: ActorId;
  readonly epoch: Epoch;
  readonly host: Host;
  readonly definition: RunnableDefinition;
  state: unknown;
  instance: unknown;
  status: "activating" | "active" | "leaving" | "frozen" | "stopping" | "stopped" = "activating";
  /** What the former activation's onMigrate returned, until onActivate has run. */
  migrated: unknown;
  /** On the host's clock. */
  lastUsed: number;
  /** Whether calls from its own thread may come straight, because all that came through the router before is here. */
  straight = false;
  /** `lastUsed` as the host saw it when it last looked for room. */
  seenByClock = 0;
  /** Only while something waits. */
  #mailbox: Mailbox | undefined;
  /** Running turns, settled ones whose handlers go on included; not streams. */
  #running: Turn | undefined;
  #runningCount = 0;
  #streams: Set<Turn> | undefined;
  #version = 0;
  /** A commit at that version has an unknown outcome. */
  #maybeWritten = false;
  #repeats: Repeats | undefined;
  #commit: { running: Promise<void>; next: Promise<void> | undefined } | undefined;
  #controller: AbortController | undefined;
  /** Whether onActivate was run, so that onDeactivate has something to undo. */
  #begun = false;
  #timers: Timers | undefined;
  #reminders: ReminderTable | undefined;
  #pumping = false;
  /** What goes on outside of turns. */
  #work = 0;
  /** onDeactivate was called. */
  #deactivating = false;
  #onQuiet: (() => void) | undefined;

  constructor(host: Host, definition: RunnableDefinition, id: ActorId, epoch: Epoch) {
    this.host = host;
    this.definition = definition;
    this.id = id;
    this.epoch = epoch;
    this.lastUsed = wholeMs(host.clock.now());
  }

  // As the context of its own life, which lifecycle hooks are given.

  get self(): ActorId {
    return this.id;
  }

  get key(): string {
    return keyOf(this.id);
  }

  get worker(): WorkerServices {
    return this.host.services;
  }

  /** A life has no deadline. */
  get deadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  /** Fires when the activation has stopped. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  /** Calls made through this ref belong to no turn. */
  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D> {
    return makeRef(this.host.calls, definition, key, null);
  }

  passivate(): void {
    this.stop("passivate");
  }

  timer(when: TimerTime, run: (ctx: ActorContext<unknown, unknown>) => unknown): () => void {
    return this.timers.start(when, run);
  }

  get reminders(): ReminderTable {
    this.#reminders ??= new ReminderTable(this, []);
    return this.#reminders;
  }

  /** @internal */
  get timers(): Timers {
    this.#timers ??= new Timers(this);
    return this.#timers;
  }

  waitUntil(work: PromiseLike<unknown>): void {
    this.#work++;
    const over = (): void => {
      this.#work--;
      this.#checkQuiet();
    };
    work.then(over, over);
  }

  get queued(): number {
    return this.#mailbox?.size ?? 0;
  }

  get busy(): boolean {
    return this.#runningCount > 0 || this.#work > 0 || this.queued > 0 || (this.#streams?.size ?? 0) > 0;
  }

  /** Reads what is stored, or what a former activation `handed` over, runs onActivate, then lets turns start. Never rejects. */
  async activate(version: number, bytes: Uint8Array | null, handed: boolean): Promise<void> {
    // It was given up while it stood in line.
    if (this.status !== "activating") return;
    this.#begun = true;
    try {
      this.#restore(version, bytes, handed);
      this.instance = this.definition.instance?.();
      const started = this.definition.onActivate?.(this);
      if (started !== undefined) await started;
    } catch (error) {
      const failed = new TroupeError("activation_failed", `${this.id} could not be activated: ${messageOf(error)}`, {
        started: "no",
        cause: error,
      });
      for (const turn of this.#takeQueued()) this.#answer(turn, failed, undefined);
      this.status = "stopped";
      this.host.failed(this, failed);
      return;
    }
    if (this.status !== "activating") return;
    this.migrated = undefined;
    this.status = "active";
    this.#reminders?.arm();
    this.pump();
  }

  #restore(version: number, bytes: Uint8Array | null, handed: boolean): void {
    const { state: definition } = this.definition;
    this.#version = version;
    if (bytes === null) {
      this.state = definition?.initial(this.key);
      return;
    }
    const envelope = handed ? decodeHandover(bytes) : decodeEnvelope(bytes);
    if ("migrated" in envelope) this.migrated = envelope.migrated;
    if (envelope.results.length > 0) this.#repeats = new Repeats(envelope.results);
    if (envelope.reminders.length > 0) this.#reminders = new ReminderTable(this, envelope.reminders);
    this.state = currentState(definition, envelope);
  }

  /** A call has arrived; `routed`: through the router, not straight from an actor on this thread. */
  receive(message: CallMessage, routed: boolean): void {
    const { host } = this;
    const shape = this.definition.shapes.get(message[6]) ?? ownTurn(message[6]);
    const now = host.clock.now();
    const budget = message[8];
    const deadline = budget > 0 ? now + budget : Number.POSITIVE_INFINITY;
    const turn = new Turn(this, message, deadline);
    turn.routed = routed;
    const refusal = this.#refusal(message, shape);
    if (refusal !== null) return this.#answer(turn, refusal, undefined);
    if (message[13] !== Delivery.AtMostOnce && this.#repeated(turn, message)) return;
    turn.readOnly = shape?.readOnly ?? false;
    const idle = this.#mailbox === undefined && this.status === "active" && !this.#pumping;
    if ((idle || (this.status === "leaving" && this.#helpsToEnd(message))) && this.#admits(turn)) {
      this.#run(turn, now);
      // A method that waited for nothing is over, and nothing about it had to be kept.
      if (turn.status === "running") host.keep(turn);
      return;
    }
    if (!this.#enqueue(turn)) {
      host.refused("mailbox", this.id);
      const overloaded = new TroupeError("overloaded", `${this.id}: its mailbox is full (${this.queued} messages)`, {
        started: "no",
        retryAfterMs: 100,
      });
      return this.#answer(turn, overloaded, undefined);
    }
    host.keep(turn);
    this.pump();
  }

  /** The caller gave up. */
  cancel(turn: Turn, reason: AbortReason): void {
    const { events } = this.host.services;
    if (events.heard) {
      const started = turn.status === "running";
      events.emit({ type: "cancelled", actor: this.id, method: turn.message[6], reason, started });
    }
    if (turn.status === "queued") {
      this.#mailbox?.remove(turn);
      this.#answer(turn, notStarted(this.id, reason), undefined);
    } else if (turn.status === "running") {
      turn.abort(reason);
      if (turn.iterator !== undefined) {
        this.#endStream(turn, turn.abortedWith);
      } else {
        this.host.wheel.remove(turn);
        turn.deadline = this.host.clock.now() + CANCEL_GRACE_MS;
        this.host.wheel.add(turn);
      }
    }
  }

  /** A turn's deadline, or its grace after a cancel, has passed. */
  expire(turn: Turn): void {
    if (turn.status === "queued") {
      this.#mailbox?.remove(turn);
      this.#answer(turn, notStarted(this.id, "deadline"), undefined);
    } else if (turn.status === "running") {
      turn.abort("deadline");
      if (turn.iterator !== undefined) this.#endStream(turn, turn.abortedWith);
      // Its handler goes on, and what that comes to is what a repeat of the request is to be told.
      else this.#answerOne(turn, turn.abortedWith, undefined);
    }
  }

  /** Starts what may start, for one slice; what is left waits for the host's next round. */
  pump(): void {
    if (this.#pumping || this.status !== "active") return;
    this.#pumping = true;
    let left = TURNS_PER_SLICE;
    const admits = (turn: Turn): boolean => this.#admits(turn);
    for (;;) {
      if (left-- === 0) {
        this.host.schedule(this);
        break;
      }
      const turn = this.#mailbox?.shift(admits);
      if (turn === undefined) break;
      this.#run(turn, this.host.clock.now());
    }
    if (this.#mailbox?.size === 0) this.#mailbox = undefined;
    this.#pumping = false;
  }

  /** False: the mailbox is full. */
  #enqueue(turn: Turn): boolean {
    const { mailbox: bounds } = this.definition;
    this.#mailbox ??= new Mailbox(
      bounds?.messages ?? MAILBOX_MESSAGES,
      bounds?.bytes ?? MAILBOX_BYTES,
      this.host.queued,
    );
    return this.#mailbox.push(turn);
  }

  #takeQueued(): Turn[] {
    const taken = this.#mailbox?.takeAll() ?? [];
    this.#mailbox = undefined;
    return taken;
  }

  // Running turns are a list through the turns themselves: an idle actor has nothing for them, a call allocates nothing.

  #addRunning(turn: Turn): void {
    turn.nextRunning = this.#running;
    if (this.#running !== undefined) this.#running.previousRunning = turn;
    this.#running = turn;
    this.#runningCount++;
  }

  #removeRunning(turn: Turn): void {
    const { previousRunning: previous, nextRunning: next } = turn;
    if (previous === undefined) {
      if (this.#running !== turn) return;
      this.#running = next;
    } else {
      previous.nextRunning = next;
    }
    if (next !== undefined) next.previousRunning = previous;
    turn.previousRunning = undefined;
    turn.nextRunning = undefined;
    this.#runningCount--;
  }

  #runningTurns(): Turn[] {
    const turns: Turn[] = [];
    for (let turn = this.#running; turn !== undefined; turn = turn.nextRunning) turns.push(turn);
    return turns;
  }

  /** Writes the state, fenced. */
  commit(): Promise<void> {
    if (this.#commit === undefined) {
      const running = this.#write();
      this.#commit = { running, next: undefined };
      return running;
    }
    // The write under way may have encoded the state already, so a later commit needs another write.
    const current = this.#commit;
    current.next ??= current.running.then(
      () => this.commit(),
      () => this.commit(),
    );
    return current.next;
  }

  /** Its claim and its state as they are now. */
  held(): HeldState {
    const state = this.#version === 0 ? null : { version: this.#version, bytes: this.#encoded() };
    return { actor: this.id, epoch: this.epoch, state, dueMs: this.#reminders?.earliestMs ?? null };
  }

  /** Ends the actor for good. */
  async end(): Promise<void> {
    const result = await this.host.io.end(this.id, this.epoch);
    if (result === "fenced") {
      this.stop("fenced");
      throw new TroupeError("fenced", `${this.id} is owned by somebody else now`, { started: "yes" });
    }
    this.stop("ended");
  }

  /**
   * Stops it. Running turns may finish (fenced and drained ones are aborted at once), streams end, calls not begun go
   * back to the router.
   */
  stop(reason: DeactivateReason): void {
    if (this.status === "stopping" || this.status === "stopped") return;
    this.status = "stopping";
    this.#timers?.clear();
    this.#reminders?.disarm();
    const abort: AbortReason = reason === "fenced" ? "fenced" : "drain";
    this.#endStreams(abort, reason);
    if (abort === "fenced") for (const turn of this.#runningTurns()) turn.abort("fenced");
    const finish = (): void => {
      this.#onQuiet = undefined;
      cancelWait();
      void this.#finish(reason);
    };
    const cancelWait = this.host.clock.after(DEACTIVATE_MS, finish);
    if (this.#runningCount === 0 || abort === "fenced") finish();
    else this.#onQuiet = finish;
  }

  #endStreams(abort: AbortReason, reason: DeactivateReason): void {
    for (const turn of [...(this.#streams ?? [])]) {
      turn.abort(abort);
      const moved = new TroupeError("unavailable", `${this.id} stopped (${reason})`, { started: "yes" });
      this.#endStream(turn, reason === "ended" ? null : moved);
    }
  }

  /** Nothing runs any more, where something waits for that. */
  #checkQuiet(): void {
    if (this.#runningCount === 0 && (this.#work === 0 || this.status === "stopping")) this.#onQuiet?.();
  }

  /**
   * Gets ready to go on elsewhere. The host is told what is handed over, or that this activation goes on, and why.
   * `release`: it may simply stop where it is idle and has nothing in memory that would be missed. Never rejects.
   */
  async leave(budgetMs: number, release: boolean): Promise<void> {
    if (this.status !== "active") return this.host.stays(this, `it is ${this.status}`);
    const idle = release && !this.busy && this.host.clock.now() - this.lastUsed >= RELEASED_AFTER_MS;
    this.status = "leaving";
    const quiet = await this.#freeze(budgetMs);
    if (this.#over) return;
    if (!quiet) return this.#stay(`its turns did not end within ${budgetMs} ms`);
    this.#endStreams("drain", "moved");
    let migrated: unknown;
    try {
      await this.#committed();
      const { onMigrate } = this.definition;
      if (onMigrate !== undefined) migrated = await this.#within(onMigrate.call(this.definition, this), "onMigrate");
    } catch (error) {
      if (!this.#over) this.#stay(messageOf(error));
      return;
    }
    if (this.#over) return;
    if (idle && migrated === undefined && !this.#remembers()) return this.stop("drain");
    await this.#deactivate("moved");
    await this.#committed();
    if (this.#over) return;
    let bytes: Uint8Array;
    try {
      const results = this.#repeats?.handed(this.host.clock.wallNow()) ?? [];
      const reminders = this.#reminders?.handed() ?? [];
      bytes = encodeHandover({ schema: this.#schema, state: this.state, results, reminders, migrated });
    } catch (error) {
      this.host.services.log.warn("what an actor has in memory cannot be moved", { actor: this.id, error });
      return this.stop("drain");
    }
    this.status = "stopped";
    this.#timers?.clear();
    this.#reminders?.disarm();
    this.#controller?.abort(abortError("drain", this.id));
    this.host.left(this, this.#version, bytes, this.#giveBack());
  }

  /** True: nothing runs any more, and nothing begins from this moment on. False: `budgetMs` have passed. */
  #freeze(budgetMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const quiet = (): void => {
        cancel();
        this.#onQuiet = undefined;
        this.status = "frozen";
        resolve(true);
      };
      const cancel = this.host.clock.after(budgetMs, () => {
        if (this.#onQuiet === quiet) this.#onQuiet = undefined;
        resolve(false);
      });
      this.#onQuiet = quiet;
      this.#checkQuiet();
    });
  }

  /** It goes on here. */
  #stay(why: string): void {
    this.status = "active";
    this.host.stays(this, why);
    this.pump();
  }

  /** Whether something else ended it while it was leaving. */
  get #over(): boolean {
    return this.status !== "leaving" && this.status !== "frozen";
  }

  /** While it is leaving: whether a new call may be what the running ones wait for. */
  #helpsToEnd(message: CallMessage): boolean {
    return message[9] === Lane.Control || message[11].includes(this.id);
  }

  /** Whether a repeat could ask for an answer that is not stored. */
  #remembers(): boolean {
    return this.#repeats?.handed(this.host.clock.wallNow()).some(([, , , durable]) => !durable) ?? false;
  }

  /** No write is under way. */
  async #committed(): Promise<void> {
    while (this.#commit !== undefined) await this.#commit.running.catch(() => {});
  }

  /** `work`, or a rejection when it takes too long. */
  async #within<T>(work: T | Promise<T>, what: string): Promise<T> {
    let giveUp = (): void => {};
    const limit = new Promise<never>((_, reject) => {
      giveUp = this.host.clock.after(DEACTIVATE_MS, () => reject(new Error(`${what} took over ${DEACTIVATE_MS} ms`)));
    });
    try {
      return await Promise.race([work, limit]);
    } finally {
      giveUp();
    }
  }

  async #deactivate(reason: DeactivateReason): Promise<void> {
    const { onDeactivate } = this.definition;
    if (onDeactivate === undefined || this.#deactivating || !this.#begun) return;
    this.#deactivating = true;
    try {
      await this.#within(onDeactivate.call(this.definition, this, reason), "onDeactivate");
    } catch (error) {
      this.host.services.log.warn("an actor's onDeactivate failed", { actor: this.id, error });
    }
  }

  async #finish(reason: DeactivateReason): Promise<void> {
    await this.#deactivate(reason);
    this.status = "stopped";
    this.#controller?.abort(abortError(reason === "fenced" ? "fenced" : "drain", this.id));
    // A handler that never came back: its caller is told what is known.
    for (const turn of this.#runningTurns()) {
      const code = reason === "fenced" ? "fenced" : "unavailable";
      const lost = new TroupeError(code, `${this.id} stopped before the call finished (${reason})`, { started: "yes" });
      if (turn.status === "running") this.#answer(turn, lost, undefined);
    }
    this.host.deactivated(this, reason, this.#giveBack());
  }

  /** Calls that have not begun, in order, repeats that wait for them included. */
  #giveBack(): CallMessage[] {
    const waiting: CallMessage[] = [];
    const now = this.host.clock.now();
    const giveBack = (turn: Turn): void => {
      if (turn.message[6] === TIMER_TURN) return this.#answer(turn, notStarted(this.id, "drain"), undefined);
      this.#forget(turn);
      if (turn.deadline !== Number.POSITIVE_INFINITY) turn.message[8] = Math.max(1, turn.deadline - now);
      waiting.push(turn.message);
      for (const repeat of turn.takeAttached()) giveBack(repeat);
    };
    for (const turn of this.#takeQueued()) giveBack(turn);
    return waiting;
  }

  #refusal(message: CallMessage, shape: MethodShape | undefined): TroupeError | null {
    const [, , , , , , method, , , , credit, chain] = message;
    if (shape === undefined) {
      return new TroupeError("unknown_method", `actor kind "${this.definition.kind}" has no method "${method}"`, {
        started: "no",
      });
    }
    if (shape.stream !== credit > 0) {
      const what = shape.stream ? "answers a stream" : "answers once";
      return new TroupeError("protocol", `${this.id}.${method} ${what}, the caller expected otherwise`, {
        started: "no",
      });
    }
    if (chain.length > 0 && !shape.stream && chain.includes(this.id) && this.#exclusive()) {
      const path = [...chain, this.id].join(" → ");
      return new TroupeError("call_cycle", `${this.id}.${method} would wait for itself: ${path}`, {
        started: "no",
        data: { chain: [...chain, this.id] },
      });
    }
    return null;
  }

  /** Whether a turn keeps every other one out. */
  #exclusive(): boolean {
    return this.definition.mode === "serial" || this.definition.mode === "reads";
  }

  #admits(turn: Turn): boolean {
    const { mode } = this.definition;
    const message = turn.message;
    if (message[10] > 0) return true;
    if (typeof mode === "object") return this.#runningCount < mode.concurrent;
    if (this.#runningCount === 0) return true;
    if (mode === "reentrant") return message[11].includes(this.id);
    if (mode !== "reads" || !turn.readOnly) return false;
    return this.#runningTurns().every(({ readOnly }) => readOnly);
  }

  /** `now`: just read, because the lease is judged by it. */
  #run(turn: Turn, now: number): void {
    const message = turn.message;
    if (now >= this.host.leaseDeadline()) {
      const parked = new TroupeError("unavailable", `${this.id}: its node's lease lapsed, it is parked`, {
        started: "no",
      });
      return this.#answer(turn, parked, undefined);
    }
    this.lastUsed = wholeMs(now);
    turn.startedAt = now;
    const method = (this.definition.methods[message[6]] ??
      ownTurn(message[6])?.run) as RunnableDefinition["methods"][string];
    let args = message[7];
    const validator = this.definition.arguments?.[message[6]];
    if (validator !== undefined) {
      const checked = validated(validator, args, `an argument of ${this.id}.${message[6]}`);
      // Not begun: nothing of the method has run.
      if (checked instanceof TroupeError) return this.#refuseQueued(turn, checked);
      args = checked as readonly unknown[];
    }
    turn.status = "running";
    if (message[10] > 0) return this.#startStream(turn, method, args);
    this.#addRunning(turn);
    let result: unknown;
    try {
      result = args.length === 1 ? method(turn, args[0]) : method(turn, ...args);
    } catch (error) {
      return this.#finished(turn, error ?? new Error("the method threw without a reason"), undefined);
    }
    if (isThenable(result)) {
      result.then(
        (value) => this.#finished(turn, null, value),
        (error) => this.#finished(turn, error ?? new Error("the method rejected without a reason"), undefined),
      );
    } else {
      this.#finished(turn, null, result);
    }
  }

  #finished(turn: Turn, error: unknown, value: unknown): void {
    if (error === null && this.#commits(turn)) {
      this.#commitTurn(turn, value);
      return;
    }
    this.#ended(turn, error, value);
  }

  /** Whether the answer of a turn that succeeded waits for a commit. */
  #commits(turn: Turn): boolean {
    if (turn.message[13] === Delivery.Durable) return true;
    return this.definition.commitOnTurn === true && !turn.readOnly;
  }

  /** Writes the state a turn made, and with it the result of a durable call; then answers. */
  #commitTurn(turn: Turn, value: unknown): void {
    const message = turn.message;
    if (message[13] === Delivery.Durable) {
      this.#repeats ??= new Repeats([]);
      this.#repeats.store(message[12], this.host.clock.wallNow(), value);
    }
    this.commit().then(
      () => this.#ended(turn, null, value),
      (error: unknown) => {
        // What is in memory is ahead of what is stored: a repeat must start from what is stored. Stopped first, so that
        // nothing begins on it when the turn makes room.
        this.stop("failed");
        this.#ended(turn, error, undefined);
      },
    );
  }

  #ended(turn: Turn, error: unknown, value: unknown): void {
    this.#removeRunning(turn);
    const tookMs = this.host.clock.now() - turn.startedAt;
    if (tookMs >= SLOW_TURN_MS) this.slow(turn, tookMs, true);
    if (turn.status === "running") this.#answer(turn, error, value);
    else this.#answerRepeats(turn, error, value);
    if (this.status === "active") {
      if (this.queued > 0) this.pump();
    } else {
      this.#checkQuiet();
    }
  }

  /** Tells of a turn that takes long. */
  slow(turn: Turn, ms: number, over: boolean): void {
    const { events } = this.host.services;
    if (this.host.noticeSlow(turn, over)) this.host.services.count("troupe_slow_turns_total");
    if (!events.heard) return;
    const [, , , , actor, , method] = turn.message;
    const behind = this.#mailbox?.methods(BEHIND) ?? [];
    events.emit({ type: "slow-turn", actor, method, ms, over, waiting: this.queued, behind });
  }

  #startStream(turn: Turn, method: RunnableDefinition["methods"][string], args: readonly unknown[]): void {
    this.#streams ??= new Set();
    if (this.#streams.size >= MAX_STREAMS) {
      this.host.refused("streams", this.id);
      const overloaded = new TroupeError("overloaded", `${this.id} has ${MAX_STREAMS} open streams`, {
        started: "no",
        retryAfterMs: 1_000,
      });
      return this.#answer(turn, overloaded, undefined);
    }
    let iterable: unknown;
    try {
      iterable = method(turn, ...args);
    } catch (error) {
      return this.#answer(turn, error, undefined);
    }
    turn.iterator = (iterable as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    this.#streams.add(turn);
    void this.#produce(turn, turn.iterator);
  }

  async #produce(turn: Turn, iterator: AsyncIterator<unknown>): Promise<void> {
    const [, callId, incarnation, thread] = turn.message;
    try {
      for (;;) {
        while (turn.credit <= 0 && turn.status === "running") {
          await new Promise<void>((resolve) => {
            turn.onCredit = resolve;
          });
          turn.onCredit = undefined;
        }
        if (turn.status !== "running") return;
        const { done, value } = await iterator.next();
        if (turn.status !== "running") return;
        if (done === true) return this.#endStream(turn, null);
        turn.credit--;
        this.host.send([MessageType.Item, callId, incarnation, thread, value]);
      }
    } catch (error) {
      this.#endStream(turn, error ?? new Error("the stream failed without a reason"));
    }
  }

  #endStream(turn: Turn, error: unknown): void {
    if (turn.status !== "running") return;
    this.#streams?.delete(turn);
    this.lastUsed = wholeMs(this.host.clock.now());
    this.#answer(turn, error, undefined);
    turn.onCredit?.();
    // Runs the generator's `finally` blocks; what they throw has nobody to go to.
    void turn.iterator?.return?.(undefined)?.catch(() => {});
  }

  /** Answers a repeat of a request from what is known of the first; false: it is the first. */
  #repeated(turn: Turn, message: CallMessage): boolean {
    if (this.host.without.has("dedup-ring")) return false;
    this.#repeats ??= new Repeats([]);
    const known = this.#repeats.get(message[12], this.host.clock.wallNow());
    if (known === undefined) {
      this.#repeats.begin(message[12], turn);
      return false;
    }
    if ("value" in known) this.#answer(turn, null, known.value);
    else known.first.attach(turn);
    return true;
  }

  #refuseQueued(turn: Turn, error: TroupeError): void {
    this.#answer(turn, error, undefined);
  }

  #answer(turn: Turn, error: unknown, value: unknown): void {
    this.#answerOne(turn, error, value);
    this.#answerRepeats(turn, error, value);
  }

  #answerRepeats(turn: Turn, error: unknown, value: unknown): void {
    if (turn.message[13] === Delivery.AtMostOnce) return;
    this.#repeats?.settle(turn, error === null || error === undefined, this.host.clock.wallNow(), value);
    for (const repeat of turn.takeAttached()) this.#answerOne(repeat, error, value);
  }

  #answerOne(turn: Turn, error: unknown, value: unknown): void {
    const ran = turn.status === "running";
    turn.status = "settled";
    this.#forget(turn);
    const [, callId, incarnation, thread] = turn.message;
    if (error === null || error === undefined) {
      try {
        return this.host.answer([MessageType.Reply, callId, incarnation, thread, null, value], turn.routed);
      } catch (unsendable) {
        error = unsendable;
      }
    }
    const wire = encodeError(error, this.host.development);
    // What a running method throws may come from a nested call that never began; this one did begin.
    const [code, text, started, retryAfterMs, data, ...stack] = wire;
    const told: WireError = ran && started !== "yes" ? [code, text, "yes", retryAfterMs, data, ...stack] : wire;
    this.host.answer([MessageType.Reply, callId, incarnation, thread, told, null], turn.routed);
  }

  #forget(turn: Turn): void {
    this.host.wheel.remove(turn);
    this.host.turns.delete(turn.message);
  }

  get #schema(): number {
    return this.definition.state?.version ?? 1;
  }

  #encoded(): Uint8Array {
    return encodeEnvelope({
      schema: this.#schema,
      state: this.state,
      results: this.#repeats?.stored(this.host.clock.wallNow()) ?? [],
      reminders: this.#reminders?.rows() ?? [],
    });
  }

  async #commitOnce(dueMs: number | null | undefined): ReturnType<Host["io"]["commit"]> {
    try {
      const result = await this.host.io.commit(this.id, this.epoch, this.#version, this.#encoded(), dueMs);
      if (result.outcome === "committed") this.#maybeWritten = false;
      return result;
    } catch (error) {
      if (!TroupeError.is(error) || error.started !== "no") this.#maybeWritten = true;
      throw error;
    }
  }

  async #write(): Promise<void> {
    try {
      const reminders = this.#reminders;
      const taken = reminders?.committing();
      let result = await this.#commitOnce(taken?.dueMs);
      if (result.outcome === "conflict" && this.#maybeWritten && result.version === this.#version + 1) {
        // The store checks the owner first, and this activation is the only one of its epoch: that version is its own,
        // of a commit whose answer was lost.
        this.#version = result.version;
        result = await this.#commitOnce(taken?.dueMs);
      }
      if (result.outcome === "committed") {
        this.#version = result.version;
        if (taken !== undefined) reminders?.committed(taken);
        return;
      }
      this.stop("fenced");
      throw new TroupeError(result.outcome, `${this.id}: somebody else owns it now, the commit was refused`, {
        started: "yes",
      });
    } finally {
      this.#commit = undefined;
    }
  }
}

/** Whole milliseconds fit into the object itself; fractions would be a heap number of their own. */
function wholeMs(ms: number): number {
  return Math.trunc(ms);
}

function notStarted(id: ActorId, reason: AbortReason): TroupeError {
  const code = reason === "deadline" ? "deadline_exceeded" : "cancelled";
  return new TroupeError(code, `${id}: the call had not begun (${reason})`, { started: "no" });
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
