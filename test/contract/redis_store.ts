/** Stores on a real Redis server, each under a key prefix of its own. */
import type { Coordinator } from "../../runtime/coordinator/contract.ts";
import { openCoordinator, type RedisConfig } from "../../runtime/coordinator/open.ts";
import type { RedisServer } from "../harness/redis.ts";
import type { Store } from "./store.ts";

let stores = 0;

/** An empty store on `server`. */
export function redisStore(server: RedisServer, config: Partial<RedisConfig> = {}): Store {
  stores += 1;
  const prefix = `t${stores}:`;
  const coordinators: Coordinator[] = [];
  return {
    async connect() {
      const coordinator = await openCoordinator({ kind: "redis", url: server.url, key_prefix: prefix, ...config });
      coordinators.push(coordinator);
      return coordinator;
    },
    async close() {
      await Promise.all(coordinators.map((coordinator) => coordinator.close()));
    },
  };
}
