/**
 * A `Channel` over Streamable HTTP, on the SDK's client transport used raw: it does the HTTP, we keep the JSON-RPC.
 *
 * The SDK does not tell which response stream a message came from, and that is exactly what a gateway has to know. So
 * every request gets a transport object of its own (they are cheap and share the session id); what arrives there belongs
 * to that request, also after the SDK has resumed its stream by GET. One more transport, the main one, carries the
 * handshake, notifications, answers, and the standalone GET stream, whose messages belong to no request.
 *
 * ## Going on with a former owner's session
 * Every stream's last event id is kept (its cursor). A successor that is given the session id needs no handshake: it
 * opens the standalone stream from its cursor, and fetches the answers of requests that were on their way by GET with
 * theirs (`resumeRequest`). What an upstream without event ids sent meanwhile is lost.
 *
 * ## Ends
 * - 404 for a request with our session id: the upstream has forgotten the session. The channel closes as `closed`, and the
 *   request is `lost` as never started; the next request starts a new session.
 * - A POST that fails otherwise loses only its request. A refused connection or a 4xx proves that it did not start.
 * - `close` sends DELETE, unless ownership moved (`fenced`, `drain`): then the successor may be using the session.
 *
 * ## Bounds
 * One event or JSON answer is at most 16 MiB. While paused, response bodies are not read. At most `MAX_OPEN` requests
 * are on their way at once; then the channel is congested.
 *
 * Only configured headers are sent; a client's own credentials never pass through here.
 */
