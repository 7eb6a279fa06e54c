/** Row (b): `tmcp` with its HTTP transport, on `node:http` as its documentation shows. Argument: PORT. */
import { createServer } from "node:http";
import { createRequestListener } from "@remix-run/node-fetch-server";
import { ZodJsonSchemaAdapter } from "@tmcp/adapter-zod";
import { HttpTransport } from "@tmcp/transport-http";
import { McpServer } from "tmcp";
import { z } from "zod";

const mcp = new McpServer(
  { name: "echo", version: "1.0.0", description: "Says it back" },
  { adapter: new ZodJsonSchemaAdapter(), capabilities: { tools: { listChanged: true } } },
);
mcp.tool({ name: "echo", description: "Says it back", schema: z.object({ text: z.string() }) }, ({ text }) => ({
  content: [{ type: "text", text }],
}));

const transport = new HttpTransport(mcp, { path: "/mcp" });
const server = createServer(
  createRequestListener(async (request) => (await transport.respond(request)) ?? new Response(null, { status: 404 })),
);
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
