/**
 * All activations of one thread. It gets messages from the router, hands them to activations, and sends what comes out;
 * calls between two actors on the same thread never leave it.
 *
 * Fairness: an activation starts at most a slice of turns, then stands in line behind the others; between two rounds
 * the event loop gets its turn, so sockets and timers are never starved.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { RefusalReason, RefusalSeries } from "../observe/refusals.ts";
import { Activation, SLOW_TURN_MS } from "./activation.ts";
import { Calls, type Origin } from "./calls.ts";
import type { Clock } from "./clock.ts";
import type {
  DeactivateReason,
  DueReminder,
  MethodShape,
  PlacementPolicy,
  TurnMode,
  WorkerServices,
} from "./define.ts";
import { encodeError, TroupeError } from "./errors.ts";
import { freeze } from "./frozen.ts";
import { type ActorId, type Epoch, type Incarnation, kindOf } from "./ids.ts";
import type { Queued } from "./mailbox.ts";
import {
  type CallMessage,
  type CancelMessage,
  type CreditMessage,
  type HostMessage,
  HostMessageType,
  isHostMessage,
  isTowardsActor,
  type Message,
  MessageType,
  type ReplyMessage,
} from "./message.ts";
import { OriginTable } from "./origin_table.ts";
import { Rounds } from "./rounds.ts";
import { Starts } from "./starts.ts";
import type { Turn } from "./turn.ts";
import { DeadlineWheel } from "./wheel.ts";

/** A definition as the host runs it. Method syntax, because each kind's own context type stands behind it. */
export interface RunnableDefinition {
  readonly kind: string;
  readonly mode: TurnMode;
  readonly placement: PlacementPolicy;
  readonly shapes: ReadonlyMap<string, MethodShape>;
  readonly mailbox?: { messages?: number; bytes?: number };
  readonly idleMs?: number;
  readonly state?: {
    initial(key: string): unknown;
    required?: boolean;
    version?: number;
    upcast?(stored: unknown, version: number): unknown;
    schema?: StandardSchemaV1;
  };
  readonly commitOnTurn?: boolean;
  readonly arguments?: { readonly [method: string]: StandardSchemaV1 | undefined };
  instance?(): unknown;
  onActivate?(ctx: object): void | Promise<void>;
  onMigrate?(ctx: object): unknown;
  onDeactivate?(ctx: object, reason: DeactivateReason): void | Promise<void>;
  onReminder?(ctx: object, reminder: DueReminder): void | Promise<void>;
  readonly methods: { readonly [name: string]: { method(ctx: object, ...args: unknown[]): unknown }["method"] };
}

/** What a host asks of the I/O thread. Rejects with `TroupeError` when the store cannot be reached. */
export interface HostIo {
  commit(
    actor: ActorId,
    epoch: Epoch,
    expectedVersion: number,
    bytes: Uint8Array,
    /** When its earliest reminder is due, `null` for none; left out: as before. */
    dueMs?: number | null,
  ): Promise<
    { outcome: "committed"; version: number } | { outcome: "fenced" } | { outcome: "conflict"; version: number }
  >;
  end(actor: ActorId, epoch: Epoch): Promise<"done" | "fenced">;
}

/** An activation's claim on its actor, with the state it has now. */
export interface HeldState {
  actor: ActorId;
  epoch: Epoch;
  state: { version: number; bytes: Uint8Array } | null;
  dueMs?: number | null;
}

export interface HostOptions {
  incarnation: Incarnation;
  thread: number;
  clock: Clock;
  definitions: ReadonlyMap<string, RunnableDefinition>;
  services: WorkerServices;
  io: HostIo;
  /** To the router of this node. May throw a `TroupeError` for values that cannot be sent. */
  send: (message: Message | HostMessage) => void;
  /** Until when this node may act as an owner, on this thread's clock. */
  leaseDeadline: () => number;
  /** Activations kept at once before idle ones are passivated, those used longest ago first. Default 100,000. */
  maxResidents?: number;
  /** Activations that run `onActivate` at once; more wait in line. Default 512. */
  maxStarts?: number;
  /** Ids of this host's calls start here: a thread that replaces another must not reuse its ids. Default 0. */
  firstCallId?: number;
  /** Runs a round of turns after the event loop had its turn. Default `setImmediate`; simulations have a loop of their own. */
  nextRound?: (run: () => void) => void;
  /** Arguments that travel by reference are frozen, and errors of methods carry their stack to the caller. Default false. */
  development?: boolean;
  without?: readonly HostGuard[];
}

/** Guards that the simulation removes one by one, to show that each is needed. Never set outside of it. */
export type HostGuard = "lease" | "dedup-ring";

const MAX_EARLY_CANCELS = 1_024;
/** Calls of this thread that may wait to go straight to one actor. */
const MAX_HELD = 1_024;

