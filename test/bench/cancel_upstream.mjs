/**
 * An MCP server whose calls wait for their cancel and keep the moment they saw it, in milliseconds of the machine's wall
 * clock, the one clock that all processes share on both runtimes: what `cancels.ts` measures.
 */
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { z } from "zod";

const seen = new Map();
const text = (value) => ({ content: [{ type: "text", text: value }] });

export default function createCancelUpstream() {
  const server = new McpServer({ name: "cancel", version: "1.0.0" });
  server.registerTool(
    "wait",
    { inputSchema: { name: z.string() } },
    ({ name }, { signal }) =>
      new Promise((resolve) => {
        seen.set(name, "waiting");
        signal.addEventListener("abort", () => {
          seen.set(name, String(Date.now()));
          resolve(text("cancelled"));
        });
      }),
  );
  server.registerTool("seen", { inputSchema: { name: z.string() } }, ({ name }) => text(seen.get(name) ?? "unknown"));
  return server;
}
