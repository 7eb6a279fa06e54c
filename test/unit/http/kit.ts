/** A running edge with a gateway that does as a test says, and clients that speak HTTP byte by byte. */
import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import type { TestContext } from "node:test";
import type { EventsCall, PostAnswer, PostCall, Principal, SessionEvent } from "../../../actors/session/contract.ts";
import { readBody } from "../../../actors/session/rpc.ts";
import { type Clock, systemClock } from "../../../runtime/actor/clock.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { type Logger, silentLogger } from "../../../runtime/observe/log.ts";
import { Metrics } from "../../../runtime/observe/metrics.ts";
import { type Management, managementRoutes } from "../../../transports/http/management.ts";
import { McpEndpoint, type McpEndpointOptions } from "../../../transports/http/mcp_endpoint.ts";
import { type SiteOptions, SitePolicy } from "../../../transports/http/origin.ts";
import { HttpServer, type HttpServerOptions } from "../../../transports/http/server.ts";
import type { OpenRequest, SessionGateway } from "../../../transports/http/session_gateway.ts";
import { newSessionId } from "../../../transports/http/session_id.ts";
import { SseStreams } from "../../../transports/http/sse.ts";

/** Sessions in a map; what they answer is a function a test may replace. */
export class FakeGateway implements SessionGateway {
  readonly sessions = new Map<string, Principal>();
  readonly opened: OpenRequest[] = [];
  readonly posts: PostCall[] = [];
  readonly eventCalls: EventsCall[] = [];
  /** Session ids it was asked about, known or not. */
  readonly asked: string[] = [];
  openAnswer: PostAnswer = '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}';
  onPost: (call: PostCall) => PostAnswer | Promise<PostAnswer> = echo;
  onEvents: (call: EventsCall) => AsyncIterable<SessionEvent> = () => new EventFeed();

  async open(request: OpenRequest): Promise<{ sessionId: string | null; answer: PostAnswer }> {
    this.opened.push(request);
    if (typeof this.openAnswer === "object") return { sessionId: null, answer: this.openAnswer };
    const sessionId = this.add(request.principal);
    return { sessionId, answer: this.openAnswer };
  }

  add(principal: Principal = "anonymous"): string {
    const sessionId = newSessionId();
    this.sessions.set(sessionId, principal);
    return sessionId;
  }

  async post(sessionId: string, call: PostCall): Promise<PostAnswer> {
    this.#check(sessionId, call.principal);
    this.posts.push(call);
    return this.onPost(call);
  }

  events(sessionId: string, call: EventsCall): AsyncIterable<SessionEvent> {
    this.eventCalls.push(call);
    try {
      this.#check(sessionId, call.principal);
    } catch (error) {
      const feed = new EventFeed();
      feed.fail(error);
      return feed;
    }
    return this.onEvents(call);
  }

  async terminate(sessionId: string, principal: Principal): Promise<void> {
    this.#check(sessionId, principal);
    this.sessions.delete(sessionId);
  }

  #check(sessionId: string, principal: Principal): void {
    this.asked.push(sessionId);
    if (this.sessions.get(sessionId) !== principal) {
      throw new TroupeError("not_found", `no session/${sessionId}`, { started: "no" });
    }
  }
}

/** Answers every request in it with its method; notifications and responses with 202. Reads it as a session does. */
export function echo(call: PostCall): PostAnswer {
  const body = readBody(call.text, true);
  if ("kind" in body) return body;
  const message = JSON.parse(call.text) as { id?: unknown; method?: string };
  if (message.id === undefined || message.method === undefined) return { kind: "accepted" };
  return JSON.stringify({ jsonrpc: "2.0", id: message.id, result: { method: message.method } });
}

