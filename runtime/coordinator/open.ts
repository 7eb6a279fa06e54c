/**
 * Opens the coordinator that a configuration names. Drivers are loaded only when they are asked for, so a single node
 * starts without paying for them.
 */
import { type Clock, systemClock } from "../actor/clock.ts";
import { TroupeError } from "../actor/errors.ts";
import type { Coordinator } from "./contract.ts";
import type { RedisConfig } from "./redis/settings.ts";
import { SingleNodeCoordinator } from "./single_node.ts";

export type { RedisConfig } from "./redis/settings.ts";

/** A single node. Without `dir` (an absolute path) its data ends with the process. */
export interface SingleNodeConfig {
  kind: "single_node";
  dir?: string;
  /** With `dir`; default `normal`. */
  durability?: "normal" | "full";
}

/** The `cluster` block of the configuration, as far as coordinators read it. */
export type CoordinatorConfig = SingleNodeConfig | RedisConfig;

export interface OpenOptions {
  /** Default the system clock. */
  clock?: Clock;
}

/**
 * Resolves with an open coordinator. Rejects with a `TroupeError` whose message is one readable sentence:
 * `invalid_argument` for a configuration that cannot be right, `store_unavailable` for a store that cannot be reached
 * or is not fit to hold the data.
 */
export async function openCoordinator(config: CoordinatorConfig, options: OpenOptions = {}): Promise<Coordinator> {
  const coordinator = await make(config, options.clock ?? systemClock());
  await coordinator.open();
  return coordinator;
}

async function make(config: CoordinatorConfig, clock: Clock): Promise<Coordinator> {
  switch (config.kind) {
    case "single_node": {
      const { dir, durability } = config;
      if (dir === undefined) return new SingleNodeCoordinator(clock);
      const { DurableSingleNode } = await import("./single_node/durable.ts");
      return DurableSingleNode.load({ dir, durability }, clock);
    }
    case "redis": {
      const { RedisCoordinator } = await import("./redis/coordinator.ts");
      return new RedisCoordinator(config, clock);
    }
    default:
      throw unknownKind(config);
  }
}

function unknownKind(config: { kind?: unknown }): TroupeError {
  const kind = JSON.stringify(config.kind);
  return new TroupeError(
    "invalid_argument",
    `cluster.kind ${kind} is not a coordinator of this version: use "single_node" or "redis"`,
    { started: "no" },
  );
}
