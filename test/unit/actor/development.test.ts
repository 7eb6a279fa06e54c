import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defineActor } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { TestCluster } from "./kit.ts";

interface Order {
  lines: { item: string }[];
  bytes: Uint8Array;
  at: Date;
}

const Stock = defineActor({
  kind: "stock",
  methods: {
    awake: () => true,
    take(_ctx, order: Order) {
      order.lines.push({ item: "added by the callee" });
      return order.lines.length;
    },
    /** What it was given, if that was not copied. */
    same: (_ctx, order: Order) => order === sent,
    explode() {
      throw new RangeError("no such shelf");
    },
  },
});

/** Calls from a turn: from an actor on the callee's own thread. */
const Shop = defineActor({
  kind: "shop",
  methods: {
    order: async (ctx, what: "take" | "same") => await ctx.actor(Stock, "x")[what](sent),
    async change(ctx) {
      await ctx.actor(Stock, "x").same(sent);
      sent.lines.push({ item: "added by the caller, later" });
    },
  },
});

let sent: Order;

async function shop(development: boolean) {
  const cluster = new TestCluster();
  cluster.development = development;
  const node = cluster.add("n1", Stock, Shop);
  await node.actor(Stock, "x").awake();
  sent = { lines: [{ item: "one" }], bytes: new Uint8Array(2), at: new Date(0) };
  return { cluster, node, ref: node.actor(Shop, "x") };
}

describe("arguments between actors of one thread", () => {
  it("are not copied", async () => {
    for (const development of [true, false]) assert.equal(await (await shop(development)).ref.order("same"), true);
  });

  it("are frozen in development, for the callee and for the caller", async () => {
    const { ref } = await shop(true);
    await assert.rejects(ref.order("take"), /TypeError: Cannot add property 1/);
    await assert.rejects(ref.change(), /TypeError: Cannot add property 1/);
    assert.equal(sent.lines.length, 1);
    // What cannot be frozen stays usable.
    sent.bytes[0] = 1;
    sent.at.setTime(1);
  });

  it("are left as they are otherwise", async () => {
    const { ref } = await shop(false);
    assert.equal(await ref.order("take"), 2);
  });
});

describe("the stack of an error thrown by a method", () => {
  const stackOf = async (development: boolean): Promise<string> => {
    const { cluster, node } = await shop(development);
    const far = cluster.add("n2", Stock, Shop);
    const error = await far
      .actor(Stock, "x")
      .explode()
      .then(assert.fail, (thrown: unknown) => thrown);
    assert.ok(TroupeError.is(error, "method_failed"));
    assert.equal(error.message, "RangeError: no such shelf");
    assert.equal(error.started, "yes");
    assert.equal(node.host.residents, 1);
    return error.stack ?? "";
  };

  it("comes to a caller on another node in development", async () => {
    assert.match(await stackOf(true), /thrown at the actor as RangeError: no such shelf\n.*explode.*development\.test/);
  });

  it("stays at its node otherwise", async () => {
    assert.doesNotMatch(await stackOf(false), /explode|thrown at the actor/);
  });
});
