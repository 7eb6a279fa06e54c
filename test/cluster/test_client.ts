/**
 * The two generations of the SDK's client behind one face, so that every statement about replicas is made of both. The
 * client answers elicitation, sampling and roots, and keeps every notification it gets.
 */
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  type LoggingLevel,
} from "@modelcontextprotocol/sdk/types.js";

export interface Notice {
  method: string;
  params: Record<string, unknown>;
}

export interface CallOptions {
  signal?: AbortSignal;
  onprogress?: (progress: { progress: number; total?: number }) => void;
}

/** A tool's answer, as far as the tests look at it. */
export interface ToolAnswer {
  /** Its texts, one per line. */
  text: string;
  isError: boolean;
}

export interface TestClient {
  readonly sessionId: string;
  /** Notifications other than progress, oldest first. */
  readonly notices: Notice[];
  call(name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<ToolAnswer>;
  toolNames(): Promise<string[]>;
  resourceUris(): Promise<string[]>;
  templateUris(): Promise<string[]>;
  readResource(uri: string): Promise<string>;
  subscribe(uri: string): Promise<unknown>;
  unsubscribe(uri: string): Promise<unknown>;
  promptNames(): Promise<string[]>;
  promptText(name: string, args: Record<string, string>): Promise<string>;
  complete(prompt: string, argument: string, value: string): Promise<string[]>;
  setLoggingLevel(level: LoggingLevel): Promise<unknown>;
  ping(): Promise<unknown>;
  /** DELETE. */
  terminate(): Promise<void>;
  close(): Promise<void>;
}

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** What the client is asked, and what it says. */
export const ANSWERS = { name: "Ada", model: "a sampled answer", root: "file:///project" };

const INFO = { name: "troupe-test", version: "1.0.0" };
const CAPABILITIES = { elicitation: {}, sampling: {}, roots: { listChanged: true } };

/** Connects a client of that generation. `path` is `/mcp` or `/mcp/{server}`. */
export type Connect = (path: string, fetch: Fetch, headers?: Record<string, string>) => Promise<TestClient>;

/** Only a name: the fetch sends each request to a node of its choice. */
const anywhere = (path: string) => new URL(path, "http://127.0.0.1:1");

export const connectV1: Connect = async (path, fetch, headers = {}) => {
  const client = new ClientV1(INFO, { capabilities: CAPABILITIES });
  const transport = new TransportV1(anywhere(path), { fetch, requestInit: { headers } });
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: "accept", content: { name: ANSWERS.name } }));
  client.setRequestHandler(CreateMessageRequestSchema, () => sampled());
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: ANSWERS.root, name: "project" }] }));
  return faceOf(client, transport, (name, args, options) =>
    client.callTool({ name, arguments: args }, undefined, options),
  );
};

export const connectV2: Connect = async (path, fetch, headers = {}) => {
  const client = new ClientV2(INFO, { capabilities: CAPABILITIES });
  const transport = new TransportV2(anywhere(path), { fetch, requestInit: { headers } });
  client.setRequestHandler("elicitation/create", () => ({ action: "accept", content: { name: ANSWERS.name } }));
  client.setRequestHandler("sampling/createMessage", () => sampled());
  client.setRequestHandler("roots/list", () => ({ roots: [{ uri: ANSWERS.root, name: "project" }] }));
  return faceOf(client, transport, (name, args, options) => client.callTool({ name, arguments: args }, options));
};

function sampled() {
  return { role: "assistant" as const, model: "test", content: { type: "text" as const, text: ANSWERS.model } };
}

interface Block {
  type: string;
  text?: string;
}

async function faceOf(
  client: ClientV1 | ClientV2,
  transport: TransportV1 | TransportV2,
  callTool: (name: string, args: Record<string, unknown>, options?: CallOptions) => Promise<Record<string, unknown>>,
): Promise<TestClient> {
  const notices: Notice[] = [];
  client.fallbackNotificationHandler = async ({ method, params }) => {
    notices.push({ method, params: params ?? {} });
  };
  if (client instanceof ClientV1 && transport instanceof TransportV1) await client.connect(transport);
  else if (client instanceof ClientV2 && transport instanceof TransportV2) await client.connect(transport);
  if (transport.sessionId === undefined) throw new Error("the server gave no session id");

  return {
    sessionId: transport.sessionId,
    notices,
    call: async (name, args = {}, options) => {
      const answer = await callTool(name, args, options);
      const texts = (answer.content as Block[]).map((block) => block.text ?? `[${block.type}]`);
      return { text: texts.join("\n"), isError: answer.isError === true };
    },
    toolNames: async () => (await client.listTools()).tools.map((tool) => tool.name),
    resourceUris: async () => (await client.listResources()).resources.map((resource) => resource.uri),
    templateUris: async () =>
      (await client.listResourceTemplates()).resourceTemplates.map((template) => template.uriTemplate),
    readResource: async (uri) =>
      String((await client.readResource({ uri })).contents.map((c) => ("text" in c ? c.text : c.blob))),
    subscribe: (uri) => client.subscribeResource({ uri }),
    unsubscribe: (uri) => client.unsubscribeResource({ uri }),
    promptNames: async () => (await client.listPrompts()).prompts.map((prompt) => prompt.name),
    promptText: async (name, args) =>
      (await client.getPrompt({ name, arguments: args })).messages
        .map(({ content }) => (content.type === "text" ? content.text : `[${content.type}]`))
        .join("\n"),
    complete: async (prompt, argument, value) =>
      (await client.complete({ ref: { type: "ref/prompt", name: prompt }, argument: { name: argument, value } }))
        .completion.values,
    setLoggingLevel: (level) => client.setLoggingLevel(level),
    ping: () => client.ping(),
    terminate: () => transport.terminateSession(),
    close: () => client.close(),
  };
}
