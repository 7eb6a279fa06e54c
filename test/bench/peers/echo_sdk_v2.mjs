/** The echo server as an `McpServer` of the SDK v2, as a module upstream. Resolves the SDK of the product's checkout. */
import { McpServer } from "@modelcontextprotocol/server";
import { z } from "zod";

export default function createEchoServer() {
  const server = new McpServer({ name: "echo", version: "1.0.0" });
  server.registerTool(
    "echo",
    { description: "Says it back", inputSchema: z.object({ text: z.string() }) },
    ({ text }) => ({
      content: [{ type: "text", text }],
    }),
  );
  return server;
}
