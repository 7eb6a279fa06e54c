/**
 * Clients of the chaos run made with the SDKs, v1 and v2: what they do with a broken stream or a refusal is theirs, and
 * a session must serve them all the same. Each makes one call at a time, so the requests of that time belong to it.
 *
 * One thing their transport does for them: the SDKs drop the answer to a question when the node that it comes to refuses
 * it (503, not started), and the call that asked would wait for it. It is sent again until a node takes it.
 */
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { chooseIndex, type Random } from "../harness/seed.ts";
import type { CallRecord, End, Entry, Started } from "./history.ts";

export interface SdkClientOptions {
  name: string;
  url: string;
  random: Random;
  sdk: "v1" | "v2";
  upstreams: readonly string[];
  thinkMs: number;
  now: () => number;
  record: (record: Entry) => void;
}

type CallTool = (name: string, args: Record<string, unknown>) => Promise<Record<string, unknown>>;

const OPERATIONS = ["echo", "add", "put", "slow", "ask"] as const;
const RECONNECTION = {
  initialReconnectionDelay: 200,
  maxReconnectionDelay: 1_000,
  reconnectionDelayGrowFactor: 1.2,
  maxRetries: 60,
};

const ANSWER_AGAIN_MS = 300;

export class SdkClient {
  readonly #options: SdkClientOptions;
  #stopped = false;
  #callTool: CallTool | undefined;
  #session = "";
  #lastId = 0;
  #current: CallRecord | undefined;
  #close = async (): Promise<void> => {};

  constructor(options: SdkClientOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { random, thinkMs } = this.#options;
    while (!this.#stopped) {
      await new Promise((resolve) => setTimeout(resolve, 2 * random() * thinkMs));
      if (this.#stopped) break;
      // A connection that failed is no session yet: another is made.
      if (this.#callTool === undefined) await this.#connect().catch(() => {});
      else await this.#call(OPERATIONS[chooseIndex(random, OPERATIONS.length)] ?? "echo");
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async lastWords(): Promise<void> {
    if (this.#callTool !== undefined) await this.#call("echo");
    await this.#close().catch(() => {});
  }

  async #connect(): Promise<void> {
    const { sdk, url, name, now, record } = this.#options;
    const info = { name, version: "1.0.0" };
    const capabilities = { capabilities: { elicitation: {} } };
    const options = { fetch: this.#fetch, reconnectionOptions: RECONNECTION };
    const reply = (message: string) => ({ action: "accept" as const, content: { word: `word for ${message}` } });
    if (sdk === "v1") {
      const client = new ClientV1(info, capabilities);
      client.setRequestHandler(ElicitRequestSchema, ({ params }) => reply(params.message));
      const transport = new TransportV1(new URL(url), options);
      await client.connect(transport);
      this.#session = transport.sessionId ?? "";
      this.#callTool = (tool, args) => client.callTool({ name: tool, arguments: args });
      this.#close = () => client.close();
    } else {
      const client = new ClientV2(info, capabilities);
      client.setRequestHandler("elicitation/create", ({ params }) => reply(params.message));
      const transport = new TransportV2(new URL(url), options);
      await client.connect(transport);
      this.#session = transport.sessionId ?? "";
      this.#callTool = (tool, args) => client.callTool({ name: tool, arguments: args });
      this.#close = () => client.close();
    }
    record({ kind: "opened", session: this.#session, at: now() });
  }

  async #call(tool: (typeof OPERATIONS)[number]): Promise<void> {
    const { name, random, upstreams, now, record } = this.#options;
    const call = `${name}/${++this.#lastId}`;
    const takesMs = tool === "slow" ? 500 + Math.floor(random() * 3_000) : 0;
    const entry: CallRecord = {
      kind: "call",
      session: this.#session,
      call,
      idempotent: tool === "put",
      recorded: tool !== "echo",
      takesMs,
      at: now(),
      endedAt: undefined,
      end: undefined,
      requests: [],
    };
    record(entry);
    this.#current = entry;
    const upstream = upstreams[chooseIndex(random, upstreams.length)] ?? "";
    entry.end = await this.#perform(`${upstream}__${tool}`, tool === "slow" ? { call, ms: takesMs } : { call }, call);
    entry.endedAt = now();
    this.#current = undefined;
  }

  async #perform(tool: string, args: Record<string, unknown>, call: string): Promise<End> {
    try {
      const answer = await this.#callTool?.(tool, args);
      if (answer?.isError === true) return { how: "refused", started: "unknown" };
      const [content] = (answer?.content ?? []) as { text?: string }[];
      return { how: "answered", correct: content?.text === call };
    } catch (error) {
      return endOf(error);
    }
  }

  readonly #fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    for (;;) {
      const response = await this.#send(input, init);
      if (response.status !== 503 || !isAnswer(init?.body) || this.#stopped) return response;
      await response.body?.cancel();
      await new Promise((resolve) => setTimeout(resolve, ANSWER_AGAIN_MS));
    }
  };

  async #send(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const { name, now, record } = this.#options;
    const request = `${name}/h${(++this.#lastId).toString(36)}`;
    this.#current?.requests.push(request);
    const headers = new Headers(init?.headers);
    headers.set("x-chaos", request);
    const session = headers.get("mcp-session-id");
    const response = await fetch(input, { ...init, headers });
    if (session !== null) record({ kind: "status", session, status: response.status, at: now() });
    return response;
  }
}

/** A body that is the client's answer to a server's request. */
function isAnswer(body: RequestInit["body"]): boolean {
  return typeof body === "string" && !Object.hasOwn(JSON.parse(body) as object, "method");
}

/** An error of the SDK as the end of a call: what the server said is in its data or its message. */
function endOf(error: unknown): End {
  const {
    code,
    data,
    message = "",
  } = (error ?? {}) as { code?: unknown; data?: { started?: Started }; message?: string };
  if (code === -32001 || /timed out/i.test(message)) return { how: "timeout" };
  const started = data?.started ?? (/"started":"(no|yes|unknown)"/.exec(message)?.[1] as Started | undefined);
  if (started !== undefined) return { how: "refused", started };
  return { how: "broken" };
}
