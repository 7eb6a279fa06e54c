/**
 * The coordinator of a single node: the whole contract in the memory of this process, without any dependency.
 *
 * It follows the same rules as the shared stores, so a node runs the same code with it. What differs: its data ends
 * with the process, every verb takes effect before it returns its promise, and no outcome is ever unknown. The store
 * cannot be reset, so `store_reset` and `store_unavailable` never happen. With `dir:` the same memory is kept in a file,
 * see `single_node/durable.ts`.
 */
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "../actor/clock.ts";
import type { Generation } from "../actor/ids.ts";
import type {
  Coordinator,
  Directory,
  KeyValue,
  Leases,
  Membership,
  Orphans,
  PubSub,
  Reminders,
  Watch,
} from "./contract.ts";
import { SingleNodeMemory } from "./single_node/memory.ts";

export class SingleNodeCoordinator implements Coordinator {
  readonly kind = "single_node";
  readonly generation: Generation;
  readonly membership: Membership;
  readonly directory: Directory;
  readonly reminders: Reminders;
  readonly orphans: Orphans;
  readonly keyValue: KeyValue;
  readonly pubSub: PubSub;
  readonly leases: Leases;
  readonly watches: Watch;

  constructor(clock: Clock = systemClock()) {
    this.generation = `1.${randomBytes(5).toString("hex")}` as Generation;
    const memory = new SingleNodeMemory({ generation: this.generation, start: 1 }, clock);
    this.membership = memory.membership;
    this.directory = memory.directory;
    this.reminders = memory.reminders;
    this.orphans = memory.directory;
    this.keyValue = memory.keyValue;
    this.watches = memory.keyValue;
    this.leases = memory.leases;
    this.pubSub = memory.pubSub;
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
