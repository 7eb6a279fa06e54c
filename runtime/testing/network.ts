/**
 * The network between simulated nodes: what the mesh promises, and everything it does not.
 *
 * One link per pair of incarnations that know each other as alive members. Messages with one lane key arrive in order,
 * each once, while the link is up; lanes overtake each other. Large ones come on a way of their own, much later than what
 * was sent after them, and take their place in their lane by the mesh's own rules (`transports/mesh/ordering.ts`). When a link goes down, what was sent last may or may not
 * have arrived, and the two ends learn of it at different times. A killed process' peers see the link close, and later
 * that its address refuses connections; a frozen or unreachable one is only silent.
 */
import { LaneOrder, TransferMarks } from "../../transports/mesh/ordering.ts";
import type { Incarnation } from "../actor/ids.ts";
import { isTowardsActor, type Message, MessageType } from "../actor/message.ts";
import type { LinkLoss, PeerEvents, Peers } from "../placement/peers.ts";
import type { SimulatedProcess } from "./process.ts";
import type { VirtualTime } from "./virtual_time.ts";

export interface NetworkOptions {
  /** Milliseconds from one node to another. Default 0.2 to 3. */
  latencyMs?: readonly [from: number, to: number];
  /** Part of the messages that take up to a hundred times as long. Default 0. */
  slow?: number;
  /** A silent link is given up after this. Default 2,000. */
  silenceMs?: number;
  /** Takes away the check that a frame is for and from the incarnations of its link. Only the simulation sets it. */
  withoutIncarnationCheck?: boolean;
  /** Messages with a `Uint8Array` of more bytes travel apart from their lane. Default 65,536, as in the mesh. */
  bulkBytes?: number;
  /** Takes away the place that a large message keeps in its lane. Only the simulation sets it. */
  withoutPlaceholder?: boolean;
}

const LANES = 4;
/** A large message takes as much longer than another one, at most. */
const BULK_FACTOR = 30;
const REDIAL_MS = [20, 400] as const;
/** From the end of a process until its peers know that its address refuses connections. */
const REFUSED_MS = [100, 400] as const;

interface Link {
  readonly ends: readonly [Endpoint, Endpoint];
  readonly names: readonly [Incarnation, Incarnation];
  readonly lanes: Map<string, Lane>;
  transfers: number;
  brokenAt: number;
}

/** One lane of a link, in one direction. */
interface Lane {
  /** When the last message arrives. */
  last: number;
  readonly marks: TransferMarks;
  readonly order: LaneOrder;
  /** Large messages that have arrived and wait for their turn. */
  readonly arrived: Map<number, Message>;
}

export class Network {
  readonly time: VirtualTime;
  readonly options: Required<NetworkOptions>;
  readonly #endpoints = new Set<Endpoint>();
  readonly #partitions = new Set<string>();
  /** Which process had an incarnation; kept only where frames are not checked. */
  readonly #names = new Map<Incarnation, string>();

  constructor(time: VirtualTime, options: NetworkOptions = {}) {
    this.time = time;
    this.options = {
      latencyMs: [0.2, 3],
      slow: 0,
      silenceMs: 2_000,
      withoutIncarnationCheck: false,
      bulkBytes: 65_536,
      withoutPlaceholder: false,
      ...options,
    };
  }

  attach(process: SimulatedProcess, incarnation: Incarnation, events: PeerEvents): Endpoint {
    const endpoint = new Endpoint(this, process, incarnation, events);
    this.#endpoints.add(endpoint);
    return endpoint;
  }

  /** Messages between the two are lost from now on, and so are those on their way. */
  partition(one: string, other: string): void {
    this.#partitions.add(pair(one, other));
    for (const link of this.#links()) {
      if (pair(link.ends[0].process.name, link.ends[1].process.name) !== pair(one, other)) continue;
      link.brokenAt = this.time.now;
      for (const end of link.ends) this.#notice(end, link, this.options.silenceMs * this.time.between(0.7, 1.3));
    }
  }

  heal(one: string, other: string): void {
    this.#partitions.delete(pair(one, other));
  }

  healAll(): void {
    this.#partitions.clear();
  }

  /** The sockets between the two break; they connect again by themselves. */
  cut(one: string, other: string): void {
    for (const link of this.#links()) {
      if (pair(link.ends[0].process.name, link.ends[1].process.name) === pair(one, other)) this.breakLink(link);
    }
  }

  /** To be called when a process froze: its peers give it up when it stays silent. */
  frozen(process: SimulatedProcess): void {
    this.time.after(this.options.silenceMs, () => {
      if (process.running) return;
      for (const link of this.#links()) {
        if (link.ends.some((end) => end.process === process)) this.breakLink(link);
      }
    });
  }

