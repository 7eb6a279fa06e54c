/**
 * The account of this folder in a cluster of three nodes that are simulated in one thread, on virtual time: what takes
 * seconds in the field takes none here, and the same seed gives the same run. In a project of your own, import from
 * "@troupe/runtime/testing" instead.
 */
import { createTestCluster } from "../../runtime/testing/index.ts";
import { AccountActor } from "./account.ts";

const cluster = await createTestCluster({ nodes: 3, seed: 7, actors: [AccountActor] });
const [one, two, three] = cluster.nodes;
if (one === undefined || two === undefined || three === undefined) throw new Error("three nodes were asked for");

const durable = { delivery: "durable", requestId: "salary-2026-11" } as const;
await one.actor(AccountActor, "ada").with(durable).deposit(100);

cluster.killNode(one);
// Whoever asks again, of whichever node, is told the first answer.
console.log(`killed: ${await two.actor(AccountActor, "ada").with(durable).deposit(100)}`);

const owner = cluster.ownerOf(AccountActor, "ada") ?? two;
const other = owner === two ? three : two;
cluster.freeze(owner);
await cluster.advance(10_000); // longer than its lease
console.log(`frozen: ${await other.actor(AccountActor, "ada").balance()}`);
cluster.thaw(owner);

cluster.partition(two, three);
await cluster.advance(1_000);
cluster.heal();
await cluster.until(() => owner.actor(AccountActor, "ada").balance());
console.log(`healed: ${await owner.actor(AccountActor, "ada").balance()}`);
console.log(`${Math.round(cluster.now / 1_000) > 10 ? "over ten" : "few"} virtual seconds, trace ${cluster.trace}`);
