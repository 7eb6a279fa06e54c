/**
 * Everything a single node's coordinator holds in memory, with or without a file behind it.
 */
import type { Clock } from "../../actor/clock.ts";
import type { ActorId, Generation, Incarnation } from "../../actor/ids.ts";
import { MemoryDirectory } from "./directory.ts";
import { DueIndex } from "./due_index.ts";
import { MemoryKeyValue } from "./key_value.ts";
import { MemoryLeases } from "./leases.ts";
import { MemoryMembership } from "./membership.ts";
import { MemoryPubSub } from "./pub_sub.ts";

/** One opening of the data. Numbers that must never be handed out twice carry both. */
export interface Life {
  generation: Generation;
  /** Counts the openings of this generation, from 1. */
  start: number;
}

/** Who is told which records changed, before the verb that changed them returns. */
export interface Changes {
  actor(actor: ActorId): void;
  due(actor: ActorId): void;
  entry(key: string): void;
  lease(name: string): void;
  /** When watchers may be told of what was changed. */
  announce(announcement: () => void): void;
}

/** Memory alone: a change is in force at once. */
export const UNKEPT: Changes = {
  actor: () => {},
  due: () => {},
  entry: () => {},
  lease: () => {},
  announce: queueMicrotask,
};

export class SingleNodeMemory {
  readonly membership: MemoryMembership;
  readonly directory: MemoryDirectory;
  readonly reminders: DueIndex;
  readonly keyValue: MemoryKeyValue;
  readonly pubSub = new MemoryPubSub();
  readonly leases: MemoryLeases;

  constructor(life: Life, clock: Clock, changes: Changes = UNKEPT) {
    this.membership = new MemoryMembership(life);
    this.reminders = new DueIndex(changes);
    const isAlive = (incarnation: Incarnation): boolean => this.membership.isAlive(incarnation);
    this.directory = new MemoryDirectory(life, clock, isAlive, this.reminders, changes);
    this.keyValue = new MemoryKeyValue(life, clock, changes);
    this.leases = new MemoryLeases(clock, changes);
  }
}
