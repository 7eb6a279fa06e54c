/**
 * The listener: accepts WebSockets of peers and lets nobody in who has not proved itself.
 *
 * A stranger gets little: a TCP connection lives 2 seconds (`handshakeMs`) until its handshake is complete, whatever it
 * sends or does not send; there are at most 64 (`unauthenticatedSockets`), and at the limit the oldest goes, so that a
 * patient stranger cannot keep members out, whose handshake takes milliseconds; request headers are at most 4 KiB, messages
 * at most a frame. What strangers make it log is bounded too.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import type { Clock } from "../../runtime/actor/clock.ts";
import type { Incarnation, NodeId } from "../../runtime/actor/ids.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import { type Address, formatAddress, isLoopback } from "./address.ts";
import { authenticate, freshNonce } from "./authenticate.ts";
import { MAX_FRAME_BYTES } from "./frame.ts";
import {
  type HandshakeSelf,
  type ListenerState,
  listenerReceives,
  REFUSALS,
  type Refusal,
  type Session,
} from "./handshake.ts";
import type { MeshCounters } from "./metrics.ts";
import type { MemberAnswer, MeshLimits } from "./options.ts";
import type { MeshSocket } from "./socket.ts";
import type { TlsMaterial } from "./tls.ts";

export const MESH_PATH = "/troupe-mesh";

/** Refusals logged per window; the rest is counted. */
const LOG_LINES = 20;
const LOG_WINDOW_MS = 10_000;
/** Time a refused WebSocket gets to read why. */
const LAST_WORDS_MS = 250;

export interface ListenerOptions {
  bind: Address;
  tls: TlsMaterial | null;
  sealAlways: boolean;
  limits: MeshLimits;
  clock: Clock;
  log: Logger;
  counters: MeshCounters;
  self: () => HandshakeSelf;
  isMember: (incarnation: Incarnation, nodeId: NodeId) => MemberAnswer;
  established: (session: Session, socket: MeshSocket) => void;
}

