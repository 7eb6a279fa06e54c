/** `cancel_upstream.mjs` over stdio. */
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import createCancelUpstream from "./cancel_upstream.mjs";

await createCancelUpstream().connect(new StdioServerTransport());
