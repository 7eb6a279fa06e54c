/**
 * One alive member as the mesh sees it: its link, the attempts to get one back, and the evidence of its death.
 *
 * Of two nodes one dials (`dials`), the other accepts, so there is one link. Lost links are dialed again after a jittered,
 * growing pause, for as long as the peer is a member.
 *
 * Evidence: the peer ended an established link (FIN or RST), and then its address refused two connections in a row. The
 * side that does not dial looks with bare connections, for this purpose only, and stops when one is accepted. Any other
 * outcome (a timeout, an unreachable network) proves nothing and starts the count again.
 */
import type { Clock } from "../../runtime/actor/clock.ts";
import type { Incarnation } from "../../runtime/actor/ids.ts";
import type { Message } from "../../runtime/actor/message.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import type { LinkLoss, PeerEvents } from "../../runtime/placement/peers.ts";
import { type DialFailure, dial, probe } from "./dial.ts";
import { dials, type HandshakeSelf, REFUSALS, type Session } from "./handshake.ts";
import { Link } from "./link.ts";
import type { MeshCounters } from "./metrics.ts";
import type { MeshLimits, MeshPeer } from "./options.ts";
import { CloseCode, type MeshSocket, type SocketEnd } from "./socket.ts";
import type { TlsMaterial } from "./tls.ts";

/** Refused connections in a row that are evidence. */
const REFUSALS_NEEDED = 2;

export interface PeerEnvironment {
  self: () => HandshakeSelf;
  tls: TlsMaterial | null;
  lanes: number;
  sealAlways: boolean;
  limits: MeshLimits;
  clock: Clock;
  log: Logger;
  counters: MeshCounters;
  events: PeerEvents;
  random: () => number;
  /** Numbers of links this node dials; they only grow. */
  nextLink: () => number;
  /** The membership view here may be old. */
  refresh: () => void;
}

export class Peer {
  readonly #env: PeerEnvironment;
  readonly #log: Logger;
  readonly #dialer: boolean;
  #info: MeshPeer;
  #link: Link | null = null;
  /** The highest number of a link that the peer dialed. */
  #newest = -1;
  #cancelAttempt: (() => void) | null = null;
  #cancelPause: (() => void) | null = null;
  #failures = 0;
  /** What went wrong last, so that the same trouble is logged once and not at every attempt. */
  #lastTrouble = "";
  /** Refused connections since the peer ended an established link; null when it did not. */
  #refusals: number | null = null;
  #stopped: LinkLoss | null = null;

