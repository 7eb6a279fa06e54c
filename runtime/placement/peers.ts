/**
 * What the router needs of whatever carries messages between nodes. The mesh implements it; simulations do too.
 */
import type { Incarnation } from "../actor/ids.ts";
import type { Message } from "../actor/message.ts";

/** Why a link went away. `refused` is positive evidence of death: the peer's own address refused two connections. */
export type LinkLoss = "closed" | "refused" | "declared-dead" | "shutdown";

export interface PeerEvents {
  /** A message came from `from`; that link was authenticated as that incarnation. */
  message(from: Incarnation, message: Message): void;
  /** A link is ready for messages. */
  linkUp(peer: Incarnation): void;
  /** The link is gone, and messages sent on it may or may not have arrived. */
  linkDown(peer: Incarnation, loss: LinkLoss): void;
}

export interface Peers {
  /**
   * Queues `message` for `peer`; messages of one tick travel together. Messages with the same `laneKey` keep their
   * order. False: there is no link, or its queue is full (`reason` tells which); nothing was queued then.
   */
  send(peer: Incarnation, laneKey: string, message: Message): "queued" | "no-link" | "overloaded";
  /** Whether a link to `peer` is up. */
  connected(peer: Incarnation): boolean;
}
