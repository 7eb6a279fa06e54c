/**
 * One HTTP request of a lean client, answered as JSON or as events: far cheaper than an SDK client, and nothing of what
 * comes is hidden. A connection counts as dead after `quietMs` without a byte, a stream after `streamQuietMs`, as clients
 * and proxies do it.
 */
import { Agent, type IncomingMessage, request } from "node:http";
import type { Message } from "../harness/sse_connection.ts";

export interface Event {
  id: string;
  data: string;
}

export interface Answer {
  /** 0: the connection broke, or was given up, before there was one. */
  status: number;
  session: string | undefined;
  /** Of a JSON answer. */
  message: Message | undefined;
  /** Whether it was an event stream. */
  streamed: boolean;
  /** Whether it was read to its end. */
  whole: boolean;
  /** Whether the client gave it up, for silence. */
  quiet: boolean;
}

export interface ExchangeOptions {
  body?: unknown;
  headers: Readonly<Record<string, string>>;
  quietMs: number;
  /** Default `quietMs`. */
  streamQuietMs?: number;
  /** The headers of an event stream have come. */
  onOpen?: () => void;
  /** False: the client has what it wants and hangs up. */
  onEvent?: (event: Event) => boolean;
  signal?: AbortSignal;
}

const agent = new Agent({ keepAlive: true, maxSockets: 2_048 });
const FIXED = { "content-type": "application/json", accept: "application/json, text/event-stream" };

export function exchange(method: "POST" | "GET" | "DELETE", url: string, options: ExchangeOptions): Promise<Answer> {
  const answer: Answer = {
    status: 0,
    session: undefined,
    message: undefined,
    streamed: false,
    whole: false,
    quiet: false,
  };
  return new Promise((resolve) => {
    const sent = request(url, { method, agent, headers: { ...FIXED, ...options.headers } }, (response) => {
      if (response.headers["content-type"]?.startsWith("text/event-stream") === true) {
        sent.setTimeout(options.streamQuietMs ?? options.quietMs);
      }
      read(response, answer, options, () => sent.destroy());
    });
    const hangUp = (): void => void sent.destroy();
    options.signal?.addEventListener("abort", hangUp, { once: true });
    sent.setTimeout(options.quietMs, () => {
      answer.quiet = true;
      sent.destroy();
    });
    sent.on("error", () => {});
    sent.on("close", () => {
      options.signal?.removeEventListener("abort", hangUp);
      resolve(answer);
    });
    if (options.signal?.aborted === true) sent.destroy();
    sent.end(options.body === undefined ? undefined : JSON.stringify(options.body));
  });
}

function read(response: IncomingMessage, answer: Answer, options: ExchangeOptions, hangUp: () => void): void {
  answer.status = response.statusCode ?? 0;
  const session = response.headers["mcp-session-id"];
  if (typeof session === "string") answer.session = session;
  answer.streamed = response.headers["content-type"]?.startsWith("text/event-stream") === true;
  if (answer.streamed) options.onOpen?.();
  let text = "";
  response.setEncoding("utf8");
  response.on("error", () => {});
  response.on("data", (more: string) => {
    text += more;
    if (!answer.streamed) return;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const event = parse(text.slice(0, end));
      text = text.slice(end + 2);
      if (event !== undefined && options.onEvent?.(event) === false) return hangUp();
    }
  });
  response.on("end", () => {
    answer.whole = response.complete;
    if (!answer.streamed && text !== "") answer.message = parseJson(text);
  });
}

function parse(block: string): Event | undefined {
  const lines = block.split("\n");
  const field = (name: string): string | undefined =>
    lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const id = field("id");
  const data = field("data");
  return id === undefined && data === undefined ? undefined : { id: id ?? "", data: data ?? "" };
}

function parseJson(text: string): Message | undefined {
  try {
    return JSON.parse(text) as Message;
  } catch {
    return undefined;
  }
}
