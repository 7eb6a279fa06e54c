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
 *
 * ## Memory that outlives the server
 * A module may export `snapshot(server)`, which returns what its server has in memory as something JSON can hold, and
 * `restore(server, data)`, which gives it back to a new one before that is used. Both may be async. A response leaves only
 * when the memory behind it is saved (nothing is written where it did not change), so what a client was answered is never
 * lost: not when its session moves, nor when its node dies, nor when the server is stopped for being idle. What changes
 * otherwise (by a timer, say) is saved with the next response or planned stop. Memory of more than `MAX_MEMORY`
 * characters is not saved, and its loss is reported as that of any other module.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { WorkerServices } from "../../runtime/actor/define.ts";
import type { AbortReason } from "../../runtime/actor/errors.ts";
import { importModule } from "../../runtime/worker/spawn.ts";
import type { Channel, ChannelClosed, ChannelMessageInfo, ModuleMemory, RpcId, RpcMessage } from "./contract.ts";

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
/** What a module exports. */
interface LoadedModule {
  make(): Promise<ConnectableServer>;
  memory:
    | { snapshot(server: ConnectableServer): unknown; restore(server: ConnectableServer, data: unknown): unknown }
    | undefined;
}
interface ConnectableServer {
  connect(transport: ServerTransport): Promise<void>;
  close?(): Promise<void>;
}

/** Longest JSON text of a module's memory: all of it is written with each change. */
const MAX_MEMORY = 256 * 1024;
const NO_INFO: ChannelMessageInfo = {};
const SENT = Promise.resolve();

export class ModuleChannel implements Channel {
  onmessage: Channel["onmessage"];
  onclose: Channel["onclose"];
  onclosestream: Channel["onclosestream"];
  readonly #services: WorkerServices;
  readonly #transport: ServerTransport;
  readonly #trace: AsyncLocalStorage<RpcId> | undefined;
  readonly #memory: ModuleMemory | undefined;
  /** What the server has in memory; undefined where the module does not tell, or nobody keeps it. */
  #snapshot: (() => unknown) | undefined;
  #server: ConnectableServer | undefined;
  /** What was sent before the server was made; the handshake allows one message then. */
  #early: RpcMessage[] | undefined = [];
  #paused: Promise<void> | undefined;
  #resume = (): void => {};
  #closed: ChannelClosed | undefined;

  /** `url` is the module's file URL. Import and factory run at once; failures close the channel. */
  constructor(
    url: string,
    services: WorkerServices,
    options: { trace?: boolean; memory?: ModuleMemory | undefined } = {},
  ) {
    this.#services = services;
    this.#memory = options.memory;
    if (options.trace === true) this.#trace = new AsyncLocalStorage();
    this.#transport = {
      start: () => SENT,
      send: (message, options) => {
        if (this.#closed !== undefined) return Promise.reject(new Error("the connection is closed"));
        const related = options?.relatedRequestId ?? this.#trace?.getStore();
        const info = related === undefined ? NO_INFO : { relatedRequestId: related };
        if (this.#snapshot !== undefined && !("method" in message)) {
          return this.save().then(() => this.onmessage?.(message, info));
        }
        this.onmessage?.(message, info);
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

  async save(): Promise<void> {
    if (this.#snapshot === undefined || this.#memory === undefined) return;
    let text: string | undefined;
    try {
      text = JSON.stringify(await this.#snapshot());
    } catch (error) {
      this.#services.log.warn("a module's snapshot failed, its memory is not saved", { error });
    }
    if (text !== undefined && text.length > MAX_MEMORY) {
      this.#services.log.warn("a module's memory is too large to be saved", { length: text.length, most: MAX_MEMORY });
      text = undefined;
    }
    if (text === undefined) this.#services.count("troupe_upstream_memory_not_saved_total");
    if (text !== this.#memory.saved) await this.#memory.save(text);
  }

  async close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    const first = this.#closed === undefined;
    this.#fail("closed", `it was stopped (${reason})`);
    if (first && reason !== "ended" && reason !== "fenced") await this.save();
    try {
      await this.#server?.close?.();
    } catch (error) {
      this.#services.log.debug("a module upstream failed to close", { error });
    }
  }

  async #load(url: string): Promise<void> {
    try {
      const server = await this.#make(await load(url));
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

  /** A server with the memory that was saved, if any. */
  async #make({ make, memory }: LoadedModule): Promise<ConnectableServer> {
    const server = await make();
    if (memory === undefined || this.#memory === undefined) return server;
    const { saved } = this.#memory;
    if (saved !== undefined) {
      try {
        await memory.restore(server, JSON.parse(saved));
      } catch (error) {
        this.#memory.lost(error);
        // It may have taken half of it.
        const fresh = await make();
        this.#snapshot = () => memory.snapshot(fresh);
        return fresh;
      }
    }
    this.#snapshot = () => memory.snapshot(server);
    return server;
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

async function load(url: string): Promise<LoadedModule> {
  let loaded: unknown;
  try {
    loaded = await importModule(new URL(url));
  } catch (error) {
    throw new Error(`${url} cannot be loaded: ${messageOf(error)}`);
  }
  const { default: factory, snapshot, restore } = loaded as Record<string, unknown>;
  if (typeof factory !== "function") {
    throw new Error(
      `${url}: its default export is ${describe(factory)}; export a function that returns an McpServer: ` +
        "export default () => { const server = new McpServer(…); …; return server }",
    );
  }
  return {
    make: () => makeServer(url, factory as (ctx: { era: string }) => unknown),
    memory: memoryOf(url, snapshot, restore),
  };
}

function memoryOf(url: string, snapshot: unknown, restore: unknown): LoadedModule["memory"] {
  if (snapshot === undefined && restore === undefined) return undefined;
  if (typeof snapshot === "function" && typeof restore === "function") {
    return { snapshot: (server) => snapshot(server), restore: (server, data) => restore(server, data) };
  }
  throw new Error(
    `${url}: it exports snapshot as ${describe(snapshot)} and restore as ${describe(restore)}; export both as functions, or neither`,
  );
}

async function makeServer(url: string, factory: (ctx: { era: string }) => unknown): Promise<ConnectableServer> {
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
