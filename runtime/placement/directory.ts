/**
 * A node's way to the placement directory: who owns this actor, and if nobody does, I do.
 *
 * The store's verbs are single steps; this is the order in which they must be used.
 * - *Takeover follows evidence.* A record that names another owner is taken over only when the membership, read after
 *   the record, says that incarnation is dead (declared, or gone). A node that is merely unreachable keeps its actors.
 * - *My own record without an activation* (its worker died, or the answer to a claim was lost) is taken over from
 *   myself: a new epoch, so that nothing the lost activation may have left on its way is believed.
 * - *Unknown outcomes are replayed* with the same operation id, so that a claim which did succeed is answered as
 *   claimed; after `TRIES` the call fails with `unavailable`, not started. A transfer is replayed until its outcome is known.
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
/** Default for `maxClaims`. */
const MAX_CLAIMS = 512;
const MAX_WAITING = 20_000;
/** How long an ended actor's id is remembered: a day, milliseconds. */
const TOMBSTONE_MS = 86_400_000;

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

  /** The node rejoined under another name. */
  rename(incarnation: Incarnation): void {
    this.#incarnation = incarnation;
  }

  /**
   * Finds the owner, becoming it where there is none (alive). Rejects with `not_found`, `ended`, `unavailable`,
   * `overloaded`; always `started: "no"`.
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
      const result = await this.#claim({ actor, create: bytes });
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

  /** Writes an actor's state, fenced. Rejects with `store_unavailable` when the store cannot be reached. */
  commit(
    actor: ActorId,
    owner: Owner,
    expectedVersion: number,
    bytes: Uint8Array,
    dueMs?: number | null,
  ): Promise<CommitResult> {
    const operation = this.#operation();
    return this.#replayed(() => this.#directory.commit({ actor, owner, expectedVersion, bytes, operation, dueMs }));
  }

  /** Ends an actor for good, fenced; its id answers `ended` for at least `TOMBSTONE_MS`. */
  end(actor: ActorId, owner: Owner): Promise<FencedResult> {
    const operation = this.#operation();
    return this.#replayed(() => this.#directory.end({ actor, owner, operation, tombstoneMs: TOMBSTONE_MS }));
  }

  /**
   * Hands an actor to `to`. Asks until the outcome is known, because neither of the two may act before it is; `fenced` also
   * when this node lost its life meanwhile.
   */
  async transfer(actor: ActorId, from: Owner, to: Incarnation): ReturnType<Directory["transfer"]> {
    const operation = this.#operation();
    while (from.incarnation === this.#incarnation) {
      try {
        return await this.#replayed(() => this.#directory.transfer({ actor, from, to, operation }));
      } catch (error) {
        if (!TroupeError.is(error)) throw error;
      }
    }
    return { outcome: "fenced" };
  }

  /** Gives an actor up. A failure is left alone: the next claim by this node takes it over from itself. */
  async release(actor: ActorId, owner: Owner): Promise<void> {
    try {
      await this.#directory.release({ actor, owner, operation: this.#operation() });
    } catch (error) {
      if (!TroupeError.is(error)) throw error;
    }
  }

  async #resolve(actor: ActorId, requireState: boolean): Promise<Resolution> {
    let takeover: Owner | undefined;
    for (let round = 0; round < TRIES; round++) {
      const result = await this.#claim({ actor, requireState, takeover });
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

  async #claim(request: Omit<ClaimRequest, "incarnation" | "operation">): Promise<ClaimResult> {
    const full = { ...request, incarnation: this.#incarnation, operation: this.#operation() };
    let result: ClaimResult;
    try {
      result = await this.#replayed(() => this.#directory.claim(full));
    } catch (error) {
      if (!TroupeError.is(error, "store_unavailable") && !TroupeError.is(error, "store_reset")) throw error;
      const known = request.create === undefined ? "no" : "unknown";
      throw new TroupeError("unavailable", `the coordinator did not place ${request.actor}: ${error.message}`, {
        started: known,
        retryAfterMs: 1_000,
        cause: error,
      });
    }
    if (full.incarnation === this.#incarnation) return result;
    // What was claimed belongs to the life that was declared dead meanwhile: anybody may take it over already.
    throw new TroupeError("unavailable", `this node joined again while it placed ${request.actor}`, {
      started: request.create === undefined ? "no" : "unknown",
      retryAfterMs: 50,
    });
  }

  /** Runs a store verb until its outcome is known; every try carries the same operation id. */
  async #replayed<T>(verb: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await verb();
      } catch (error) {
        const passing = TroupeError.is(error, "store_unavailable") || TroupeError.is(error, "store_reset");
        if (!passing || attempt >= TRIES) throw error;
      }
      await new Promise<void>((resolve) => {
        this.#clock.after(RETRY_MS * 2 ** attempt, resolve);
      });
    }
  }

  async #limited<T>(run: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#maxClaims) {
      if (this.#waiting.length >= MAX_WAITING) {
        throw new TroupeError("overloaded", `${MAX_WAITING} actors wait for their placement`, {
          started: "no",
          retryAfterMs: 1_000,
          data: { reason: "claims" },
        });
      }
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    this.#running++;
    try {
      return await run();
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  #mine(epoch: Owner["epoch"]): Owner {
    return { incarnation: this.#incarnation, epoch };
  }

  #operation(): string {
    return `${this.#incarnation}.${++this.#operations}`;
  }
}
