/**
 * Moves every actor away from a node that shuts down.
 *
 * Actors that are at rest go first: each is given `FIRST_MS` for its running turns, and what does not make it goes on as
 * before. Then all that are left may take the rest of the time at once: new calls wait for the new place while old ones
 * end. What an actor needs to go on elsewhere, and what happens when it cannot, is in migration.ts. Actors that come to
 * this node meanwhile (a session that a client just opened here) are moved as well.
 *
 * What is still here at the deadline is the caller's to stop. Bounds: `FIRST_AT_ONCE` moves at a time, then `REST_AT_ONCE`.
 */
import type { Clock } from "../actor/clock.ts";
import type { ActorId, Incarnation } from "../actor/ids.ts";
import type { MoveOptions, MoveOutcome } from "./migration.ts";

const FIRST_MS = 250;
const FIRST_AT_ONCE = 64;
const REST_AT_ONCE = 4_096;
/** Before an actor that stayed is asked again, milliseconds. */
const AGAIN_MS = 100;

export interface DrainOptions {
  clock: Clock;
  /** On `clock`. */
  until: number;
  /** Actors that live here now and can live elsewhere. */
  actors: () => Iterable<ActorId>;
  move: (actor: ActorId, options: MoveOptions) => Promise<MoveOutcome>;
  /** The node for an actor. */
  to: (actor: ActorId, refused: ReadonlySet<Incarnation>) => Incarnation | undefined;
}

export interface Drained {
  moved: number;
  released: number;
  /** Here still. */
  left: number;
}

/** Resolves when no actor is left or the time is over. Never rejects. */
export async function moveAll(options: DrainOptions): Promise<Drained> {
  const { clock, until, actors, move, to } = options;
  const drained: Drained = { moved: 0, released: 0, left: 0 };
  const moveOne = async (actor: ActorId, budgetMs: number): Promise<void> => {
    const outcome = await move(actor, { budgetMs, release: true, to: (refused) => to(actor, refused) });
    if (outcome === "moved" || outcome === "released") drained[outcome]++;
    // For example while it is being activated.
    else if (outcome === "stayed") await new Promise<void>((resolve) => void clock.after(AGAIN_MS, resolve));
  };
  for (let first = true; clock.now() < until; first = false) {
    const here = [...actors()];
    if (here.length === 0) return drained;
    const budget = (): number =>
      Math.max(1, Math.min(first ? FIRST_MS : Number.POSITIVE_INFINITY, until - clock.now()));
    await eachOf(here, first ? FIRST_AT_ONCE : REST_AT_ONCE, (actor) => moveOne(actor, budget()));
  }
  drained.left = [...actors()].length;
  return drained;
}

/** Runs `work` for each item, at most `limit` at a time. */
async function eachOf<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async (): Promise<void> => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
}
