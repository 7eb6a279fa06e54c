/**
 * The node's HTTP server: one listener on `node:http`, a handful of routes, and the bounds that keep a stranger from
 * holding more than his share.
 *
 * Bounds: headers within 10 s and a whole request within 60 s (408 from node:http); 16 KiB of headers (431);
 * `maxConnections` sockets, further ones are closed; bytes nobody reads for 60 s end their connection.
 *
 * Closing: accept what already waits in the kernel's queue, because closing a listener resets those connections; stop
 * accepting; end idle keep-alive connections and standalone event streams (their clients are told to come
 * back); let answers finish, each with `connection: close`; after the grace, end answer streams and destroy the rest.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Clock } from "../../runtime/actor/clock.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import type { Metrics } from "../../runtime/observe/metrics.ts";
import { Exchange, type ExchangeOwner, type RouteCounters } from "./exchange.ts";
import type { SseStreams } from "./sse.ts";
import { StalledSockets } from "./stalled_sockets.ts";

export interface HttpRoute {
  /** Label in metrics. */
  name: string;
  /** An exact path; or one that ends in `/`, for everything below it. */
  path: string;
  handle(exchange: Exchange): void | Promise<void>;
}

export interface HttpServerOptions {
  routes: readonly HttpRoute[];
  /** Sent with every answer as `troupe-node`, so that clients and operators see which replica answered. */
  nodeId: string;
  streams: SseStreams;
  clock: Clock;
  log: Logger;
  metrics: Metrics;
  /** Defaults 10,000 and 60,000: time for a request's headers, and for all of it. */
  headersTimeoutMs?: number;
  requestTimeoutMs?: number;
  /** An idle connection is kept this long; longer than what proxies keep theirs, so that they close first. Default 75,000. */
  keepAliveMs?: number;
  /** Default 16,384. */
  maxConnections?: number;
  /** Default 60,000. */
  stallMs?: number;
}

export interface ListenOptions {
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** PEM texts. */
  tls?: { cert: string; key: string };
}

/** Where the server really listens. */
export interface BoundAddress {
  host: string;
  port: number;
  /** `http://127.0.0.1:8787`; a wildcard address is shown as loopback. */
  url: string;
}

/** How long clients of ended streams wait before they come back. */
const RETRY_MS = 1_000;
/** While closing: the kernel's queue counts as empty when nothing came for this long, and is left after that time. */
const ACCEPT_QUIET_MS = 5;
const ACCEPT_MOST_MS = 500;
/** Deno takes one connection per turn of its loop. */
const ACCEPT_TURNS = 2;
/** While closing: how often connections that became idle are ended. */
const IDLE_SWEEP_MS = 50;

