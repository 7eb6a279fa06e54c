/** The contract of the job queue on every kind of store, Redis against a real server. */
import { after, before, describe } from "node:test";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { jobsContract } from "./jobs_contract.ts";
import { dirStore, memoryStore, redisJobStore } from "./jobs_store.ts";

jobsContract("single_node", memoryStore);
jobsContract("single_node with a folder", dirStore);

describe("redis", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedis();
  });
  after(() => server.stop());
  jobsContract("redis", () => redisJobStore(server));
});
