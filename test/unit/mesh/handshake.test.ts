import assert from "node:assert/strict";
import { test } from "node:test";
import type { Generation, Incarnation, NodeId } from "../../../runtime/actor/ids.ts";
import { authenticationKey } from "../../../transports/mesh/auth.ts";
import { freshNonce } from "../../../transports/mesh/authenticate.ts";
import {
  type Dial,
  type DialerState,
  dialerReceives,
  type HandshakeSelf,
  type ListenContext,
  type ListenerState,
  listenerReceives,
  type Session,
  startDialer,
} from "../../../transports/mesh/handshake.ts";
import { seeded } from "./kit.ts";

const listener: HandshakeSelf = {
  nodeId: "a" as NodeId,
  incarnation: "1" as Incarnation,
  generation: "g" as Generation,
  cluster: "c",
  troupe: "1.2.3",
  protocol: { min: 1, max: 1 },
  key: authenticationKey("secret"),
};
const dialer: HandshakeSelf = { ...listener, nodeId: "b" as NodeId, incarnation: "2" as Incarnation };

const toListener: Dial = { peer: listener, link: 7, lane: 1, lanes: 2, nonce: freshNonce(), seal: false };

function context(changes: Partial<HandshakeSelf> = {}, rest: Partial<ListenContext> = {}): ListenContext {
  return { self: { ...listener, ...changes }, nonce: freshNonce(), seal: false, isMember: () => "alive", ...rest };
}

interface Outcome {
  /** What the dialer and the listener said. */
  said: string[];
  dialer: Session | string;
  listener: Session | string;
}

/** Lets both talk until one refuses or both agree. `onWire` may change what passes. */
function talk(self: HandshakeSelf, dial: Dial, listen: ListenContext, onWire = (text: string) => text): Outcome {
  const outcome: Outcome = { said: [], dialer: "waiting", listener: "waiting" };
  const started = startDialer(self, dial);
  let dialing: DialerState = started.state;
  let listening: ListenerState = null;
  let text = started.send;
  for (let turn = 0; turn < 4; turn++) {
    text = onWire(text);
    outcome.said.push(text);
    if (turn % 2 === 0) {
      const step = listenerReceives(listen, listening, text);
      if (step.next === "refuse") {
        outcome.listener = step.refusal.code;
        return outcome;
      }
      if (step.next === "wait") listening = step.state;
      else outcome.listener = step.session;
      text = step.send ?? "";
    } else {
      const step = dialerReceives(dialing, text);
      if (step.next === "refuse") {
        outcome.dialer = step.refusal.code;
        return outcome;
      }
      if (step.next === "wait") dialing = step.state;
      else outcome.dialer = step.session;
      text = step.send ?? "";
    }
  }
  return outcome;
}

test("two nodes that share everything agree, and know the same about their session", () => {
  const { dialer: atDialer, listener: atListener } = talk(dialer, toListener, context());
  assert.ok(typeof atDialer === "object" && typeof atListener === "object");
  assert.deepEqual(atDialer.peer, { nodeId: "a", incarnation: "1", troupe: "1.2.3" });
  assert.deepEqual(atListener.peer, { nodeId: "b", incarnation: "2", troupe: "1.2.3" });
  assert.deepEqual({ ...atDialer, peer: null }, { ...atListener, peer: null });
  assert.deepEqual([atDialer.link, atDialer.lane, atDialer.lanes, atDialer.protocol], [7, 1, 2, 1]);
});

test("the secret is in nothing that is said", () => {
  const key = authenticationKey("secret");
  const text = talk(dialer, toListener, context()).said.join();
  for (const form of ["hex", "base64", "latin1"] as const) assert.ok(!text.includes(key.toString(form)));
  assert.ok(!text.includes("secret"));
});

test("a dialer with another secret, or none, is refused", () => {
  for (const secret of ["other", undefined]) {
    assert.equal(talk({ ...dialer, key: authenticationKey(secret) }, toListener, context()).listener, "wrong_secret");
  }
});

test("a listener that does not know the secret is refused by the dialer", () => {
  const impostor = context({ key: authenticationKey("guess") });
  const hello = startDialer(dialer, toListener);
  const challenge = listenerReceives(impostor, null, hello.send);
  assert.ok(challenge.next === "wait");
  const proof = dialerReceives(hello.state, challenge.send);
  assert.ok(proof.next === "wait");
  // The impostor cannot check the proof and answers with one of its own making, or with the dialer's.
  for (const welcome of [JSON.parse(proof.send).proof, freshNonce(), ""]) {
    const answer = JSON.stringify({ type: "welcome", proof: welcome });
    const step = dialerReceives(proof.state, answer);
    assert.ok(step.next === "refuse" && step.refusal.code === "wrong_secret");
  }
});

test("a recorded dialer is refused: the listener's nonce is another", () => {
  const { said } = talk(dialer, toListener, context());
  const again = context();
  const challenge = listenerReceives(again, null, said[0] ?? "");
  assert.ok(challenge.next === "wait");
  const step = listenerReceives(again, challenge.state, said[2] ?? "");
  assert.ok(step.next === "refuse" && step.refusal.code === "wrong_secret");
});

