/**
 * A client of the chaos run: a session after another, in each a chain of calls, streams, questions, cancels and at last
 * perhaps a DELETE, at random times, all through the proxy. It behaves as a careful client should: it resumes a broken
 * stream by the last id it read, answers what it is asked each time it is asked, tries again what was refused as not
 * started only as a new call, and never sends a call twice. What it saw goes into the history.
 */
import { chooseIndex, type Random } from "../harness/seed.ts";
import type { Message } from "../harness/sse_connection.ts";
import { type Answer, type Event, exchange } from "./exchange.ts";
import type { CallRecord, End, Entry, Started, TaskRecord } from "./history.ts";

export interface ClientOptions {
  name: string;
  /** Of the MCP endpoint, at the proxy. */
  url: string;
  random: Random;
  version: "2025-11-25" | "2025-06-18";
  /** Upstreams it calls; their names are prefixes. */
  upstreams: readonly string[];
  /** Whether it keeps a GET stream and subscribes to what is told there. */
  listens: boolean;
  /** Average pause between two calls, milliseconds. */
  thinkMs: number;
  now: () => number;
  record: (record: Entry) => void;
}

/** Silence after which a stream is tried elsewhere (a node writes a comment every 15 s), and an answer is given up. */
const STREAM_QUIET_MS = 20_000;
const GIVE_UP_MS = 45_000;
const RETRY_MS = 200;
const DELETE_SHARE = 0.03;
/** How often a client asks what became of its task. */
const POLL_MS = 300;
const UNKNOWN_TASK = -32602;

type Operation = "echo" | "add" | "put" | "slow" | "ask" | "cancel" | "touch" | "job";
const OPERATIONS: readonly Operation[] = [
  "echo",
  "echo",
  "add",
  "add",
  "put",
  "slow",
  "slow",
  "ask",
  "cancel",
  "touch",
  "job",
];

