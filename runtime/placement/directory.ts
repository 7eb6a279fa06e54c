/**
 * A node's way to the placement directory: who owns this actor, and if nobody does, I do.
 *
 * The store's verbs are single steps; this is the order in which they must be used.
 * - *Takeover follows evidence.* A record that names another owner is taken over only when the membership, read after
 *   the record, says that incarnation is dead (declared, or gone). A node that is merely unreachable keeps its actors.
 * - *My own record without an activation* (its worker died, or the answer to a claim was lost) is taken over from
 *   myself: a new epoch, so that nothing the lost activation may have left on its way is believed.
 * - *Unknown outcomes are replayed* with the same operation id, so that a claim which did succeed is answered as
 *   claimed; after `TRIES`, or `REPLAY_MS`, the call fails with `store_unavailable`, not started. What the claim may have
 *   made all the same is undone in the background. A transfer is replayed until its outcome is known.
 * - *What was learned before a reset* counts for nothing after it. An answer to a claim: what the node wrote back did not
 *   have that actor, so it is taken over from this node itself, as if its activation were lost. A death: the declaration may
 *   be lost too, and its node have come back with what it owned, so a takeover is not replayed on the strength of it.
 * - *What this node lost* it writes no more, also where the first try is on its way: a store that was set back to an earlier
 *   moment may still name it the owner.
 *
 * At most `maxClaims` claims are on their way at once; a reconnect storm waits in line, up to `MAX_WAITING`.
 */
