/**
 * An actor goes on at another node, with what it has in memory, and without losing a call.
 *
 * ## Normal operation, at the owner A
 * 1. A tells the activation to leave (activation.ts): its turns end, then nothing begins any more; what it has in memory
 *    comes back as one block of bytes. From here on A's calls for the actor wait, in order, as behind any look-up.
 * 2. A *offers* the bytes to B, which keeps them and says so.
 * 3. A *transfers* the record in the directory: from (A, e1) to (B, e2). This is the moment at which ownership moves.
 * 4. A tells B that the offer is *settled*, under e2. B activates from the bytes.
 * 5. A gives its waiting calls to the new owner: its own are sent there, those of other nodes go back to their origins with
 *    the new owner's name, as all calls do that come to A later. An origin holds newer calls until all older ones are back.
 *
 * Calls are sent back and not passed on by A, because an origin's record of where its call is must stay true: it is what
 * tells a lost call from a running one. A call that meets several moves is sent again at most `attempts` times (router).
 *
 * ## What is guaranteed
 * - One owner: B activates only under an epoch that the store gave it, which fences A. A node that keeps an offer does not
 *   claim the actor: what asks for it waits for the offer to be settled, so the epoch is still B's when it learns of it.
 * - Nothing that was acknowledged is lost: what is stored stays where it is, and bytes are used only if they are the last
 *   that there is, because A does nothing between the offer and the outcome of the transfer.
 * - A call begins once: only calls that had not begun move. Answers remembered for `dedup` requests move too.
 *
 * ## When something fails
 * - *B refuses, is silent for `OFFER_MS`, or its link breaks before the transfer*: A may try another node; with nobody left
 *   it activates the actor again from the same bytes, under a new epoch, or where A shuts down it releases it, with its
 *   stored state.
 * - *The outcome of the transfer is unknown*: it is asked again with the same operation id until it is known. Calls wait, or
 *   run into their deadlines. `fenced`: somebody else took the actor over meanwhile, and A forgets it.
 * - *A dies before the transfer*: the record names A; whoever is asked takes it over with the stored state, and B drops the
 *   offer with A's link. *A dies, or the link breaks, between transfer and settlement*: the record names B, which claims
 *   the actor from itself when it is asked for, with the stored state. What was in memory only is lost then, as in a crash.
 * - *B dies*: the record names B, and is taken over as any dead node's.
 * - *The store lost its data meanwhile*: A writes back its record and the stored part of the bytes (`inTransit`), as every
 *   owner does; the transfer then happens as if it came first.
 * - *A node that does not know these messages* ignores the offer: the actor stays.
 *
 * Bounds: `MAX_KEPT` offers and `MAX_KEPT_BYTES` on a node, each for at most `KEEP_MS`; more are refused.
 */
