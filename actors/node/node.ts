/**
 * A node as an actor: what the management API of any node asks of this one. It runs on the I/O thread, because what it
 * tells is kept there, and its address names the node (`node/info@<nodeId>`), so no directory is asked.
 */
import { concurrent, defineActor } from "../../runtime/actor/define.ts";
import type { ActorId } from "../../runtime/actor/ids.ts";
import type { SessionDescription } from "../session/contract.ts";

/** How much lives on a node. */
export interface NodeLoad {
  sessions: number;
  actors: number;
}

export interface LocalActor {
  id: ActorId;
  node: string;
  thread: number;
  epoch: string;
}

/** What a node can tell and do; made where the node is put together. */
export interface NodeInternals {
  load(): NodeLoad;
  /** At most `limit` of its sessions. */
  sessions(limit: number): Promise<SessionDescription[]>;
  /** At most `limit` of its actors, of one kind where given. */
  actors(kind: string | null, limit: number): LocalActor[];
  /** Starts a shutdown that moves everything away; does not wait for it. */
  drain(): void;
}

/** The node actor over `internals`. Callers use any instance of the definition: refs need only its shape. */
export function nodeActor(internals: NodeInternals) {
  return defineActor({
    kind: "node",
    placement: "node",
    mode: concurrent(64),
    methods: {
      load: () => internals.load(),
      sessions: (_ctx, limit: number) => internals.sessions(limit),
      actors: (_ctx, kind: string | null, limit: number) => internals.actors(kind, limit),
      drain: () => internals.drain(),
    },
  });
}

export type NodeActor = ReturnType<typeof nodeActor>;

/** The key of a node's own actor. */
export function nodeKey(nodeId: string): string {
  return `info@${nodeId}`;
}
