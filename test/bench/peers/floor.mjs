/**
 * Row (h): the floor. `node:http` and `JSON`, nothing of MCP but the shape of the answers: what a request costs before
 * anybody does anything. Argument: PORT.
 */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

const server = createServer((req, res) => {
  const chunks = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", () => {
    const message = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (message.id === undefined) return void res.writeHead(202).end();
    const headers = { "content-type": "application/json" };
    let result;
    if (message.method === "initialize") {
      headers["mcp-session-id"] = randomUUID();
      const serverInfo = { name: "echo", version: "1.0.0" };
      result = { protocolVersion: message.params.protocolVersion, capabilities: { tools: {} }, serverInfo };
    } else {
      result = { content: [{ type: "text", text: message.params.arguments.text }] };
    }
    res.writeHead(200, headers).end(JSON.stringify({ jsonrpc: "2.0", id: message.id, result }));
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
