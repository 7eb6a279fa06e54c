/**
 * A process that no fault hits: the upstream over Streamable HTTP at `/mcp`, and the recorder of what all upstreams
 * executed (`POST /executed?call=…`, `POST /cancelled?call=…`, `GET /records`). Prints its port. Listens on the address
 * given as its argument.
 */
import { randomUUID } from "node:crypto";
import { createServer as createHttpServer } from "node:http";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

const executed = new Map();
const cancelled = new Map();
const sessions = new Map();

const http = createHttpServer((req, res) => {
  serve(req, res).catch(() => res.destroy());
});

async function serve(req, res) {
  const url = new URL(req.url, "http://recorder");
  const counts = { "/executed": executed, "/cancelled": cancelled }[url.pathname];
  if (counts !== undefined) {
    const call = url.searchParams.get("call");
    counts.set(call, (counts.get(call) ?? 0) + 1);
    return void res.end();
  }
  if (url.pathname === "/records") {
    return void res.end(
      JSON.stringify({ executed: [...executed], cancelled: [...cancelled], sessions: sessions.size }),
    );
  }
  const id = req.headers["mcp-session-id"];
  const transport = id === undefined ? await open() : sessions.get(id);
  if (transport === undefined) return void res.writeHead(404).end();
  await transport.handleRequest(req, res);
}

async function open() {
  const { default: createServer } = await import("./upstream.mjs");
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  await createServer().connect(transport);
  return transport;
}

http.listen(Number(process.env.CHAOS_RECORDER_PORT ?? 0), process.argv[2] ?? "127.0.0.1", () => {
  process.stdout.write(`${http.address().port}\n`);
});
