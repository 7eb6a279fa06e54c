/**
 * The server that the official conformance suite expects, as a module upstream: a factory of an SDK `McpServer`.
 *
 * The names, texts and schemas below are hard-wired in the suite's scenarios; each entry exists because a scenario asks
 * for it. Everything is built per call of the factory, so one session never sees another's state.
 */
import {
  completable,
  fromJsonSchema,
  McpServer,
  ResourceTemplate,
  type ServerContext,
} from "@modelcontextprotocol/server";
import { z } from "zod";

/** One red pixel. */
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/** A WAV header without samples. */
const WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

/** Long enough that a client sees separate notifications, as the logging and progress scenarios want. */
const STEP_MS = 50;

const text = (value: string) => ({ content: [{ type: "text" as const, text: value }] });
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Makes the server for one session. */
export default function createEverythingServer(): McpServer {
  const server = new McpServer(
    { name: "everything-fixture", version: "1.0.0" },
    {
      capabilities: { logging: {}, completions: {}, resources: { subscribe: true, listChanged: true } },
      instructions: "Answers the scenarios of the MCP conformance suite.",
    },
  );
  addPlainTools(server);
  addConversingTools(server);
  addElicitations(server);
  addResources(server);
  addPrompts(server);
  return server;
}

function addPlainTools(server: McpServer): void {
  server.registerTool("test_simple_text", { description: "Returns one text" }, () =>
    text("This is a simple text response for testing."),
  );
  server.registerTool("test_image_content", { description: "Returns one image" }, () => ({
    content: [{ type: "image", data: PNG, mimeType: "image/png" }],
  }));
  server.registerTool("test_audio_content", { description: "Returns one sound" }, () => ({
    content: [{ type: "audio", data: WAV, mimeType: "audio/wav" }],
  }));
  server.registerTool("test_embedded_resource", { description: "Returns one embedded resource" }, () => ({
    content: [
      {
        type: "resource",
        resource: {
          uri: "test://embedded-resource",
          mimeType: "text/plain",
          text: "This is an embedded resource content.",
        },
      },
    ],
  }));
  server.registerTool("test_multiple_content_types", { description: "Returns text, image and resource" }, () => ({
    content: [
      { type: "text", text: "Multiple content types test:" },
      { type: "image", data: PNG, mimeType: "image/png" },
      {
        type: "resource",
        resource: {
          uri: "test://mixed-content-resource",
          mimeType: "application/json",
          text: JSON.stringify({ test: "data", value: 123 }),
        },
      },
    ],
  }));
  server.registerTool("test_error_handling", { description: "Always fails" }, () => {
    throw new Error("This tool intentionally returns an error for testing");
  });
  server.registerTool(
    "json_schema_2020_12_tool",
    {
      description: "Has an input schema with JSON Schema 2020-12 keywords",
      inputSchema: fromJsonSchema(SCHEMA_2020_12),
    },
    (input) => text(`Received ${JSON.stringify(input)}`),
  );
}

