/**
 * An upstream on one node: what it offers, how many connections there are, and the shared one if sessions share.
 */
import type { WorkerServices } from "../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../runtime/actor/errors.ts";
import { createUpstreamClient, type Permit, type Permits } from "../../transports/upstream/client.ts";
import {
  type Catalogue,
  RpcError,
  type UpstreamConfig,
  type UpstreamOwner,
} from "../../transports/upstream/contract.ts";
import { Remembered } from "./catalogue.ts";
import type { ReplicaStats } from "./events.ts";
import { gatewayHandshake } from "./handshake.ts";
import { SharedUpstream } from "./shared_upstream.ts";

const CATALOGUE_TTL_MS = 5 * 60_000;
const FAILURE_TTL_MS = 2_000;

export class Replica implements Permits {
  readonly config: UpstreamConfig;
  /** The shared connection; only for isolation `shared`. */
  readonly shared: SharedUpstream | undefined;
  readonly #services: WorkerServices;
  readonly #epoch: string;
  readonly #catalogue: Remembered<Catalogue>;
  #held = 0;
  #probes = 0;
  #failures = 0;
  #lastError: string | null = null;

  constructor(config: UpstreamConfig, epoch: string, services: WorkerServices) {
    this.config = config;
    this.#services = services;
    this.#epoch = epoch;
    this.#catalogue = new Remembered(services.clock, CATALOGUE_TTL_MS, FAILURE_TTL_MS);
    this.shared =
      config.isolation === "shared" ? new SharedUpstream(config, { epoch, services, permits: this }) : undefined;
  }

  describe(): Promise<Catalogue> {
    return this.#catalogue.get(() => this.#probe());
  }

  /** A place under `max_processes`. Probes need none: there is at most one at a time. */
  acquire(): Promise<Permit> {
    const { name, maxProcesses } = this.config;
    if (this.#held >= maxProcesses) {
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
      sessions: this.shared?.sessions ?? this.#held,
      restarts: this.#failures,
      lastError: this.#lastError,
    };
  }

  async close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    await this.shared?.close(reason);
  }

  async #probe(): Promise<Catalogue> {
    const { name } = this.config;
    if (this.shared !== undefined) return { ...(await this.shared.start()), name };
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
