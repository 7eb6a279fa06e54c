/**
 * The coordinator of a single node: the whole contract in the memory of this process, without any dependency.
 *
 * It follows the same rules as the shared stores, so a node runs the same code with it. What differs: its data ends
 * with the process, every verb takes effect before it returns its promise, and no outcome is ever unknown. The store
 * cannot be reset, so `store_reset` and `store_unavailable` never happen.
 */
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "../actor/clock.ts";
import type { Generation } from "../actor/ids.ts";
import type { Coordinator } from "./contract.ts";
import { MemoryDirectory } from "./single_node/directory.ts";
import { MemoryKeyValue } from "./single_node/key_value.ts";
import { MemoryLeases } from "./single_node/leases.ts";
import { MemoryMembership } from "./single_node/membership.ts";
import { MemoryPubSub } from "./single_node/pub_sub.ts";

export class SingleNodeCoordinator implements Coordinator {
  readonly kind = "single_node";
  readonly generation: Generation;
  readonly membership: MemoryMembership;
  readonly directory: MemoryDirectory;
  readonly keyValue: MemoryKeyValue;
  readonly pubSub = new MemoryPubSub();
  readonly leases: MemoryLeases;
  readonly watches: MemoryKeyValue;

  constructor(clock: Clock = systemClock()) {
    this.generation = `1.${randomBytes(5).toString("hex")}` as Generation;
    this.membership = new MemoryMembership(this.generation);
    this.directory = new MemoryDirectory(this.generation, clock, (incarnation) => this.membership.isAlive(incarnation));
    this.keyValue = new MemoryKeyValue(this.generation, clock);
    this.watches = this.keyValue;
    this.leases = new MemoryLeases(clock);
  }

  async open(): Promise<void> {}

  health(): { ok: true } {
    return { ok: true };
  }

  /** There is no store to send commands to. */
  commands(): number {
    return 0;
  }

  async close(): Promise<void> {}
}
