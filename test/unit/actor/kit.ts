/**
 * A node without threads, sockets or store: a router and one host on the calling thread, for tests of the actor model.
 */
import { type Clock, systemClock } from "../../../runtime/actor/clock.ts";
import { encodeState } from "../../../runtime/actor/codec.ts";
import type { AnyActorDefinition, Ref } from "../../../runtime/actor/define.ts";
import { Host, type RunnableDefinition } from "../../../runtime/actor/host.ts";
import { actorId, type Epoch, type Incarnation, type NodeId } from "../../../runtime/actor/ids.ts";
import { makeRef } from "../../../runtime/actor/ref.ts";
import type { Directory } from "../../../runtime/coordinator/contract.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { Metrics } from "../../../runtime/observe/metrics.ts";
import { DirectoryClient } from "../../../runtime/placement/directory.ts";
import { Router } from "../../../runtime/placement/router.ts";

interface Row {
  epoch: Epoch;
  bytes: Uint8Array | null;
  version: number;
  owned: boolean;
  ended: boolean;
}

export class TestNode {
  readonly host: Host;
  readonly router: Router;
  readonly rows = new Map<string, Row>();
  readonly counts = new Map<string, number>();
  lease = Number.POSITIVE_INFINITY;
  commits = 0;
  /** When set, commits are refused: somebody else owns everything. */
  fenced = false;

  constructor(...definitions: RunnableDefinition[]) {
    // Unlike the product's timers these keep the process alive: a test waits for nothing else.
    const clock: Clock = {
      ...systemClock(),
      after(ms, callback) {
        const timer = setTimeout(callback, ms);
        return () => clearTimeout(timer);
      },
    };
    const incarnation = "i1" as Incarnation;
    const metrics = new Metrics();
    const kinds = new Map(
      definitions.map((d) => [d.kind, { placement: d.placement, requireState: d.state?.required ?? false, io: false }]),
    );
    this.router = new Router({
      nodeId: "n1" as NodeId,
      incarnation,
      clock,
      kinds,
      directory: new DirectoryClient(
        this.#directory(),
        { isDead: () => false, confirmDead: async () => false },
        clock,
        incarnation,
      ),
      peers: { send: () => "no-link", connected: () => false },
      incarnationOf: () => undefined,
      isDead: () => false,
      actorsOnIoThread: true,
      log: silentLogger,
      metrics,
    });
    this.host = new Host({
      incarnation,
      thread: 0,
      clock,
      definitions: new Map(definitions.map((d) => [d.kind, d])),
      services: {
        nodeId: "n1" as NodeId,
        incarnation,
        clock,
        log: silentLogger,
        settings: {},
        processGuard: { protect: async () => {}, release: () => {} },
        count: (name, by = 1) => void this.counts.set(name, (this.counts.get(name) ?? 0) + by),
      },
      io: {
        commit: async (actor, epoch, expected, bytes) => {
          this.commits++;
          const row = this.rows.get(actor);
          if (this.fenced || row === undefined || row.epoch !== epoch) return { outcome: "fenced" };
          if (row.version !== expected) return { outcome: "conflict", version: row.version };
          row.bytes = bytes;
          return { outcome: "committed", version: ++row.version };
        },
        end: async (actor) => {
          const row = this.rows.get(actor);
          if (row !== undefined) row.ended = true;
          return "done";
        },
      },
      send: (message) => this.router.fromThread(0, message),
      leaseDeadline: () => this.lease,
    });
    this.router.addThread(0, { send: (message) => this.host.deliver(message) });
  }

  actor<D extends AnyActorDefinition>(definition: D, key: string): Ref<D> {
    return makeRef(this.host.calls, definition, key, null);
  }

  create(definition: AnyActorDefinition, key: string, state: unknown): Promise<void> {
    return this.router.create(actorId(definition.kind, key), encodeState(state));
  }

  #directory(): Directory {
    let epochs = 0;
    const unused = async (): Promise<never> => {
      throw new Error("not used here");
    };
    return {
      claim: async ({ actor, requireState, create }) => {
        const row = this.rows.get(actor);
        if (row?.ended === true) return { outcome: "ended" };
        if (create !== undefined && row !== undefined) return { outcome: "exists" };
        if (requireState === true && row?.bytes == null) return { outcome: "absent" };
        const epoch = `e${++epochs}` as Epoch;
        const bytes = create ?? row?.bytes ?? null;
        const version = row?.version ?? (create === undefined ? 0 : 1);
        this.rows.set(actor, { epoch, bytes, version, owned: true, ended: false });
        return { outcome: "claimed", epoch, state: bytes === null ? null : { version, bytes } };
      },
      release: async ({ actor }) => {
        const row = this.rows.get(actor);
        if (row !== undefined) row.owned = false;
        return "done";
      },
      lookup: unused,
      transfer: unused,
      commit: unused,
      end: unused,
      reassert: unused,
    };
  }
}
