/** A Streamable HTTP upstream for tests: an SDK server behind `node:http`, which remembers what it was sent. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";
import { WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";

interface Session {
  handle(req: IncomingMessage, res: ServerResponse, body: unknown): Promise<void>;
}
export interface Connectable {
  connect(transport: unknown): Promise<void>;
}

export interface HttpUpstream {
  readonly url: string;
  readonly deleted: string[];
  readonly headers: IncomingMessage["headers"][];
  readonly sessions: Map<string, Session>;
  /** Answers the next POST of a request with this instead. */
  override: ((res: ServerResponse) => void) | undefined;
  close(): Promise<void>;
}

type Factory = (ctx: { era: string }) => Connectable | Promise<Connectable>;

/**
 * Serves fixture `server_v1.mjs` or `server_v2.mjs`, or what `factory` makes with the SDK of that version. `events`: with
 * event ids, so that streams can be resumed.
 */
export async function startHttpUpstream(
  version: "v1" | "v2",
  { events = false, factory }: { events?: boolean; factory?: Factory } = {},
): Promise<HttpUpstream> {
  const make = factory ?? ((await import(`./fixtures/server_${version}.mjs`)) as { default: Factory }).default;
  const upstream: HttpUpstream & { url: string } = {
    url: "",
    deleted: [],
    headers: [],
    sessions: new Map(),
    override: undefined,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const open = async (): Promise<Session> => {
    const mcp = await make({ era: "legacy" });
    const options = {
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id: string) => void upstream.sessions.set(id, session),
      onsessionclosed: (id: string) => {
        upstream.deleted.push(id);
        upstream.sessions.delete(id);
      },
      ...(events ? { eventStore: new EventStore(), retryInterval: 50 } : {}),
    };
    let session: Session;
    if (version === "v1") {
      const transport = new StreamableHTTPServerTransport(options);
      session = { handle: (req, res, body) => transport.handleRequest(req, res, body) };
      await mcp.connect(transport);
    } else {
      const transport = new WebStandardStreamableHTTPServerTransport(options);
      session = {
        handle: async (req, res, body) =>
          respond(await transport.handleRequest(toRequest(req, body), { parsedBody: body }), res),
      };
      await mcp.connect(transport);
    }
    return session;
  };
  const server = createServer((req, res) => {
    // A client that went away in the middle of its request has no answer to get.
    serve(req, res).catch(() => res.destroy());
  });
  const serve = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    upstream.headers.push(req.headers);
    const body = req.method === "POST" ? await readJson(req) : undefined;
    if (upstream.override !== undefined && isRequest(body)) {
      const answer = upstream.override;
      upstream.override = undefined;
      return answer(res);
    }
    const id = req.headers["mcp-session-id"];
    const session = typeof id === "string" ? upstream.sessions.get(id) : await open();
    if (session === undefined) return void res.writeHead(404).end("no such session");
    await session.handle(req, res, body);
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  upstream.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  return upstream;
}

/** Keeps every event, as the SDK's servers want it. */
class EventStore {
  readonly #events: { id: string; streamId: string; message: JSONRPCMessage }[] = [];

  async storeEvent(streamId: string, message: JSONRPCMessage): Promise<string> {
    const id = `e${this.#events.length + 1}`;
    this.#events.push({ id, streamId, message });
    return id;
  }
  async getStreamIdForEventId(id: string): Promise<string | undefined> {
    return this.#events.find((event) => event.id === id)?.streamId;
  }
  async replayEventsAfter(
    id: string,
    { send }: { send: (eventId: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string> {
    const at = this.#events.findIndex((event) => event.id === id);
    const streamId = this.#events[at]?.streamId ?? "";
    for (const event of this.#events.slice(at + 1)) {
      if (event.streamId === streamId && "jsonrpc" in event.message) await send(event.id, event.message);
    }
    return streamId;
  }
}

function isRequest(body: unknown): boolean {
  return typeof body === "object" && body !== null && "id" in body && "method" in body && body.method !== "initialize";
}

async function readJson(req: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of req.setEncoding("utf8")) text += chunk;
  return JSON.parse(text);
}

function toRequest(req: IncomingMessage, body: unknown): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(req.headers)) if (typeof value === "string") headers.set(name, value);
  const method = req.method ?? "GET";
  return new Request(`http://127.0.0.1${req.url}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function respond(response: Response, res: ServerResponse): Promise<void> {
  res.writeHead(response.status, Object.fromEntries(response.headers));
  res.flushHeaders();
  if (response.body === null) return void res.end();
  const reader = response.body.getReader();
  res.on("close", () => void reader.cancel().catch(() => {}));
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
    if (done) break;
    res.write(value);
  }
  res.end();
}
