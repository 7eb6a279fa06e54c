import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defineActor, type PlacementPolicy } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { TestCluster } from "./kit.ts";

function kind(name: string, placement: PlacementPolicy) {
  return defineActor({ kind: name, placement, methods: { where: (ctx) => String(ctx.worker.nodeId) } });
}

const Hashed = kind("hashed", "hash");
const Least = kind("least", "least-loaded");
const Pinned = kind("pinned", { pinned: { gpu: "yes" } });
const Near = kind("near", { colocate: "hashed" });

function cluster() {
  const cluster = new TestCluster();
  const nodes = ["a", "b", "c", "d"].map((id) => cluster.add(id, Hashed, Least, Pinned, Near));
  const [a, b, c, d] = nodes;
  assert.ok(a && b && c && d);
  return { cluster, nodes, a, b, c, d };
}

describe("placement", () => {
  it("hash spreads keys, and every node places a key on the same one", async () => {
    const { nodes, a } = cluster();
    const places = new Map<string, number>();
    for (let key = 0; key < 60; key++) {
      const place = await a.actor(Hashed, `k${key}`).where();
      places.set(place, (places.get(place) ?? 0) + 1);
    }
    assert.equal(places.size, 4);
    for (const count of places.values()) assert.ok(count >= 5, `${[...places]}`);
    const fresh = cluster();
    for (const node of fresh.nodes) {
      assert.equal(await node.actor(Hashed, "k7").where(), await nodes[0]?.actor(Hashed, "k7").where());
    }
  });

  it("hash moves only the keys of a node that went", async () => {
    const before = cluster();
    const after = cluster();
    after.cluster.kill(after.d);
    for (let key = 0; key < 40; key++) {
      const place = await before.a.actor(Hashed, `k${key}`).where();
      if (place !== "d") assert.equal(await after.a.actor(Hashed, `k${key}`).where(), place);
    }
  });

  it("least-loaded avoids the busy node", async () => {
    const { cluster: all, a, b, c, d } = cluster();
    for (const [node, load] of [
      [a, 9],
      [b, 0],
      [c, 0],
      [d, 0],
    ] as const) {
      all.loads.set(node.incarnation, load);
    }
    for (let key = 0; key < 30; key++) assert.notEqual(await a.actor(Least, `k${key}`).where(), "a");
  });

  it("pinned goes only where the labels are", async () => {
    const { a, c } = cluster();
    await assert.rejects(a.actor(Pinned, "x").where(), (error: unknown) => TroupeError.is(error, "unavailable"));
    c.labels = { gpu: "yes" };
    for (let key = 0; key < 10; key++) assert.equal(await a.actor(Pinned, `k${key}`).where(), "c");
  });

  it("colocate follows the actor of the other kind with the same key", async () => {
    const { a, b } = cluster();
    for (let key = 0; key < 20; key++) {
      const place = await a.actor(Hashed, `k${key}`).where();
      assert.equal(await b.actor(Near, `k${key}`).where(), place);
    }
  });

  it("keeps an actor where it is, whatever the policy says later", async () => {
    const { cluster: all, a, b } = cluster();
    const place = await a.actor(Least, "x").where();
    for (const node of all.nodes.values()) all.loads.set(node.incarnation, node.id === place ? 9 : 0);
    assert.equal(await b.actor(Least, "x").where(), place);
  });

  it("places a kind that this node does not run on one that does", async () => {
    const all = new TestCluster();
    const old = all.add("old", Hashed);
    all.add("new", Hashed, Least);
    assert.equal(await old.actor(Least, "x").where(), "new");
    const Nowhere = kind("nowhere", "prefer-local");
    await assert.rejects(old.actor(Nowhere, "x").where(), (error: unknown) => TroupeError.is(error, "unknown_kind"));
  });
});