/** A stream a test pushes into, as a ref's stream behaves: `return` ends a waiting `next` at once. */
export class EventFeed implements AsyncIterableIterator<SessionEvent> {
  taken = 0;
  returned = false;
  readonly #items: SessionEvent[] = [];
  #end: { error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(...events: SessionEvent[]): this {
    this.#items.push(...events);
    this.#wake?.();
    return this;
  }

  end(): this {
    this.#end = {};
    this.#wake?.();
    return this;
  }

  fail(error: unknown): this {
    this.#end = { error };
    this.#wake?.();
    return this;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<SessionEvent>> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.taken++;
        return { done: false, value: item };
      }
      if (this.#end !== undefined) {
        if ("error" in this.#end) throw this.#end.error;
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async return(): Promise<IteratorResult<SessionEvent>> {
    this.returned = true;
    this.end();
    return { done: true, value: undefined };
  }
}

/** A clock that a test moves. */
export class ManualClock implements Clock {
  #now = 0;
  #timers = new Set<{ at: number; callback: () => void }>();

  now(): number {
    return this.#now;
  }

  wallNow(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
  }
}

export interface EdgeOptions {
  gateway?: FakeGateway;
  /** Instead of the fake one. */
  sessions?: SessionGateway;
  clock?: Clock;
  log?: Logger;
  site?: Partial<SiteOptions>;
  endpoint?: Partial<McpEndpointOptions>;
  server?: Partial<HttpServerOptions>;
  maxStreams?: number;
  management?: Management;
  /** Default a free one. */
  port?: number;
}

export interface Edge {
  gateway: FakeGateway;
  server: HttpServer;
  streams: SseStreams;
  metrics: Metrics;
  port: number;
  url: string;
}

/** An edge on a free loopback port; it closes with the test. */
export async function startEdge(t: TestContext, options: EdgeOptions = {}): Promise<Edge> {
  const gateway = options.gateway ?? new FakeGateway();
  const clock = options.clock ?? systemClock();
  const log = options.log ?? silentLogger;
  const metrics = new Metrics();
  const streams = new SseStreams({ clock, maxStreams: options.maxStreams });
  const endpoint = new McpEndpoint({
    gateway: options.sessions ?? gateway,
    scopes: (server) => {
      if (server === null) return { upstreams: ["files", "search"], prefixed: true };
      return server === "files" || server === "se arch" ? { upstreams: [server], prefixed: false } : null;
    },
    site: new SitePolicy({ loopback: true, ...options.site }),
    streams,
    clock,
    log,
    metrics,
    ...options.endpoint,
  });
  const routes = [
    ...endpoint.routes(),
    ...(options.management === undefined ? [] : managementRoutes(options.management, log)),
  ];
  const server = new HttpServer({ nodeId: "test", routes, streams, clock, log, metrics, ...options.server });
  const { port, url } = await server.listen({ host: "127.0.0.1", port: options.port ?? 0 });
  t.after(async () => {
    const closed = server.close({ graceMs: 0 });
    if (clock instanceof ManualClock) {
      const turn = setInterval(() => clock.advance(50), 1);
      await closed;
      clearInterval(turn);
    } else {
      await closed;
    }
  });
  return { gateway, server, streams, metrics, port, url };
}

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

/** Headers every well-behaved client sends with a POST. */
export const POST_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "application/json",
  accept: "application/json, text/event-stream",
};

/** One request on a connection of its own. A header with an undefined value is left out. */
export function request(
  edge: { port: number },
  method: string,
  path: string,
  headers: Readonly<Record<string, string | undefined>> = {},
  body?: string | Buffer,
): Promise<Answer> {
  const present = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
  return new Promise((resolve, reject) => {
    const req = http.request({ port: edge.port, host: "127.0.0.1", method, path, headers: present, agent: false });
    req.on("error", reject);
    req.on("response", (res) => {
      const chunks: Buffer[] = [];
      res.on("data", (chunk: Buffer) => chunks.push(chunk));
      res.on("error", reject);
      res.on("end", () =>
        resolve({ status: res.statusCode ?? 0, headers: res.headers, text: Buffer.concat(chunks).toString() }),
      );
    });
    req.end(body);
  });
}

/** A POST of a message, or of text as it is, with a client's usual headers. */
export function post(
  edge: { port: number },
  message: unknown,
  headers: Readonly<Record<string, string | undefined>> = {},
  path = "/mcp",
): Promise<Answer> {
  const body = typeof message === "string" || Buffer.isBuffer(message) ? message : JSON.stringify(message);
  return request(edge, "POST", path, { ...POST_HEADERS, ...headers }, body);
}

export interface RpcErrorBody {
  jsonrpc: string;
  id: unknown;
  error: { code: number; message: string; data?: Record<string, unknown> };
}

/** Asserts that an answer is a JSON-RPC error, and returns it. */
export function rpcError(answer: Answer, status: number, code: number, id: unknown = null): RpcErrorBody["error"] {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers["content-type"], "application/json");
  const body = JSON.parse(answer.text) as RpcErrorBody;
  assert.equal(body.jsonrpc, "2.0");
  assert.equal(body.id, id);
  assert.equal(body.error.code, code, answer.text);
  assert.equal(typeof body.error.message, "string");
  return body.error;
}

/** A TCP connection that keeps all it received. */
export class RawClient {
  readonly socket: net.Socket;
  received = "";
  closed = false;

  constructor(port: number) {
    this.socket = net.connect(port, "127.0.0.1");
    this.socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.closed = true;
    });
  }

  send(text: string): void {
    this.socket.write(text);
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** Opens a GET stream and keeps what arrives. */
export function openStream(
  edge: { port: number },
  sessionId: string,
  headers: Readonly<Record<string, string>> = {},
): RawClient {
  const client = new RawClient(edge.port);
  const lines = Object.entries({ accept: "text/event-stream", "mcp-session-id": sessionId, ...headers });
  client.send(
    `GET /mcp HTTP/1.1\r\nhost: localhost\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
  );
  return client;
}

/** Waits until `predicate` holds. */
export async function until(predicate: () => boolean, what: string, timeoutMs = 5_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!predicate()) {
    if (performance.now() > deadline) assert.fail(`did not happen within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