  /** To be called when a process was killed. */
  killed(process: SimulatedProcess): void {
    for (const endpoint of [...this.#endpoints]) {
      if (endpoint.process !== process) continue;
      this.#endpoints.delete(endpoint);
      for (const link of endpoint.links()) {
        this.breakLink(link);
        const other = link.ends[0] === endpoint ? link.ends[1] : link.ends[0];
        other.process.after(this.time.between(...REFUSED_MS), () => {
          const replaced = [...this.#endpoints].some((each) => each.process.name === process.name);
          if (!replaced && !this.#apart(other, endpoint)) other.events.linkDown(endpoint.incarnation, "refused");
        });
      }
    }
  }

  /** @internal */
  breakLink(link: Link): void {
    if (link.brokenAt !== Number.POSITIVE_INFINITY) return;
    link.brokenAt = this.time.now;
    for (const end of link.ends) this.#notice(end, link, this.time.between(0, 40));
  }

  /** @internal `dialer` wants a link to `peer`. */
  dial(dialer: Endpoint, peer: Incarnation): void {
    const name = dialer.incarnation;
    dialer.process.after(this.time.between(...REDIAL_MS), () => {
      if (dialer.incarnation !== name || !dialer.knows(peer) || dialer.link(peer) !== undefined) return;
      const other = [...this.#endpoints].find((each) => each.incarnation === peer);
      const answers = other?.process.running === true && !this.#apart(dialer, other) && other.knows(name);
      if (other === undefined || !answers) return this.dial(dialer, peer);
      const link: Link = {
        ends: [dialer, other],
        names: [name, peer],
        lanes: new Map(),
        transfers: 0,
        brokenAt: Number.POSITIVE_INFINITY,
      };
      other.accept(name, link);
      dialer.accept(peer, link);
    });
  }

  /** @internal */
  carry(from: Endpoint, link: Link, laneKey: string, message: Message): void {
    const side = link.ends[0] === from ? 1 : 0;
    const key = hash(laneKey);
    const lane = this.#lane(link, side, key % LANES);
    // What crosses a network is a copy. Throws where the message is no plain data.
    const copy = structuredClone(message);
    const large = this.#isLarge(copy);
    if (large && this.options.withoutPlaceholder) {
      return this.#arrive(link, this.#delay(BULK_FACTOR), () => this.#hand(link, side, copy));
    }
    const behind = lane.marks.behind(key);
    const items: (Message | number)[] = behind === null ? [] : [-behind];
    if (large) {
      const transfer = ++link.transfers;
      lane.marks.began(key, transfer);
      items.push(transfer);
      this.#arrive(link, this.#delay(BULK_FACTOR), () => {
        lane.arrived.set(transfer, copy);
        lane.order.complete(transfer);
      });
    } else {
      items.push(copy);
    }
    lane.last = Math.max(lane.last, this.time.now + this.#delay(1));
    this.#arrive(link, lane.last - this.time.now, () => lane.order.receive(items, [], 0));
  }

  #lane(link: Link, side: 0 | 1, index: number): Lane {
    const name = `${side}${index}`;
    let lane = link.lanes.get(name);
    if (lane === undefined) {
      const marks = new TransferMarks();
      const arrived = new Map<number, Message>();
      const order = new LaneOrder({
        deliver: (message) => this.#hand(link, side, message),
        take: (transfer) => {
          const message = arrived.get(transfer) ?? null;
          if (!arrived.delete(transfer)) return null;
          this.#arrive(link, this.#delay(1), () => marks.delivered(transfer));
          return message;
        },
        acknowledge: () => {},
      });
      lane = { last: 0, marks, order, arrived };
      link.lanes.set(name, lane);
    }
    return lane;
  }

  #delay(factor: number): number {
    const [least, most] = this.options.latencyMs;
    const slow = this.options.slow > 0 && this.time.chance(this.options.slow) ? 100 * this.time.random() : 1;
    const bulk = factor === 1 ? 1 : 1 + factor * this.time.random();
    return slow * bulk * this.time.between(least, most);
  }

  /** Runs `come` after `ms`, unless the link broke before. */
  #arrive(link: Link, ms: number, come: () => void): void {
    const arrives = this.time.now + ms;
    this.time.after(ms, () => {
      if (arrives <= link.brokenAt || this.options.withoutIncarnationCheck) come();
    });
  }