import type { StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { WorkerServices } from "../../runtime/actor/define.ts";
import type { AbortReason, Started } from "../../runtime/actor/errors.ts";
import type {
  Channel,
  ChannelClosed,
  ChannelMessageInfo,
  RpcId,
  RpcMessage,
  UpstreamConfig,
  UpstreamSession,
} from "./contract.ts";

type HttpTransport = Extract<UpstreamConfig["transport"], { kind: "http" }>;
type SdkMessage = Parameters<StreamableHTTPClientTransport["send"]>[0];

const NO_INFO: ChannelMessageInfo = {};
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const MAX_OPEN = 1_024;
/** Longest wait for the answer to DELETE, milliseconds. */
const DELETE_MS = 2_000;
/** How long an upstream may leave a stream open after its response, milliseconds. */
const LINGER_MS = 5_000;
const RESUME = {
  initialReconnectionDelay: 500,
  maxReconnectionDelay: 30_000,
  reconnectionDelayGrowFactor: 2,
  maxRetries: 5,
};
/** The standalone stream is worth having for as long as the session lives. */
const RESUME_ALWAYS = { ...RESUME, maxRetries: 1_000_000 };
const REFUSED = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

interface OpenRequest {
  readonly transport: StreamableHTTPClientTransport;
  /** Id of the last event of its stream. */
  cursor: string | undefined;
}

export class HttpChannel implements Channel {
  onmessage: Channel["onmessage"];
  onclose: Channel["onclose"];
  onlost: Channel["onlost"];
  readonly #transport: HttpTransport;
  readonly #services: WorkerServices;
  readonly #ready: Promise<typeof StreamableHTTPClientTransport>;
  #main: StreamableHTTPClientTransport | undefined;
  #version: string | undefined;
  /** The standalone stream is ours to open, so that its event ids are known; the SDK's own attempt is turned away. */
  #listening = false;
  /** Of the standalone stream. */
  #cursor: string | undefined;
  /** Requests whose response has not come, by id. */
  readonly #open = new Map<RpcId, OpenRequest>();
  readonly #lingering = new Set<StreamableHTTPClientTransport>();
  /** What later messages must wait for, so that nothing overtakes the handshake. */
  #barrier: Promise<void>;
  #paused: Promise<void> | undefined;
  #resume = (): void => {};
  #closed: ChannelClosed | undefined;

  /** `resume`: a session that a former owner began. */
  constructor(transport: HttpTransport, services: WorkerServices, resume?: UpstreamSession) {
    this.#transport = transport;
    this.#services = services;
    this.#version = resume?.greeting.protocolVersion;
    this.#cursor = resume?.cursor;
    this.#ready = import("@modelcontextprotocol/client").then((sdk) => sdk.StreamableHTTPClientTransport);
    this.#barrier = this.#start(resume?.sessionId).catch((error) => this.#fail("crashed", String(error)));
  }

  get congested(): boolean {
    return this.#open.size >= MAX_OPEN;
  }

  get session(): { sessionId: string; cursor: string | undefined } | undefined {
    const sessionId = this.#main?.sessionId;
    return sessionId === undefined ? undefined : { sessionId, cursor: this.#cursor };
  }

  cursorOf(id: RpcId): string | undefined {
    return this.#open.get(id)?.cursor;
  }

  resumeRequest(id: RpcId, cursor: string): void {
    void this.#barrier.then(() => this.#resumeRequest(id, cursor));
  }

  setProtocolVersion(version: string): void {
    this.#version = version;
    this.#main?.setProtocolVersion(version);
  }

  send(message: RpcMessage): void {
    if (this.#closed !== undefined) return;
    if ("method" in message && "id" in message && message.method !== "initialize") {
      void this.#barrier.then(() => this.#request(message.id, message));
      return;
    }
    const sent = this.#barrier.then(() => this.#plain(message));
    // Only the handshake must be in order; a later notification does not hold up what follows.
    if ("method" in message && (message.method === "initialize" || message.method === "notifications/initialized")) {
      this.#barrier = sent;
    }
  }

  pause(): void {
    this.#paused ??= new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#paused = undefined;
    this.#resume();
  }

  async close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    if (this.#closed !== undefined) return;
    const main = this.#main;
    if (main !== undefined && reason !== "fenced" && reason !== "drain") {
      // Started before our own requests are cut, so that it leaves on the open connection.
      const ended = main.terminateSession().catch((error) => {
        this.#services.log.debug("an upstream did not take DELETE", { url: this.#transport.url, error });
      });
      this.#fail("closed", `it was stopped (${reason})`, { last: ended });
      await this.#within(DELETE_MS, ended);
      return void main.close();
    }
    this.#fail("closed", `it was stopped (${reason})`);
  }

  async #start(sessionId: string | undefined): Promise<void> {
    const Transport = await this.#ready;
    const main = new Transport(new URL(this.#transport.url), {
      requestInit: { headers: { ...this.#transport.headers } },
      fetch: (url, init) => this.#fetch(url, init),
      sessionId,
      protocolVersion: this.#version,
      reconnectionOptions: RESUME_ALWAYS,
    });
    main.onmessage = (message) => this.onmessage?.(message as RpcMessage, NO_INFO);
    await main.start();
    if (this.#closed !== undefined) return void main.close();
    this.#main = main;
    if (sessionId !== undefined) this.#listen(main);
  }

  /** Opens the standalone stream, from its cursor where there is one. An upstream need not have it. */
  #listen(main: StreamableHTTPClientTransport): void {
    this.#listening = true;
    const onresumptiontoken = (id: string): void => {
      this.#cursor = id;
    };
    main.resumeStream(this.#cursor ?? "", { onresumptiontoken }).catch((error) => {
      this.#services.log.debug("an upstream's standalone stream did not open", { url: this.#transport.url, error });
      if (this.#cursor === undefined || statusOf(error) === undefined || this.#closed !== undefined) return;
      // The upstream keeps no events from so long ago: what was missed is lost.
      this.#cursor = undefined;
      this.#listen(main);
    });
  }

  /** Everything but a request after the handshake. */
  async #plain(message: RpcMessage): Promise<void> {
    const main = this.#main;
    if (this.#closed !== undefined || main === undefined) return;
    const isInitialize = "method" in message && message.method === "initialize";
    try {
      await main.send(message as SdkMessage);
      if ("method" in message && message.method === "notifications/initialized") this.#listen(main);
    } catch (error) {
      if (isInitialize) this.#fail("network", this.#failure(error));
      else this.#services.log.debug("an upstream did not take a message", { url: this.#transport.url, error });
    }
    if ("method" in message && message.method === "notifications/cancelled") {
      // Upstreams send no response to a cancelled request, and many leave its stream open for ever.
      const id = message.params?.requestId as RpcId;
      const request = this.#open.get(id);
      this.#open.delete(id);
      void request?.transport.close();
    }
  }

  async #request(id: RpcId, message: RpcMessage): Promise<void> {
    if (this.#closed !== undefined) return;
    const request = await this.#opened(id, undefined);
    try {
      await request.transport.send(message as SdkMessage, {
        onresumptiontoken: (cursor) => {
          request.cursor = cursor;
        },
        onRequestStreamEnd: () => {
          this.#lingering.delete(request.transport);
          this.#lost(id, { started: "unknown", detail: "the upstream ended the response stream without a response" });
        },
      });
    } catch (error) {
      const answer = errorAnswer(error, id);
      if (answer !== undefined && this.#open.delete(id)) this.onmessage?.(answer, { relatedRequestId: id });
      else this.#lost(id, { started: startedBefore(error), detail: this.#failure(error) });
    }
  }

  async #resumeRequest(id: RpcId, cursor: string): Promise<void> {
    if (this.#closed !== undefined) return;
    const request = await this.#opened(id, cursor);
    try {
      await request.transport.resumeStream(cursor, {
        onresumptiontoken: (next) => {
          request.cursor = next;
        },
      });
    } catch (error) {
      this.#lost(id, { started: "unknown", detail: this.#failure(error) });
    }
  }

  /** A transport for one request and what belongs to it. */
  async #opened(id: RpcId, cursor: string | undefined): Promise<OpenRequest> {
    const Transport = await this.#ready;
    const transport = new Transport(new URL(this.#transport.url), {
      requestInit: { headers: { ...this.#transport.headers } },
      fetch: (url, init) => this.#fetch(url, init, id),
      sessionId: this.#main?.sessionId,
      protocolVersion: this.#version,
      reconnectionOptions: RESUME,
      // The SDK tells nobody when it gives a resumed stream up.
      ...(cursor === undefined ? {} : { reconnectionScheduler: this.#resumeAgain(id) }),
    });
    const info: ChannelMessageInfo = { relatedRequestId: id };
    transport.onmessage = (received) => {
      const response = received as RpcMessage;
      if (!("method" in response) && response.id === id) this.#answered(id, transport);
      this.onmessage?.(response, info);
    };
    const request: OpenRequest = { transport, cursor };
    this.#open.set(id, request);
    await transport.start();
    return request;
  }

  #resumeAgain(id: RpcId) {
    return (reconnect: () => void, delay: number, attempt: number): (() => void) => {
      if (attempt < RESUME.maxRetries - 1) return this.#services.clock.after(delay, reconnect);
      this.#lost(id, { started: "unknown", detail: "the upstream's stream cannot be resumed" });
      return () => {};
    };
  }

  #answered(id: RpcId, request: StreamableHTTPClientTransport): void {
    if (!this.#open.delete(id)) return;
    this.#lingering.add(request);
    this.#services.clock.after(LINGER_MS, () => {
      if (this.#lingering.delete(request)) void request.close();
    });
  }

  #lost(id: RpcId, lost: { started: Started; detail: string }): void {
    if (this.#open.delete(id)) this.onlost?.(id, lost);
  }

  /** `fetch` with our bounds on the response, and with an eye on 404. */
  async #fetch(url: string | URL, init?: RequestInit, id?: RpcId): Promise<Response> {
    if (init?.method === "GET") {
      if (id === undefined && !this.#listening) return new Response(null, { status: 405 });
      // The SDK forgets where a stream began that breaks before its first event.
      const cursor = id === undefined ? this.#cursor : this.#open.get(id)?.cursor;
      if (cursor !== undefined && init.headers instanceof Headers) init.headers.set("last-event-id", cursor);
    }
    const response = await fetch(url, init);
    if (response.status === 404 && this.#main?.sessionId !== undefined && init?.method !== "DELETE") {
      const detail = "the upstream no longer knows the session (HTTP 404)";
      // A request whose stream is fetched by GET had begun.
      if (id !== undefined) this.#lost(id, { started: init?.method === "GET" ? "unknown" : "no", detail });
      this.#fail("closed", detail, { forgotten: true });
    }
    // Below 200 (0 in some runtimes) stands for a redirect that was not followed; it cannot be copied.
    if (response.body === null || response.status < 200) return response;
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
    const { status, statusText, headers } = response;
    const bounded = new Response(response.body.pipeThrough(this.#bounded(isStream)), { status, statusText, headers });
    // A Response we make has no address, which the transport needs to see redirects.
    Object.defineProperty(bounded, "url", { value: response.url });
    return bounded;
  }

  /** Passes bytes on, waits while paused, and breaks off when one event (or the one answer) is too large. */
  #bounded(isStream: boolean): TransformStream<Uint8Array, Uint8Array> {
    let size = 0;
    return new TransformStream<Uint8Array, Uint8Array>({
      transform: async (chunk, controller) => {
        const end = isStream ? endOfLastEvent(chunk) : -1;
        size = end < 0 ? size + chunk.length : chunk.length - end;
        if (size > MAX_BODY_BYTES) {
          const detail = `it sent an answer of more than ${MAX_BODY_BYTES} bytes`;
          controller.error(new Error(detail));
          return this.#fail("protocol", detail);
        }
        while (this.#paused !== undefined) await this.#paused;
        controller.enqueue(chunk);
      },
    });
  }

  #failure(error: unknown): string {
    const { url } = this.#transport;
    const shown = new URL(url);
    shown.username = "";
    shown.password = "";
    shown.search = "";
    const status = statusOf(error);
    if (status !== undefined) return `${shown} answered HTTP ${status}`;
    const code = networkCode(error);
    return `${shown} cannot be reached: ${code ?? (error instanceof Error ? error.message : String(error))}`;
  }

  #fail(
    reason: ChannelClosed["reason"],
    detail: string,
    { last = Promise.resolve(), forgotten = false }: { last?: Promise<void>; forgotten?: boolean } = {},
  ): void {
    if (this.#closed !== undefined) return;
    this.#closed = forgotten ? { reason, detail, forgotten } : { reason, detail };
    this.resume();
    const transports = [...[...this.#open.values()].map(({ transport }) => transport), ...this.#lingering];
    this.#open.clear();
    this.#lingering.clear();
    for (const transport of transports) void transport.close();
    // Closing the main transport would cut the DELETE off.
    void last.then(() => this.#main?.close());
    this.onclose?.(this.#closed);
  }

  async #within(ms: number, promise: Promise<void>): Promise<void> {
    let cancel = (): void => {};
    const limit = new Promise<void>((resolve) => {
      cancel = this.#services.clock.after(ms, resolve);
    });
    await Promise.race([promise, limit]);
    cancel();
  }
}

/** Where the last whole event of a piece of an event stream ends; -1: it has no such end. */
function endOfLastEvent(chunk: Uint8Array): number {
  const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return Math.max(bytes.lastIndexOf("\n\n"), bytes.lastIndexOf("\r\n\r\n"));
}

/** The HTTP status in an error of the SDK. */
function statusOf(error: unknown): number | undefined {
  const data = sdkData(error);
  return typeof data?.status === "number" ? data.status : undefined;
}

/** A JSON-RPC error in the body of a refused POST, as the answer to the request. 404 is about the session, not the call. */
function errorAnswer(error: unknown, id: RpcId): RpcMessage | undefined {
  const data = sdkData(error);
  if (typeof data?.text !== "string" || data.status === 404) return undefined;
  try {
    const body = JSON.parse(data.text) as { error?: { code?: unknown; message?: unknown; data?: unknown } };
    const { code, message } = body.error ?? {};
    if (typeof code !== "number" || typeof message !== "string") return undefined;
    return { jsonrpc: "2.0", id, error: { code, message, data: body.error?.data } };
  } catch {
    return undefined;
  }
}

function sdkData(error: unknown): { status?: unknown; text?: unknown } | undefined {
  if (!(error instanceof Error) || !("data" in error)) return undefined;
  const { data } = error;
  return typeof data === "object" && data !== null ? data : undefined;
}

function networkCode(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ("code" in at && typeof at.code === "string") return at.code;
    // Deno has no codes for these; its messages name the operating system's words.
    if (/connection refused/i.test(at.message)) return "ECONNREFUSED";
  }
  return undefined;
}

/** Whether a request whose POST failed like this may have begun. */
function startedBefore(error: unknown): Started {
  const status = statusOf(error);
  if (status !== undefined) return status >= 400 && status < 500 && status !== 408 ? "no" : "unknown";
  const code = networkCode(error);
  return code !== undefined && REFUSED.has(code) ? "no" : "unknown";
}
