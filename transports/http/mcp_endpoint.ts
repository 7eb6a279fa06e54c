/**
 * The MCP endpoint of the legacy era over HTTP: `/mcp` for all upstreams, `/mcp/{server}` for one (MCP 2025-03-26,
 * 2025-06-18, 2025-11-25, "Streamable HTTP").
 *
 * What is decided here needs only the request: who may speak (Host, Origin), whether the headers fit, and of a body that
 * names no session what it is. What needs the session is the session's: it may live on another node, and the edge keeps
 * nothing about it between two requests. A request for a session is not even parsed here, because the session will. Every
 * refusal is a JSON-RPC error that carries the request's id where it is known.
 *
 * A POST is handed over whole and answered as the session says. A client that disconnects cancels nothing; only
 * `notifications/cancelled` does. A stream's reader is ended when its socket closes, and so says the *response*: a
 * request closes as soon as its body was read.
 *
 * A stream that breaks because its session moves or its node died is opened again from the last event id the client was
 * given, so most clients never notice. A POST whose owner died before it answered is handed to the next owner, marked as
 * one that comes again: that one knows whether it is being answered already, and what may be run twice. Where nothing
 * helps, the client gets an honest error, for a stream as its last event.
 */
import type { EventsCall, PostAnswer, PostCall } from "../../actors/session/contract.ts";
import { errorText, isObject, RpcCode } from "../../actors/session/rpc.ts";
import type { Clock } from "../../runtime/actor/clock.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import type { Metrics } from "../../runtime/observe/metrics.ts";
import { REFUSALS_HELP, REFUSALS_METRIC, type RefusalReason } from "../../runtime/observe/refusals.ts";
import type { RpcId } from "../upstream/contract.ts";
import { type Body, BodyBudget, readBody, refuseUpload } from "./body.ts";
import {
  classify,
  isPlainRequest,
  isServed,
  type Refusal,
  refuseVersion,
  requestIdIn,
  SERVER_ERROR,
  SESSION_NOT_FOUND,
} from "./classify.ts";
import type { Exchange } from "./exchange.ts";
import { describeFailure, mayComeBack } from "./failure.ts";
import { accepts, isJson } from "./media.ts";
import type { SitePolicy } from "./origin.ts";
import { Principals } from "./principal.ts";
import type { HttpRoute } from "./server.ts";
import type { Scope, SessionGateway } from "./session_gateway.ts";
import { isSessionId } from "./session_id.ts";
import type { SseStream, SseStreams } from "./sse.ts";

export interface McpEndpointOptions {
  gateway: SessionGateway;
  /** What `/mcp` (null) or `/mcp/{server}` shows; null when there is no such server. */
  scopes: (server: string | null) => Scope | null;
  site: SitePolicy;
  streams: SseStreams;
  clock: Clock;
  log: Logger;
  metrics: Metrics;
  /** Largest body, bytes. Default 4 MiB. */
  bodyLimit?: number;
  /** What all bodies that wait for their answer may hold together, bytes. Default 256 MiB. */
  bodyBudget?: number;
}

const METHODS = "GET, POST, DELETE, OPTIONS";
/** Waits between attempts to open a broken stream again: longer together than it takes to declare a node dead. */
const REOPEN_AFTER_MS = [50, 200, 500, 1_000, 2_000, 4_000, 4_000];
/** The same for a body whose owner did not answer it. While an owner's death is not certain the router holds the body. */
const POST_AGAIN_AFTER_MS = [0, 50, 200, 500, 1_000];
const MAX_EVENT_ID_LENGTH = 256;

export class McpEndpoint {
  readonly #options: McpEndpointOptions;
  readonly #bodyLimit: number;
  readonly #budget: BodyBudget;
  readonly #principals = new Principals();
  /** The last `Accept` that passed; a client sends the same with every request. */
  #goodAccept = "";

  constructor(options: McpEndpointOptions) {
    this.#options = options;
    this.#bodyLimit = options.bodyLimit ?? 4 * 1024 * 1024;
    this.#budget = new BodyBudget(options.bodyBudget ?? 256 * 1024 * 1024);
  }

