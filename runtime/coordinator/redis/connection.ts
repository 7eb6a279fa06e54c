/**
 * One connection to Redis, with honest outcomes.
 *
 * ioredis is told never to queue while disconnected and never to resend: a command either reached the socket or it did
 * not, and the error says which (`started: "no"` or `"unknown"`). A command that is not answered within the operation
 * timeout is unknown, and the connection is dropped: what waits behind it fails at once as not sent instead of timing
 * out one by one. (`maxRetriesPerRequest: 0` is what makes ioredis reject the commands in flight when a connection
 * closes; with `autoResendUnfulfilledCommands: false` alone they would stay pending for ever.)
 *
 * A connection carries commands only while it is *fit*: after each connect, `fit` runs on it first, which finds out
 * whether the server is still the one whose data we know.
 */
import { Buffer } from "node:buffer";
import { Redis } from "ioredis";
import { TroupeError } from "../../actor/errors.ts";
import type { Script } from "./script.ts";
import type { RedisSettings } from "./settings.ts";

/** Commands in flight and waiting on one connection; more are refused with `overloaded`. */
const MAX_PENDING = 20_000;
const FIRST_RETRY_MS = 25;
const MAX_RETRY_MS = 1_000;

export interface ConnectionOptions {
  settings: RedisSettings;
  /** `CLIENT LIST` shows it. */
  name: string;
  /** Commands of one tick travel together. Not for renewals, which must not wait behind anything. */
  pipelining: boolean;
  /** Runs after each connect, before anything else; what it sends with `probe` is all that is let through. */
  fit(connection: RedisConnection): Promise<void>;
  /** The connection was lost and is back, and fit. */
  regained?(): void;
  /** The server answered that it does not take a command now (out of memory, too few replicas …). */
  turnedAway?(): void;
}

/** Redis with the two verbs that its type definitions leave out: answers stay bytes. */
type ScriptClient = Redis & {
  evalshaBuffer(sha: string, keyCount: number, ...rest: (string | Buffer)[]): Promise<unknown>;
  evalBuffer(lua: string, keyCount: number, ...rest: (string | Buffer)[]): Promise<unknown>;
};