import type { Clock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import type { ActorId, Incarnation } from "../actor/ids.ts";
import type {
  ClaimRequest,
  ClaimResult,
  CommitResult,
  Directory,
  FencedResult,
  Owner,
  StoredState,
} from "../coordinator/contract.ts";

const TRIES = 4;
const RETRY_MS = 100;
/** No try begins later than that after the first, milliseconds: the caller waits. */
const REPLAY_MS = 3_000;
/** Default for `maxClaims`. */
const MAX_CLAIMS = 512;
const MAX_WAITING = 20_000;
/** Claims and releases whose outcome is asked for in the background, and how often. */
const MAX_UNSETTLED = 10_000;
const SETTLE_MS = 2_000;
/** How long an ended actor's id is remembered: a day, milliseconds. */
const TOMBSTONE_MS = 86_400_000;
const FENCED = Promise.resolve({ outcome: "fenced" } as const);

/** What the directory client needs of the membership. */
export interface Deaths {
  /** By the view this node has. */
  isDead(incarnation: Incarnation): boolean;
  /** Reads the membership from the store now. */
  confirmDead(incarnation: Incarnation): Promise<boolean>;
}

export type Resolution = { place: "here"; owner: Owner; state: StoredState | null } | { place: "there"; owner: Owner };

export class DirectoryClient {
  readonly #directory: Directory;
  readonly #deaths: Deaths;
  readonly #clock: Clock;
  #incarnation: Incarnation;
  readonly #maxClaims: number;
  #operations = 0;
  #resets = 0;
  #unsettled = 0;
  #closed = false;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(
    directory: Directory,
    deaths: Deaths,
    clock: Clock,
    incarnation: Incarnation,
    maxClaims: number = MAX_CLAIMS,
  ) {
    this.#maxClaims = maxClaims;
    this.#directory = directory;
    this.#deaths = deaths;
    this.#clock = clock;
    this.#incarnation = incarnation;
  }

  /** Nothing is asked for in the background any more. */
  close(): void {
    this.#closed = true;
  }

  /** The node rejoined under another name. */
  rename(incarnation: Incarnation): void {
    this.#incarnation = incarnation;
  }

  /** The store was reset, and what this node owns is collected from now on, to be written back. */
  resetBegan(): void {
    this.#resets++;
  }

  /**
   * Finds the owner, becoming it where there is none (alive). Rejects with `not_found`, `ended`, `unavailable`,
   * `store_unavailable`, `overloaded`; always `started: "no"`.
   */
  resolve(actor: ActorId, requireState: boolean): Promise<Resolution> {
    return this.#limited(() => this.#resolve(actor, requireState));
  }

  /** The living owner of an actor, without becoming it. Rejects with `unavailable` when the store does not answer. */
  owner(actor: ActorId): Promise<Owner | null> {
    return this.#limited(async () => {
      const found = await this.#directory.lookup(actor);
      const owner = found?.owner ?? null;
      return owner === null || (await this.#deaths.confirmDead(owner.incarnation)) ? null : owner;
    });
  }

  /** Makes an actor with its first state. Rejects with `already_exists`, `unavailable` (outcome unknown). */
  create(actor: ActorId, bytes: Uint8Array): Promise<Resolution> {
    return this.#limited(async () => {
      const result = await this.#claim(actor, { create: bytes });
      switch (result.outcome) {
        case "claimed":
          return { place: "here", owner: this.#mine(result.epoch), state: result.state };
        case "ended":
          throw new TroupeError("ended", `${actor} was ended`, { started: "no" });
        default:
          throw new TroupeError("already_exists", `${actor} exists already`, { started: "no" });
      }
    });
  }

  /**
   * Writes an actor's state, fenced. `owner` is asked before every try: undefined where this node has lost the actor, which
   * a store set back to an earlier moment does not know. Rejects with `store_unavailable` when the store cannot be reached.
   */
  commit(
    actor: ActorId,
    owner: () => Owner | undefined,
    expectedVersion: number,
    bytes: Uint8Array,
    dueMs?: number | null,
  ): Promise<CommitResult> {
    const operation = this.#operation();
    return this.#replayed(() => {
      const mine = owner();
      if (mine === undefined) return FENCED;
      return this.#directory.commit({ actor, owner: mine, expectedVersion, bytes, operation, dueMs });
    });
  }

  /** Ends an actor for good, fenced as `commit`; its id answers `ended` for at least `TOMBSTONE_MS`. */
  async end(actor: ActorId, owner: () => Owner | undefined): Promise<FencedResult> {
    const operation = this.#operation();
    return this.#replayed(async () => {
      const mine = owner();
      if (mine === undefined) return "fenced";
      return this.#directory.end({ actor, owner: mine, operation, tombstoneMs: TOMBSTONE_MS });
    });
  }

  /**
   * Hands an actor to `to`. Asks until the outcome is known, because neither of the two may act before it is; `fenced` also
   * when this node lost its life meanwhile, or the actor (`held.lost`).
   */
  async transfer(
    actor: ActorId,
    held: { readonly owner: Owner; readonly lost: boolean },
    to: Incarnation,
  ): ReturnType<Directory["transfer"]> {
    const operation = this.#operation();
    const from = held.owner;
    while (from.incarnation === this.#incarnation && !held.lost) {
      try {
        return await this.#replayed(() =>
          held.lost ? FENCED : this.#directory.transfer({ actor, from, to, operation }),
        );
      } catch (error) {
        if (!TroupeError.is(error)) throw error;
      }
    }
    return FENCED;
  }

  /** Gives an actor up. Never rejects for a store in trouble: it is asked again until it answers, see `#settle`. */
  async release(actor: ActorId, owner: Owner): Promise<void> {
    const operation = this.#operation();
    const release = (): Promise<unknown> => this.#directory.release({ actor, owner, operation });
    try {
      await release();
    } catch (error) {
      if (!TroupeError.is(error)) throw error;
      this.#settle(release);
    }
  }

  /** Reads an actor's record without becoming its owner. */
  lookup(actor: ActorId): ReturnType<Directory["lookup"]> {
    return this.#limited(() => this.#directory.lookup(actor));
  }

  /**
   * Ends an actor that nobody living owns, or forgets it where it has no state. `last` is the dead owner, if it has one.
   * False: somebody owns it, or it is gone, or `keep` says of its state that it must stay. Rejects when the store does not
   * answer.
   */
  discard(actor: ActorId, last: Owner | null, keep: (state: Uint8Array) => boolean = () => false): Promise<boolean> {
    return this.#limited(async () => {
      const resets = this.#resets;
      if (last !== null && !(await this.#deaths.confirmDead(last.incarnation))) return false;
      const claimed = await this.#claim(actor, { takeover: last ?? undefined }, resets);
      if (claimed.outcome !== "claimed") return false;
      const owner = this.#mine(claimed.epoch);
      if (claimed.state === null) await this.release(actor, owner);
      else if (keep(claimed.state.bytes)) {
        await this.release(actor, owner);
        return false;
      } else if ((await this.end(actor, () => owner)) === "fenced") return false;
      return true;
    });
  }

  async #resolve(actor: ActorId, requireState: boolean): Promise<Resolution> {
    let takeover: Owner | undefined;
    let resets = this.#resets;
    for (let round = 0; round < TRIES; round++) {
      const result = await this.#claim(actor, { requireState, takeover }, resets);
      resets = this.#resets;
      switch (result.outcome) {
        case "claimed":
          return { place: "here", owner: this.#mine(result.epoch), state: result.state };
        case "absent":
          throw new TroupeError("not_found", `${actor} does not exist`, { started: "no" });
        case "ended":
          throw new TroupeError("ended", `${actor} was ended`, { started: "no" });
        case "exists":
          throw new TroupeError("protocol", `${actor}: the store answered "exists" to a plain claim`, {
            started: "no",
          });
        case "owned": {
          const { owner } = result;
          if (owner.incarnation === this.#incarnation) takeover = owner;
          else if (await this.#deaths.confirmDead(owner.incarnation)) takeover = owner;
          else return { place: "there", owner };
        }
      }
    }
    throw new TroupeError("unavailable", `${actor} changes hands too fast`, { started: "no", retryAfterMs: 500 });
  }

  /** `resets`: how many there were when its reason was learned. */
  async #claim(
    actor: ActorId,
    { requireState, create, takeover }: Pick<ClaimRequest, "requireState" | "create" | "takeover">,
    resets: number = this.#resets,
  ): Promise<ClaimResult> {
    const incarnation = this.#incarnation;
    const full: ClaimRequest = { actor, incarnation, operation: this.#operation(), requireState, create, takeover };
    let result: ClaimResult;
    try {
      result = await this.#replayed(() =>
        takeover !== undefined && resets !== this.#resets
          ? Promise.resolve({ outcome: "owned", owner: takeover })
          : this.#directory.claim(full),
      );
    } catch (error) {
      if (!TroupeError.is(error, "store_unavailable") && !TroupeError.is(error, "store_reset")) throw error;
      if (error.started !== "no") this.#settle(() => this.#undo(full));
      const known = create === undefined ? "no" : error.started;
      // Its own code: who tries again because an owner was lost need not while the store is away.
      throw new TroupeError("store_unavailable", `the coordinator did not place ${actor}: ${error.message}`, {
        started: known,
        retryAfterMs: 1_000,
        cause: error,
      });
    }
    if (incarnation === this.#incarnation) {
      if (resets === this.#resets || result.outcome !== "claimed") return result;
      const owner = this.#mine(result.epoch);
      if (create === undefined) return { outcome: "owned", owner };
      const ending = { actor, owner, operation: this.#operation(), tombstoneMs: TOMBSTONE_MS };
      this.#settle(() => this.#directory.end(ending));
      throw new TroupeError("unavailable", `the store was reset while it placed ${actor}`, {
        started: "unknown",
        retryAfterMs: 1_000,
      });
    }
    // What was claimed belongs to the life that was declared dead meanwhile: anybody may take it over already.
    throw new TroupeError("unavailable", `this node joined again while it placed ${actor}`, {
      started: create === undefined ? "no" : "unknown",
      retryAfterMs: 50,
    });
  }

  /**
   * Undoes a claim whose caller was told that its outcome is unknown: what it may have made is nobody's, and while this node
   * lives no sweep would find it. A replay learns what the claim came to; if its actor was claimed anew since, the end is fenced.
   */
  async #undo(request: ClaimRequest): Promise<void> {
    if (request.incarnation !== this.#incarnation) return;
    const claimed = await this.#directory.claim(request);
    if (claimed.outcome !== "claimed") return;
    const { actor } = request;
    const owner = this.#mine(claimed.epoch);
    if (request.create === undefined) await this.release(actor, owner);
    else await this.end(actor, () => owner);
  }

  /** Runs a verb in the background until the store has answered it. Beyond `MAX_UNSETTLED` it is left to the death of this node. */
  #settle(verb: () => Promise<unknown>): void {
    if (this.#unsettled >= MAX_UNSETTLED) return;
    this.#unsettled++;
    const attempt = async (): Promise<void> => {
      if (this.#closed) return;
      try {
        await verb();
        this.#unsettled--;
      } catch {
        this.#clock.after(SETTLE_MS, () => void attempt());
      }
    };
    this.#clock.after(SETTLE_MS, () => void attempt());
  }

  /** Runs a store verb until its outcome is known; every try carries the same operation id. */
  #replayed<T>(verb: () => Promise<T>): Promise<T> {
    const giveUp = this.#clock.now() + REPLAY_MS;
    // Most are answered at once: only the others pay for what follows.
    return verb().catch((error: unknown) => this.#replay(verb, error, giveUp));
  }

  /** The first try failed with `failure`. */
  async #replay<T>(verb: () => Promise<T>, failure: unknown, giveUp: number): Promise<T> {
    let error = failure;
    let maybeDone = false;
    for (let attempt = 1; ; attempt++) {
      const pauseMs = RETRY_MS * 2 ** attempt;
      const passing = TroupeError.is(error, "store_unavailable") || TroupeError.is(error, "store_reset");
      if (passing) maybeDone ||= (error as TroupeError).started !== "no";
      if (!passing || attempt >= TRIES || this.#clock.now() + pauseMs > giveUp)
        throw maybeDone ? ofUnknownOutcome(error) : error;
      await new Promise<void>((resolve) => {
        this.#clock.after(pauseMs, resolve);
      });
      try {
        return await verb();
      } catch (again) {
        error = again;
      }
    }
  }

  async #limited<T>(run: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#maxClaims) await this.#turn();
    this.#running++;
    try {
      return await run();
    } finally {
      this.#running--;
      if (this.#waiting.length > 0) this.#waiting.shift()?.();
    }
  }

  /** Resolves when one of those that run is over. */
  #turn(): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING) {
      throw new TroupeError("overloaded", `${MAX_WAITING} actors wait for their placement`, {
        started: "no",
        retryAfterMs: 1_000,
        data: { reason: "claims" },
      });
    }
    return new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #mine(epoch: Owner["epoch"]): Owner {
    return { incarnation: this.#incarnation, epoch };
  }

  #operation(): string {
    return `${this.#incarnation}.${++this.#operations}`;
  }
}

/** The last try may not have been sent, but one before it may have been carried out. */
function ofUnknownOutcome(error: unknown): unknown {
  if (!TroupeError.is(error) || error.started !== "no") return error;
  return new TroupeError(error.code, error.message, { started: "unknown", cause: error });
}