export class HttpServer implements ExchangeOwner {
  readonly #options: HttpServerOptions;
  readonly nodeHeader: readonly [name: string, value: string];
  readonly #exact = new Map<string, [HttpRoute, RouteCounters]>();
  readonly #prefixes: [string, HttpRoute, RouteCounters][] = [];
  readonly #unknown: RouteCounters;
  readonly #stalled: StalledSockets;
  #server: Server | undefined;
  #leaving = false;
  #closing: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.nodeHeader = ["troupe-node", options.nodeId];
    this.#stalled = new StalledSockets(options.clock, options.stallMs);
    for (const route of options.routes) {
      const counters = countersOf(options.metrics, route.name);
      if (route.path.endsWith("/")) this.#prefixes.push([route.path, route, counters]);
      else this.#exact.set(route.path, [route, counters]);
    }
    this.#unknown = countersOf(options.metrics, "unknown");
    options.metrics.gauge("troupe_http_connections", "Connections open now.", () => this.connections);
    options.metrics.gauge("troupe_http_streams", "Event streams open now.", () => options.streams.size);
  }

  /** Connections open now. */
  get connections(): number {
    return this.#stalled.size;
  }

  get closing(): boolean {
    return this.#leaving || this.#closing !== undefined;
  }

  /** It will close soon: requests are served as before, and every answer ends its connection, so that few are open then. */
  leave(): void {
    this.#leaving = true;
  }

  /** Starts to listen. Rejects with one sentence when the address cannot be had. */
  async listen({ host, port, tls }: ListenOptions): Promise<BoundAddress> {
    const {
      headersTimeoutMs = 10_000,
      requestTimeoutMs = 60_000,
      keepAliveMs = 75_000,
      maxConnections = 16_384,
    } = this.#options;
    const settings = {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: Math.min(2_000, headersTimeoutMs),
      keepAliveTimeout: keepAliveMs,
      noDelay: true,
    };
    // TLS is loaded only where it is used.
    const server =
      tls === undefined
        ? createServer(settings)
        : (await import("node:https")).createServer({ ...settings, cert: tls.cert, key: tls.key });
    server.maxConnections = maxConnections;
    server.on("request", this.#serve);
    server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => this.#stalled.watch(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(new Error(listenFailure(error, host, port))));
      server.listen(port, host, resolve);
    });
    server.on("error", (error) => this.#options.log.error("http server", { error }));
    const bound = server.address() as AddressInfo;
    return { host: bound.address, port: bound.port, url: urlOf(bound, tls !== undefined) };
  }

  /** Stops; resolves when every connection is gone, at most shortly after `graceMs`. */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const { clock, streams } = this.#options;
    if (graceMs > 0) await this.#acceptWaiting(server);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    streams.endAll("standalone", RETRY_MS);
    const cancelGrace = clock.after(graceMs, () => {
      streams.endAll("all", RETRY_MS);
      // One turn of the loop, so that what was just written leaves first.
      setImmediate(() => server.closeAllConnections());
    });
    // A connection whose stream has just ended was not told to close, and would stay for its keep-alive time.
    let cancelSweep = (): void => {};
    const sweep = (): void => {
      server.closeIdleConnections();
      cancelSweep = clock.after(IDLE_SWEEP_MS, sweep);
    };
    sweep();
    await closed;
    cancelGrace();
    cancelSweep();
  }

  /**
   * Resolves when no connection came for {@link ACCEPT_QUIET_MS}, or after {@link ACCEPT_MOST_MS}. Quiet is only what this
   * process had time to see: after a pause of its own the timer comes before what waits, so the event loop turns once more.
   * What comes between that and the close, microseconds, is reset by the kernel: no system call ends a listener without
   * it, so a load balancer should see `/ready` fail first.
   */
  async #acceptWaiting(server: Server): Promise<void> {
    const { clock } = this.#options;
    const until = clock.now() + ACCEPT_MOST_MS;
    let came = true;
    const note = (): void => {
      came = true;
    };
    server.on("connection", note);
    while (came && clock.now() < until) {
      came = false;
      await new Promise<void>((resolve) => clock.after(ACCEPT_QUIET_MS, resolve));
      for (let turn = 0; turn < ACCEPT_TURNS; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
    }
    server.off("connection", note);
  }

  #serve = (req: IncomingMessage, res: ServerResponse): void => {
    const target = req.url ?? "/";
    const mark = target.indexOf("?");
    const path = mark === -1 ? target : target.slice(0, mark);
    const [route, counters] = this.#find(path);
    const exchange = new Exchange(req, res, path, mark === -1 ? "" : target.slice(mark + 1), counters, this);
    const declared = req.headers["content-length"];
    if (declared !== undefined) counters.requestBytes.add(Number(declared));
    if (route === undefined) {
      exchange.json(404, JSON.stringify({ success: false, error: { code: "not_found", message: "no such path" } }));
      return;
    }
    try {
      const done = route.handle(exchange);
      if (done !== undefined) done.catch((error: unknown) => this.failed(exchange, error));
    } catch (error) {
      this.failed(exchange, error);
    }
  };

  #find(path: string): [HttpRoute | undefined, RouteCounters] {
    const exact = this.#exact.get(path);
    if (exact !== undefined) return exact;
    for (const [prefix, route, counters] of this.#prefixes) {
      if (path.startsWith(prefix)) return [route, counters];
    }
    return [undefined, this.#unknown];
  }

  failed(exchange: Exchange, error: unknown): void {
    const detail = error instanceof Error ? error.stack : error;
    this.#options.log.error("http handler failed", { path: exchange.path, detail });
    if (exchange.answered) exchange.res.destroy();
    else exchange.json(500, JSON.stringify({ success: false, error: { code: "internal", message: "internal error" } }));
  }
}

function countersOf(metrics: Metrics, route: string): RouteCounters {
  const answers = (status: string) =>
    metrics.counter("troupe_http_requests_total", "Requests answered, by route and status class.", { route, status });
  return {
    answers: [undefined, undefined, answers("2xx"), answers("3xx"), answers("4xx"), answers("5xx")],
    requestBytes: metrics.counter("troupe_http_request_bytes_total", "Bytes of request bodies.", { route }),
    responseBytes: metrics.counter("troupe_http_response_bytes_total", "Bytes of response bodies.", { route }),
  };
}

function urlOf({ address, port, family }: AddressInfo, tls: boolean): string {
  const shown = address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address;
  return `${tls ? "https" : "http"}://${family === "IPv6" ? `[${shown.replace("::ffff:", "")}]` : shown}:${port}`;
}

function listenFailure(error: Error & { code?: string }, host: string, port: number): string {
  const where = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  if (error.code === "EADDRINUSE") return `cannot listen on ${where}: the address is in use; choose another --port`;
  if (error.code === "EACCES") return `cannot listen on ${where}: permission denied; ports below 1024 need privileges`;
  if (error.code === "EADDRNOTAVAIL" || error.code === "ENOTFOUND") {
    return `cannot listen on ${where}: this machine has no such address`;
  }
  return `cannot listen on ${where}: ${error.message}`;
}