export class ChaosClient {
  readonly #options: ClientOptions;
  readonly #stopped = new AbortController();
  /** Sessions it deleted, the newest last; asked now and then whether they stayed so. */
  readonly #dead: string[] = [];
  #session: string | undefined;
  #lastId = 0;
  #lastTask: TaskRecord | undefined;
  #listening: AbortController | undefined;
  /** The last id of the GET stream. */
  #heard = "";

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Runs until `stop`; resolves when the call under way has ended. */
  async run(): Promise<void> {
    const { random, thinkMs } = this.#options;
    await this.#pause(random() * thinkMs);
    while (!this.#stopped.signal.aborted) {
      if (this.#session === undefined && !(await this.#open())) continue;
      await this.#operate();
      if (random() < DELETE_SHARE) await this.#delete();
      await this.#pause(2 * random() * thinkMs);
    }
    this.#listening?.abort();
  }

  stop(): void {
    this.#stopped.abort();
  }

  /** After the last fault: its session answers, and what was deleted does not. */
  async lastWords(): Promise<void> {
    if (this.#session !== undefined) await this.#call("echo");
    const task = this.#lastTask;
    if (task !== undefined && task.session === this.#session) {
      await this.#statusOf(task);
      await this.#resultOf(task);
    }
    for (const session of this.#dead) await this.#probe(session);
  }

  async #open(): Promise<boolean> {
    const { version, now, record, listens, upstreams } = this.#options;
    const params = {
      protocolVersion: version,
      capabilities: { elicitation: {} },
      clientInfo: { name: this.#options.name, version: "1.0.0" },
    };
    const greeting = await this.#post({ jsonrpc: "2.0", id: this.#newId(), method: "initialize", params });
    if (greeting.status !== 200 || greeting.session === undefined) {
      await this.#pause(RETRY_MS);
      return false;
    }
    this.#session = greeting.session;
    this.#heard = "";
    record({ kind: "opened", session: greeting.session, at: now() });
    await this.#insist({ jsonrpc: "2.0", method: "notifications/initialized" });
    if (listens) {
      const uri = "chaos://note";
      for (const _ of upstreams.slice(0, 1)) {
        await this.#insist({ jsonrpc: "2.0", id: this.#newId(), method: "resources/subscribe", params: { uri } });
      }
      this.#listening = new AbortController();
      void this.#listen(greeting.session, this.#listening.signal);
    }
    return true;
  }

  async #operate(): Promise<void> {
    const { random, version } = this.#options;
    const operation = OPERATIONS[chooseIndex(random, OPERATIONS.length)] ?? "echo";
    // Before 2025-11-25 there were no tasks.
    await this.#call(operation === "job" && version !== "2025-11-25" ? "echo" : operation);
    const dead = this.#dead.at(-1);
    if (dead !== undefined && random() < 0.2) await this.#probe(dead);
  }

  // Calls

  async #call(operation: Operation): Promise<void> {
    const { name, random, upstreams, now, record } = this.#options;
    const session = this.#session ?? "";
    const id = this.#newId();
    const call = `${name}/${id}`;
    const ms = 500 + Math.floor(random() * 3_000);
    // A task is there at once.
    const takesMs = operation === "slow" || operation === "cancel" ? ms : 0;
    const entry: CallRecord = {
      kind: "call",
      session,
      call,
      idempotent: operation === "put",
      recorded: ["add", "put", "slow", "ask", "cancel", "job"].includes(operation),
      takesMs,
      at: now(),
      endedAt: undefined,
      end: undefined,
      requests: [],
    };
    record(entry);
    const tool = operation === "cancel" ? "slow" : operation;
    const upstream = upstreams[chooseIndex(random, upstreams.length)] ?? "";
    const asks = random() < 0.3;
    const args = tool === "job" ? { call, ms, asks } : tool === "slow" ? { call, ms } : { call };
    const params = {
      name: `${upstream}__${tool}`,
      arguments: args,
      _meta: { progressToken: id },
      ...(tool === "job" ? { task: { ttl: 30 * 60_000 } } : {}),
    };
    let cancelled = false;
    const cancel = async (): Promise<void> => {
      if (operation !== "cancel") return;
      await this.#pause(takesMs / 3);
      cancelled = true;
      const why = { requestId: id, reason: "the chaos client has changed its mind" };
      await this.#insist({ jsonrpc: "2.0", method: "notifications/cancelled", params: why }, entry);
    };
    const cancelling = cancel();
    const end = await this.#perform(entry, { jsonrpc: "2.0", id, method: "tools/call", params }, () => cancelled);
    entry.endedAt = now();
    entry.end = end;
    await cancelling;
    if (end.how === "answered" && end.task !== undefined)
      await this.#follow(entry, end.task, upstream === "http" && !asks);
  }

  /** Asks for a task until it has ended, and then for its result. */
  async #follow({ session, call }: CallRecord, task: string, remembered: boolean): Promise<void> {
    const { now, record } = this.#options;
    const entry: TaskRecord = {
      kind: "task",
      session,
      call,
      task,
      remembered,
      at: now(),
      seen: [],
      results: [],
      endedAt: undefined,
    };
    record(entry);
    this.#lastTask = entry;
    const until = now() + 2 * GIVE_UP_MS;
    const poll = async (goesOn: (status: string | undefined) => boolean): Promise<void> => {
      while (now() < until && goesOn(entry.seen.at(-1))) {
        await this.#pause(POLL_MS, true);
        await this.#statusOf(entry);
      }
    };
    await poll((status) => status === undefined || status === "working");
    // Where it asks something, who waits for the result is asked.
    await this.#resultOf(entry);
    await poll((status) => status === undefined || status === "working" || status === "input_required");
    entry.endedAt = now();
  }

