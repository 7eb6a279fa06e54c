/**
 * One authenticated WebSocket of a link: whole frames out and in, sealed where needed.
 *
 * Knows who ended it. Only an end that came from the other side (a FIN or RST, or its close frame) can become evidence of
 * the peer's death; an end we made ourselves never does.
 */
import type { WebSocket } from "ws";
import type { Clock } from "../../runtime/actor/clock.ts";
import type { FrameCipher } from "./auth.ts";

/** Close codes of established links. Refusals of handshakes have their own, see `handshake.ts`. */
export const CloseCode = {
  Shutdown: 1001,
  /** The peer sent what the protocol does not allow. */
  Protocol: 4500,
  /** A queue overflowed although everything refusable was refused. */
  Overflow: 4501,
  /** The peer was silent. */
  Silent: 4502,
  /** Another socket of the link was lost, or the link is no longer wanted. */
  LinkClosed: 4503,
} as const;

/** After this a closing handshake is cut short, milliseconds. */
const CLOSE_MS = 1_000;

export interface SocketEnd {
  by: "peer" | "self";
  code: number;
  reason: string;
}

export interface SocketOwner {
  frame(frame: Buffer): void;
  /** Once, when the socket is gone or going. */
  ended(end: SocketEnd): void;
}

export class MeshSocket {
  readonly #ws: WebSocket;
  readonly #clock: Clock;
  readonly #cipher: FrameCipher | null;
  #owner: SocketOwner | null = null;
  #end: SocketEnd | null = null;
  /** When something last came, on the clock. */
  lastHeard: number;

  constructor(ws: WebSocket, clock: Clock, cipher: FrameCipher | null) {
    this.#ws = ws;
    this.#clock = clock;
    this.#cipher = cipher;
    this.lastHeard = clock.now();
    const heard = () => {
      this.lastHeard = clock.now();
    };
    ws.on("ping", heard);
    ws.on("pong", heard);
    ws.on("close", (code, reason) => this.#ended({ by: "peer", code, reason: reason.toString() }));
  }

  set owner(owner: SocketOwner) {
    this.#owner = owner;
    if (this.#end !== null) owner.ended(this.#end);
  }

  /** Whether the socket is gone or going. */
  get over(): boolean {
    return this.#end !== null;
  }

  send(frame: Buffer): void {
    if (this.#end !== null) return;
    this.#ws.send(this.#cipher === null ? frame : this.#cipher.seal(frame), { binary: true, compress: false });
  }

  /** For whoever owns the WebSocket's message event: a message that came after the handshake. */
  received(data: Buffer, binary: boolean): void {
    if (this.#end !== null) return;
    this.lastHeard = this.#clock.now();
    if (!binary) return this.close(CloseCode.Protocol, "text after the handshake");
    const frame = this.#cipher === null ? data : this.#cipher.open(data);
    if (frame === null) return this.close(CloseCode.Protocol, "a frame is not authentic: it was changed on its way");
    this.#owner?.frame(frame);
  }

  ping(): void {
    if (this.#end === null) this.#ws.ping();
  }

  /** Closes with a code and a reason; a peer that does not answer is cut off after a second. */
  close(code: number, reason: string): void {
    if (this.#end !== null) return;
    this.#ws.close(code, reason);
    const cancel = this.#clock.after(CLOSE_MS, () => this.#ws.terminate());
    this.#ws.once("close", cancel);
    this.#ended({ by: "self", code, reason });
  }

  /** Cuts the socket at once. */
  terminate(reason: string): void {
    this.#ended({ by: "self", code: 1006, reason });
    this.#ws.terminate();
  }

  /** Resolves when the socket is gone. */
  gone(): Promise<void> {
    return this.#ws.readyState === this.#ws.CLOSED
      ? Promise.resolve()
      : new Promise((resolve) => this.#ws.once("close", () => resolve()));
  }

  #ended(end: SocketEnd): void {
    if (this.#end !== null) return;
    this.#end = end;
    this.#owner?.ended(end);
  }
}
