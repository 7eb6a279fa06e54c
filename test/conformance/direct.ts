/**
 * The everything-fixture on the SDK's own stateful HTTP transport, without Troupe: the baseline that shows whether a
 * failing scenario is the fixture's fault.
 *
 * Usage: `tsx test/conformance/direct.ts [PORT]`; prints the URL.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import {
  hostHeaderValidationResponse,
  localhostAllowedHostnames,
  WebStandardStreamableHTTPServerTransport,
} from "@modelcontextprotocol/server";
import createEverythingServer from "./everything_module.ts";

/** A running fixture. */
export interface DirectServer {
  url: string;
  close(): Promise<void>;
}

/** Serves the fixture at `/mcp`, one SDK server per session. Port 0 picks a free one. */
export async function serveDirectly(port = 0): Promise<DirectServer> {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();
  const server: Server = createServer((req, res) => {
    answer(sessions, req, res).catch((error: unknown) => {
      if (!res.headersSent) res.writeHead(500);
      res.end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  sessions: Map<string, WebStandardStreamableHTTPServerTransport>,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const id = req.headers["mcp-session-id"];
  if (typeof id === "string" && !sessions.has(id)) return void res.writeHead(404).end();
  const request = toRequest(req);
  const response =
    hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
    (await (await transportFor(sessions, req)).handleRequest(request));
  res.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body === null) return void res.end();
  const reader = response.body.getReader();
  res.on("close", () => void reader.cancel().catch(() => {}));
  res.flushHeaders();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    res.write(value);
  }
  res.end();
}

/** The transport of the session that the request names; a new one without a server-side session otherwise. */
async function transportFor(
  sessions: Map<string, WebStandardStreamableHTTPServerTransport>,
  req: IncomingMessage,
): Promise<WebStandardStreamableHTTPServerTransport> {
  const known = sessions.get(String(req.headers["mcp-session-id"]));
  if (known !== undefined) return known;
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  await createEverythingServer().connect(transport);
  return transport;
}

function toRequest(req: IncomingMessage): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(req.headers)) headers.set(name, String(value));
  const init: RequestInit & { duplex?: "half" } = { method: req.method ?? "GET", headers };
  if (req.method === "POST") {
    init.body = Readable.toWeb(req) as ReadableStream<Uint8Array>;
    init.duplex = "half";
  }
  return new Request(`http://${req.headers.host ?? "127.0.0.1"}${req.url ?? "/"}`, init);
}

if (process.argv[1]?.endsWith("direct.ts")) {
  const server = await serveDirectly(Number(process.argv[2] ?? 0));
  console.log(server.url);
}
