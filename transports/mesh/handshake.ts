/**
 * How two nodes agree to talk, as a reducer for both roles: text in, text or a verdict out. No sockets and no clock;
 * nonces come from outside.
 *
 *     dialer                                   listener
 *     hello: who, whom, which socket, nonce →
 *                                            ← challenge: version chosen, nonce
 *     proof ─────────────────────────────────→
 *                                            ← welcome: its own proof
 *
 * The dialer proves itself first, so that a stranger who dials learns nothing to guess the secret with. The order of the
 * listener's checks follows from the same thought: what everybody may be told (version, cluster, generation, wrong
 * address) is checked before the proof, what would reveal or load the membership (unknown or dead incarnation) after it.
 *
 * Every socket of a link makes its own handshake, so every socket has its own nonces and keys.
 */
import type { Generation, Incarnation, NodeId } from "../../runtime/actor/ids.ts";
import { NONCE_BYTES, prove, proves, transcript } from "./auth.ts";
import type { MemberAnswer, ProtocolRange } from "./options.ts";
import { MAX_LANES } from "./options.ts";

/** Why a handshake fails: what travels as the WebSocket's close code, and what an operator reads. */
export const REFUSALS = {
  malformed: { close: 4400, text: "what was sent is not a mesh handshake" },
  wrong_secret: { close: 4401, text: "wrong secret: mesh.secret differs between the two nodes" },
  dead_incarnation: { close: 4403, text: "dead incarnation: it was declared dead and must join again" },
  unknown_incarnation: { close: 4404, text: "unknown incarnation: the membership view here does not have it yet" },
  handshake_timeout: { close: 4408, text: "the handshake took too long" },
  superseded: { close: 4409, text: "superseded: a newer link of the same node took its place" },
  wrong_node: { close: 4410, text: "wrong node: another node or incarnation answers at this address now" },
  wrong_direction: { close: 4412, text: "wrong direction: the other node is the one that dials" },
  other_cluster: { close: 4421, text: "other cluster: the cluster names (key prefixes) differ" },
  other_generation: { close: 4422, text: "other generation: the stores the two nodes joined differ, or one was reset" },
  version: { close: 4426, text: "version: the two nodes share no mesh protocol version" },
} as const;

export type RefusalCode = keyof typeof REFUSALS;

export interface Refusal {
  code: RefusalCode;
  /** For this side's log: both values where two differ. Never sent. */
  detail: string;
}

/** The refusal behind a WebSocket close code, or null for other codes. */
export function refusalOf(close: number): RefusalCode | null {
  for (const [code, { close: own }] of Object.entries(REFUSALS)) if (own === close) return code as RefusalCode;
  return null;
}

/** What this node brings to every handshake. */
export interface HandshakeSelf {
  nodeId: NodeId;
  incarnation: Incarnation;
  generation: Generation;
  cluster: string;
  /** Troupe's version. */
  troupe: string;
  protocol: ProtocolRange;
  /** The key for proofs. */
  key: Buffer;
}

/** What both sides know when a socket is authenticated. */
export interface Session {
  peer: { nodeId: NodeId; incarnation: Incarnation; troupe: string };
  protocol: number;
  /** Numbers of the dialer's incarnation; a higher one replaces a lower one. */
  link: number;
  /** This socket's place: 0 … lanes − 1, and `lanes` is the bulk socket. */
  lane: number;
  lanes: number;
  sealed: boolean;
  /** What was said, to derive keys from. */
  said: Buffer;
}

export type Step<State> =
  | { next: "wait"; state: State; send: string }
  | { next: "established"; session: Session; send: string | null }
  | { next: "refuse"; refusal: Refusal };

interface Hello {
  type: "hello";
  protocol: [min: number, max: number];
  troupe: string;
  cluster: string;
  generation: string;
  from: [nodeId: string, incarnation: string];
  to: [nodeId: string, incarnation: string];
  link: number;
  lane: number;
  lanes: number;
  nonce: string;
  seal: boolean;
}

interface Challenge {
  type: "challenge";
  protocol: number;
  troupe: string;
  nonce: string;
  seal: boolean;
}