import type { Clock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import type { ActorId, Epoch, Incarnation } from "../actor/ids.ts";
import {
  type LeftMessage,
  type Message,
  MessageType,
  type OfferedMessage,
  type OfferMessage,
  type SettledMessage,
} from "../actor/message.ts";
import type { Owner, StoredState } from "../coordinator/contract.ts";
import type { DiagnosticEvents } from "../observe/events.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { DirectoryClient } from "./directory.ts";
import type { Peers } from "./peers.ts";

/** Longest wait for the answer to an offer. */
const OFFER_MS = 2_000;
/** How long an offer is kept that is not settled. */
const KEEP_MS = 10_000;
const MAX_KEPT = 1_024;
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
/** Offers made for one move, and the pause before the next one. */
const TRIES = 4;
const PAUSE_MS = 50;
/** Actors that were handed over, remembered so that late calls are told where they went. */
const MAX_LEFT = 10_000;

/**
 * - `moved`: it goes on at another node.
 * - `released`: nobody owns it now; its stored state is where it was.
 * - `stayed`: it goes on here.
 * - `gone`: it ended or failed meanwhile, or this node lost it.
 */
export type MoveOutcome = "moved" | "released" | "stayed" | "gone";

export interface MoveOptions {
  /** The node for it; `refused` are those that did not take it. Undefined: there is none. */
  to: (refused: ReadonlySet<Incarnation>) => Incarnation | undefined;
  /** How long its running turns may take, milliseconds. */
  budgetMs: number;
  /** This node shuts down: what cannot be moved is released, and what is idle with nothing in memory too. */
  release: boolean;
}

/** What the router does for a migration. */
export interface MigrationHooks {
  incarnation(): Incarnation;
  /** Whether the actor may be offered: its kind runs here, nobody looks it up just now, and the node stays. */
  wanted(actor: ActorId): boolean;
  /** Looks the actor up, as if it were asked for. */
  lookUp(actor: ActorId): void;
}

export interface MigrationOptions {
  clock: Clock;
  directory: DirectoryClient;
  peers: Peers;
  events: DiagnosticEvents;
  metrics: Metrics;
  hooks: MigrationHooks;
}

interface Move extends MoveOptions {
  readonly epoch: Epoch;
  resolve(outcome: MoveOutcome): void;
}

/** An offer that was kept. */
interface Kept {
  readonly from: Incarnation;
  readonly moveId: number;
  /** The epoch of the activation that it is from. */
  readonly was: Epoch;
  readonly state: StoredState;
  readonly settled: Promise<Epoch | undefined>;
  settle(epoch: Epoch | undefined): void;
}

/** What an activation handed over, and its owner here. */
interface Handed {
  owner: Owner;
  state: StoredState;
}

/** Where an actor is whose activation handed something over. */
type HandOver = { place: "there"; owner: Owner } | ({ place: "here"; from: Epoch } & Handed);

/** `lost`: the store lost its data, and somebody else owns the actor since. */
interface InTransit extends Handed {
  lost: boolean;
}

export class Migration {
  readonly #options: MigrationOptions;
  /** Moves of actors here that are under way. */
  readonly #moves = new Map<ActorId, Move>();
  /** Between their end here and the outcome. */
  readonly #inTransit = new Map<ActorId, InTransit>();
  /** Offers made, by their number. */
  readonly #offered = new Map<number, { peer: Incarnation; answer: (accepted: boolean) => void }>();
  readonly #kept = new Map<ActorId, Kept>();
  /** The epochs under which actors lived here before they were handed over, oldest first. */
  readonly #left = new Map<ActorId, Epoch>();
  #keptBytes = 0;
  #lastId = 0;

  constructor(options: MigrationOptions) {
    this.#options = options;
    options.metrics.gauge(
      "troupe_actors_in_transit",
      "Actors being handed to another node",
      () => this.#inTransit.size,
    );
  }

  // At the owner

  /** Moves an actor that lives here under `epoch`. `leave` tells its activation. Never rejects. */
  move(actor: ActorId, epoch: Epoch, options: MoveOptions, leave: () => void): Promise<MoveOutcome> {
    if (this.#moves.has(actor)) return Promise.resolve("stayed");
    return new Promise((resolve) => {
      const move: Move = {
        ...options,
        epoch,
        resolve: (outcome) => {
          if (this.#moves.get(actor) !== move) return;
          this.#moves.delete(actor);
          this.#count(outcome);
          resolve(outcome);
        },
      };
      this.#moves.set(actor, move);
      leave();
    });
  }

  /** The activation goes on here after all. */
  stays(actor: ActorId, epoch: Epoch): void {
    const move = this.#moves.get(actor);
    if (move?.epoch === epoch) move.resolve("stayed");
  }

  /** The activation has stopped and was released, ended, or lost. */
  stopped(actor: ActorId, epoch: Epoch, released: boolean): void {
    const move = this.#moves.get(actor);
    if (move?.epoch === epoch) move.resolve(released ? "released" : "gone");
  }

  /**
   * The activation has stopped, and this is what it handed over. Resolves when it is known who owns the actor; undefined:
   * the directory knows.
   */
  async handOver(owner: Owner, [, actor, , version, bytes]: LeftMessage): Promise<HandOver | undefined> {
    const { hooks, directory } = this.#options;
    const move = this.#moves.get(actor);
    const handed: InTransit = { owner, state: { version, bytes: bytes as Uint8Array }, lost: false };
    this.#inTransit.set(actor, handed);
    try {
      const outcome = move === undefined ? "stayed" : await this.#handOver(actor, handed, move);
      if (typeof outcome === "object") {
        move?.resolve("moved");
        return { place: "there", owner: outcome };
      }
      if (outcome === "gone" || handed.lost || owner.incarnation !== hooks.incarnation()) {
        move?.resolve("gone");
        return undefined;
      }
      if (move?.release === true) {
        await directory.release(actor, owner);
        move.resolve("released");
        return undefined;
      }
      // To itself: what goes on from here is another activation, and no two of them have the same epoch.
      const again = await directory.transfer(actor, handed, owner.incarnation);
      if (again.outcome === "fenced" || owner.incarnation !== hooks.incarnation()) {
        move?.resolve("gone");
        return undefined;
      }
      move?.resolve("stayed");
      const { epoch } = again;
      return {
        place: "here",
        owner: { incarnation: owner.incarnation, epoch },
        state: handed.state,
        from: owner.epoch,
      };
    } catch (error) {
      move?.resolve("gone");
      throw error;
    } finally {
      this.#inTransit.delete(actor);
    }
  }

  async #handOver(actor: ActorId, handed: InTransit, move: Move): Promise<Owner | "stayed" | "gone"> {
    const { owner, state } = handed;
    const { hooks, directory, peers, events, clock } = this.#options;
    const refused = new Set<Incarnation>();
    for (let attempt = 0; attempt < TRIES; attempt++) {
      if (attempt > 0) await new Promise<void>((resolve) => void clock.after(PAUSE_MS * attempt, resolve));
      if (owner.incarnation !== hooks.incarnation()) return "gone";
      // One that refused may only have been busy with the actor itself.
      const to = move.to(refused) ?? move.to(new Set());
      if (to === undefined || to === owner.incarnation) return "stayed";
      const moveId = ++this.#lastId;
      if (!(await this.#offer(to, moveId, actor, owner.epoch, state)) || !peers.connected(to)) {
        this.#settle(to, moveId, actor, "");
        refused.add(to);
        continue;
      }
      const result = await directory.transfer(actor, handed, to);
      if (result.outcome === "fenced") {
        this.#settle(to, moveId, actor, "");
        return "gone";
      }
      this.#leftFor(actor, owner.epoch);
      this.#settle(to, moveId, actor, result.epoch);
      events.emit({ type: "moved", actor, from: owner.epoch, to, epoch: result.epoch });
      return { incarnation: to, epoch: result.epoch };
    }
    return "stayed";
  }

  #offer(peer: Incarnation, moveId: number, actor: ActorId, epoch: Epoch, state: StoredState): Promise<boolean> {
    const owner = this.#options.hooks.incarnation();
    return new Promise((resolve) => {
      const answer = (accepted: boolean): void => {
        cancel();
        this.#offered.delete(moveId);
        resolve(accepted);
      };
      const cancel = this.#options.clock.after(OFFER_MS, () => answer(false));
      this.#offered.set(moveId, { peer, answer });
      const { version, bytes } = state;
      if (!this.#send(peer, [MessageType.Offer, moveId, owner, 0, actor, epoch, version, bytes])) answer(false);
    });
  }

  #settle(peer: Incarnation, moveId: number, actor: ActorId, epoch: Epoch | ""): void {
    this.#send(peer, [MessageType.Settled, moveId, this.#options.hooks.incarnation(), 0, actor, epoch]);
  }

  /** On the lane of the actor, before its calls. */
  #send(peer: Incarnation, message: OfferMessage | OfferedMessage | SettledMessage): boolean {
    try {
      return this.#options.peers.send(peer, message[4], message) === "queued";
    } catch (error) {
      // Too large.
      if (TroupeError.is(error)) return false;
      throw error;
    }
  }

  #count(outcome: MoveOutcome): void {
    const help = "Actors that were to move to another node, by what became of it";
    this.#options.metrics.counter("troupe_moves_total", help, { outcome }).add();
  }

  #leftFor(actor: ActorId, epoch: Epoch): void {
    this.#left.delete(actor);
    this.#left.set(actor, epoch);
    if (this.#left.size <= MAX_LEFT) return;
    const oldest = this.#left.keys().next().value;
    if (oldest !== undefined) this.#left.delete(oldest);
  }

  /** Whether the activation that a call was meant for was handed over by this node. */
  handedOver(actor: ActorId, epoch: Epoch | ""): boolean {
    return this.#left.get(actor) === epoch;
  }

  /** What activations handed over and this node still owns, for a store that lost its data. */
  *inTransit(): IterableIterator<{ actor: ActorId } & Handed> {
    for (const [actor, handed] of this.#inTransit) yield { actor, ...handed };
  }

  /** The directory names somebody else. Whether that is whom it was given to, the transfer will tell. */
  lost(actor: ActorId): void {
    const handed = this.#inTransit.get(actor);
    if (handed !== undefined) handed.lost = true;
  }

  // At the node that is offered an actor

  fromPeer(peer: Incarnation, message: Message): void {
    switch (message[0]) {
      case MessageType.Offer:
        if (message[2] === peer) this.#receive(peer, message);
        return;
      case MessageType.Offered: {
        const offered = this.#offered.get(message[1]);
        if (offered?.peer === peer && message[2] === this.#options.hooks.incarnation()) offered.answer(message[5]);
        return;
      }
      case MessageType.Settled: {
        const kept = this.#kept.get(message[4]);
        if (kept?.from !== peer || kept.moveId !== message[1]) return;
        kept.settle(message[5] === "" ? undefined : message[5]);
        if (message[5] !== "") this.#options.hooks.lookUp(message[4]);
        return;
      }
    }
  }

  #receive(peer: Incarnation, [, moveId, , , actor, was, version, bytes]: OfferMessage): void {
    const before = this.#kept.get(actor);
    const accepted =
      this.#options.hooks.wanted(actor) &&
      (before === undefined || before.from === peer) &&
      this.#kept.size < MAX_KEPT &&
      this.#keptBytes + bytes.byteLength <= MAX_KEPT_BYTES;
    if (accepted) {
      before?.settle(undefined);
      this.#keep(actor, peer, moveId, was, { version, bytes });
    }
    this.#send(peer, [MessageType.Offered, moveId, peer, 0, actor, accepted]);
  }

  #keep(actor: ActorId, from: Incarnation, moveId: number, was: Epoch, state: StoredState): void {
    let resolve = (_epoch: Epoch | undefined): void => {};
    const settled = new Promise<Epoch | undefined>((done) => {
      resolve = done;
    });
    const cancel = this.#options.clock.after(KEEP_MS, () => kept.settle(undefined));
    const kept: Kept = {
      from,
      moveId,
      was,
      state,
      settled,
      settle: (epoch) => {
        cancel();
        if (epoch === undefined) this.#forget(actor, kept);
        resolve(epoch);
      },
    };
    this.#kept.set(actor, kept);
    this.#keptBytes += state.bytes.byteLength;
  }

  #forget(actor: ActorId, kept: Kept): void {
    if (this.#kept.get(actor) !== kept) return;
    this.#kept.delete(actor);
    this.#keptBytes -= kept.state.bytes.byteLength;
  }

  /** Whether an offer is kept, so that the actor must not be claimed before `taken`. */
  keeps(actor: ActorId): boolean {
    return this.#kept.size > 0 && this.#kept.has(actor);
  }

  /** Whether what is offered became this node's, once that is known. */
  async decided(actor: ActorId): Promise<boolean> {
    return (await this.#kept.get(actor)?.settled) !== undefined;
  }

  /** What was offered, once it is this node's; undefined when it will not be. */
  async taken(actor: ActorId): Promise<(Handed & { from: Epoch }) | undefined> {
    const kept = this.#kept.get(actor);
    if (kept === undefined) return undefined;
    const epoch = await kept.settled;
    this.#forget(actor, kept);
    if (epoch === undefined) return undefined;
    return { owner: { incarnation: this.#options.hooks.incarnation(), epoch }, state: kept.state, from: kept.was };
  }

  // Losses

  /** The link to a peer is gone. */
  peerDown(peer: Incarnation): void {
    for (const offered of [...this.#offered.values()]) if (offered.peer === peer) offered.answer(false);
    for (const kept of [...this.#kept.values()]) if (kept.from === peer) kept.settle(undefined);
  }

  /** This node lives under another name now: what it had and what it was offered is not its own any more. */
  renamed(): void {
    for (const offered of [...this.#offered.values()]) offered.answer(false);
    for (const kept of [...this.#kept.values()]) kept.settle(undefined);
    for (const move of [...this.#moves.values()]) move.resolve("gone");
    this.#left.clear();
  }
}
