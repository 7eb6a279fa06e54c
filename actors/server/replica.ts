/**
 * An upstream on one node: what it offers, how many connections there are, and those that sessions share: one for all of
 * them, or one for each principal.
 *
 * A principal's connection starts and stops like any other, within `max_processes`. What is remembered of one that is
 * stopped (its back-off) is kept for `MAX_IDLE_GROUPS` principals; the one unused for longest is forgotten.
 */
import type { WorkerServices } from "../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../runtime/actor/errors.ts";
import { refusalSeries } from "../../runtime/observe/refusals.ts";
import { createUpstreamClient, type Permit, type Permits } from "../../transports/upstream/client.ts";
import {
  type Catalogue,
  RpcError,
  type UpstreamConfig,
  type UpstreamOwner,
} from "../../transports/upstream/contract.ts";
import type { Principal } from "../session/contract.ts";
import { Remembered } from "./catalogue.ts";
import type { ReplicaStats, SharedEvent } from "./events.ts";
import { gatewayHandshake } from "./handshake.ts";
import { SharedUpstream } from "./shared_upstream.ts";

const CATALOGUE_TTL_MS = 5 * 60_000;
const FAILURE_TTL_MS = 2_000;
const MAX_IDLE_GROUPS = 1_024;

export class Replica implements Permits {
  readonly config: UpstreamConfig;
  readonly #services: WorkerServices;
  readonly #epoch: string;
  readonly #catalogue: Remembered<Catalogue>;
  /** Connections that sessions share, by principal; for isolation `shared` the only one, by `""`. Oldest use first. */
  readonly #groups = new Map<Principal | "", SharedUpstream>();
  /** Which of them a session is attached to. */
  readonly #attached = new Map<string, SharedUpstream>();
  #held = 0;
  #probes = 0;
  #lastGroup = 0;
  #failures = 0;
  #lastError: string | null = null;

  constructor(config: UpstreamConfig, epoch: string, services: WorkerServices) {
    this.config = config;
    this.#services = services;
    this.#epoch = epoch;
    this.#catalogue = new Remembered(services.clock, CATALOGUE_TTL_MS, FAILURE_TTL_MS);
  }

  /** A session's attachment, from its first event to its last. */
  async *attach(attachment: string, principal: Principal, signal: AbortSignal): AsyncGenerator<SharedEvent> {
    const { name, isolation } = this.config;
    if (isolation === "session") {
      const message = `upstream ${name} has isolation "session": nothing of it is shared`;
      throw new TroupeError("invalid_argument", message, { started: "no" });
    }
    const shared = this.#group(isolation === "shared" ? "" : principal);
    this.#attached.set(attachment, shared);
    try {
      yield* shared.attach(attachment, signal);
    } finally {
      this.#attached.delete(attachment);
    }
  }

  /** The connection that `attachment` belongs to. Throws `unavailable` when it belongs to none (any more). */
  sharedOf(attachment: string): SharedUpstream {
    const shared = this.#attached.get(attachment);
    if (shared !== undefined) return shared;
    throw new TroupeError("unavailable", `upstream ${this.config.name}: the session is not attached to it`, {
      started: "no",
    });
  }

  #group(key: Principal | ""): SharedUpstream {
    const group = this.#groups.get(key) ?? this.#newGroup(key);
    this.#groups.delete(key);
    this.#groups.set(key, group);
    if (this.#groups.size > MAX_IDLE_GROUPS) this.#forgetIdle();
    return group;
  }

  #newGroup(key: Principal | ""): SharedUpstream {
    // The number keeps the ids of two connections apart.
    const epoch = key === "" ? this.#epoch : `${this.#epoch}.${++this.#lastGroup}`;
    return new SharedUpstream(this.config, { epoch, services: this.#services, permits: this });
  }

  #forgetIdle(): void {
    for (const [key, group] of this.#groups) {
      if (this.#groups.size <= MAX_IDLE_GROUPS) return;
      if (group.idle) this.#groups.delete(key);
    }
  }

  describe(): Promise<Catalogue> {
    return this.#catalogue.get(() => this.#probe());
  }

  /** A place under `max_processes`. Probes need none: there is at most one at a time. */
  acquire(): Promise<Permit> {
    const { name, maxProcesses } = this.config;
    if (this.#held >= maxProcesses) {
      this.#services.count(refusalSeries("upstream"));
      const message = `upstream ${name}: ${this.#held} connections on this node, the most that max_processes allows`;
      return Promise.reject(new TroupeError("overloaded", message, { started: "no", retryAfterMs: 1_000 }));
    }
    this.#held++;
    let held = true;
    return Promise.resolve({
      release: () => {
        if (held) this.#held--;
        held = false;
      },
    });
  }

  failed(detail: string): void {
    this.#failures++;
    this.#lastError = detail;
  }

  stats(): ReplicaStats {
    const processes = this.#held + this.#probes;
    return {
      node: this.#services.nodeId,
      running: processes > 0,
      processes,
      sessions: this.config.isolation === "session" ? this.#held : this.#attached.size,
      restarts: this.#failures,
      lastError: this.#lastError,
    };
  }

  async close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    await Promise.all([...this.#groups.values()].map((group) => group.close(reason)));
  }

  async #probe(): Promise<Catalogue> {
    const { name } = this.config;
    if (this.config.isolation === "shared") return { ...(await this.#group("").start()), name };
    const client = createUpstreamClient(this.config, {
      epoch: `${this.#epoch}.probe`,
      owner: new Unattended(),
      handshake: gatewayHandshake(),
      services: this.#services,
      permits: { acquire: () => Promise.resolve({ release() {} }), failed: (detail) => this.failed(detail) },
    });
    this.#probes++;
    try {
      return { ...(await client.start()), name };
    } finally {
      // The catalogue need not wait for the process to end; the figures do.
      void client.close("ended").finally(() => {
        this.#probes--;
      });
    }
  }
}

/** Nobody is there to ask. */
class Unattended implements UpstreamOwner {
  async onRequest(_upstream: string, method: string): Promise<unknown> {
    throw new RpcError({ code: -32601, message: `${method}: this connection only asks what the server offers` });
  }
  onNotification(): void {}
  onClosed(): void {}
}
