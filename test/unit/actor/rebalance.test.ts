import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PlacementPolicy } from "../../../runtime/actor/define.ts";
import type { ActorId, Incarnation } from "../../../runtime/actor/ids.ts";
import { Rebalance, relief } from "../../../runtime/placement/rebalance.ts";

/** Nodes whose load is what lives on them, a twentieth each, and that see each other's load of the round before. */
class Nodes {
  readonly actors: string[][];
  readonly busy = new Set<string>();
  moves = 0;
  readonly #placement: PlacementPolicy;
  readonly #rebalances: Rebalance[];
  #seen: number[] = [];

  constructor(counts: readonly number[], placement: PlacementPolicy, home: (actor: string) => number = () => 0) {
    this.#placement = placement;
    this.actors = counts.map((count, node) => Array.from({ length: count }, (_, at) => `k/${node}-${at}`));
    this.#rebalances = this.actors.map((own, node) => this.#rebalance(own, node, home));
  }

  get counts(): number[] {
    return this.actors.map(({ length }) => length);
  }

  async round(): Promise<void> {
    this.#seen = this.counts.map((count) => count / 20);
    for (const rebalance of this.#rebalances) this.moves += await rebalance.round();
  }

  #rebalance(own: string[], node: number, home: (actor: string) => number): Rebalance {
    return new Rebalance({
      self: () => name(node),
      load: () => own.length / 20,
      others: () =>
        this.actors.flatMap((_, other) =>
          other === node ? [] : [{ incarnation: name(other), load: this.#seen[other] ?? 0 }],
        ),
      home: (actor) => name(home(actor)),
      actors: () => [...own].map((id) => ({ id: id as ActorId, busy: this.busy.has(id) })).values(),
      placement: () => ({ kind: "k", placement: this.#placement }),
      move: async (actor, { to }) => {
        own.splice(own.indexOf(actor), 1);
        this.actors[Number(to(new Set()))]?.push(actor);
        return "moved";
      },
    });
  }
}

function name(node: number): Incarnation {
  return String(node) as Incarnation;
}

describe("rebalancing", () => {
  it("begins only where a node is clearly busier than the least busy one", () => {
    const others = [
      { incarnation: name(1), load: 1 },
      { incarnation: name(2), load: 0.6 },
    ];
    assert.equal(relief(1.2, others), name(2));
    assert.equal(relief(1.05, others), undefined, "not by enough");
    assert.equal(relief(3, [{ incarnation: name(1), load: 2.2 }]), undefined, "not many times as busy");
    assert.equal(relief(1.4, [...others, { incarnation: name(3), load: 9 }]), undefined, "others have more to give");
    assert.equal(relief(3, []), undefined);
  });

  it("evens out a busy node, in small steps, and then rests", async () => {
    const nodes = new Nodes([400, 10, 10, 10], "least-loaded");
    await nodes.round();
    assert.equal(nodes.moves, 0, "a difference that may pass by itself is waited out");
    let before = nodes.moves;
    for (let round = 0; round < 200; round++) {
      await nodes.round();
      assert.ok(nodes.moves - before <= 16, "a round moves few");
      before = nodes.moves;
    }
    const [first = 0, ...rest] = nodes.counts;
    assert.ok(first <= 1.5 * Math.min(...rest) + 16, `${nodes.counts}`);
    assert.ok(nodes.moves <= 400 - 10, `${nodes.moves} moves: actors went to and fro`);
    await nodes.round();
    assert.equal(nodes.moves, before, "nothing moves any more");
  });

  it("brings keys placed by hash home, whatever the load", async () => {
    const nodes = new Nodes([40, 0, 0], "hash", (actor) => Number(actor.slice(-1)) % 3);
    for (let round = 0; round < 4; round++) await nodes.round();
    for (const [node, actors] of nodes.actors.entries()) {
      for (const actor of actors) assert.equal(Number(actor.slice(-1)) % 3, node);
    }
    assert.equal(nodes.moves, 24);
  });

  it("leaves alone what is busy and what is where it is for a reason", async () => {
    const busy = new Nodes([100, 0], "least-loaded");
    for (const actor of busy.actors[0] ?? []) busy.busy.add(actor);
    const kept: PlacementPolicy[] = ["prefer-local", "node", { pinned: { disk: "fast" } }, { colocate: "other" }];
    for (const nodes of [busy, ...kept.map((placement) => new Nodes([100, 0], placement))]) {
      for (let round = 0; round < 5; round++) await nodes.round();
      assert.equal(nodes.moves, 0);
    }
  });
});