  routes(): HttpRoute[] {
    const handle = (exchange: Exchange) => this.#handle(exchange);
    return [
      { name: "mcp", path: "/mcp", handle },
      { name: "mcp", path: "/mcp/", handle },
    ];
  }

  #handle(exchange: Exchange): void | Promise<void> {
    const { req } = exchange;
    const forbidden = this.#options.site.refusal(req.headers);
    if (forbidden !== null) return this.#refuse(exchange, 403, forbidden);
    if (req.headers.origin !== undefined) allowPage(exchange, req.headers.origin);
    if (req.method === "OPTIONS") return preflight(exchange);
    const server = serverOf(exchange.path);
    const scope = server === undefined ? null : this.#options.scopes(server);
    if (scope === null) {
      return this.#refuse(exchange, 404, `Unknown server ${JSON.stringify(exchange.path.slice("/mcp/".length, 100))}`);
    }
    if (req.method === "POST") return this.#post(exchange, scope);
    if (req.method === "GET") return this.#get(exchange);
    if (req.method === "DELETE") return this.#delete(exchange);
    return this.#refuse(exchange, 405, "Method not allowed", ["allow", METHODS]);
  }

  // POST

  #post(exchange: Exchange, scope: Scope): void {
    const { headers } = exchange.req;
    if (!isJson(headers["content-type"])) {
      return this.#refuse(exchange, 415, "Unsupported Media Type: Content-Type must be application/json");
    }
    if (headers["content-encoding"] !== undefined && headers["content-encoding"] !== "identity") {
      return this.#refuse(exchange, 415, "Unsupported Media Type: a body must not be compressed");
    }
    if (!this.#acceptsBoth(headers.accept)) {
      const message = "Not Acceptable: Accept must list both application/json and text/event-stream";
      return this.#refuse(exchange, 406, message);
    }
    readBody(exchange.req, this.#bodyLimit, this.#budget, (body) => {
      try {
        this.#received(exchange, scope, body);
      } catch (error) {
        exchange.failed(error);
      }
    });
  }

  #acceptsBoth(accept: string | undefined): boolean {
    if (accept === this.#goodAccept) return true;
    if (!accepts(accept, "application/json") || !accepts(accept, "text/event-stream")) return false;
    this.#goodAccept = accept ?? "";
    return true;
  }

  #received(exchange: Exchange, scope: Scope, body: Body): void {
    switch (body.kind) {
      case "text": {
        const { headers } = exchange.req;
        const version = single(headers["mcp-protocol-version"]);
        const sessionId = single(headers["mcp-session-id"]);
        if (sessionId === null || !isSessionId(sessionId) || !isServed(version) || !isPlainRequest(body.text)) {
          return this.#until(this.#message(exchange, scope, body.text), exchange, body.bytes);
        }
        const principal = this.#principals.of(headers.authorization);
        return this.#forward(exchange, sessionId, { principal, version, text: body.text }, body.bytes);
      }
      case "too-large": {
        const message = `Payload Too Large: a body may have ${this.#bodyLimit} bytes`;
        return refuseUpload(exchange, 413, errorText(null, { code: SERVER_ERROR, message }));
      }
      case "overloaded": {
        this.#refused("bodies");
        const message = "too many request bodies are waiting on this node";
        const failure = describeFailure(new TroupeError("overloaded", message, { started: "no" }), null);
        return refuseUpload(exchange, failure.status, failure.body, failure.headers);
      }
      case "not-utf8":
        return this.#refuse(exchange, 400, "Parse error: the body is not UTF-8", [], RpcCode.parse);
      case "gone":
        return;
    }
  }

  /** A request for a session, as nearly all bodies are: its answer is written when it comes, and nothing else happens here. */
  #forward(exchange: Exchange, sessionId: string, call: PostCall, bytes: number): void {
    this.#options.gateway.post(sessionId, call).then(
      (answer) => {
        if (typeof answer !== "string") {
          const posted = { ...call, id: requestIdIn(call.text) };
          return this.#until(this.#settle(exchange, sessionId, posted, Promise.resolve(answer)), exchange, bytes);
        }
        this.#budget.give(bytes);
        try {
          exchange.json(200, answer);
        } catch (error) {
          exchange.failed(error);
        }
      },
      (error) => {
        const posted = { ...call, id: requestIdIn(call.text) };
        this.#until(this.#settle(exchange, sessionId, posted, Promise.reject(error)), exchange, bytes);
      },
    );
  }

  /** Ends the exchange as a session's answer or failure says. */
  async #settle(
    exchange: Exchange,
    sessionId: string,
    posted: PostCall & { id: RpcId | null },
    answered: Promise<PostAnswer>,
  ): Promise<void> {
    try {
      const answer = await answered.catch((error: unknown) => this.#postAgain(sessionId, posted, error));
      await this.#answer(exchange, answer, sessionId, posted, NO_HEADERS);
    } catch (error) {
      this.#fail(exchange, error, posted.id);
    }
  }

  /** The body counts until `work` is done. */
  #until(work: Promise<void>, exchange: Exchange, bytes: number): void {
    work.finally(() => this.#budget.give(bytes)).catch((error: unknown) => exchange.failed(error));
  }

  /** A body that must be looked at: it opens a session, or is not for one. */
  async #message(exchange: Exchange, scope: Scope, text: string): Promise<void> {
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#refuse(exchange, 400, "Parse error: the body is not JSON", [], RpcCode.parse);
    }
    const { headers } = exchange.req;
    const version = single(headers["mcp-protocol-version"]);
    const classified = classify(message, version);
    if (classified.kind === "refused") return exchange.json(classified.status, classified.body);

    const { id } = classified;
    const call = { principal: this.#principals.of(headers.authorization), version, text };
    const named = single(headers["mcp-session-id"]);
    try {
      if (named === null && classified.kind === "initialize") {
        const { sessionId, answer } = await this.#options.gateway.open({ ...call, scope, message });
        const sessionHeader = sessionId === null ? NO_HEADERS : ["mcp-session-id", sessionId];
        return await this.#answer(exchange, answer, sessionId ?? "", { ...call, id }, sessionHeader);
      }
      const sessionId = sessionIdOf(named, id);
      if (typeof sessionId !== "string") return exchange.json(sessionId.status, sessionId.body);
      await this.#settle(
        exchange,
        sessionId,
        { ...call, id },
        this.#options.gateway.post(sessionId, call, id === null),
      );
    } catch (error) {
      this.#fail(exchange, error, id);
    }
  }

  /** Hands a body over that failed with `failure`. Rejects with the last failure. */
  async #postAgain(sessionId: string, call: PostCall, failure: unknown): Promise<PostAnswer> {
    const { gateway, clock } = this.#options;
    let last = failure;
    let again = false;
    for (const waitMs of POST_AGAIN_AFTER_MS) {
      if (!lostOwner(last)) break;
      again ||= last.started !== "no";
      if (waitMs > 0) await new Promise<void>((resolve) => void clock.after(waitMs, resolve));
      try {
        return await gateway.post(sessionId, again ? { ...call, again } : call);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  #answer(
    exchange: Exchange,
    answer: PostAnswer,
    sessionId: string,
    call: PostCall & { id: RpcId | null },
    headers: readonly string[],
  ): void | Promise<void> {
    if (typeof answer === "string") return exchange.json(200, answer, headers);
    switch (answer.kind) {
      case "accepted":
        return exchange.empty(202, headers);
      case "refused":
        return exchange.json(answer.status, answer.body, answer.status === 429 ? RETRY_AFTER : headers);
      case "stream": {
        const { principal, version } = call;
        const events = { principal, version, stream: answer.stream, lastEventId: null };
        return this.#relay(exchange, sessionId, events, call, headers);
      }
    }
  }

  // GET and DELETE

  #get(exchange: Exchange): void | Promise<void> {
    const { headers } = exchange.req;
    if (!accepts(headers.accept, "text/event-stream")) {
      return this.#refuse(exchange, 406, "Not Acceptable: Accept must list text/event-stream");
    }
    const version = single(headers["mcp-protocol-version"]);
    const refused = refuseVersion(version, null);
    if (refused !== null) return exchange.json(refused.status, refused.body);
    const sessionId = sessionIdOf(single(headers["mcp-session-id"]), null);
    if (typeof sessionId !== "string") return exchange.json(sessionId.status, sessionId.body);
    const lastEventId = single(headers["last-event-id"]);
    if (lastEventId !== null && lastEventId.length > MAX_EVENT_ID_LENGTH) {
      return this.#refuse(exchange, 400, "Bad Request: Last-Event-ID is not an id of this server");
    }
    const principal = this.#principals.of(headers.authorization);
    return this.#relay(exchange, sessionId, { principal, version, stream: null, lastEventId }, null, NO_HEADERS);
  }

  async #delete(exchange: Exchange): Promise<void> {
    const { headers } = exchange.req;
    const refused = refuseVersion(single(headers["mcp-protocol-version"]), null);
    if (refused !== null) return exchange.json(refused.status, refused.body);
    const sessionId = sessionIdOf(single(headers["mcp-session-id"]), null);
    if (typeof sessionId !== "string") return exchange.json(sessionId.status, sessionId.body);
    try {
      await this.#options.gateway.terminate(sessionId, this.#principals.of(headers.authorization));
      exchange.empty(200);
    } catch (error) {
      this.#fail(exchange, error, null);
    }
  }

  // Streams

  /** Carries events to the client until they end or the client is gone. `posted` is the body that the stream answers. */
  async #relay(
    exchange: Exchange,
    sessionId: string,
    call: EventsCall,
    posted: (PostCall & { id: RpcId | null }) | null,
    headers: readonly string[],
  ): Promise<void> {
    const id = posted?.id ?? null;
    const { gateway, streams, clock } = this.#options;
    const { res } = exchange;
    const isAnswer = call.stream !== null;
    // The stream of a POST is bounded by the bodies that wait; its work has begun, so it must be let through.
    if (streams.full && !isAnswer) {
      this.#refused("event_streams");
      const message = `${streams.size} event streams are open on this node`;
      return this.#fail(exchange, new TroupeError("overloaded", message, { started: "no" }), id);
    }
    let from = call;
    let stream: SseStream | undefined;
    let lastDurable = "";
    let attempt = 0;
    let reposted = false;
    while (!res.destroyed) {
      const events = gateway.events(sessionId, from)[Symbol.asyncIterator]();
      const stop = (): void => void events.return?.().catch(ignore);
      res.on("close", stop);
      try {
        for (;;) {
          const { done, value } = await events.next();
          if (res.destroyed) return;
          stream ??= streams.start(exchange, isAnswer, headers);
          if (done) return stream.end();
          if (value.id !== undefined) {
            from = { ...call, stream: null, lastEventId: value.id };
            if (value.data !== "") lastDurable = value.data;
          }
          if (value.opened === undefined) attempt = 0;
          if (!(await stream.write(value))) return stop();
        }
      } catch (error) {
        const waitMs = REOPEN_AFTER_MS[attempt++];
        const worthIt = mayComeBack(error) && (isAnswer || stream !== undefined);
        if (res.destroyed) return;
        if (worthIt && waitMs !== undefined) {
          await new Promise<void>((resolve) => clock.after(waitMs, resolve));
          continue;
        }
        let told = isAnswer && isUnknownStream(error) ? streamLost(sessionId) : error;
        if (posted !== null && !reposted && isUnknownStream(error)) {
          reposted = true;
          // The request was accepted, so its owner is gone and nothing of the stream was stored.
          try {
            const answer = await this.#postAgain(sessionId, posted, streamLost(sessionId));
            if (typeof answer === "object" && answer.kind === "stream") {
              from = { ...call, stream: answer.stream };
              continue;
            }
            if (stream === undefined) return await this.#answer(exchange, answer, sessionId, posted, headers);
            const data = typeof answer === "string" ? answer : answer.kind === "refused" ? answer.body : undefined;
            if (data !== undefined) await stream.write({ data });
            return stream.end();
          } catch (failure) {
            if (!isUnknownStream(failure)) told = failure;
          }
        }
        if (stream === undefined) return this.#fail(exchange, told, id);
        if (isAnswer && id !== null && !answers(lastDurable, id)) {
          await stream.write({ data: describeFailure(told, id).body });
        }
        return stream.end(REOPEN_AFTER_MS[0]);
      } finally {
        res.off("close", stop);
      }
    }
  }

  // Refusals

  #refused(reason: RefusalReason): void {
    this.#options.metrics.counter(REFUSALS_METRIC, REFUSALS_HELP, { reason }).add();
  }

  #fail(exchange: Exchange, error: unknown, id: RpcId | null): void {
    const failure = describeFailure(error, id);
    if (failure.status === 500) this.#options.log.error("a request failed", { path: exchange.path, error });
    exchange.json(failure.status, failure.body, failure.headers);
  }

  #refuse(
    exchange: Exchange,
    status: number,
    message: string,
    headers: readonly string[] = NO_HEADERS,
    code = SERVER_ERROR,
  ): void {
    const body = errorText(null, { code, message });
    // A body nobody will read is skipped by node:http; an overlong one ends the connection instead.
    if (Number(exchange.req.headers["content-length"] ?? 0) > this.#bodyLimit) {
      refuseUpload(exchange, status, body, headers);
    } else {
      exchange.json(status, body, headers);
    }
  }
}