  async #statusOf(entry: TaskRecord): Promise<void> {
    const answer = await this.#inquire("tasks/get", entry);
    if (answer?.error?.code === UNKNOWN_TASK) entry.seen.push("unknown");
    else if (typeof answer?.result?.status === "string") entry.seen.push(answer.result.status);
  }

  async #resultOf(entry: TaskRecord): Promise<void> {
    const until = this.#options.now() + 2 * GIVE_UP_MS;
    while (this.#options.now() < until) {
      const answer = await this.#inquire("tasks/result", entry);
      const started = (answer?.error?.data as { started?: Started } | undefined)?.started;
      // Its session could not be reached: that says nothing of the task.
      const unreached = answer === undefined || (answer.error !== undefined && started === "no");
      if (!unreached) {
        const [content] = (answer.result?.content ?? []) as { text?: string }[];
        entry.results.push(answer.error === undefined ? `${content?.text}` : JSON.stringify(answer.error));
        return;
      }
      await this.#pause(RETRY_MS, true);
    }
  }

  /** The response to a question about a task, on whatever it comes; undefined where it is lost. */
  async #inquire(method: string, { session, task }: TaskRecord): Promise<Message | undefined> {
    const id = this.#newId();
    let response: Message | undefined;
    const answer = await this.#request("POST", session, {
      body: { jsonrpc: "2.0", id, method, params: { taskId: task } },
      quietMs: STREAM_QUIET_MS,
      // A stream whose answer never comes is kept open by comments.
      signal: AbortSignal.timeout(GIVE_UP_MS),
      onEvent: (event) => {
        response ??= this.#take(event, id);
        return response === undefined;
      },
    });
    return answer.status === 200 ? (answer.message ?? response) : undefined;
  }

  /** Sends a call and reads until it ends, over as many connections as that takes. */
  async #perform(
    entry: CallRecord,
    message: { id: string } & Record<string, unknown>,
    cancelled: () => boolean,
  ): Promise<End> {
    const { now, record } = this.#options;
    const { session } = entry;
    const until = now() + entry.takesMs + GIVE_UP_MS;
    let response: Message | undefined;
    let lastId = "";
    const connect = (after: string): { onEvent: (event: Event) => boolean } => {
      const connection = `${entry.call}#${entry.requests.length}`;
      record({ kind: "connected", session, connection, after, at: now() });
      return {
        onEvent: (event) => {
          if (event.id !== "") {
            lastId = event.id;
            record({ kind: "event", session, connection, id: event.id, data: event.data, at: now() });
          }
          response ??= this.#take(event, message.id, entry);
          // A stream may tell more after the response, and ends by itself.
          return true;
        },
      };
    };
    let answer = await this.#request("POST", session, { body: message, quietMs: GIVE_UP_MS, ...connect("") }, entry);
    response ??= answer.message;
    for (;;) {
      if (response !== undefined) return endOf(response, entry.call);
      if (answer.status >= 400 && answer.status < 500) return { how: "denied", status: answer.status };
      if (cancelled() && answer.streamed && answer.whole) return { how: "cancelled" };
      if (lastId === "") return answer.quiet ? { how: "timeout" } : { how: "broken" };
      if (now() > until) return { how: "timeout" };
      // A stream that ended without the response, and one that broke, are both resumed.
      await this.#pause(RETRY_MS, true);
      answer = await this.#request(
        "GET",
        session,
        { after: lastId, quietMs: STREAM_QUIET_MS, ...connect(lastId) },
        entry,
      );
      if (answer.status === 400 && cancelled()) return { how: "cancelled" };
      if (answer.status >= 500 || answer.status === 0) answer = { ...answer, streamed: false };
    }
  }

  /** What an event is for the call `id`: its response, or a question to answer. */
  #take({ data }: Event, id: string, entry?: CallRecord): Message | undefined {
    if (data === "") return undefined;
    const message = JSON.parse(data) as Message;
    if (message.method === undefined) return message.id === id ? message : undefined;
    if (message.method === "elicitation/create") void this.#reply(message, entry);
    return undefined;
  }

  #reply({ id, params }: Message, entry?: CallRecord): Promise<unknown> {
    const result = { action: "accept", content: { word: `word for ${params?.message}` } };
    return this.#insist({ jsonrpc: "2.0", id, result }, entry);
  }

  // The GET stream

  async #listen(session: string, signal: AbortSignal): Promise<void> {
    const { now, record, name } = this.#options;
    for (let connections = 0; !signal.aborted; connections++) {
      const connection = `${name}/${session}/GET#${connections}`;
      const after = this.#heard;
      record({ kind: "connected", session, connection, after, at: now() });
      const answer = await this.#request("GET", session, {
        after,
        // Longer than the time between two comments that keep it open.
        quietMs: 20_000,
        signal,
        onEvent: ({ id, data }) => {
          if (id !== "") {
            this.#heard = id;
            record({ kind: "event", session, connection, id, data, at: now() });
          }
          if (data !== "") this.#take({ id, data }, "");
          return true;
        },
      });
      // What is too old to resume is told so, and the client begins anew.
      if (answer.status === 400) this.#heard = "";
      if (!signal.aborted) await this.#pause(RETRY_MS);
    }
  }

  // DELETE

  async #delete(): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    this.#listening?.abort();
    this.#session = undefined;
    for (let tries = 0; tries < 50; tries++) {
      const request = this.#newRequest();
      const answer = await exchange("DELETE", this.#options.url, this.#with(session, request, { quietMs: GIVE_UP_MS }));
      // 404: an earlier try was acknowledged by the node, and its answer lost.
      if (answer.status === 200 || (answer.status === 404 && tries > 0)) {
        this.#options.record({ kind: "deleted", session, at: this.#options.now() });
        this.#dead.push(session);
        if (this.#dead.length > 3) this.#dead.shift();
        return;
      }
      if (answer.status === 404) return this.#status(session, 404, request);
      await this.#pause(RETRY_MS, true);
    }
  }

  /** Asks a session that was deleted. */
  async #probe(session: string): Promise<void> {
    const ping = { jsonrpc: "2.0", id: this.#newId(), method: "ping" };
    await this.#request("POST", session, { body: ping, quietMs: STREAM_QUIET_MS });
  }

  // HTTP

  /** A message that must arrive: sent until it is accepted, refused for good, or the client stops. */
  async #insist(message: Record<string, unknown>, entry?: CallRecord): Promise<void> {
    const session = this.#session;
    for (let tries = 0; tries < 50 && session === this.#session; tries++) {
      const { status } = await this.#post(message, entry);
      if (status > 0 && status < 500) return;
      await this.#pause(RETRY_MS, true);
    }
  }

  #post(message: Record<string, unknown>, entry?: CallRecord): Promise<Answer> {
    return this.#request("POST", this.#session, { body: message, quietMs: STREAM_QUIET_MS }, entry);
  }

  async #request(
    method: "POST" | "GET",
    session: string | undefined,
    options: {
      body?: unknown;
      after?: string;
      quietMs: number;
      onEvent?: (event: Event) => boolean;
      signal?: AbortSignal;
    },
    entry?: CallRecord,
  ): Promise<Answer> {
    const request = this.#newRequest();
    entry?.requests.push(request);
    const opened = (): void => this.#status(session, 200);
    const answer = await exchange(method, this.#options.url, {
      ...this.#with(session, request, options),
      streamQuietMs: method === "GET" ? options.quietMs : STREAM_QUIET_MS,
      onOpen: opened,
    });
    if (answer.status > 0 && !answer.streamed) this.#status(session, answer.status);
    return answer;
  }

  #with<Options extends object>(session: string | undefined, request: string, options: Options & { after?: string }) {
    const headers: Record<string, string> = { "x-chaos": request };
    if (session !== undefined) {
      headers["mcp-session-id"] = session;
      headers["mcp-protocol-version"] = this.#options.version;
    }
    if (options.after !== undefined && options.after !== "") headers["last-event-id"] = options.after;
    return { ...options, headers };
  }

  #status(session: string | undefined, status: number, request?: string): void {
    if (session === undefined) return;
    const record = { kind: "status", session, status, at: this.#options.now() } as const;
    this.#options.record(request === undefined ? record : { ...record, request });
  }

  #newRequest(): string {
    return `${this.#options.name}/${(++this.#lastId).toString(36)}`;
  }

  #newId(): string {
    return (++this.#lastId).toString(36);
  }

  /** `certain`: also when the client is to stop. */
  #pause(ms: number, certain = false): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      const { signal } = this.#stopped;
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      }
      if (certain) return;
      if (signal.aborted) done();
      else signal.addEventListener("abort", done);
    });
  }
}

function endOf(response: Message, call: string): End {
  if (response.error === undefined) {
    const task = (response.result?.task as { taskId?: string } | undefined)?.taskId;
    if (task !== undefined) return { how: "answered", correct: true, task };
    const [content] = (response.result?.content ?? []) as { text?: string }[];
    // The tool itself failed: its node could not reach the recorder.
    if (response.result?.isError === true) return { how: "refused", started: "unknown" };
    return { how: "answered", correct: content?.text === call };
  }
  const data = response.error.data as { started?: Started } | undefined;
  return { how: "refused", started: data?.started ?? "unknown" };
}