export interface DialerState {
  self: HandshakeSelf;
  hello: Hello;
  helloText: string;
  /** Set when the challenge was answered. */
  challenged: { challenge: Challenge; said: Buffer } | null;
}

export interface Dial {
  peer: { nodeId: NodeId; incarnation: Incarnation };
  link: number;
  lane: number;
  lanes: number;
  /** Base64 of 32 random bytes. */
  nonce: string;
  seal: boolean;
}

export function startDialer(self: HandshakeSelf, dial: Dial): { state: DialerState; send: string } {
  const hello: Hello = {
    type: "hello",
    protocol: [self.protocol.min, self.protocol.max],
    troupe: self.troupe,
    cluster: self.cluster,
    generation: self.generation,
    from: [self.nodeId, self.incarnation],
    to: [dial.peer.nodeId, dial.peer.incarnation],
    link: dial.link,
    lane: dial.lane,
    lanes: dial.lanes,
    nonce: dial.nonce,
    seal: dial.seal,
  };
  const helloText = JSON.stringify(hello);
  return { state: { self, hello, helloText, challenged: null }, send: helloText };
}

export function dialerReceives(state: DialerState, text: string): Step<DialerState> {
  const { self, hello, challenged } = state;
  if (challenged === null) {
    const challenge = readChallenge(text);
    if (challenge === null) return refuse("malformed", "expected a challenge");
    if (challenge.protocol < self.protocol.min || challenge.protocol > self.protocol.max) {
      return refuse("version", `peer chose protocol ${challenge.protocol}, this node speaks ${range(self.protocol)}`);
    }
    // A listener may ask for sealed frames, never for open ones: that would be a downgrade.
    if (hello.seal && !challenge.seal) return refuse("malformed", "the listener wants frames that are not sealed");
    const said = transcript(state.helloText, text);
    const proof = JSON.stringify({ type: "proof", proof: prove(self.key, "dialer", said) });
    return { next: "wait", state: { ...state, challenged: { challenge, said } }, send: proof };
  }
  const proof = readProof(text, "welcome");
  if (proof === null) return refuse("malformed", "expected a welcome");
  const { challenge, said } = challenged;
  if (!proves(self.key, "listener", said, proof)) return refuse("wrong_secret", "the listener's proof is wrong");
  return {
    next: "established",
    send: null,
    session: {
      peer: { nodeId: hello.to[0] as NodeId, incarnation: hello.to[1] as Incarnation, troupe: challenge.troupe },
      protocol: challenge.protocol,
      link: hello.link,
      lane: hello.lane,
      lanes: hello.lanes,
      sealed: challenge.seal,
      said,
    },
  };
}

/** What a listener needs beside itself. */
export interface ListenContext {
  self: HandshakeSelf;
  /** Base64 of 32 random bytes, fresh for this socket. */
  nonce: string;
  /** Whether this side wants frames sealed. */
  seal: boolean;
  isMember: (incarnation: Incarnation, nodeId: NodeId) => MemberAnswer;
}

export type ListenerState = { hello: Hello; challenge: Challenge; said: Buffer } | null;

