/**
 * A `Channel` over an MCP server written with the SDK (v1 or v2) and loaded into this worker.
 *
 * The module's default export is a factory, the SDK v2 contract `({ era, authInfo, requestInfo }) => McpServer | Server`,
 * sync or async; one server is made per channel. Messages pass as objects, without serialization, in the order sent.
 *
 * What a handler sends carries the id of its request where its code uses the handler's own context to send. Much code
 * does not (`server.elicitInput`), so when several sessions share the server, the id is also taken from the asynchronous
 * context in which it sends (`trace`). That costs every promise of the thread a little, so it is off for servers of one
 * session, where it would tell nothing new.
 *
 * A server that sends faster than its owner takes: while paused, its `send` promises do not settle.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { WorkerServices } from "../../runtime/actor/define.ts";
import type { AbortReason } from "../../runtime/actor/errors.ts";
import { importModule } from "../../runtime/worker/spawn.ts";
import type { Channel, ChannelClosed, ChannelMessageInfo, RpcId, RpcMessage } from "./contract.ts";

/** What the SDK's `Transport` asks for, as far as a server uses it; the same in v1 and v2. */
interface ServerTransport {
  start(): Promise<void>;
  send(message: RpcMessage, options?: { relatedRequestId?: RpcId }): Promise<void>;
  close(): Promise<void>;
  onmessage?: (message: RpcMessage, extra?: MessageExtra) => void;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  setProtocolVersion?: (version: string) => void;
}
interface MessageExtra {
  closeSSEStream?: () => void;
}
interface ConnectableServer {
  connect(transport: ServerTransport): Promise<void>;
  close?(): Promise<void>;
}

const NO_INFO: ChannelMessageInfo = {};
const SENT = Promise.resolve();

export class ModuleChannel implements Channel {
  onmessage: Channel["onmessage"];
  onclose: Channel["onclose"];
  onclosestream: Channel["onclosestream"];
  readonly #services: WorkerServices;
  readonly #transport: ServerTransport;
  readonly #trace: AsyncLocalStorage<RpcId> | undefined;
  #server: ConnectableServer | undefined;
  /** What was sent before the server was made; the handshake allows one message then. */
  #early: RpcMessage[] | undefined = [];
  #paused: Promise<void> | undefined;
  #resume = (): void => {};
  #closed: ChannelClosed | undefined;

  /** `url` is the module's file URL. Import and factory run at once; failures close the channel. */
  constructor(url: string, services: WorkerServices, options: { trace?: boolean } = {}) {
    this.#services = services;
    if (options.trace === true) this.#trace = new AsyncLocalStorage();
    this.#transport = {
      start: () => SENT,
      send: (message, options) => {
        if (this.#closed !== undefined) return Promise.reject(new Error("the connection is closed"));
        const related = options?.relatedRequestId ?? this.#trace?.getStore();
        this.onmessage?.(message, related === undefined ? NO_INFO : { relatedRequestId: related });
        return this.#paused ?? SENT;
      },
      close: () => {
        this.#fail("exited", "the server closed the connection");
        return SENT;
      },
    };
    void this.#load(url);
  }

  send(message: RpcMessage): void {
    if (this.#closed !== undefined) return;
    if (this.#early !== undefined) return void this.#early.push(message);
    const extra =
      "method" in message && "id" in message && this.onclosestream !== undefined
        ? { closeSSEStream: () => this.onclosestream?.(message.id) }
        : undefined;
    try {
      if (this.#trace !== undefined && "method" in message && "id" in message) {
        this.#trace.run(message.id, () => this.#transport.onmessage?.(message, extra));
      } else {
        this.#transport.onmessage?.(message, extra);
      }
    } catch (error) {
      this.#services.log.warn("a module upstream failed to take a message", { error });
    }
  }

  pause(): void {
    this.#paused ??= new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#paused = undefined;
    this.#resume();
  }

  async close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    this.#fail("closed", `it was stopped (${reason})`);
    try {
      await this.#server?.close?.();
    } catch (error) {
      this.#services.log.debug("a module upstream failed to close", { error });
    }
  }

  async #load(url: string): Promise<void> {
    try {
      const server = await makeServer(url);
      if (this.#closed !== undefined) return void (await server.close?.());
      this.#server = server;
      await server.connect(this.#transport);
    } catch (error) {
      return this.#fail("crashed", messageOf(error));
    }
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const message of early) this.send(message);
  }

  #fail(reason: ChannelClosed["reason"], detail: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = { reason, detail };
    this.resume();
    // Lets the server abort its handlers and forget its timers.
    this.#transport.onclose?.();
    this.onclose?.(this.#closed);
  }
}

async function makeServer(url: string): Promise<ConnectableServer> {
  let loaded: unknown;
  try {
    loaded = await importModule(new URL(url));
  } catch (error) {
    throw new Error(`${url} cannot be loaded: ${messageOf(error)}`);
  }
  const factory = (loaded as { default?: unknown }).default;
  if (typeof factory !== "function") {
    throw new Error(
      `${url}: its default export is ${describe(factory)}; export a function that returns an McpServer: ` +
        "export default () => { const server = new McpServer(…); …; return server }",
    );
  }
  let server: unknown;
  try {
    server = await factory({ era: "legacy" });
  } catch (error) {
    throw new Error(`${url}: its default export threw: ${messageOf(error)}`);
  }
  if (!isConnectable(server)) {
    throw new Error(
      `${url}: its default export returned ${describe(server)}; return a new McpServer or Server of the MCP SDK`,
    );
  }
  return server;
}

function isConnectable(value: unknown): value is ConnectableServer {
  return typeof value === "object" && value !== null && "connect" in value && typeof value.connect === "function";
}

function describe(value: unknown): string {
  if (value === undefined) return "undefined";
  if (value === null) return "null";
  return typeof value === "object" ? "an object that is no server" : `a ${typeof value}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
