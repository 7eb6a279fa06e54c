/**
 * Disconnects clients that stop reading. An answer nobody takes holds memory here and a turn somewhere else; a socket
 * on which bytes have waited for a minute without one of them leaving is destroyed. Long answers are written in pieces
 * (exchange.ts), so a slow reader shows progress and is left alone.
 */
import type { Socket } from "node:net";
import type { Clock } from "../../runtime/actor/clock.ts";

interface Watched {
  written: number;
  pending: number;
  since: number;
}

export class StalledSockets {
  readonly #clock: Clock;
  readonly #stallMs: number;
  readonly #sockets = new Map<Socket, Watched>();
  #cancelSweep: (() => void) | undefined;

  /** A socket may hold unread bytes for `stallMs` (default 60,000) without progress. */
  constructor(clock: Clock, stallMs = 60_000) {
    this.#clock = clock;
    this.#stallMs = stallMs;
  }

  /** Sockets open now. */
  get size(): number {
    return this.#sockets.size;
  }

  watch(socket: Socket): void {
    this.#sockets.set(socket, { written: 0, pending: 0, since: 0 });
    socket.on("close", () => this.#sockets.delete(socket));
    this.#cancelSweep ??= this.#clock.after(this.#stallMs / 6, this.#sweep);
  }

  #sweep = (): void => {
    const now = this.#clock.now();
    for (const [socket, watched] of this.#sockets) {
      const { bytesWritten, writableLength } = socket;
      if (writableLength === 0 || writableLength !== watched.pending || bytesWritten !== watched.written) {
        watched.pending = writableLength;
        watched.written = bytesWritten;
        watched.since = now;
      } else if (now - watched.since >= this.#stallMs) {
        socket.destroy();
      }
    }
    this.#cancelSweep = this.#sockets.size === 0 ? undefined : this.#clock.after(this.#stallMs / 6, this.#sweep);
  };
}