  /** A message is at the other end, in its order. */
  #hand(link: Link, side: 0 | 1, message: Message): void {
    const to = link.ends[side];
    const source = link.names[1 - side] as Incarnation;
    const unchecked = this.options.withoutIncarnationCheck;
    const now = unchecked ? this.#heirOf(to) : to;
    now?.process.after(0, () => {
      if (!unchecked && to.link(source) !== link) return;
      if (unchecked && !isTowardsActor(message)) message[2] = now.incarnation;
      now.events.message(source, message);
    });
  }

  #isLarge(message: Message): boolean {
    const large = (value: unknown): boolean =>
      value instanceof Uint8Array
        ? value.byteLength > this.options.bulkBytes
        : Array.isArray(value) && value.some(large);
    switch (message[0]) {
      case MessageType.Call:
        return large(message[7]);
      case MessageType.Reply:
        return large(message[5]);
      case MessageType.Item:
        return large(message[4]);
      case MessageType.Offer:
        return large(message[7]);
      default:
        return false;
    }
  }

  /** @internal Without the check, a frame for an incarnation goes to whoever has its address now. */
  linkOfHeir(from: Endpoint, peer: Incarnation): Link | undefined {
    if (!this.options.withoutIncarnationCheck) return undefined;
    const name = this.#names.get(peer);
    return from.links().find(({ ends }) => ends.some((end) => end !== from && end.process.name === name));
  }

  /** @internal */
  named(incarnation: Incarnation, process: string): void {
    if (this.options.withoutIncarnationCheck) this.#names.set(incarnation, process);
  }

  /** Who has the address of `endpoint` now. */
  #heirOf(endpoint: Endpoint): Endpoint | undefined {
    return [...this.#endpoints].find((each) => each.process.name === endpoint.process.name);
  }

  #notice(end: Endpoint, link: Link, ms: number): void {
    end.process.after(ms, () => end.lost(link, "closed"));
  }

  #apart(one: Endpoint, other: Endpoint): boolean {
    return this.#partitions.has(pair(one.process.name, other.process.name));
  }

  #links(): Set<Link> {
    const links = new Set<Link>();
    for (const endpoint of this.#endpoints) for (const link of endpoint.links()) links.add(link);
    return links;
  }
}

/** One node's end of all its links. */
export class Endpoint implements Peers {
  readonly process: SimulatedProcess;
  readonly events: PeerEvents;
  incarnation: Incarnation;
  readonly #network: Network;
  readonly #peers = new Map<Incarnation, Link | undefined>();

  constructor(network: Network, process: SimulatedProcess, incarnation: Incarnation, events: PeerEvents) {
    this.#network = network;
    this.process = process;
    this.incarnation = incarnation;
    this.events = events;
  }

  send(peer: Incarnation, laneKey: string, message: Message): "queued" | "no-link" {
    const link = this.#peers.get(peer) ?? this.#network.linkOfHeir(this, peer);
    if (link === undefined || this.process.killed) return "no-link";
    this.#network.carry(this, link, laneKey, message);
    return "queued";
  }

  connected(peer: Incarnation): boolean {
    return this.#peers.get(peer) !== undefined;
  }

  /** The alive members; links of others are closed as `declared-dead`. */
  setPeers(members: readonly Incarnation[]): void {
    const wanted = new Set(members.filter((member) => member !== this.incarnation));
    for (const [peer, link] of [...this.#peers]) {
      if (wanted.has(peer)) continue;
      this.#peers.delete(peer);
      if (link === undefined) continue;
      this.#network.breakLink(link);
      this.events.linkDown(peer, "declared-dead");
    }
    for (const peer of wanted) {
      if (this.#peers.has(peer)) continue;
      this.#peers.set(peer, undefined);
      if (this.incarnation < peer) this.#network.dial(this, peer);
    }
  }

  /** The node goes on under another incarnation: every link closes and is made anew. */
  setSelf(incarnation: Incarnation): void {
    const peers = [...this.#peers];
    this.#peers.clear();
    for (const [peer, link] of peers) {
      if (link === undefined) continue;
      this.#network.breakLink(link);
      this.events.linkDown(peer, "closed");
    }
    this.incarnation = incarnation;
    this.#network.named(incarnation, this.process.name);
    this.setPeers(peers.map(([peer]) => peer));
  }

  knows(peer: Incarnation): boolean {
    return this.#peers.has(peer);
  }

  link(peer: Incarnation): Link | undefined {
    return this.#peers.get(peer);
  }

  links(): Link[] {
    return [...this.#peers.values()].filter((link) => link !== undefined);
  }

  /** @internal A new link to `peer`; an older one is over with it. */
  accept(peer: Incarnation, link: Link): void {
    const old = this.#peers.get(peer);
    if (old !== undefined) this.lost(old, "closed");
    this.#peers.set(peer, link);
    this.events.linkUp(peer);
  }

  /** @internal */
  lost(link: Link, loss: LinkLoss): void {
    const peer = link.names[link.ends[0] === this ? 1 : 0];
    if (this.#peers.get(peer) !== link) return;
    this.#peers.set(peer, undefined);
    this.events.linkDown(peer, loss);
    if (this.incarnation < peer) this.#network.dial(this, peer);
  }
}

function pair(one: string, other: string): string {
  return one < other ? `${one}|${other}` : `${other}|${one}`;
}

function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}