test("a recorded listener is refused: the dialer's nonce is another", () => {
  const { said } = talk(dialer, toListener, context());
  const again = startDialer(dialer, { ...toListener, nonce: freshNonce() });
  const proof = dialerReceives(again.state, said[1] ?? "");
  assert.ok(proof.next === "wait");
  const step = dialerReceives(proof.state, said[3] ?? "");
  assert.ok(step.next === "refuse" && step.refusal.code === "wrong_secret");
});

test("a node's own hello sent back to it is refused", () => {
  const { send } = startDialer(listener, { ...toListener, peer: listener });
  const step = listenerReceives(context(), null, send);
  assert.ok(step.next === "refuse" && step.refusal.code === "malformed");
});

test("nothing that was negotiated can be changed on the way", () => {
  const hello = startDialer(dialer, toListener).send;
  const changes: Record<string, unknown> = {
    troupe: "9",
    from: ["b", "3"],
    link: 8,
    lane: 0,
    lanes: 3,
    nonce: freshNonce(),
    seal: true,
    protocol: [0, 1],
  };
  for (const [name, value] of Object.entries(changes)) {
    const changed = JSON.stringify({ ...JSON.parse(hello), [name]: value });
    const { listener: verdict } = talk(dialer, toListener, context(), (text) => (text === hello ? changed : text));
    assert.equal(verdict, "wrong_secret", name);
  }
});

test("nobody can talk two nodes out of sealing their frames", () => {
  const sealing = { ...toListener, seal: true };
  const unseal = (text: string) => text.replace('"seal":true', '"seal":false');
  assert.equal(talk(dialer, sealing, context(), unseal).dialer, "malformed");
  const byListener = talk(dialer, toListener, context({}, { seal: true }), unseal);
  assert.equal(byListener.listener, "wrong_secret");
});

test("frames are sealed as soon as one side wants it", () => {
  for (const [atDialer, atListener, sealed] of [
    [false, false, false],
    [true, false, true],
    [false, true, true],
  ] as const) {
    const { dialer: session } = talk(dialer, { ...toListener, seal: atDialer }, context({}, { seal: atListener }));
    assert.ok(typeof session === "object");
    assert.equal(session.sealed, sealed);
  }
});

test("another cluster, another generation and another node at the address are refused", () => {
  assert.equal(talk(dialer, toListener, context({ cluster: "d" })).listener, "other_cluster");
  assert.equal(talk(dialer, toListener, context({ generation: "h" as Generation })).listener, "other_generation");
  assert.equal(talk(dialer, toListener, context({ incarnation: "0" as Incarnation })).listener, "wrong_node");
  assert.equal(talk(dialer, toListener, context({ nodeId: "z" as NodeId })).listener, "wrong_node");
});

test("versions: the highest common one is spoken, and without one the link is refused", () => {
  for (const [own, other, spoken] of [
    [{ min: 1, max: 2 }, { min: 2, max: 3 }, 2],
    [{ min: 2, max: 3 }, { min: 1, max: 2 }, 2],
    [{ min: 1, max: 1 }, { min: 2, max: 3 }, "version"],
    [{ min: 2, max: 3 }, { min: 1, max: 1 }, "version"],
  ] as const) {
    const { listener: verdict } = talk({ ...dialer, protocol: own }, toListener, context({ protocol: other }));
    assert.equal(typeof verdict === "object" ? verdict.protocol : verdict, spoken);
  }
});

test("membership is asked only for a peer that proved the secret", () => {
  let asked = 0;
  const isMember = () => {
    asked++;
    return "unknown" as const;
  };
  talk({ ...dialer, key: authenticationKey("guess") }, toListener, context({}, { isMember }));
  assert.equal(asked, 0);
  assert.equal(talk(dialer, toListener, context({}, { isMember })).listener, "unknown_incarnation");
  assert.equal(talk(dialer, toListener, context({}, { isMember: () => "dead" })).listener, "dead_incarnation");
  assert.equal(asked, 1);
});

test("of two nodes only one dials", () => {
  const smaller = { ...dialer, incarnation: "0" as Incarnation };
  assert.equal(talk(smaller, toListener, context()).listener, "wrong_direction");
});

test("whatever a stranger says is answered with a refusal", () => {
  const random = seeded(11);
  const hello = startDialer(dialer, toListener).send;
  const texts = ["", "null", "[]", "{}", '"hello"', "{", '{"type":"hello"}', '{"type":"proof","proof":1}'];
  for (const [name] of Object.entries(JSON.parse(hello))) {
    for (const value of [null, -1, 1.5, "x", [], ["a"], {}, "y".repeat(300)]) {
      if (name === "troupe" && value === "x") continue;
      texts.push(JSON.stringify({ ...JSON.parse(hello), [name]: value }));
    }
  }
  for (let i = 0; i < 200; i++) texts.push(hello.slice(0, Math.floor(random() * hello.length)));
  for (const text of texts) {
    assert.equal(listenerReceives(context(), null, text).next, "refuse", text);
    assert.equal(dialerReceives(startDialer(dialer, toListener).state, text).next, "refuse", text);
  }
});