const NO_HEADERS: readonly string[] = [];
const RETRY_AFTER: readonly string[] = ["retry-after", "1"];

function ignore(): void {}

/** Whether a body failed because its session's owner died or stopped; not because of the session or this node. */
function lostOwner(error: unknown): error is TroupeError {
  return TroupeError.is(error, "unavailable") || TroupeError.is(error, "fenced");
}

function isUnknownStream(error: unknown): boolean {
  return TroupeError.is(error, "not_found") && isObject(error.data) && error.data.status === 400;
}

function streamLost(sessionId: string): TroupeError {
  const message = `session ${sessionId} lost its owner; whether the request took effect is unknown`;
  return new TroupeError("unavailable", message, { started: "unknown" });
}

/** Whether `data`, an event's text, is the response to request `id`. */
function answers(data: string, id: RpcId): boolean {
  if (data === "") return false;
  const message: unknown = JSON.parse(data);
  return isObject(message) && message.method === undefined && message.id === id;
}

/** A header that must come once. Twice, node:http joins it to a value that no rule accepts. */
function single(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  return typeof header === "string" ? header : header.join(", ");
}

/** The server a path names, null for the endpoint over all, undefined for a name that cannot be read. */
function serverOf(path: string): string | null | undefined {
  const name = path.slice("/mcp/".length);
  if (name === "") return null;
  try {
    return decodeURIComponent(name);
  } catch {
    return undefined;
  }
}

