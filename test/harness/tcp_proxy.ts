/**
 * What can go wrong on the way between one program and a server: a TCP proxy that delays, falls silent, refuses, or
 * starts to lead to another server behind the same address.
 */
import type { Buffer } from "node:buffer";
import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";

export class TcpProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #pairs = new Set<[client: Socket, server: Socket]>();
  #target: number;
  #delayMs = 0;
  #refuses = false;
  #silent: ((client: Socket) => boolean) | undefined;
  #sent = 0;

  /** Starts a proxy on a free loopback port that leads to `target`, a port. */
  static async start(target: number): Promise<TcpProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new TcpProxy(server, target);
  }

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (client) => this.#accept(client));
  }

  /** Pieces of data that went towards the server: what was written in one go is one piece, or few. */
  get sent(): number {
    return this.#sent;
  }

  /** Everything is passed on that much later, in order. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Connections break, and new ones do as soon as they are made. */
  cut(): void {
    this.#refuses = true;
    this.#breakAll();
  }

  /** Connections break, and nobody listens there any more. */
  vanish(): void {
    this.#server.close();
    this.#breakAll();
  }

  /**
   * Connections stay, new ones are accepted, and nothing passes: as if every packet were lost. Only on those that `whose`
   * picks.
   */
  silence(whose: (client: Socket) => boolean = () => true): void {
    this.#silent = whose;
    for (const pair of this.#pairs) if (whose(pair[0])) pause(pair);
  }

  /** All is well again. What was held back passes. */
  heal(): void {
    this.#refuses = false;
    this.#delayMs = 0;
    if (!this.#server.listening) this.#server.listen(this.port, "127.0.0.1");
    if (this.#silent === undefined) return;
    this.#silent = undefined;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  /** The address names another server from now on; connections to the one before break. */
  leadTo(target: number): void {
    this.#target = target;
    this.#breakAll();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#breakAll();
    await closed;
  }

  #accept(client: Socket): void {
    client.on("error", () => {});
    if (this.#refuses) return void client.destroy();
    const server = connect({ port: this.#target, host: "127.0.0.1" });
    const pair: [Socket, Socket] = [client, server];
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    server.on("error", end);
    server.on("close", end);
    client.on("close", end);
    client.on("data", (chunk: Buffer) => {
      this.#sent += 1;
      this.#pass(chunk, server);
    });
    server.on("data", (chunk: Buffer) => this.#pass(chunk, client));
    client.setNoDelay(true);
    server.setNoDelay(true);
    if (this.#silent?.(client)) pause(pair);
  }

  #pass(chunk: Buffer, to: Socket): void {
    const write = (): void => {
      if (!to.destroyed) to.write(chunk);
    };
    // Timers of one duration fire in the order in which they were set.
    if (this.#delayMs === 0) write();
    else setTimeout(write, this.#delayMs);
  }

  #breakAll(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }
}

function pause(pair: readonly Socket[]): void {
  for (const socket of pair) socket.pause();
}
