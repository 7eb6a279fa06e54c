/**
 * What the management API tells: this node's own knowledge of the membership, and the other nodes' answers, asked
 * through their node actors. A node that does not answer within `ASK_MS` is left out of sums and lists, which is better
 * than no list when one node is in trouble.
 */
import { type NodeActor, nodeKey } from "../actors/node/node.ts";
import { ServerActor, serverKey } from "../actors/server/server.ts";
import type { SessionDescription } from "../actors/session/contract.ts";
import { SessionActor } from "../actors/session/session.ts";
import type {
  ActorDescription,
  ClusterStatus,
  Management,
  NodeDescription,
  Readiness,
  ReplicaDescription,
} from "../transports/http/management.ts";
import type { ActorSystem, Ref } from "./actor/define.ts";
import { TroupeError } from "./actor/errors.ts";
import { kindOf, type NodeId } from "./actor/ids.ts";
import type { Coordinator, Member, MembershipView } from "./coordinator/contract.ts";
import type { Metrics } from "./observe/metrics.ts";

/** Longest wait for another node, milliseconds. */
const ASK_MS = 2_000;

export interface ManagementDeps {
  nodeId: NodeId;
  system: ActorSystem;
  nodeActor: NodeActor;
  coordinator: () => Coordinator;
  view: () => MembershipView;
  readiness: () => Readiness;
  metrics: Metrics;
}

export class NodeManagement implements Management {
  readonly #deps: ManagementDeps;

  constructor(deps: ManagementDeps) {
    this.#deps = deps;
  }

  readiness(): Readiness {
    return this.#deps.readiness();
  }

  metrics(): string {
    return this.#deps.metrics.text();
  }

  async status(): Promise<ClusterStatus> {
    const { nodeId, view } = this.#deps;
    const coordinator = this.#deps.coordinator();
    const alive = this.#alive();
    const loads = await this.#askAll((node) => node.load());
    const enabled = coordinator.kind !== "single_node";
    return {
      enabled,
      mode: enabled ? "cluster" : "standalone",
      nodeId,
      coordinator: coordinator.kind,
      generation: coordinator.generation,
      view: String(view().view),
      stats: {
        nodes: view().members.length,
        activeNodes: alive.filter(({ state }) => state === "active").length,
        servers: new Set(alive.flatMap(({ servers }) => servers)).size,
        sessions: loads.reduce((sum, { sessions }) => sum + sessions, 0),
      },
    };
  }

  async nodes({ activeOnly }: { activeOnly: boolean }): Promise<NodeDescription[]> {
    const members = activeOnly ? this.#alive().filter(({ state }) => state === "active") : this.#deps.view().members;
    return members.map(({ id, incarnation, url, meshUrl, pid, runtime, state, liveness }) => ({
      id,
      incarnation,
      url,
      meshUrl,
      pid,
      runtime,
      state: liveness === "dead" ? "dead" : state,
    }));
  }

  async replicas(server: string): Promise<ReplicaDescription[] | null> {
    const hosts = this.#alive().filter(({ servers }) => servers.includes(server));
    if (hosts.length === 0) return null;
    const replicas = hosts.map(async ({ id }): Promise<ReplicaDescription[]> => {
      try {
        const ref = this.#deps.system.actor(ServerActor, serverKey(server, id)).with({ timeoutMs: ASK_MS });
        const { running, processes, lastError } = await ref.stats();
        const state = running ? "running" : lastError === null ? "idle" : "failed";
        return [{ server, nodeId: id, state, connections: processes }];
      } catch (error) {
        if (TroupeError.is(error)) return [{ server, nodeId: id, state: "failed", connections: 0 }];
        throw error;
      }
    });
    return (await Promise.all(replicas)).flat();
  }

  async sessions({ limit }: { limit: number }): Promise<SessionDescription[]> {
    const lists = await this.#askAll((node) => node.sessions(limit));
    return lists.flat().slice(0, limit);
  }

  async session(id: string): Promise<SessionDescription | null> {
    try {
      return await this.#deps.system.actor(SessionActor, id).with({ timeoutMs: ASK_MS }).describe();
    } catch (error) {
      if (TroupeError.is(error, "not_found") || TroupeError.is(error, "ended")) return null;
      throw error;
    }
  }

  async terminate(id: string): Promise<boolean> {
    try {
      await this.#deps.system.actor(SessionActor, id).with({ timeoutMs: ASK_MS }).revoke();
      return true;
    } catch (error) {
      if (TroupeError.is(error, "not_found") || TroupeError.is(error, "ended")) return false;
      throw error;
    }
  }

  async actors({ kind, limit }: { kind: string | null; limit: number }): Promise<ActorDescription[]> {
    const lists = await this.#askAll((node) => node.actors(kind, limit));
    return lists
      .flat()
      .slice(0, limit)
      .map(({ id, node, thread }) => ({ id, kind: kindOf(id), nodeId: node, worker: thread }));
  }

  async drain(nodeId: string): Promise<boolean> {
    if (!this.#alive().some(({ id }) => id === nodeId)) return false;
    await this.#node(nodeId).drain();
    return true;
  }

  #alive(): Member[] {
    return this.#deps.view().members.filter(({ liveness }) => liveness === "alive");
  }

  #node(nodeId: string): Ref<NodeActor> {
    return this.#deps.system.actor(this.#deps.nodeActor, nodeKey(nodeId)).with({ timeoutMs: ASK_MS });
  }

  async #askAll<T>(ask: (node: Ref<NodeActor>) => Promise<T>): Promise<T[]> {
    const answers = await Promise.allSettled(this.#alive().map(({ id }) => ask(this.#node(id))));
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  }
}