const IDLE_SWEEP_MS = 1_000;
/** Activations looked at to make room for one; bounds the work of an activation. */
const ROOM_LOOKS = 64;
/** Default for `maxResidents`. */
const MAX_RESIDENTS = 100_000;

export class Host implements Origin {
  incarnation: Incarnation;
  readonly thread: number;
  readonly clock: Clock;
  readonly wheel: DeadlineWheel;
  readonly calls: Calls;
  readonly services: WorkerServices;
  readonly io: HostIo;
  readonly leaseDeadline: () => number;
  readonly development: boolean;
  readonly without: ReadonlySet<HostGuard>;
  /** Calls queued or running here, by name. */
  readonly turns = new OriginTable<Turn>();
  readonly #definitions: ReadonlyMap<string, RunnableDefinition>;
  readonly #activations = new Map<ActorId, Activation>();
  /** What waits in mailboxes here. */
  readonly queued: Queued = { bytes: 0 };
  /** Where the search for what is idle has come to. */
  readonly #idleSearch = new Rounds(() => this.#activations.values());
  readonly #uplink: (message: Message | HostMessage) => void;
  /** Cancels that came before their call. Bounded: the oldest is forgotten, its call then runs. */
  readonly #earlyCancels = new OriginTable<CancelMessage>();
  readonly #earlyOrder: CancelMessage[] = [];
  readonly #line: Activation[] = [];
  /** Calls of this thread that wait to go straight, by actor. */
  readonly #held = new Map<ActorId, CallMessage[]>();
  readonly #maxResidents: number;
  readonly #starts: Starts;
  readonly #nextRound: (run: () => void) => void;
  #round = false;
  #looking = false;
  /** Slow turns that were told of and are not over. */
  readonly #slow = new Set<Turn>();
  #sweeping = false;

  constructor(options: HostOptions) {
    this.incarnation = options.incarnation;
    this.thread = options.thread;
    this.clock = options.clock;
    this.wheel = new DeadlineWheel(options.clock);
    this.services = options.services;
    this.io = options.io;
    this.development = options.development ?? false;
    this.without = new Set(options.without);
    this.leaseDeadline = this.without.has("lease") ? () => Number.POSITIVE_INFINITY : options.leaseDeadline;
    this.#nextRound = options.nextRound ?? setImmediate;
    this.#definitions = options.definitions;
    this.#uplink = options.send;
    this.#maxResidents = options.maxResidents ?? MAX_RESIDENTS;
    this.#starts = new Starts(options.clock, options.maxStarts);
    this.calls = new Calls(this, options.firstCallId ?? 0);
  }

  get residents(): number {
    return this.#activations.size;
  }

