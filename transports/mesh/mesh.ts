/**
 * The mesh: one link to every alive member, carrying messages between routers.
 *
 * Membership decides who there is (`setPeers`, at each view change); the mesh keeps a link to each of them and reports
 * what becomes of it: `linkUp`, then exactly one `linkDown` for it. `linkDown` with loss `refused` may follow once, as
 * evidence that the process is gone (`peer.ts`).
 *
 * What is guaranteed while a link is up: messages with one lane key arrive in order, each once. When it goes down, those
 * sent last may or may not have arrived; nothing is sent again. Links carry only frames of peers that proved the secret
 * (or showed a certificate of `tls.ca_path`), were members when they linked, and are of the same cluster and generation.
 *
 * Order of a shutdown: `close` comes after the last actor; it sends what is queued, closes links, then the listener, so
 * that refused connections mean that nothing of this node runs any more.
 */
import type { Generation, Incarnation } from "../../runtime/actor/ids.ts";
import type { Message } from "../../runtime/actor/message.ts";
import type { Peers } from "../../runtime/placement/peers.ts";
import { Listener } from "./accept.ts";
import { type Address, advertisedAddress } from "./address.ts";
import { authenticationKey } from "./auth.ts";
import type { HandshakeSelf, Session } from "./handshake.ts";
import type { Link } from "./link.ts";
import { type MeshCounters, meshCounters } from "./metrics.ts";
import {
  DEFAULT_LANES,
  DEFAULT_LIMITS,
  MAX_LANES,
  type MemberAnswer,
  type MeshLimits,
  type MeshOptions,
  type MeshPeer,
  PROTOCOL,
} from "./options.ts";
import { Peer, type PeerEnvironment } from "./peer.ts";
import { meshSecurityProblem } from "./security.ts";
import { CloseCode, type MeshSocket } from "./socket.ts";
import { readTls } from "./tls.ts";

/** What `close` waits for queues to empty, and then for sockets to close, milliseconds each. */
const DRAIN_MS = 1_000;
/** The membership view is asked for at most this often. */
const REFRESH_EVERY_MS = 100;

export class Mesh implements Peers {
  readonly #options: MeshOptions;
  readonly #limits: MeshLimits;
  readonly #counters: MeshCounters;
  readonly #peers = new Map<Incarnation, Peer>();
  #self: HandshakeSelf;
  #running: { listener: Listener; env: PeerEnvironment } | null = null;
  #cancelHeartbeat: (() => void) | null = null;
  #lastLink = 0;
  #lastRefresh = Number.NEGATIVE_INFINITY;

