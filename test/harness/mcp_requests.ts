/** Single MCP requests over HTTP, as a client would send them or as none should. */
import { Agent, request } from "node:http";

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  /** The body as JSON: of an event stream the last message. Undefined if it is neither. */
  message: RpcReply | undefined;
}

export interface RpcReply {
  id?: unknown;
  result?: Record<string, unknown>;
  error?: { code: number; message: string; data?: unknown };
}

/** What a proper client sends with every POST. */
export const JSON_HEADERS = { "content-type": "application/json", accept: "application/json, text/event-stream" };

/** A kept-alive connection costs a fifth of what `fetch` does, and some tests make tens of thousands of calls. */
const agent = new Agent({ keepAlive: true, maxSockets: 256 });

/** POSTs `body` (text as it is, anything else as JSON) and reads the whole answer. A header set to `""` is left out. */
export function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Reply> {
  const all = Object.entries({ ...JSON_HEADERS, ...headers }).filter(([, value]) => value !== "");
  return exchange("POST", url, Object.fromEntries(all), typeof body === "string" ? body : JSON.stringify(body));
}

/** Sends a request without a body and reads the whole answer. */
export function ask(method: "GET" | "DELETE", url: string, headers: Record<string, string> = {}): Promise<Reply> {
  return exchange(method, url, headers, undefined);
}

function exchange(
  method: string,
  url: string,
  headers: Record<string, string>,
  body: string | undefined,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, agent }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => {
        text += chunk;
      });
      answer.on("error", reject);
      answer.on("end", () => {
        const named = new Headers();
        for (const [name, value] of Object.entries(answer.headers)) named.set(name, String(value));
        resolve({ status: answer.statusCode ?? 0, headers: named, text, message: lastMessage(text) });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function lastMessage(text: string): RpcReply | undefined {
  const data = text.split("\n").filter((line) => line.startsWith("data:") && line.trim().length > 5);
  try {
    return JSON.parse(data.at(-1)?.slice(5) ?? text) as RpcReply;
  } catch {
    return undefined;
  }
}

export const initializeBody = (version = "2025-11-25") => ({
  jsonrpc: "2.0",
  id: "hello",
  method: "initialize",
  params: { protocolVersion: version, capabilities: {}, clientInfo: { name: "troupe-test", version: "1.0.0" } },
});

export const callBody = (id: number | string, name: string, args: Record<string, unknown> = {}) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: args },
});

/** A session of its own: what to send to be in it. */
export interface OpenSession {
  id: string;
  version: string;
  headers: Record<string, string>;
}

/** Initializes a session at `url` (an MCP endpoint). Throws if it is refused. */
export async function openSession(
  url: string,
  headers: Record<string, string> = {},
  version = "2025-11-25",
): Promise<OpenSession> {
  const reply = await post(url, initializeBody(version), headers);
  const id = reply.headers.get("mcp-session-id");
  const negotiated = reply.message?.result?.protocolVersion;
  if (reply.status !== 200 || id === null || typeof negotiated !== "string") {
    throw new Error(`initialize was answered ${reply.status}: ${reply.text.slice(0, 500)}`);
  }
  const all = { ...headers, "mcp-session-id": id, "mcp-protocol-version": negotiated };
  const accepted = await post(url, { jsonrpc: "2.0", method: "notifications/initialized" }, all);
  if (accepted.status !== 202)
    throw new Error(`initialized was answered ${accepted.status}: ${accepted.text.slice(0, 500)}`);
  return { id, version: negotiated, headers: all };
}