  /** Actors here, for the management API. */
  *activations(): IterableIterator<{ id: ActorId; epoch: Epoch; status: string; queued: number }> {
    for (const { id, epoch, status, queued } of this.#activations.values()) yield { id, epoch, status, queued };
  }

  /** What the activations here hold, for a store that lost it. Actors without a directory record are left out. */
  held(): HeldState[] {
    return [...this.#activations.values()]
      .filter(({ definition }) => definition.placement !== "node")
      .map((one) => one.held());
  }

  /** From the router. */
  deliver(message: Message | HostMessage): void {
    if (isHostMessage(message)) return this.#deliverHost(message);
    switch (message[0]) {
      case MessageType.Call:
        return this.#deliverCall(message, true);
      case MessageType.Cancel:
        return this.#deliverCancel(message);
      case MessageType.Credit:
        return this.#deliverCredit(message);
      case MessageType.Reply:
      case MessageType.Item:
        return this.calls.receive(message);
      default:
        // The router deals with the others.
        return;
    }
  }

  /**
   * From an actor or a caller on this thread. A call goes straight to an activation on the same thread, but not before all
   * that was sent to its actor through the router is known to have come, which it would overtake: until then it waits.
   */
  send(message: Message): void {
    if (isTowardsActor(message)) {
      const activation = this.#activations.get(message[4]);
      if (activation !== undefined) {
        if (message[0] === MessageType.Call) {
          if (this.development) freeze(message[7]);
          return activation.straight ? this.#deliverCall(message, false) : this.#hold(activation, message);
        }
        const held = this.#held.get(activation.id)?.some((call) => call[1] === message[1]) ?? false;
        if (held || this.turns.get(message) !== undefined) return this.deliver(message);
      }
    } else if (message[3] === this.thread && message[2] === this.incarnation) {
      return this.deliver(message);
    }
    this.#uplink(message);
  }

  /** @internal A call that is queued or runs on: its deadline, a cancel and credit find it from now on. */
  keep(turn: Turn): void {
    this.turns.set(turn.message, turn);
    if (turn.deadline !== Number.POSITIVE_INFINITY) this.wheel.add(turn);
    if (!this.#looking) this.#lookForSlow();
    // A cancel that its own method caused, before its first wait.
    const cancel = this.#earlyCancels.size === 0 ? undefined : this.#earlyCancels.get(turn.message);
    if (cancel === undefined) return;
    this.#earlyCancels.delete(turn.message);
    turn.activation.cancel(turn, cancel[5]);
  }

  /** @internal An activation has turns left after its slice. */
  schedule(activation: Activation): void {
    this.#line.push(activation);
    if (this.#round) return;
    this.#round = true;
    this.#nextRound(() => {
      this.#round = false;
      for (const next of this.#line.splice(0)) next.pump();
    });
  }

  /** @internal An activation could not start. */
  failed(activation: Activation, error: TroupeError): void {
    this.#activations.delete(activation.id);
    this.#uplink([HostMessageType.Deactivated, activation.id, activation.epoch, "failed", encodeError(error)]);
    this.#giveBack(activation, []);
  }

  /** @internal An activation has stopped; `waiting` are the calls it had not begun. */
  deactivated(activation: Activation, reason: DeactivateReason, waiting: readonly CallMessage[]): void {
    this.#activations.delete(activation.id);
    this.#uplink([HostMessageType.Deactivated, activation.id, activation.epoch, reason, null]);
    this.#giveBack(activation, waiting);
  }

  /** @internal An activation that was to leave goes on here. */
  stays(activation: Activation, why: string): void {
    this.#uplink([HostMessageType.Left, activation.id, activation.epoch, 0, null, why]);
  }

  /** @internal An activation has stopped to go on elsewhere; `waiting` are the calls it had not begun. */
  left(activation: Activation, version: number, bytes: Uint8Array, waiting: readonly CallMessage[]): void {
    this.#activations.delete(activation.id);
    this.#uplink([HostMessageType.Left, activation.id, activation.epoch, version, bytes, ""]);
    this.#giveBack(activation, waiting);
  }

  /** Stops everything; resolves when all activations are gone. */
  async stopAll(reason: DeactivateReason, timeoutMs: number): Promise<void> {
    for (const activation of [...this.#activations.values()]) activation.stop(reason);
    const deadline = this.clock.now() + timeoutMs;
    while (this.#activations.size > 0 && this.clock.now() < deadline) {
      await new Promise<void>((resolve) => {
        this.clock.after(10, resolve);
      });
    }
  }

  #deliverHost(message: HostMessage): void {
    switch (message[0]) {
      case HostMessageType.Activate: {
        const [, id, epoch, version, bytes, handed] = message;
        const definition = this.#definitions.get(kindOf(id));
        if (definition === undefined) {
          const unknown = new TroupeError("unknown_kind", `no actor kind "${kindOf(id)}" on this thread`, {
            started: "no",
          });
          this.#uplink([HostMessageType.Deactivated, id, epoch, "failed", encodeError(unknown)]);
          return;
        }
        const activation = new Activation(this, definition, id, epoch);
        this.#activations.set(id, activation);
        const start = (): Promise<void> => activation.activate(version, bytes, handed === true);
        if (definition.onActivate === undefined) void start();
        else this.#starts.begin(start);
        this.#makeRoom();
        if ((definition.idleMs ?? 0) > 0) this.#sweepIdle();
        return;
      }
      case HostMessageType.Drop: {
        const [, id, reason] = message;
        if (id === "") for (const activation of [...this.#activations.values()]) activation.stop(reason);
        else this.#activations.get(id)?.stop(reason);
        return;
      }
      case HostMessageType.Rename:
        this.incarnation = message[1];
        return;
      case HostMessageType.Leave: {
        const [, id, epoch, budgetMs, release] = message;
        const activation = this.#activations.get(id);
        // Where it stopped meanwhile, the router hears of that anyway.
        if (activation?.epoch === epoch) void activation.leave(budgetMs, release);
        return;
      }
      case HostMessageType.Through: {
        const activation = this.#activations.get(message[1]);
        if (activation?.epoch === message[2]) this.#goStraight(activation);
        return;
      }
      case HostMessageType.Deactivated:
      case HostMessageType.Left:
        return;
    }
  }

  /** The router is asked, behind all that was sent so far, and its answer comes behind all of that. */
  #hold(activation: Activation, message: CallMessage): void {
    const { id, epoch } = activation;
    const held = this.#held.get(id);
    if (held === undefined) {
      this.#held.set(id, [message]);
      return this.#uplink([HostMessageType.Through, id, epoch]);
    }
    if (held.length >= MAX_HELD) {
      this.refused("held", id);
      throw new TroupeError("overloaded", `${MAX_HELD} calls of this thread wait for ${id}`, {
        started: "no",
        retryAfterMs: 100,
      });
    }
    held.push(message);
  }

  /** What waited goes first, also what the first of them sends meanwhile. */
  #goStraight(activation: Activation): void {
    const held = this.#held.get(activation.id) ?? [];
    for (let message = held.shift(); message !== undefined; message = held.shift()) this.#deliverCall(message, false);
    this.#held.delete(activation.id);
    activation.straight = true;
  }

  /** Calls that a stopped activation had not begun, in their order. */
  #giveBack(activation: Activation, waiting: readonly CallMessage[]): void {
    for (const message of waiting) this.#uplink(message);
    const held = this.#held.get(activation.id) ?? [];
    this.#held.delete(activation.id);
    for (const message of held) this.#uplink(message);
  }

  /** @internal The answer of a call. One that came through the router goes back through it, which has it on record. */
  answer(reply: ReplyMessage, routed: boolean): void {
    if (routed) this.#uplink(reply);
    else this.deliver(reply);
  }

  #deliverCall(message: CallMessage, routed: boolean): void {
    if (this.#earlyCancels.size > 0) {
      const cancel = this.#earlyCancels.get(message);
      if (cancel !== undefined) {
        this.#earlyCancels.delete(message);
        const error = new TroupeError("cancelled", `${message[4]}.${message[6]}: the cancel came first`, {
          started: "no",
        });
        return this.answer([MessageType.Reply, message[1], message[2], message[3], encodeError(error), null], routed);
      }
    }
    const activation = this.#activations.get(message[4]);
    if (activation === undefined || activation.status === "stopped") {
      // It stopped while the call was on its way: the router finds the actor's new place.
      return this.#uplink(message);
    }
    activation.receive(message, routed);
  }

  #deliverCancel(message: CancelMessage): void {
    const turn = this.turns.get(message);
    if (turn !== undefined) return turn.activation.cancel(turn, message[5]);
    // Cancels of calls that were answered meanwhile come here too; they age out.
    this.#earlyCancels.set(message, message);
    this.#earlyOrder.push(message);
    if (this.#earlyOrder.length > MAX_EARLY_CANCELS) {
      const oldest = this.#earlyOrder.shift();
      if (oldest !== undefined) this.#earlyCancels.delete(oldest);
    }
  }

  #deliverCredit(message: CreditMessage): void {
    const turn = this.turns.get(message);
    if (turn === undefined) return;
    turn.credit += message[5];
    turn.onCredit?.();
  }

