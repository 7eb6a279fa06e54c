/**
 * What travels between a caller and an activation, whether they share a thread, a process or only a network.
 *
 * Messages are flat tuples: they are cloned between threads and packed between nodes millions of times, and a tuple
 * costs no key names in either. The first element says which kind of message it is. A call is named by its *origin*
 * (incarnation and thread of the caller) and a number the origin never reuses; everything that belongs to the call
 * carries that name, so a reply finds its way without any table on the relays.
 *
 * Values inside (`args`, `value`, `item`) are plain data: what both `structuredClone` and msgpack carry. Large text or
 * bytes should be a `Uint8Array`, which relays pass on without looking inside.
 */

import type { DeactivateReason } from "./define.ts";
import type { AbortReason, WireError } from "./errors.ts";
import type { ActorId, Epoch, Incarnation } from "./ids.ts";

/** Message kinds. Numbers are part of the mesh protocol and never reused. */
export const MessageType = {
  Call: 0,
  Reply: 1,
  Item: 2,
  Credit: 3,
  Cancel: 4,
  NotHere: 5,
  Load: 6,
  Offer: 7,
  Offered: 8,
  Settled: 9,
  Here: 10,
  Gone: 11,
} as const;

/** Priority classes of a mailbox, strict: control before normal before background. */
export const Lane = { Control: 0, Normal: 1, Background: 2 } as const;
export type Lane = (typeof Lane)[keyof typeof Lane];

/**
 * How often a call may take effect when its answer is lost.
 * - `AtMostOnce`: it is resent only if it provably did not begin.
 * - `Dedup`: resent with the same request id; the activation answers a repeat with the first result. Not over a crash.
 * - `Durable`: as `Dedup`, and the result is stored in the commit of the state it made, so it holds over crashes.
 */
export const Delivery = { AtMostOnce: 0, Dedup: 1, Durable: 2 } as const;
export type Delivery = (typeof Delivery)[keyof typeof Delivery];

/** The thread of the I/O loop in an origin; workers count from 1. */
export const IO_THREAD = 0;

/** A call of a method. `epoch` is the activation the sender believes in, or `""`. `budgetMs` is what is left of its time. */
export type CallMessage = [
  type: typeof MessageType.Call,
  callId: number,
  originIncarnation: Incarnation,
  originThread: number,
  actor: ActorId,
  epoch: Epoch | "",
  method: string,
  args: readonly unknown[],
  budgetMs: number,
  lane: Lane,
  /** Whether the answer is a stream; then the number of items the origin is ready to take, else 0. */
  credit: number,
  /** Actors whose turns wait for this call, outermost first. */
  chain: readonly ActorId[],
  /** For `dedup` and `durable` calls: what names the request over its resends; else `""`. */
  requestId: string,
  delivery: Delivery,
];

/** The one answer of a call; for a stream it is its end. */
export type ReplyMessage = [
  type: typeof MessageType.Reply,
  callId: number,
  originIncarnation: Incarnation,
  originThread: number,
  error: WireError | null,
  value: unknown,
];

/** One item of a stream. */
export type ItemMessage = [
  type: typeof MessageType.Item,
  callId: number,
  originIncarnation: Incarnation,
  originThread: number,
  item: unknown,
];

/** The consumer of a stream is ready for `count` more items. */
export type CreditMessage = [
  type: typeof MessageType.Credit,
  callId: number,
  originIncarnation: Incarnation,
  originThread: number,
  actor: ActorId,
  count: number,
];

/** The caller no longer wants the answer. */
export type CancelMessage = [
  type: typeof MessageType.Cancel,
  callId: number,
  originIncarnation: Incarnation,
  originThread: number,
  actor: ActorId,
  reason: AbortReason,
];

/**
 * The receiver of a call does not run that activation; the origin must resolve the actor again. Where the receiver handed
 * the actor over itself, it names the new owner.
 */
export type NotHereMessage = [
  type: typeof MessageType.NotHere,
  callId: number,
  originIncarnation: Incarnation,
  originThread: number,
  actor: ActorId,
  epoch: Epoch | "",
  movedTo?: Incarnation,
  newEpoch?: Epoch,
];

// Migration (placement/migration.ts). `moveId` and `owner` name one try to hand an actor over.

/** The owner of an actor would hand it to the receiver: `bytes` is what its activation hands over, see codec.ts. */
export type OfferMessage = [
  type: typeof MessageType.Offer,
  moveId: number,
  owner: Incarnation,
  zero: 0,
  actor: ActorId,
  epoch: Epoch,
  version: number,
  bytes: Uint8Array,
];

