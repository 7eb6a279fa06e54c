/** Nodes that do not run the same code: what is told, and that an unknown kind is placed elsewhere. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defineActor } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { skewBetween } from "../../../runtime/placement/skew.ts";
import { TestCluster } from "../actor/kit.ts";

const SELF = { version: "1.2.0", kinds: ["a", "b", "mine"], stateVersions: { a: 3 } };

describe("the skew between two nodes", () => {
  it("is none when they run the same, or only other kinds", () => {
    assert.deepEqual(skewBetween(SELF, SELF), []);
    assert.deepEqual(skewBetween(SELF, { ...SELF, kinds: ["a", "theirs"] }), []);
  });

  it("is told for another version of Troupe, and for another version of a kind's state, with who is behind", () => {
    assert.match(skewBetween(SELF, { ...SELF, version: "1.3.0" }).join(), /it runs Troupe 1\.3\.0, this node 1\.2\.0/);
    assert.match(
      skewBetween(SELF, { ...SELF, stateVersions: {} }).join(),
      /kind "a" has version 1, this node's 3: it cannot/,
    );
    assert.match(skewBetween(SELF, { ...SELF, stateVersions: { a: 3, b: 2 } }).join(), /"b".*: this node cannot/);
    // A node of a version that did not tell.
    assert.equal(skewBetween({ ...SELF, stateVersions: {} }, { ...SELF, stateVersions: undefined }).length, 0);
  });
});

describe("a kind that only some nodes know", () => {
  it("is never placed on one that does not, whoever asks", async () => {
    const Known = defineActor({ kind: "known", methods: { where: (ctx) => String(ctx.worker.nodeId) } });
    const cluster = new TestCluster();
    const without = cluster.add("without");
    cluster.add("with", Known);
    const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
    const places = await Promise.all(keys.map((key) => without.actor(Known, key).where()));
    assert.deepEqual(new Set(places), new Set(["with"]));
  });

  it("is refused with unknown_kind where nobody knows it", async () => {
    const Nobody = defineActor({ kind: "nobody", methods: { go: () => 1 } });
    const cluster = new TestCluster();
    const one = cluster.add("one");
    cluster.add("two");
    await assert.rejects(one.actor(Nobody, "x").go(), (error) => TroupeError.is(error, "unknown_kind"));
  });
});