function addConversingTools(server: McpServer): void {
  server.registerTool("test_tool_with_logging", { description: "Logs three times" }, async (ctx: ServerContext) => {
    await ctx.mcpReq.log("info", "Tool execution started");
    await pause(STEP_MS);
    await ctx.mcpReq.log("info", "Tool processing data");
    await pause(STEP_MS);
    await ctx.mcpReq.log("info", "Tool execution completed");
    return text("Logged three messages.");
  });
  server.registerTool(
    "test_tool_with_progress",
    { description: "Reports progress three times" },
    async (ctx: ServerContext) => {
      const token = ctx.mcpReq._meta?.progressToken;
      for (const progress of [0, 50, 100]) {
        if (progress > 0) await pause(STEP_MS);
        if (token === undefined) continue;
        await ctx.mcpReq.notify({
          method: "notifications/progress",
          params: { progressToken: token, progress, total: 100, message: `Completed step ${progress} of 100` },
        });
      }
      return text(`Progress token: ${String(token)}`);
    },
  );
  server.registerTool(
    "test_sampling",
    { description: "Asks the client's model", inputSchema: z.object({ prompt: z.string() }) },
    async ({ prompt }, ctx) => {
      const answer = await ctx.mcpReq.requestSampling({
        messages: [{ role: "user", content: { type: "text", text: prompt } }],
        maxTokens: 100,
      });
      const block = Array.isArray(answer.content) ? answer.content[0] : answer.content;
      return text(`LLM response: ${block?.type === "text" ? block.text : JSON.stringify(block)}`);
    },
  );
  server.registerTool(
    "test_elicitation",
    { description: "Asks the client's user", inputSchema: z.object({ message: z.string() }) },
    async ({ message }, ctx) => {
      const answer = await ctx.mcpReq.elicitInput({
        mode: "form",
        message,
        requestedSchema: {
          type: "object",
          properties: {
            username: { type: "string", description: "User's response" },
            email: { type: "string", description: "User's email address" },
          },
          required: ["username", "email"],
        },
      });
      return text(`User response: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
    },
  );
  server.registerTool(
    "test_reconnection",
    { description: "Lets go of its stream before it answers" },
    async (ctx: ServerContext) => {
      // Only a server that owns its HTTP transport can do this; behind a gateway the stream is the gateway's to close.
      ctx.http?.closeSSE?.();
      await pause(2 * STEP_MS);
      return text("Reconnection test completed.");
    },
  );
}

function addElicitations(server: McpServer): void {
  server.registerTool(
    "test_elicitation_sep1034_defaults",
    { description: "Elicits with a default for each primitive type" },
    async (ctx: ServerContext) => {
      const answer = await ctx.mcpReq.elicitInput({
        mode: "form",
        message: "Please review the defaults",
        requestedSchema: {
          type: "object",
          properties: {
            name: { type: "string", description: "User name", default: "John Doe" },
            age: { type: "integer", description: "User age", default: 30 },
            score: { type: "number", description: "User score", default: 95.5 },
            status: {
              type: "string",
              description: "User status",
              enum: ["active", "inactive", "pending"],
              default: "active",
            },
            verified: { type: "boolean", description: "Verification status", default: true },
          },
          required: [],
        },
      });
      return text(`Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
    },
  );
  server.registerTool(
    "test_elicitation_sep1330_enums",
    { description: "Elicits with each kind of enum" },
    async (ctx: ServerContext) => {
      const titled = [
        { const: "value1", title: "First Option" },
        { const: "value2", title: "Second Option" },
        { const: "value3", title: "Third Option" },
      ];
      const answer = await ctx.mcpReq.elicitInput({
        mode: "form",
        message: "Please choose",
        requestedSchema: {
          type: "object",
          properties: {
            untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
            titledSingle: { type: "string", oneOf: titled },
            legacyEnum: {
              type: "string",
              enum: ["opt1", "opt2", "opt3"],
              enumNames: ["Option One", "Option Two", "Option Three"],
            },
            untitledMulti: { type: "array", items: { type: "string", enum: ["option1", "option2", "option3"] } },
            titledMulti: {
              type: "array",
              items: {
                anyOf: [
                  { const: "value1", title: "First Choice" },
                  { const: "value2", title: "Second Choice" },
                  { const: "value3", title: "Third Choice" },
                ],
              },
            },
          },
          required: [],
        },
      });
      return text(`Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
    },
  );
}

function addResources(server: McpServer): void {
  const fixed = (
    name: string,
    uri: string,
    mimeType: string,
    description: string,
    body: { text: string } | { blob: string },
  ) =>
    server.registerResource(name, uri, { mimeType, description }, () => ({ contents: [{ uri, mimeType, ...body }] }));

  fixed("static-text", "test://static-text", "text/plain", "A text that never changes", {
    text: "This is the content of the static text resource.",
  });
  fixed("static-binary", "test://static-binary", "image/png", "An image that never changes", { blob: PNG });
  fixed("watched-resource", "test://watched-resource", "text/plain", "A text to subscribe to", { text: "Watched." });
  fixed("example-resource", "test://example-resource", "text/plain", "A text to embed in a prompt", {
    text: "Example.",
  });

  server.registerResource(
    "template-data",
    new ResourceTemplate("test://template/{id}/data", { list: undefined, complete: { id: (value) => [`${value}1`] } }),
    { mimeType: "application/json", description: "A document with the id of its URI" },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: "application/json",
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }),
        },
      ],
    }),
  );
  const subscribed = new Set<string>();
  server.server.setRequestHandler("resources/subscribe", ({ params }) => {
    subscribed.add(params.uri);
    return {};
  });
  server.server.setRequestHandler("resources/unsubscribe", ({ params }) => {
    subscribed.delete(params.uri);
    return {};
  });
}

function addPrompts(server: McpServer): void {
  const user = <T>(content: T) => ({ role: "user" as const, content });
  const words = ["paris", "park", "party"];

  server.registerPrompt("test_simple_prompt", { description: "One message" }, () => ({
    messages: [user({ type: "text", text: "This is a simple prompt for testing." })],
  }));
  server.registerPrompt(
    "test_prompt_with_arguments",
    {
      description: "One message with two arguments",
      argsSchema: z.object({
        arg1: completable(z.string().describe("First test argument"), (value) =>
          words.filter((w) => w.startsWith(value)),
        ),
        arg2: z.string().describe("Second test argument"),
      }),
    },
    ({ arg1, arg2 }) => ({
      messages: [user({ type: "text", text: `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'` })],
    }),
  );
  server.registerPrompt(
    "test_prompt_with_embedded_resource",
    {
      description: "A resource and a question about it",
      argsSchema: z.object({ resourceUri: z.string().describe("URI of the resource to embed") }),
    },
    ({ resourceUri }) => ({
      messages: [
        user({
          type: "resource",
          resource: { uri: resourceUri, mimeType: "text/plain", text: "Embedded resource content for testing." },
        }),
        user({ type: "text", text: "Please process the embedded resource above." }),
      ],
    }),
  );
  server.registerPrompt("test_prompt_with_image", { description: "An image and a question about it" }, () => ({
    messages: [
      user({ type: "image", data: PNG, mimeType: "image/png" }),
      user({ type: "text", text: "Please analyze the image above." }),
    ],
  }));
}

/** The keywords whose way through a gateway SEP-1613 and SEP-2106 watch. */
const SCHEMA_2020_12 = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object" as const,
  $defs: {
    address: {
      $anchor: "addressDef",
      type: "object",
      properties: { street: { type: "string" }, city: { type: "string" } },
    },
  },
  properties: {
    name: { type: "string" },
    address: { $ref: "#/$defs/address" },
    contactMethod: { type: "string", enum: ["phone", "email"] },
    phone: { type: "string" },
    email: { type: "string" },
  },
  allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
  if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
  // biome-ignore lint/suspicious/noThenProperty: `then` is a keyword of JSON Schema.
  then: { required: ["phone"] },
  else: { required: ["email"] },
  additionalProperties: false,
};
