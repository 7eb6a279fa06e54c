/**
 * Row (a): the SDK v1 server on its own stateful Streamable HTTP transport, a transport and server per session.
 *
 * Arguments: PORT, and `json` or `sse` for the kind of answer. With JSON answers version 1.32.2 keeps an entry in
 * `_streamMapping` per call for ever; it is emptied here, because a growing heap would make this row slower than it is.
 */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { createEchoServer } from "./echo_sdk_v1.mjs";

const [port, answer] = process.argv.slice(2);
const enableJsonResponse = answer === "json";
const sessions = new Map();

/** The map sits in the transport, or in the web-standard one that it wraps. */
function streamMappingOf(transport) {
  const holders = [transport, ...Object.values(transport)];
  return holders.map((holder) => holder?._streamMapping).find((value) => value instanceof Map);
}

async function transportOf(req) {
  const known = sessions.get(req.headers["mcp-session-id"]);
  if (known !== undefined) return known;
  const transport = new StreamableHTTPServerTransport({
    enableJsonResponse,
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  await createEchoServer().connect(transport);
  const mapping = streamMappingOf(transport);
  if (mapping === undefined) throw new Error("this version of the SDK has no _streamMapping; look again for its leak");
  transport.forgetStreams = () => mapping.clear();
  return transport;
}

const server = createServer((req, res) => {
  transportOf(req)
    .then(async (transport) => {
      // One call per session is in flight, so whatever is in the map when its answer is out is a leftover.
      if (enableJsonResponse) res.on("finish", () => transport.forgetStreams());
      await transport.handleRequest(req, res);
    })
    .catch((error) => res.writeHead(500).end(String(error)));
});
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