  /**
   * Passivates once there are more residents than the cap: two for each that came, so that there are soon no more. Those
   * go that were not used since the search came by last (the "clock" approximation of least recently used); busy ones
   * are passed over.
   */
  #makeRoom(): void {
    if (this.#activations.size <= this.#maxResidents) return;
    for (let looks = 0, stopped = 0; looks < ROOM_LOOKS && stopped < 2; looks++) {
      const activation = this.#idleSearch.next();
      if (activation === undefined) continue;
      const used = activation.lastUsed;
      if (activation.busy || activation.status !== "active" || used > activation.seenByClock) {
        activation.seenByClock = used;
        continue;
      }
      activation.stop("idle");
      stopped++;
    }
  }

  /** @internal Something of `actor` was refused at a bound: counts and tells it. */
  refused(reason: RefusalReason, actor: ActorId): void {
    const series: RefusalSeries = `troupe_refusals_total{reason="${reason}"}`;
    this.services.count(series);
    this.services.events.emit({ type: "shed", actor, reason });
  }

  /** @internal Whether a slow turn is noticed for the first time. */
  noticeSlow(turn: Turn, over: boolean): boolean {
    if (over) return !this.#slow.delete(turn);
    this.#slow.add(turn);
    return true;
  }

  /** Looks once a `SLOW_TURN_MS` at the turns that run, as long as there are any. */
  #lookForSlow(): void {
    this.#looking = true;
    this.clock.after(SLOW_TURN_MS, () => {
      this.#looking = false;
      const now = this.clock.now();
      for (const turn of this.turns.values()) {
        if (turn.status !== "running" || turn.iterator !== undefined || this.#slow.has(turn)) continue;
        const ms = now - turn.startedAt;
        if (ms >= SLOW_TURN_MS) turn.activation.slow(turn, ms, false);
      }
      if (this.turns.size > 0) this.#lookForSlow();
    });
  }

  #sweepIdle(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.clock.after(IDLE_SWEEP_MS, () => {
      this.#sweeping = false;
      const now = this.clock.now();
      let left = false;
      for (const activation of this.#activations.values()) {
        const limit = activation.definition.idleMs ?? 0;
        if (limit === 0) continue;
        if (!activation.busy && now - activation.lastUsed >= limit) activation.stop("idle");
        else left = true;
      }
      if (left) this.#sweepIdle();
    });
  }
}