/** `state` is null before the hello. */
export function listenerReceives(context: ListenContext, state: ListenerState, text: string): Step<ListenerState> {
  const { self } = context;
  if (state === null) {
    const hello = readHello(text);
    if (hello === null) return refuse("malformed", "expected a hello");
    const [min, max] = hello.protocol;
    const protocol = Math.min(max, self.protocol.max);
    if (protocol < min || protocol < self.protocol.min) {
      const both = `peer (Troupe ${hello.troupe}) speaks ${min} to ${max}, this node speaks ${range(self.protocol)}`;
      return refuse("version", both);
    }
    if (hello.cluster !== self.cluster) {
      return refuse("other_cluster", `peer is of "${hello.cluster}", this node of "${self.cluster}"`);
    }
    if (hello.generation !== self.generation) {
      return refuse("other_generation", `peer has generation ${hello.generation}, this node ${self.generation}`);
    }
    if (hello.to[0] !== self.nodeId || hello.to[1] !== self.incarnation) {
      return refuse("wrong_node", `peer looks for ${hello.to.join("/")}, this is ${self.nodeId}/${self.incarnation}`);
    }
    if (hello.from[1] === self.incarnation) return refuse("malformed", "peer claims this node's own incarnation");
    const challenge: Challenge = {
      type: "challenge",
      protocol,
      troupe: self.troupe,
      nonce: context.nonce,
      seal: hello.seal || context.seal,
    };
    const send = JSON.stringify(challenge);
    return { next: "wait", state: { hello, challenge, said: transcript(text, send) }, send };
  }
  const { hello, challenge, said } = state;
  const proof = readProof(text, "proof");
  if (proof === null) return refuse("malformed", "expected a proof");
  if (!proves(self.key, "dialer", said, proof)) {
    return refuse("wrong_secret", `proof of ${hello.from.join("/")} is wrong`);
  }
  const peer = { nodeId: hello.from[0] as NodeId, incarnation: hello.from[1] as Incarnation, troupe: hello.troupe };
  const member = context.isMember(peer.incarnation, peer.nodeId);
  if (member === "dead") return refuse("dead_incarnation", `${hello.from.join("/")} was declared dead`);
  if (member === "unknown") return refuse("unknown_incarnation", `${hello.from.join("/")} is not in the view`);
  if (!dials(peer.incarnation, self.incarnation)) return refuse("wrong_direction", "this node dials that peer");
  return {
    next: "established",
    send: JSON.stringify({ type: "welcome", proof: prove(self.key, "listener", said) }),
    session: {
      peer,
      protocol: challenge.protocol,
      link: hello.link,
      lane: hello.lane,
      lanes: hello.lanes,
      sealed: challenge.seal,
      said,
    },
  };
}

/**
 * Which of two incarnations dials. Any fixed rule does, so that a pair has one set of sockets; this is the one place
 * where incarnations are ordered, as texts, and nothing else follows from that order.
 */
export function dials(one: Incarnation, other: Incarnation): boolean {
  return one > other;
}

function refuse(code: RefusalCode, detail: string): { next: "refuse"; refusal: Refusal } {
  return { next: "refuse", refusal: { code, detail } };
}

function range({ min, max }: ProtocolRange): string {
  return min === max ? String(min) : `${min} to ${max}`;
}

const NONCE_LENGTH = Math.ceil(NONCE_BYTES / 3) * 4;

function readHello(text: string): Hello | null {
  const value = readObject(text, "hello");
  if (value === null) return null;
  const { protocol, troupe, cluster, generation, from, to, link, lane, lanes, nonce, seal } = value;
  if (!isPair(protocol, isCount) || !isPair(from, isName) || !isPair(to, isName)) return null;
  if (!isName(troupe) || !isName(cluster) || !isName(generation)) return null;
  if (!isCount(link) || !isCount(lane) || !isCount(lanes) || lanes < 1 || lanes > MAX_LANES || lane > lanes)
    return null;
  if (!isNonce(nonce) || typeof seal !== "boolean") return null;
  return { type: "hello", protocol, troupe, cluster, generation, from, to, link, lane, lanes, nonce, seal };
}

function readChallenge(text: string): Challenge | null {
  const value = readObject(text, "challenge");
  if (value === null) return null;
  const { protocol, troupe, nonce, seal } = value;
  if (!isCount(protocol) || !isName(troupe) || !isNonce(nonce) || typeof seal !== "boolean") return null;
  return { type: "challenge", protocol, troupe, nonce, seal };
}

function readProof(text: string, type: "proof" | "welcome"): string | null {
  const proof = readObject(text, type)?.proof;
  return typeof proof === "string" ? proof : null;
}

function readObject(text: string, type: string): Record<string, unknown> | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  return "type" in value && value.type === type ? { ...value } : null;
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= 256;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isNonce(value: unknown): value is string {
  return typeof value === "string" && value.length === NONCE_LENGTH;
}

function isPair<T>(value: unknown, is: (part: unknown) => part is T): value is [T, T] {
  return Array.isArray(value) && value.length === 2 && value.every(is);
}