/** A connection that has not proved itself. */
interface Stranger {
  raw: Socket;
  /** Known once it is a WebSocket. */
  refuse: ((refusal: Refusal) => void) | null;
  cancelTimer: () => void;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #upgrader = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
    path: MESH_PATH,
  });
  /** By the peer's end of the connection, which is what a TLS socket and its TCP socket have in common. */
  readonly #strangers = new Map<string, Stranger>();
  #logWindow = { start: Number.NEGATIVE_INFINITY, lines: 0, suppressed: 0 };

  constructor(options: ListenerOptions) {
    this.#options = options;
    const { tls } = options;
    const headers = { maxHeaderSize: 4096 };
    this.#server = tls === null ? createServer(headers) : createTlsServer({ ...headers, ...tls.listen });
    this.#server.on("connection", (raw: Socket) => this.#connected(raw));
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on("request", (_request, response) => {
      response.writeHead(426, { connection: "close", "content-type": "text/plain" });
      response.end("This port speaks only Troupe's mesh protocol.\n");
    });
    this.#server.on("clientError", (_error, socket: Duplex) => socket.destroy());
    this.#server.on("tlsClientError", (error: Error, socket: Duplex) => {
      this.#logRefusal("a TLS handshake failed", { reason: error.message });
      socket.destroy();
    });
  }

  /** Sockets that have not proved themselves. */
  get strangers(): number {
    return this.#strangers.size;
  }

  /** Binds; answers the bound address. Rejects with a sentence that names it. */
  listen(): Promise<Address> {
    const { host, port } = this.#options.bind;
    return new Promise((resolve, reject) => {
      const failed = (error: Error) => {
        reject(new Error(`mesh.bind_address: cannot listen on ${formatAddress({ host, port })}: ${error.message}`));
      };
      this.#server.once("error", failed);
      this.#server.listen(port, host, () => {
        this.#server.off("error", failed);
        this.#server.on("error", (error) => this.#options.log.error("mesh: listener failed", { error }));
        const bound = this.#server.address();
        resolve({ host, port: typeof bound === "object" && bound !== null ? bound.port : port });
      });
    });
  }

  /** Ends every connection that has not proved itself: what it was told no longer holds, or the node stops. */
  dropStrangers(): void {
    for (const { raw } of this.#strangers.values()) raw.destroy();
  }

  /** Resolves when the port is free. Authenticated sockets must have been closed before. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.dropStrangers();
    });
  }

  #connected(raw: Socket): void {
    const { limits, clock } = this.#options;
    // Resets of strangers are nothing to act on; the close event follows.
    raw.on("error", () => {});
    const key = endOf(raw);
    const stranger: Stranger = {
      raw,
      refuse: null,
      cancelTimer: clock.after(limits.handshakeMs, () => this.#tooSlow(stranger)),
    };
    raw.once("close", () => {
      stranger.cancelTimer();
      if (this.#strangers.get(key) === stranger) this.#strangers.delete(key);
    });
    this.#strangers.set(key, stranger);
    if (this.#strangers.size > limits.unauthenticatedSockets) {
      const oldest = this.#strangers.entries().next().value;
      if (oldest !== undefined) {
        this.#strangers.delete(oldest[0]);
        this.#logRefusal("too many connections that have not proved themselves; the oldest was closed", {
          from: oldest[0],
        });
        oldest[1].raw.destroy();
      }
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex & { remoteAddress?: string }, head: Buffer): void {
    const key = endOf(request.socket);
    const stranger = this.#strangers.get(key);
    if (stranger === undefined) {
      socket.destroy();
      return;
    }
    const { clock, tls, sealAlways, isMember } = this.#options;
    const self = this.#options.self();
    const local = isLoopback(request.socket.remoteAddress) && isLoopback(request.socket.localAddress);
    const context = { self, nonce: freshNonce(), seal: sealAlways || (tls === null && !local), isMember };
    this.#upgrader.handleUpgrade(request, socket, head, (ws) => {
      stranger.refuse = authenticate<ListenerState>(ws, {
        role: "listener",
        key: self.key,
        clock,
        state: null,
        receive: (state, text) => listenerReceives(context, state, text),
        established: (session, meshSocket) => {
          stranger.cancelTimer();
          this.#strangers.delete(key);
          this.#options.established(session, meshSocket);
        },
        failed: (failure) => {
          if (failure.by === "self") {
            this.#refused(key, failure.refusal);
            clock.after(LAST_WORDS_MS, () => stranger.raw.destroy());
          } else if (failure.code !== null) {
            this.#logRefusal("a peer refused this node", { from: key, code: failure.code, reason: failure.reason });
          }
        },
      });
    });
  }

  #tooSlow(stranger: Stranger): void {
    const { handshakeMs } = this.#options.limits;
    const refusal: Refusal = { code: "handshake_timeout", detail: `no complete handshake within ${handshakeMs} ms` };
    if (stranger.refuse !== null) return stranger.refuse(refusal);
    this.#refused(endOf(stranger.raw), refusal);
    stranger.raw.destroy();
  }

  #refused(from: string, { code, detail }: Refusal): void {
    this.#options.counters.refused(code).add();
    // A node that joins is often faster than the view of it; it dials again.
    if (code === "unknown_incarnation") {
      this.#options.log.debug("mesh: refused a connection for now", { from, code, reason: detail });
      return;
    }
    this.#logRefusal("refused a connection", { from, code, reason: `${REFUSALS[code].text} (${detail})` });
  }

  #logRefusal(what: string, fields: Record<string, unknown>): void {
    const now = this.#options.clock.now();
    const window = this.#logWindow;
    if (now - window.start >= LOG_WINDOW_MS) {
      if (window.suppressed > 0) this.#options.log.warn(`mesh: ${window.suppressed} more refusals were not logged`);
      this.#logWindow = { start: now, lines: 1, suppressed: 0 };
    } else if (window.lines >= LOG_LINES) {
      window.suppressed++;
      return;
    } else window.lines++;
    this.#options.log.warn(`mesh: ${what}`, fields);
  }
}

function endOf(socket: Socket): string {
  return formatAddress({ host: socket.remoteAddress ?? "unknown", port: socket.remotePort ?? 0 });
}
