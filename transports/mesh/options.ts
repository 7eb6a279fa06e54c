/**
 * What a mesh is told: who this node is, where it listens, what it shares with its peers, and its bounds.
 */
import type { Clock } from "../../runtime/actor/clock.ts";
import type { Generation, Incarnation, NodeId } from "../../runtime/actor/ids.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import type { Metrics } from "../../runtime/observe/metrics.ts";
import type { PeerEvents } from "../../runtime/placement/peers.ts";

/** Who this node is, as its peers will check it. */
export interface MeshSelf {
  nodeId: NodeId;
  incarnation: Incarnation;
  generation: Generation;
}

/** An alive member, as the membership view names it. */
export interface MeshPeer {
  nodeId: NodeId;
  incarnation: Incarnation;
  /** `host:port`, or `""` for a node without a mesh, which is then never linked. */
  meshUrl: string;
}

/** Files of the listener's certificate; `ca_path` makes both sides demand a certificate of that authority. */
export interface MeshTls {
  cert_path: string;
  key_path: string;
  ca_path?: string;
}

/** Versions of the mesh protocol a node speaks. Two adjacent releases share at least one. */
export interface ProtocolRange {
  min: number;
  max: number;
}

export const PROTOCOL: ProtocolRange = { min: 1, max: 1 };

/** Bounds and times. The queue bounds must be the same on all nodes of a cluster: receivers hold senders to them. */
export interface MeshLimits {
  /** Bytes of one packed message; a larger one makes `send` throw `too_large`. */
  maxMessageBytes: number;
  /** Bytes and messages waiting in one lane before calls are refused. Answers get half as much more, control twice. */
  laneQueueBytes: number;
  laneQueueMessages: number;
  /** Bytes of large messages that were not delivered yet before large calls are refused. Answers get half more. */
  bulkQueueBytes: number;
  /** Bytes in flight on one socket without a credit from the receiver. At least 256 KiB. */
  windowBytes: number;
  /** Sockets that have not proved themselves yet; beyond it the oldest of them is closed. */
  unauthenticatedSockets: number;
  /** Time a socket has to prove itself, and a link to become complete. */
  handshakeMs: number;
  /** Time between two pings. */
  pingMs: number;
  /** A socket that was silent for this long is closed. */
  silenceMs: number;
  /** Longest wait before each of the first tries to reach a peer that ended its link. */
  probeMs: number;
  /** The back-off of reconnects, jittered between half and whole. */
  reconnectMinMs: number;
  reconnectMaxMs: number;
}

export const DEFAULT_LIMITS: MeshLimits = {
  maxMessageBytes: 64 * 1024 * 1024,
  laneQueueBytes: 8 * 1024 * 1024,
  laneQueueMessages: 65_536,
  bulkQueueBytes: 64 * 1024 * 1024,
  windowBytes: 1024 * 1024,
  unauthenticatedSockets: 64,
  handshakeMs: 2_000,
  pingMs: 2_000,
  silenceMs: 6_000,
  probeMs: 20,
  reconnectMinMs: 50,
  reconnectMaxMs: 2_000,
};

/** What the membership knows of an incarnation that wants a link. */
export type MemberAnswer = "alive" | "dead" | "unknown";

export interface MeshOptions {
  self: MeshSelf;
  /** Nodes of other names are refused; the key prefix of the coordinator does. */
  clusterName: string;
  bind: { host: string; port: number };
  /** `host` or `host:port` that peers dial; default the bound address. Port 0 or none: the bound port. */
  advertise?: string;
  secret?: string;
  tls?: MeshTls;
  /** Sockets for small messages per node pair, 1 to 16. Default 1. */
  lanes?: number;
  clock: Clock;
  log: Logger;
  metrics: Metrics;
  events: PeerEvents;
  limits?: Partial<MeshLimits>;
  /**
   * What the membership says of an incarnation that proved the secret. Default: alive if it is among `setPeers`, else
   * unknown. An alive one that is not yet among `setPeers` is refused for now, and dials again.
   */
  isMember?: (incarnation: Incarnation, nodeId: NodeId) => MemberAnswer;
  /** Asked for when a peer names an incarnation we do not know, or does not know ours: read the view again. */
  refresh?: () => void;
  /** `always` encrypts frames on loopback too. Default `auto`: off loopback and without TLS. */
  seal?: "auto" | "always";
  /** Troupe's version, for logs. */
  version?: string;
  protocol?: ProtocolRange;
  /** Between 0 and 1, for jitter. */
  random?: () => number;
}

/**
 * Lanes of a link where none are asked for. A second one would let some messages pass others that wait for a lost packet,
 * but it halves what a frame carries, and a frame costs as much as some ten small messages: calls between two processes
 * took 21 to 23 µs of CPU with two and 17 with one. Large messages have a socket of their own either way.
 */
export const DEFAULT_LANES = 1;
export const MAX_LANES = 16;
