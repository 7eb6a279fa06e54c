/**
 * Cleans the store of actors that nobody living owns and nobody asks for: sessions whose node died or gave them up and
 * whose client never came back, and records without state that a dead node left.
 *
 * A living owner ends its idle sessions itself. What has no living owner has nobody to do it, so one node walks over the
 * records (`Orphans`), a part each `stepMs`. An actor that stood without an owner for its kind's idle time, counted from
 * when this node first saw it so on its own clock, is taken over and ended by the ordinary fenced steps. It was unused for at
 * least that long, since using it would have given it an owner.
 *
 * *Who walks.* The first of the active members, by incarnation: everybody reads that off the view, so it costs the store
 * nothing, and a job queue or a lease would add commands for a promise that is not needed. Two that walk at once, or a walker that is
 * wrong about who is dead, do no harm: a takeover is a compare-and-set and asks the membership first. When another node
 * begins to walk, time counts anew.
 *
 * Bounds: one part, of some hundred records, each `stepMs`; `MAX_ENDS` ends a part; `MAX_WATCHED` orphans are timed at once, more
 * wait their turn. A store in trouble ends a walk, and the next step begins a new one.
 */
import type { Clock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import { type ActorId, type Epoch, type Incarnation, kindOf } from "../actor/ids.ts";
import type { MembershipView, Orphan, Orphans } from "../coordinator/contract.ts";
import type { Logger } from "../observe/log.ts";
import type { DirectoryClient } from "./directory.ts";

const MAX_ENDS = 64;
const MAX_WATCHED = 100_000;
/** How long a record without state and without a living owner is left alone. */
const BARE_MS = 600_000;
/** Between two parts of a walk, at most; a store has 64 parts or more. */
const STEP_MS = 2_000;

export interface SweepOptions {
  orphans: Orphans;
  directory: Pick<DirectoryClient, "lookup" | "discard">;
  view: () => MembershipView;
  self: () => Incarnation;
  /** How long an actor of that kind with state may be without an owner. Undefined: for ever. */
  idleMs: (kind: string) => number | undefined;
  /** Whether an actor of that kind with this state (encoded) must stay although its time is over; it is timed anew then. */
  keeps: (kind: string, state: Uint8Array) => boolean;
  /** The shortest of those times; undefined where there is none. */
  shortestMs: number | undefined;
  clock: Clock;
  log: Logger;
  /** An orphan of that kind was ended, or forgotten. */
  onSwept: (kind: string) => void;
}

interface Watched {
  epoch: Epoch;
  since: number;
  /** It has state of a kind that stays for ever. */
  stays: boolean;
}

export class Sweep {
  readonly #options: SweepOptions;
  readonly #watched = new Map<ActorId, Watched>();
  readonly #stepMs: number;
  /** Seen in the walk under way: what is not seen in a whole walk is not watched any longer. */
  #seen = new Set<ActorId>();
  #cursor = "";
  #cancel: () => void = () => {};
  #closed = false;

  constructor(options: SweepOptions) {
    this.#options = options;
    // Several walks within the shortest time, so that it is kept to about an eighth.
    this.#stepMs = Math.min(STEP_MS, Math.max(5, (options.shortestMs ?? BARE_MS) / 512));
  }

  /** Orphans timed now. */
  get watched(): number {
    return this.#watched.size;
  }

  start(): void {
    if (this.#closed) return;
    this.#cancel = this.#options.clock.after(this.#stepMs, () => void this.#step().then(() => this.start()));
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  async #step(): Promise<void> {
    const alive = this.#options.view().members.filter(({ liveness }) => liveness === "alive");
    const first = alive.filter(({ state }) => state === "active").map(({ incarnation }) => incarnation);
    if (first.sort()[0] !== this.#options.self()) return this.#forgetAll();
    try {
      const { orphans, cursor } = await this.#options.orphans.page({
        alive: alive.map(({ incarnation }) => incarnation),
        cursor: this.#cursor,
      });
      await this.#judge(orphans);
      this.#cursor = cursor;
      if (cursor === "") this.#walked();
    } catch (error) {
      if (!TroupeError.is(error)) throw error;
      this.#cursor = "";
      this.#seen.clear();
      this.#options.log.debug("the sweep of abandoned actors was interrupted", { error });
    }
  }

  /** Times each orphan and ends those whose time is over. */
  async #judge(orphans: readonly Orphan[]): Promise<void> {
    const now = this.#options.clock.now();
    const due: Orphan[] = [];
    for (const orphan of orphans) {
      const { actor, epoch } = orphan;
      this.#seen.add(actor);
      const watched = this.#watched.get(actor);
      if (watched === undefined || watched.epoch !== epoch) {
        if (watched === undefined && this.#watched.size >= MAX_WATCHED) continue;
        this.#watched.set(actor, { epoch, since: now, stays: false });
      } else if (!watched.stays && now - watched.since >= this.#limitOf(actor) && due.length < MAX_ENDS) {
        due.push(orphan);
      }
    }
    await Promise.all(due.map((orphan) => this.#end(orphan)));
  }

  #limitOf(actor: ActorId): number {
    return this.#options.idleMs(kindOf(actor)) ?? BARE_MS;
  }

  async #end({ actor, owner, epoch }: Orphan): Promise<void> {
    const { directory, idleMs, keeps, onSwept } = this.#options;
    if (idleMs(kindOf(actor)) === undefined) {
      const found = await directory.lookup(actor);
      if (found?.hasState === true) {
        this.#watched.set(actor, { epoch, since: 0, stays: true });
        return;
      }
    }
    const keep = (state: Uint8Array): boolean => keeps(kindOf(actor), state);
    if (await directory.discard(actor, owner, keep)) onSwept(kindOf(actor));
    this.#watched.delete(actor);
  }

  #walked(): void {
    for (const actor of this.#watched.keys()) if (!this.#seen.has(actor)) this.#watched.delete(actor);
    this.#seen.clear();
  }

  #forgetAll(): void {
    this.#cursor = "";
    this.#seen.clear();
    this.#watched.clear();
  }
}
