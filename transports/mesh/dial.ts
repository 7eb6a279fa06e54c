/**
 * Dialing: one attempt to open all sockets of a link, and a bare look whether anybody listens.
 *
 * Both tell a refused connection (ECONNREFUSED: the address answers, and nobody listens) from every other failure, since
 * only that is evidence that the process is gone.
 */
import { connect } from "node:net";
import { WebSocket } from "ws";
import type { Clock } from "../../runtime/actor/clock.ts";
import { MESH_PATH } from "./accept.ts";
import { isLoopback, parseAddress } from "./address.ts";
import { authenticate, freshNonce } from "./authenticate.ts";
import { MAX_FRAME_BYTES } from "./frame.ts";
import {
  dialerReceives,
  type HandshakeSelf,
  REFUSALS,
  type RefusalCode,
  type Session,
  startDialer,
} from "./handshake.ts";
import type { MeshPeer } from "./options.ts";
import type { MeshSocket } from "./socket.ts";
import type { TlsMaterial } from "./tls.ts";

export type DialFailure =
  | { kind: "connection-refused" }
  /** One of the two nodes does not want the other; `reason` is for the log. */
  | { kind: "refused"; by: "self" | "peer"; code: RefusalCode; reason: string }
  | { kind: "unreachable"; reason: string };

export interface DialOptions {
  self: HandshakeSelf;
  peer: MeshPeer;
  link: number;
  lanes: number;
  tls: TlsMaterial | null;
  sealAlways: boolean;
  timeoutMs: number;
  clock: Clock;
  established(session: Session, socket: MeshSocket): void;
  /** Once, for the first socket that fails. The attempt is over then. */
  failed(failure: DialFailure): void;
}

/**
 * Zero as mask: WebSocket clients must mask so that no page's script can put chosen bytes before an old proxy. Here both
 * ends are nodes; on loopback there is no proxy, and elsewhere every byte is encrypted. Zeros make masking free.
 */
function noMask(mask: Buffer): void {
  mask.fill(0);
}

/** Starts an attempt; answers what abandons it. Sockets already authenticated belong to the caller. */
export function dial(options: DialOptions): () => void {
  const { self, peer, clock, tls, lanes } = options;
  const pending = new Set<WebSocket>();
  let over = false;
  const end = (): void => {
    over = true;
    cancelTimer();
    for (const ws of pending) ws.terminate();
    pending.clear();
  };
  const fail = (failure: DialFailure): void => {
    if (over) return;
    end();
    options.failed(failure);
  };
  const cancelTimer = clock.after(options.timeoutMs, () =>
    fail({ kind: "unreachable", reason: `no link within ${options.timeoutMs} ms` }),
  );

  if (parseAddress(peer.meshUrl) === null) {
    queueMicrotask(() => fail({ kind: "unreachable", reason: `"${peer.meshUrl}" is not host:port` }));
    return end;
  }
  for (let lane = 0; lane <= lanes && !over; lane++) {
    const ws = new WebSocket(`${tls === null ? "ws" : "wss"}://${peer.meshUrl}${MESH_PATH}`, {
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      generateMask: noMask,
      followRedirects: false,
      ...tls?.dial,
    });
    pending.add(ws);
    // Set before the connection's own "open"; the address decides whether frames must be sealed.
    let local = false;
    ws.on("upgrade", ({ socket }) => {
      local = isLoopback(socket.remoteAddress) && isLoopback(socket.localAddress);
    });
    ws.on("error", (error) => fail(failureOf(error)));
    ws.on("open", () => {
      const { state, send } = startDialer(self, {
        peer,
        link: options.link,
        lane,
        lanes,
        nonce: freshNonce(),
        seal: options.sealAlways || (tls === null && !local),
      });
      authenticate(ws, {
        role: "dialer",
        key: self.key,
        clock,
        state,
        receive: dialerReceives,
        established: (session, socket) => {
          pending.delete(ws);
          if (pending.size === 0) cancelTimer();
          options.established(session, socket);
        },
        failed: (failure) => {
          if (failure.by === "self") {
            pending.delete(ws);
            const { code, detail } = failure.refusal;
            fail({ kind: "refused", by: "self", code, reason: `${REFUSALS[code].text} (${detail})` });
          } else if (failure.code !== null) {
            fail({ kind: "refused", by: "peer", code: failure.code, reason: failure.reason });
          } else fail({ kind: "unreachable", reason: "the connection closed during the handshake" });
        },
      });
      ws.send(send);
    });
  }
  return end;
}

/** Whether somebody listens at `address`. Never sends a byte. Answers what abandons it. */
export function probe(
  address: string,
  timeoutMs: number,
  clock: Clock,
  done: (answer: "listening" | "refused" | "unknown") => void,
): () => void {
  const { host, port } = parseAddress(address) ?? { host: "invalid.", port: 1 };
  const socket = connect({ host, port });
  let over = false;
  const finish = (answer: "listening" | "refused" | "unknown" | null): void => {
    if (over) return;
    over = true;
    cancelTimer();
    socket.destroy();
    if (answer !== null) done(answer);
  };
  const cancelTimer = clock.after(timeoutMs, () => finish("unknown"));
  socket.on("connect", () => finish("listening"));
  socket.on("error", (error) => finish(isConnectionRefused(error) ? "refused" : "unknown"));
  return () => finish(null);
}

function failureOf(error: Error): DialFailure {
  return isConnectionRefused(error) ? { kind: "connection-refused" } : { kind: "unreachable", reason: error.message };
}

/** A name with several addresses fails with all their errors; every one of them must be a refusal. */
function isConnectionRefused(error: Error): boolean {
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isConnectionRefused);
  return "code" in error && error.code === "ECONNREFUSED";
}
