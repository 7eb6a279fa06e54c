/**
 * Membership in memory: the same transitions as in a shared store, for the one process there is. It is never kept: after
 * a restart nobody of the time before is alive, and no incarnation of it is given again.
 */
import type { Incarnation } from "../../actor/ids.ts";
import type { DeclareResult, Membership, MembershipView, NodeRecord, RenewResult } from "../contract.ts";
import { checkOperation } from "../operation.ts";
import type { Life } from "./memory.ts";

interface LivingMember {
  record: NodeRecord;
  heartbeat: number;
  operation: string;
}

/** The dead stay listed, the newest ones: as many as twice the living and at least these. */
const MIN_DEAD = 32;
/** More views than a start can have, so that views also grow from one start to the next. */
const VIEWS_PER_START = 2 ** 24;

export class MemoryMembership implements Membership {
  readonly #life: Life;
  readonly #alive = new Map<Incarnation, LivingMember>();
  readonly #dead = new Map<Incarnation, NodeRecord>();
  readonly #listeners = new Set<() => void>();
  #view: number;
  #incarnations = 0;

  constructor(life: Life) {
    this.#life = life;
    this.#view = (life.start - 1) * VIEWS_PER_START + 1;
  }

  async join(record: NodeRecord, operation: string): Promise<{ incarnation: Incarnation; view: number }> {
    checkOperation(operation);
    for (const [incarnation, member] of this.#alive) {
      if (member.operation === operation) return { incarnation, view: this.#view };
    }
    this.#incarnations += 1;
    const incarnation = `${this.#life.generation}-${this.#life.start}.${this.#incarnations}` as Incarnation;
    this.#alive.set(incarnation, { record: structuredClone(record), heartbeat: 0, operation });
    this.#changed();
    return { incarnation, view: this.#view };
  }

  async renew(incarnation: Incarnation): Promise<RenewResult> {
    const member = this.#alive.get(incarnation);
    if (member === undefined) return { outcome: "declared-dead" };
    member.heartbeat += 1;
    return { outcome: "renewed", view: this.#view };
  }

  async update(incarnation: Incarnation, record: NodeRecord): Promise<"updated" | "declared-dead"> {
    const member = this.#alive.get(incarnation);
    if (member === undefined) return "declared-dead";
    member.record = structuredClone(record);
    this.#changed();
    return "updated";
  }

  async heartbeats(incarnations: readonly Incarnation[]): Promise<ReadonlyMap<Incarnation, number>> {
    const found = new Map<Incarnation, number>();
    for (const incarnation of incarnations) {
      const member = this.#alive.get(incarnation);
      if (member !== undefined) found.set(incarnation, member.heartbeat);
    }
    return found;
  }

  async declareDead(incarnation: Incarnation, observedHeartbeat: number): Promise<DeclareResult> {
    const member = this.#alive.get(incarnation);
    if (member === undefined) return "already-dead";
    if (member.heartbeat !== observedHeartbeat) return "alive";
    this.#bury(incarnation, member);
    return "declared";
  }

  async leave(incarnation: Incarnation): Promise<void> {
    const member = this.#alive.get(incarnation);
    if (member !== undefined) this.#bury(incarnation, member);
  }

  async view(): Promise<MembershipView> {
    const members = [
      ...[...this.#alive].map(([incarnation, { record }]) => ({
        ...structuredClone(record),
        incarnation,
        liveness: "alive" as const,
      })),
      ...[...this.#dead].map(([incarnation, record]) => ({
        ...structuredClone(record),
        incarnation,
        liveness: "dead" as const,
      })),
    ];
    return { generation: this.#life.generation, view: this.#view, members };
  }

  onChange(listener: () => void): () => void {
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Whether `incarnation` can still come back: it was not declared dead. */
  isAlive(incarnation: Incarnation): boolean {
    return this.#alive.has(incarnation);
  }

  #bury(incarnation: Incarnation, member: LivingMember): void {
    this.#alive.delete(incarnation);
    this.#dead.set(incarnation, member.record);
    const most = Math.max(MIN_DEAD, 2 * this.#alive.size);
    for (const oldest of this.#dead.keys()) {
      if (this.#dead.size <= most) break;
      this.#dead.delete(oldest);
    }
    this.#changed();
  }

  #changed(): void {
    this.#view += 1;
    for (const listener of [...this.#listeners]) queueMicrotask(listener);
  }
}