export class RedisConnection {
  readonly #options: ConnectionOptions;
  readonly #client: ScriptClient;
  #opened = false;
  #closed = false;
  #fit = false;
  #dropping = false;
  #pending = 0;
  #sent = 0;
  #lastError: Error | null = null;
  #failing = false;
  #handshake: ReturnType<typeof setTimeout> | undefined;
  /** The server has replicas: scripts marked `acknowledged` wait for one of them. */
  replicated = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { settings } = options;
    this.#client = new Redis({
      host: settings.host,
      port: settings.port,
      username: settings.username,
      password: settings.password,
      db: settings.database,
      ...(settings.tls ? { tls: { servername: settings.host } } : {}),
      connectionName: options.name,
      lazyConnect: true,
      connectTimeout: settings.timeoutMs,
      // Commands that were cut off must not hold the socket of a frozen server open.
      disconnectTimeout: 50,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResubscribe: false,
      enableAutoPipelining: options.pipelining,
      // Nobody is helped by a retry before the first success: a wrong URL or password must be reported.
      retryStrategy: (times) => (this.#opened && !this.#closed ? retryDelay(times) : null),
    }) as ScriptClient;
    this.#client.on("error", (error: Error) => {
      this.#lastError = error;
    });
    this.#client.on("connect", () => this.#watchHandshake());
    this.#client.on("ready", () => {
      clearTimeout(this.#handshake);
      if (this.#opened) void this.#becomeFit();
    });
    this.#client.on("close", () => {
      clearTimeout(this.#handshake);
      this.#fit = false;
      this.#dropping = false;
    });
  }

  /** Commands sent, not counting the handshake of each connect. */
  get sent(): number {
    return this.#sent;
  }

  /** Why commands are refused or unanswered at the moment, or `null`. */
  get trouble(): string | null {
    const { address } = this.#options.settings;
    if (!this.#fit) return `not connected to Redis at ${address}${this.#cause()}`;
    return this.#failing ? `Redis at ${address} does not answer${this.#cause()}` : null;
  }

  /** For the subscriber, which needs its events. */
  get client(): Redis {
    return this.#client;
  }

  /** Connects once. Throws `store_unavailable` with a readable reason when it cannot; the connection is closed then. */
  async open(): Promise<void> {
    try {
      await this.#client.connect();
      this.#opened = true;
      await this.#options.fit(this);
      this.#fit = true;
    } catch (error) {
      this.close();
      if (TroupeError.is(error)) throw error;
      throw this.#openFailure(this.#lastError ?? error);
    }
  }

  close(): void {
    this.#closed = true;
    this.#fit = false;
    clearTimeout(this.#handshake);
    this.#client.disconnect();
  }

  /** Runs a script by its hash, by its text where the server does not have it. Answers stay bytes. */
  async run(script: Script, keys: readonly string[], args: readonly (string | Uint8Array)[]): Promise<unknown> {
    const rest = [...keys, ...args.map((arg) => (typeof arg === "string" ? arg : asBuffer(arg)))];
    try {
      return await this.#acknowledged(script, () => this.#client.evalshaBuffer(script.sha, keys.length, ...rest));
    } catch (error) {
      // The server did not know the script, so it ran nothing: sending its text is no repetition.
      if (!isMissingScript(error)) throw error;
      return await this.#acknowledged(script, () => this.#client.evalBuffer(script.lua, keys.length, ...rest));
    }
  }

  /** Sends a script, and with it, in the same round trip, the command that waits until a replica has what it wrote. */
  async #acknowledged(script: Script, start: () => Promise<unknown>): Promise<unknown> {
    if (!this.replicated || !script.acknowledged) return await this.send(script.name, start);
    const waitMs = Math.ceil(this.#options.settings.timeoutMs / 2);
    const [answer, replicas] = await Promise.all([
      this.send(script.name, start),
      this.send("WAIT", () => this.#client.wait(1, waitMs)),
    ]);
    if (replicas >= 1) return answer;
    throw new TroupeError("store_unavailable", `${script.name}: no Redis replica confirmed it within ${waitMs} ms`, {
      started: "unknown",
    });
  }

  /** Sends one command. `what` names it in errors. */
  async send<T>(what: string, start: () => Promise<T>): Promise<T> {
    if (!this.#fit) throw notSent(what, this.trouble ?? "the connection is closed");
    return await this.probe(what, start);
  }

  /** As `send`, also while the connection is not fit yet. */
  async probe<T>(what: string, start: () => Promise<T>): Promise<T> {
    if (this.#client.status !== "ready") throw notSent(what, this.trouble ?? "the connection is not ready");
    if (this.#pending >= MAX_PENDING) {
      throw new TroupeError("overloaded", `${what} was refused: ${MAX_PENDING} store commands wait already`, {
        started: "no",
        retryAfterMs: 100,
      });
    }
    this.#pending += 1;
    this.#sent += 1;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const { timeoutMs, address } = this.#options.settings;
    try {
      const silence = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          this.#failing = true;
          this.#lastError = new Error(`no answer within ${timeoutMs} ms`);
          reject(
            new TroupeError("store_unavailable", `${what}: Redis at ${address} did not answer within ${timeoutMs} ms`, {
              started: "unknown",
            }),
          );
          this.#drop();
        }, timeoutMs);
      });
      const answer = await Promise.race([start(), silence]);
      this.#failing = false;
      return answer;
    } catch (error) {
      throw this.#translate(what, error);
    } finally {
      clearTimeout(timer);
      this.#pending -= 1;
    }
  }

  #watchHandshake(): void {
    // ioredis bounds the TCP connect only; a frozen server accepts and then says nothing.
    clearTimeout(this.#handshake);
    this.#handshake = setTimeout(() => {
      this.#lastError = new Error(`no answer to the greeting within ${this.#options.settings.timeoutMs} ms`);
      this.#drop();
    }, this.#options.settings.timeoutMs);
  }

  /** Gives the connection up, once; ioredis dials again. */
  #drop(): void {
    this.#fit = false;
    if (this.#dropping || this.#closed) return;
    this.#dropping = true;
    this.#client.disconnect(true);
  }

  async #becomeFit(): Promise<void> {
    try {
      await this.#options.fit(this);
      if (this.#client.status !== "ready" || this.#closed) return;
      this.#fit = true;
      this.#failing = false;
      this.#options.regained?.();
    } catch (error) {
      this.#lastError = error instanceof Error ? error : new Error(String(error));
      this.#drop();
    }
  }

  #translate(what: string, error: unknown): unknown {
    if (TroupeError.is(error) || isMissingScript(error)) return error;
    const message = error instanceof Error ? error.message : String(error);
    if (isReply(error)) {
      // Demoted: what the address leads to by now is found out by dialling again.
      if (message.startsWith("READONLY")) this.#drop();
      const refused = refusal(what, message, error);
      if (refused.started === "no") this.#options.turnedAway?.();
      return refused;
    }
    this.#failing = true;
    if (message.startsWith("Stream isn't writeable")) return notSent(what, "the connection is down");
    return new TroupeError("store_unavailable", `${what}: the connection to Redis was lost before it answered`, {
      started: "unknown",
      cause: error,
    });
  }

  #openFailure(error: unknown): TroupeError {
    const { address } = this.#options.settings;
    const message = error instanceof Error ? error.message : String(error);
    const reason = /WRONGPASS|NOAUTH|invalid (username-)?password/i.test(message)
      ? `Redis at ${address} refused the user or password of cluster.url (${message})`
      : `cannot reach Redis at ${address} (${reasonOf(error)}): check that it runs and that cluster.url is right`;
    return new TroupeError("store_unavailable", reason, { started: "no", cause: error });
  }

  #cause(): string {
    return this.#lastError === null ? "" : ` (${reasonOf(this.#lastError)})`;
  }
}

/** A server that restarts is back within a second or so; a whole cluster must not dial it in step. */
function retryDelay(times: number): number {
  const bound = Math.min(FIRST_RETRY_MS * 2 ** Math.min(times - 1, 10), MAX_RETRY_MS);
  return bound / 2 + (Math.random() * bound) / 2;
}

/** ioredis insists on `Buffer`; this is a view, not a copy. */
function asBuffer(value: Uint8Array): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function isReply(error: unknown): error is Error {
  return error instanceof Error && (error.name === "ReplyError" || "command" in error) && error.name !== "AbortError";
}

function isMissingScript(error: unknown): boolean {
  return isReply(error) && error.message.startsWith("NOSCRIPT");
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // A refused connect to both addresses of a name comes as an AggregateError without a message.
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return error.message === "" ? code || error.name : error.message;
}

/** Replies that say the command was turned away before it did anything. */
const TURNED_AWAY =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|MOVED|ASK|TRYAGAIN|NOREPLICAS|OOM|MISCONF|BUSY|NOAUTH|NOPERM)\b/;

function refusal(what: string, message: string, cause: unknown): TroupeError {
  return new TroupeError("store_unavailable", `${what}: Redis answered "${message}"`, {
    started: TURNED_AWAY.test(message) ? "no" : "unknown",
    cause,
  });
}

function notSent(what: string, reason: string): TroupeError {
  return new TroupeError("store_unavailable", `${what} was not sent: ${reason}`, { started: "no" });
}