/** The receiver of an offer keeps it, or does not want it. */
export type OfferedMessage = [
  type: typeof MessageType.Offered,
  moveId: number,
  owner: Incarnation,
  zero: 0,
  actor: ActorId,
  accepted: boolean,
];

/** What became of an offer that was kept: the receiver owns the actor, under `epoch`; or nothing (`""`). */
export type SettledMessage = [
  type: typeof MessageType.Settled,
  moveId: number,
  owner: Incarnation,
  zero: 0,
  actor: ActorId,
  epoch: Epoch | "",
];

/** The receiver of a call with an unknown epoch runs the actor, under this one. */
export type HereMessage = [
  type: typeof MessageType.Here,
  callId: number,
  originIncarnation: Incarnation,
  originThread: number,
  actor: ActorId,
  epoch: Epoch,
];

/** A node tells its peers that it owns no actors any more, and that routes to it are to be forgotten. */
export type GoneMessage = [type: typeof MessageType.Gone, zero: 0, incarnation: Incarnation, thread: 0, nothing: ""];

/** A node tells its peers how busy it is; belongs to no call. */
export type LoadMessage = [
  type: typeof MessageType.Load,
  zero: 0,
  incarnation: Incarnation,
  thread: number,
  load: number,
];

export type Message =
  | CallMessage
  | ReplyMessage
  | ItemMessage
  | CreditMessage
  | CancelMessage
  | NotHereMessage
  | LoadMessage
  | OfferMessage
  | OfferedMessage
  | SettledMessage
  | HereMessage
  | GoneMessage;

/** Whether a message goes towards the actor; the others go back to the origin of the call. */
export function isTowardsActor(message: Message): message is CallMessage | CreditMessage | CancelMessage {
  const type = message[0];
  return type === MessageType.Call || type === MessageType.Credit || type === MessageType.Cancel;
}

/** Between a node's router and the hosts on its threads; never on the mesh. */
export const HostMessageType = {
  Activate: 32,
  Deactivated: 33,
  Drop: 34,
  Rename: 35,
  Leave: 36,
  Left: 37,
  Through: 38,
} as const;

/**
 * Router to host: this actor is yours. `bytes` is its stored state, `version` that state's version (0: none).
 * `handed`: `bytes` is what its former activation handed over instead.
 */
export type ActivateMessage = [
  type: typeof HostMessageType.Activate,
  actor: ActorId,
  epoch: Epoch,
  version: number,
  bytes: Uint8Array | null,
  handed?: boolean,
];

/** Host to router: the activation is over, `error` says why it never began. Calls that it had not begun follow. */
export type DeactivatedMessage = [
  type: typeof HostMessageType.Deactivated,
  actor: ActorId,
  epoch: Epoch,
  reason: DeactivateReason,
  error: WireError | null,
];

/** Router to host: stop this activation, or all of them (`""`), for that reason. */
export type DropMessage = [type: typeof HostMessageType.Drop, actor: ActorId | "", reason: DeactivateReason];

/** Router to host: the node joined again under this name. */
export type RenameMessage = [type: typeof HostMessageType.Rename, incarnation: Incarnation];

/**
 * Router to host: make this activation ready to go on elsewhere, its running turns within `budgetMs`. `release`: one that
 * has nothing in memory worth moving may simply stop.
 */
export type LeaveMessage = [
  type: typeof HostMessageType.Leave,
  actor: ActorId,
  epoch: Epoch,
  budgetMs: number,
  release: boolean,
];

/** Host to router: the activation is over, and `bytes` is what it hands over; or it goes on (`null`), and `why`. */
export type LeftMessage = [
  type: typeof HostMessageType.Left,
  actor: ActorId,
  epoch: Epoch,
  version: number,
  bytes: Uint8Array | null,
  why: string,
];

/**
 * Host to router, and back: what this thread sent to the actor through the router has come to its activation on the same
 * thread, so that later calls may go there straight.
 */
export type ThroughMessage = [type: typeof HostMessageType.Through, actor: ActorId, epoch: Epoch];

export type HostMessage =
  | ActivateMessage
  | DeactivatedMessage
  | DropMessage
  | RenameMessage
  | LeaveMessage
  | LeftMessage
  | ThroughMessage;

/** Whether a message is between router and host. */
export function isHostMessage(message: Message | HostMessage): message is HostMessage {
  return message[0] >= HostMessageType.Activate;
}
