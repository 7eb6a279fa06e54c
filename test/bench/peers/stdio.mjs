/** The echo server over stdio, for the rows with a stdio upstream. */
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { createEchoServer } from "./echo_sdk_v1.mjs";

await createEchoServer().connect(new StdioServerTransport());
