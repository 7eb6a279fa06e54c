/**
 * Runs the handshake of one WebSocket, as dialer or listener, until it is authenticated or refused.
 *
 * Before that a socket may send texts of at most 4 KiB and nothing else. Whoever refuses closes with the refusal's code
 * and public sentence; the detail, which may name both sides' values, goes to the own log only.
 */
import { randomBytes } from "node:crypto";
import type { RawData, WebSocket } from "ws";
import type { Clock } from "../../runtime/actor/clock.ts";
import { FrameCipher, NONCE_BYTES, type Role } from "./auth.ts";
import { REFUSALS, type Refusal, type RefusalCode, refusalOf, type Session, type Step } from "./handshake.ts";
import { MeshSocket } from "./socket.ts";

const MAX_TEXT_BYTES = 4096;

/** Why a socket was not authenticated. */
export type AuthenticationFailure =
  /** This side refused. */
  | { by: "self"; refusal: Refusal }
  /** The peer refused; null when it closed without one of our codes. */
  | { by: "peer"; code: RefusalCode | null; reason: string };

export interface Authentication<State> {
  role: Role;
  key: Buffer;
  clock: Clock;
  state: State;
  receive(state: State, text: string): Step<State>;
  established(session: Session, socket: MeshSocket): void;
  failed(failure: AuthenticationFailure): void;
}

export function freshNonce(): string {
  return randomBytes(NONCE_BYTES).toString("base64");
}

/** Handles everything that comes from `ws` from now on. Answers what refuses it from outside, for a time limit. */
export function authenticate<State>(ws: WebSocket, options: Authentication<State>): (refusal: Refusal) => void {
  let state = options.state;
  let socket: MeshSocket | null = null;
  let over = false;

  const fail = (failure: AuthenticationFailure): void => {
    if (over) return;
    over = true;
    options.failed(failure);
  };
  const refuse = (refusal: Refusal): void => {
    if (over) return;
    const { close, text } = REFUSALS[refusal.code];
    ws.close(close, text);
    fail({ by: "self", refusal });
  };

  ws.on("message", (data: RawData, binary: boolean) => {
    // `ws` hands out one Buffer per message, as its binaryType says; anything else cannot be ours.
    const bytes = data instanceof Buffer ? data : Buffer.alloc(0);
    if (socket !== null) return socket.received(bytes, binary);
    if (over) return;
    if (binary || bytes.length > MAX_TEXT_BYTES) {
      return refuse({ code: "malformed", detail: `${bytes.length} bytes of ${binary ? "binary" : "text"}` });
    }
    const step = options.receive(state, bytes.toString());
    if (step.next === "refuse") return refuse(step.refusal);
    if (step.send !== null) ws.send(step.send);
    if (step.next === "wait") {
      state = step.state;
      return;
    }
    over = true;
    const { session } = step;
    const cipher = session.sealed ? new FrameCipher(options.key, options.role, session.said) : null;
    socket = new MeshSocket(ws, options.clock, cipher);
    options.established(session, socket);
  });
  ws.on("close", (close, reason) => fail({ by: "peer", code: refusalOf(close), reason: reason.toString() }));
  // The close event follows and is what we act on; without a listener the process would end.
  ws.on("error", () => {});
  return refuse;
}