  /** Throws `RangeError` for lanes or limits that cannot work. */
  constructor(options: MeshOptions) {
    const lanes = options.lanes ?? DEFAULT_LANES;
    if (!Number.isInteger(lanes) || lanes < 1 || lanes > MAX_LANES) {
      throw new RangeError(`mesh lanes must be a whole number from 1 to ${MAX_LANES}, got ${lanes}`);
    }
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    if (this.#limits.windowBytes < 256 * 1024) {
      throw new RangeError(`mesh window must be at least 262144 bytes, got ${this.#limits.windowBytes}`);
    }
    this.#self = {
      ...options.self,
      cluster: options.clusterName,
      troupe: options.version ?? "0",
      protocol: options.protocol ?? PROTOCOL,
      key: authenticationKey(options.secret),
    };
    this.#counters = meshCounters(options.metrics, {
      links: () => [...this.#peers.values()].filter((peer) => peer.connected).length,
      queueBytes: () => this.#links().reduce((sum, link) => sum + link.queueBytes, 0),
      unauthenticated: () => this.#running?.listener.strangers ?? 0,
    });
  }

  /**
   * Binds the listener. Answers the bound address, and the `host:port` for the node's record. Rejects with one sentence:
   * an unsafe configuration (`meshSecurityProblem`), an address that cannot be bound, a certificate that cannot be read.
   */
  async listen(): Promise<Address & { advertised: string }> {
    const { bind, advertise, secret, tls, clock, log, events, seal } = this.#options;
    const problem = meshSecurityProblem({ bindHost: bind.host, advertise, secret, tls });
    if (problem !== null) throw new Error(problem);
    const material = tls === undefined ? null : await readTls(tls);
    const common = {
      self: () => this.#self,
      tls: material,
      sealAlways: seal === "always",
      limits: this.#limits,
      clock,
      log,
      counters: this.#counters,
    };
    const listener = new Listener({
      ...common,
      bind,
      isMember: (incarnation, nodeId) => this.#isMember(incarnation, nodeId),
      established: (session, socket) => this.#accepted(session, socket),
    });
    const bound = await listener.listen();
    const env: PeerEnvironment = {
      ...common,
      lanes: this.#options.lanes ?? DEFAULT_LANES,
      events,
      random: this.#options.random ?? Math.random,
      nextLink: () => ++this.#lastLink,
      refresh: () => this.#refresh(),
    };
    this.#running = { listener, env };
    this.#scheduleHeartbeat();
    return { ...bound, advertised: advertisedAddress(bound, advertise) };
  }

  /** The alive members; this node itself may be among them. Links of others are closed as `declared-dead`. */
  setPeers(members: readonly MeshPeer[]): void {
    if (this.#running === null) return;
    const wanted = new Map<Incarnation, MeshPeer>();
    for (const member of members) {
      if (member.incarnation !== this.#self.incarnation && member.meshUrl !== "") {
        wanted.set(member.incarnation, member);
      }
    }
    for (const [incarnation, peer] of this.#peers) {
      if (wanted.has(incarnation)) continue;
      this.#peers.delete(incarnation);
      peer.stop("declared-dead", CloseCode.LinkClosed, "no alive member of the view here");
    }
    for (const [incarnation, member] of wanted) {
      const known = this.#peers.get(incarnation);
      if (known === undefined) this.#peers.set(incarnation, new Peer(member, this.#running.env));
      else known.info = member;
    }
  }

  /** This node goes on under another incarnation, perhaps in another generation. Every link closes and is made anew. */
  setSelf(incarnation: Incarnation, generation: Generation = this.#self.generation): void {
    this.#self = { ...this.#self, incarnation, generation };
    const members = [...this.#peers.values()].map((peer) => peer.info);
    this.#stopPeers("closed", CloseCode.LinkClosed, "this node has a new incarnation");
    this.#running?.listener.dropStrangers();
    this.setPeers(members);
  }

  /**
   * The store lost its data and was written back, under another generation. Links stay: who is at their ends has not
   * changed. New ones are made with those who know of it; the others learn of it soon, and dial again until then.
   */
  setGeneration(generation: Generation): void {
    this.#self = { ...this.#self, generation };
  }

  /**
   * Queues `message` for `peer`. Throws a `TroupeError` with `started: "no"` for a call that cannot be sent at all:
   * `too_large` (more than `maxMessageBytes` when packed) or `invalid_argument` (not plain data). Answers never throw and
   * are never refused while the link is up: one that does not fit becomes an error to its caller. A peer whose link
   * cannot even take that is cut off.
   */
  send(peer: Incarnation, laneKey: string, message: Message): "queued" | "no-link" | "overloaded" {
    return this.#peers.get(peer)?.send(laneKey, message) ?? "no-link";
  }

  connected(peer: Incarnation): boolean {
    return this.#peers.get(peer)?.connected === true;
  }

  /** Sends what is queued, closes every link (`linkDown` with loss `shutdown`), then the listener. */
  async close(): Promise<void> {
    const running = this.#running;
    if (running === null) return;
    this.#running = null;
    this.#cancelHeartbeat?.();
    const links = this.#links();
    const deadline = this.#options.clock.now() + DRAIN_MS;
    while (links.some((link) => link.up && link.pendingBytes > 0) && this.#options.clock.now() < deadline) {
      for (const link of links) link.flush();
      await this.#after(5);
    }
    const sockets = links.flatMap((link) => link.sockets);
    this.#stopPeers("shutdown", CloseCode.Shutdown, "this node shuts down");
    await Promise.race([Promise.all(sockets.map((socket) => socket.gone())), this.#after(DRAIN_MS)]);
    for (const socket of sockets) socket.terminate("this node shuts down");
    await running.listener.close();
  }

  #stopPeers(loss: "closed" | "shutdown", code: number, reason: string): void {
    const peers = [...this.#peers.values()];
    this.#peers.clear();
    for (const peer of peers) peer.stop(loss, code, reason);
  }

  #links(): Link[] {
    return [...this.#peers.values()].map((peer) => peer.link).filter((link) => link !== null);
  }

  #isMember(incarnation: Incarnation, nodeId: MeshPeer["nodeId"]): MemberAnswer {
    const listed = this.#peers.has(incarnation);
    const answer = this.#options.isMember?.(incarnation, nodeId) ?? (listed ? "alive" : "unknown");
    if (answer === "dead" || listed) return answer;
    this.#refresh();
    return "unknown";
  }

  #accepted(session: Session, socket: MeshSocket): void {
    const peer = this.#peers.get(session.peer.incarnation);
    if (peer === undefined) return socket.close(CloseCode.LinkClosed, "no alive member of the view here");
    peer.accepted(session, socket);
  }

  #refresh(): void {
    const now = this.#options.clock.now();
    if (now - this.#lastRefresh < REFRESH_EVERY_MS) return;
    this.#lastRefresh = now;
    this.#options.refresh?.();
  }

  #scheduleHeartbeat(): void {
    const { clock } = this.#options;
    const due = clock.now() + this.#limits.pingMs;
    this.#cancelHeartbeat = clock.after(this.#limits.pingMs, () => {
      const now = clock.now();
      // A timer this late means that this process stood still, and what came meanwhile is not read yet.
      const stoodStill = now - due >= this.#limits.pingMs;
      for (const link of this.#links()) {
        if (stoodStill) link.forgiveSilence(now);
        link.heartbeat(now);
      }
      this.#scheduleHeartbeat();
    });
  }

  #after(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#options.clock.after(ms, resolve));
  }
}
