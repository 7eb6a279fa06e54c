/**
 * Moves actors from a node that is clearly busier than another one, slowly. Off unless `cluster.rebalance` says so:
 * a move costs a store write, the actor's calls wait for it, and most clusters even out by themselves as actors come and
 * go.
 *
 * Each round, every `ROUND_MS`:
 * - An actor placed by `hash` whose key belongs to another node goes there, so that keys come home after a node joined.
 * - Actors placed by `least-loaded` go to the least busy node, if this one has been clearly busier for `ROUNDS` rounds.
 *
 * Every node decides for itself, from loads that are up to a second old. What keeps them from handing actors to and fro
 * is that only a node above the average gives, the margin between beginning (`MARGIN`, `RATIO`) and having evened out, and
 * that a round moves at most `MOVES` actors: too few to turn a difference round before it is seen again. Only actors at rest move: one with calls on their way is
 * passed over, and one whose turns take longer than `BUDGET_MS` stays. A round looks at `LOOKS` actors and the next one
 * goes on where it stopped. Actors that are where they are for a reason (`prefer-local`, `pinned`, `colocate`, `node`) stay.
 */
import type { PlacementPolicy } from "../actor/define.ts";
import type { ActorId, Incarnation } from "../actor/ids.ts";
import type { MoveOptions, MoveOutcome } from "./migration.ts";

export const ROUND_MS = 5_000;
/** How much busier than the least busy node this one must be: by so much, and so many times. See `load.ts` for the unit. */
const MARGIN = 0.5;
const RATIO = 1.5;
const ROUNDS = 2;
const MOVES = 16;
const LOOKS = 1_000;
const BUDGET_MS = 50;

export interface Load {
  incarnation: Incarnation;
  load: number;
}

/**
 * The node that should take actors from one with load `own`; undefined: none is clearly less busy, or this one has no more
 * than its share.
 */
export function relief(own: number, others: readonly Load[]): Incarnation | undefined {
  let least: Load | undefined;
  let sum = own;
  for (const other of others) {
    sum += other.load;
    if (least === undefined || other.load < least.load) least = other;
  }
  if (least === undefined || own <= sum / (others.length + 1)) return undefined;
  if (own - least.load < MARGIN || own < least.load * RATIO) return undefined;
  return least.incarnation;
}

export interface RebalanceOptions {
  self: () => Incarnation;
  load: () => number;
  /** Other nodes that may be given actors of `kind`. */
  others: (kind: string) => readonly Load[];
  /** The node that a key placed by `hash` belongs to. */
  home: (actor: ActorId) => Incarnation | undefined;
  /** Actors of this node, those used longest ago somewhere in front. */
  actors: () => Iterator<{ id: ActorId; busy: boolean }>;
  placement: (actor: ActorId) => { kind: string; placement: PlacementPolicy } | undefined;
  move: (actor: ActorId, options: MoveOptions) => Promise<MoveOutcome>;
}

export class Rebalance {
  readonly #options: RebalanceOptions;
  #actors: Iterator<{ id: ActorId; busy: boolean }> | undefined;
  /** Rounds in which another node was clearly less busy, in a row, by kind. */
  readonly #busier = new Map<string, number>();

  constructor(options: RebalanceOptions) {
    this.#options = options;
  }

  /** One round. Resolves to how many actors moved. */
  async round(): Promise<number> {
    const { move } = this.#options;
    const planned = this.#plan();
    const outcomes = await Promise.all(
      planned.map(({ actor, to }) =>
        move(actor, { to: (refused) => (refused.has(to) ? undefined : to), budgetMs: BUDGET_MS, release: false }),
      ),
    );
    return outcomes.filter((outcome) => outcome === "moved").length;
  }

  #plan(): { actor: ActorId; to: Incarnation }[] {
    const { self, placement, actors, home } = this.#options;
    const planned: { actor: ActorId; to: Incarnation }[] = [];
    const targets = new Map<string, Incarnation | undefined>();
    for (let looks = 0; looks < LOOKS && planned.length < MOVES; looks++) {
      this.#actors ??= actors();
      const { done, value: actor } = this.#actors.next();
      if (done === true) {
        this.#actors = undefined;
        break;
      }
      const info = actor.busy ? undefined : placement(actor.id);
      if (info === undefined) continue;
      const { kind } = info;
      let to: Incarnation | undefined;
      if (info.placement === "hash") to = home(actor.id);
      else if (info.placement === "least-loaded") {
        if (!targets.has(kind)) targets.set(kind, this.#reliefFor(kind));
        to = targets.get(kind);
      }
      if (to !== undefined && to !== self()) planned.push({ actor: actor.id, to });
    }
    return planned;
  }

  #reliefFor(kind: string): Incarnation | undefined {
    const to = relief(this.#options.load(), this.#options.others(kind));
    const rounds = to === undefined ? 0 : (this.#busier.get(kind) ?? 0) + 1;
    this.#busier.set(kind, rounds);
    return rounds >= ROUNDS ? to : undefined;
  }
}
