/** The coordinator contract on every kind there is, Redis against a real server. */
import { after, before, describe } from "node:test";
import { openCoordinator } from "../../runtime/coordinator/open.ts";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { coordinatorContract } from "./coordinator_contract.ts";
import { redisStore } from "./redis_store.ts";
import { durableStore } from "./single_node_store.ts";

coordinatorContract("single_node", async () => {
  const coordinator = await openCoordinator({ kind: "single_node" });
  return { connect: async () => coordinator, close: () => coordinator.close() };
});

for (const durability of ["normal", "full"] as const) {
  coordinatorContract(`single_node with dir, ${durability}`, () => durableStore(durability));
}

describe("redis", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedis();
  });
  after(() => server.stop());
  coordinatorContract("redis", async () => redisStore(server));
});

describe("redis, as one node of Redis Cluster", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  // The server itself refuses a script whose keys are in several slots, and one that touches a slot it did not name.
  let server: RedisServer;
  before(async () => {
    server = await startRedis({ args: ["--cluster-enabled", "yes"] });
    await server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    for (;;) {
      if ((await server.command("CLUSTER", "INFO")).includes("cluster_state:ok")) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  after(() => server.stop());
  coordinatorContract("redis cluster", async () => redisStore(server));
});