/** A session id that may be one of ours, or why the request is refused. */
function sessionIdOf(header: string | null, id: RpcId | null): string | Refusal {
  if (header === null) {
    const message = "Bad Request: the Mcp-Session-Id header is required";
    return { kind: "refused", status: 400, body: errorText(id, { code: SERVER_ERROR, message }) };
  }
  if (isSessionId(header)) return header;
  const data = { code: "not_found", started: "no", retryable: false };
  const error = { code: SESSION_NOT_FOUND, message: "Session not found", data };
  return { kind: "refused", status: 404, body: errorText(id, error) };
}

// Pages of allowed origins (CORS)

function allowPage(exchange: Exchange, origin: string): void {
  exchange.res.setHeader("access-control-allow-origin", origin);
  exchange.res.setHeader(
    "access-control-expose-headers",
    "Mcp-Session-Id, MCP-Protocol-Version, Retry-After, Troupe-Node",
  );
  exchange.res.setHeader("vary", "Origin");
}

const PREFLIGHT_HEADERS: readonly string[] = [
  "access-control-allow-methods",
  "GET, POST, DELETE",
  "access-control-allow-headers",
  "Accept, Authorization, Content-Type, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name",
  "access-control-max-age",
  "600",
];

function preflight(exchange: Exchange): void {
  const page = exchange.req.headers.origin !== undefined;
  exchange.empty(204, page ? PREFLIGHT_HEADERS : ["allow", METHODS]);
}