  constructor(info: MeshPeer, env: PeerEnvironment) {
    this.#info = info;
    this.#env = env;
    this.#log = env.log.with({ peer: info.nodeId, incarnation: info.incarnation });
    this.#dialer = dials(env.self().incarnation, info.incarnation);
    if (this.#dialer) this.#dial();
  }

  get incarnation(): Incarnation {
    return this.#info.incarnation;
  }

  get info(): MeshPeer {
    return this.#info;
  }

  set info(info: MeshPeer) {
    this.#info = info;
  }

  get link(): Link | null {
    return this.#link;
  }

  get connected(): boolean {
    return this.#link?.up === true;
  }

  send(laneKey: string, message: Message): "queued" | "no-link" | "overloaded" {
    return this.#link === null ? "no-link" : this.#link.send(laneKey, message);
  }

  /** An authenticated socket that this peer dialed. */
  accepted(session: Session, socket: MeshSocket): void {
    if (session.link > this.#newest) {
      this.#newest = session.link;
      // The peer has one link at a time: that it dials a new one says the old one is gone for it.
      this.#link?.close(CloseCode.LinkClosed, REFUSALS.superseded.text);
      this.#link = this.#newLink(session.link, session.lanes);
      this.#completeInTime(this.#link);
    }
    const link = this.#link;
    if (link === null || link.id !== session.link || !link.attach(session.lane, socket)) {
      socket.close(REFUSALS.superseded.close, REFUSALS.superseded.text);
    }
  }

  /** The peer is no member any more, or this node stops: closes the link and gives up for good. */
  stop(loss: LinkLoss, code: number, reason: string): void {
    if (this.#stopped !== null) return;
    this.#stopped = loss;
    this.#abandonAttempt();
    this.#cancelPause?.();
    this.#link?.close(code, reason);
  }

  #newLink(id: number, lanes: number): Link {
    const { limits, counters, events } = this.#env;
    const link: Link = new Link({
      id,
      lanes,
      limits,
      counters,
      log: this.#log,
      hooks: {
        message: (message) => events.message(this.incarnation, message),
        up: () => this.#up(),
        closed: (wasUp, end) => this.#closed(link, wasUp, end),
      },
    });
    return link;
  }

  #completeInTime(link: Link): void {
    this.#env.clock.after(this.#env.limits.handshakeMs, () => {
      if (!link.up) link.close(CloseCode.LinkClosed, "the link did not become complete in time");
    });
  }

  #up(): void {
    this.#abandonAttempt();
    this.#cancelPause?.();
    this.#failures = 0;
    this.#lastTrouble = "";
    this.#refusals = null;
    this.#log.info("mesh: link up", { address: this.#info.meshUrl, dialed: this.#dialer });
    this.#env.events.linkUp(this.incarnation);
  }

  #closed(link: Link, wasUp: boolean, end: SocketEnd): void {
    if (this.#link === link) {
      this.#link = null;
      this.#abandonAttempt();
    }
    if (wasUp) {
      this.#log.info("mesh: link down", { closedBy: end.by, code: end.code, reason: end.reason });
      if (end.by === "peer") this.#refusals = 0;
      this.#env.events.linkDown(this.incarnation, this.#stopped ?? "closed");
    } else if (end.by === "peer") this.#trouble("a peer closed a link in the making", `${end.code} ${end.reason}`);
    this.#pause();
  }

  #pause(): void {
    if (this.#stopped !== null || this.#link !== null) return;
    if (!this.#dialer && this.#refusals === null) return;
    const { probeMs, reconnectMinMs, reconnectMaxMs } = this.#env.limits;
    // Whether a peer that just ended its link still lives is asked quickly: calls of its clients wait for the answer.
    const hurries = this.#refusals !== null && this.#failures < REFUSALS_NEEDED;
    const backOff = Math.min(reconnectMaxMs, reconnectMinMs * 2 ** Math.min(this.#failures, 16));
    const longest = hurries ? probeMs : backOff;
    this.#failures++;
    this.#cancelPause?.();
    this.#cancelPause = this.#env.clock.after(longest * (0.5 + this.#env.random() / 2), () => {
      if (this.#stopped !== null || this.#link !== null) return;
      if (this.#dialer) {
        this.#env.counters.reconnects.add();
        this.#dial();
      } else this.#look();
    });
  }

  #dial(): void {
    if (this.#info.meshUrl === "") return;
    const { self, tls, lanes, sealAlways, limits, clock } = this.#env;
    const id = this.#env.nextLink();
    const link = this.#newLink(id, lanes);
    this.#link = link;
    this.#cancelAttempt = dial({
      self: self(),
      peer: this.#info,
      link: id,
      lanes,
      tls,
      sealAlways,
      timeoutMs: limits.handshakeMs,
      clock,
      established: (session, socket) => {
        if (!link.attach(session.lane, socket)) socket.close(CloseCode.LinkClosed, "the link is closed already");
      },
      failed: (failure) => {
        this.#dialFailed(failure);
        link.close(CloseCode.LinkClosed, "another socket of the link failed");
      },
    });
  }

  #dialFailed(failure: DialFailure): void {
    if (failure.kind === "connection-refused") {
      this.#trouble("cannot connect to a peer", "connection refused: nobody listens at its address");
      this.#connectionRefused();
      return;
    }
    if (this.#refusals !== null) this.#refusals = 0;
    if (failure.kind === "unreachable") return this.#trouble("cannot connect to a peer", failure.reason);
    if (failure.by === "self") this.#env.counters.refused(failure.code).add();
    // It will know this node as soon as its view is read again; nothing for an operator to do.
    if (failure.code === "unknown_incarnation") return this.#log.debug("mesh: a peer does not know this node yet");
    if (failure.code === "dead_incarnation" || failure.code === "wrong_node") this.#env.refresh();
    const who = failure.by === "peer" ? "a peer refused this node" : "refused a peer that this node dialed";
    this.#trouble(who, failure.reason);
  }

  #look(): void {
    const { limits, clock } = this.#env;
    if (this.#info.meshUrl === "") return;
    this.#cancelAttempt = probe(this.#info.meshUrl, limits.handshakeMs, clock, (answer) => {
      this.#cancelAttempt = null;
      if (answer === "listening") this.#refusals = null;
      else if (answer === "refused") this.#connectionRefused();
      else if (this.#refusals !== null) this.#refusals = 0;
      this.#pause();
    });
  }

  #connectionRefused(): void {
    if (this.#refusals === null) return;
    this.#refusals++;
    if (this.#refusals < REFUSALS_NEEDED) return;
    this.#refusals = null;
    this.#log.warn("mesh: a peer closed its link and now refuses connections", { address: this.#info.meshUrl });
    this.#env.events.linkDown(this.incarnation, "refused");
  }

  #trouble(what: string, reason: string): void {
    if (this.#lastTrouble === reason) return;
    this.#lastTrouble = reason;
    this.#log.warn(`mesh: ${what}`, { address: this.#info.meshUrl, reason });
  }

  #abandonAttempt(): void {
    const cancel = this.#cancelAttempt;
    this.#cancelAttempt = null;
    cancel?.();
  }
}
