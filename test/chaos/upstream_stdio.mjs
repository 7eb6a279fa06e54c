import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import createServer from "./upstream.mjs";

await createServer().connect(new StdioServerTransport());
