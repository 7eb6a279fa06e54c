/**
 * The server of `npm run bench:failover`: calls that answer at once, calls that wait until they are released, a crash, and
 * when this instance was started.
 */
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { z } from "zod";

const text = (value) => ({ content: [{ type: "text", text: value }] });

export default function createServer() {
  const held = new Map();
  const startedAt = Date.now();
  const server = new McpServer({ name: "failover", version: "1.0.0" }, { capabilities: { logging: {} } });
  server.registerTool("echo", { inputSchema: { text: z.string() } }, (args) => text(args.text));
  server.registerTool(
    "hold",
    { inputSchema: { name: z.string() } },
    ({ name }) => new Promise((resolve) => held.set(name, () => resolve(text(`released ${name}`)))),
  );
  server.registerTool("release", { inputSchema: { name: z.string() } }, ({ name }) => {
    held.get(name)?.();
    return text(held.delete(name) ? "released" : "unknown");
  });
  server.registerTool("started", {}, () => text(String(startedAt)));
  // In a worker this ends the thread, as an uncaught error of an extension does.
  server.registerTool("crash", {}, () => process.exit(1));
  return server;
}
