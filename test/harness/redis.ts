/**
 * A real `redis-server` for tests: started on a free loopback port with a folder of its own, and the faults one wants
 * of it. Never leaves a process or a folder behind, also when a test fails or the process exits.
 */
import { Buffer } from "node:buffer";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Leash, startLeash } from "./leash.ts";
import { freePort } from "./ports.ts";
import { waitUntil } from "./wait.ts";

/** What to do when it is missing; for the `skip` of suites that need it. */
export const REDIS_MISSING =
  "redis-server is not on PATH: install it (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)";

const DEADLINE_MS = 10_000;
const POLL_MS = 10;
const START_ATTEMPTS = 3;

let available: boolean | undefined;

/** Whether `redis-server` is on PATH. */
export function redisAvailable(): boolean {
  available ??= spawnSync("redis-server", ["--version"], { stdio: "ignore" }).status === 0;
  return available;
}

export interface RedisOptions {
  /** `requirepass`. */
  password?: string;
  /** More arguments for `redis-server`, for example `["--maxmemory-policy", "allkeys-lru"]`. */
  args?: readonly string[];
}

const running = new Set<RedisServer>();
/** Ends the servers when this process is killed; there while one runs. */
let leash: Leash | null = null;
process.once("exit", () => {
  for (const server of running) server.killNow();
});

/** Starts a server and waits until it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  if (!redisAvailable()) throw new Error(REDIS_MISSING);
  for (let attempt = 1; ; attempt += 1) {
    const server = new RedisServer(await freePort(), options);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.stop();
      // Somebody may have taken the port meanwhile.
      if (attempt >= START_ATTEMPTS || !String(error).includes("in use")) throw error;
    }
  }
}

export class RedisServer {
  readonly port: number;
  /** With the password, where there is one. */
  readonly url: string;
  readonly #options: RedisOptions;
  readonly #folder: string;
  #child: ChildProcess | null = null;

  constructor(port: number, options: RedisOptions) {
    this.port = port;
    this.#options = options;
    this.#folder = mkdtempSync(join(tmpdir(), "troupe-redis-"));
    const user = options.password === undefined ? "" : `:${encodeURIComponent(options.password)}@`;
    this.url = `redis://${user}127.0.0.1:${port}`;
  }

  /** Starts the process again on the same port, with the data it saved. */
  async start(): Promise<void> {
    const { password, args = [] } = this.#options;
    running.add(this);
    leash ??= startLeash();
    const child = spawn(
      "redis-server",
      [
        ...["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.#folder],
        ...["--save", "", "--appendonly", "no", "--daemonize", "no"],
        ...(password === undefined ? [] : ["--requirepass", password]),
        ...args,
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#child = child;
    if (child.pid !== undefined) leash.hold(child.pid);
    let output = "";
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-4_000);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`redis-server ended at start:\n${output}`);
      const answer = await this.command("INFO", "server").catch(() => "");
      if (answer.includes(`process_id:${child.pid}\r`)) return;
      if (Date.now() > deadline) throw new Error(`redis-server did not answer within ${DEADLINE_MS} ms:\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Ends it for good: the process and its folder are gone afterwards. */
  async stop(): Promise<void> {
    await this.kill();
    running.delete(this);
    rmSync(this.#folder, { recursive: true, force: true });
    if (running.size > 0 || leash === null) return;
    const last = leash;
    leash = null;
    await last.close();
  }

  /** Of the server process; `undefined` while none runs. */
  get pid(): number | undefined {
    const child = this.#child;
    return child === null || child.exitCode !== null || child.signalCode !== null ? undefined : child.pid;
  }

  /** SIGKILL: nothing is saved. */
  async kill(): Promise<void> {
    const { pid } = this;
    const child = this.#child;
    if (child === null || pid === undefined) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    // A stopped process takes SIGKILL all the same.
    this.#signal("SIGKILL");
    await ended;
    this.#child = null;
    leash?.release(pid);
  }

  /** Kills it and starts it again: with what it held just before, or `empty`. */
  async restart(options: { empty?: boolean } = {}): Promise<void> {
    if (options.empty === true) rmSync(join(this.#folder, "dump.rdb"), { force: true });
    else await this.command("SAVE");
    await this.kill();
    await this.start();
  }

  /** Saves now; a `kill` and `start` later brings this moment back. */
  async save(): Promise<void> {
    await this.command("SAVE");
  }

  /** SIGSTOP: connections stay open and nothing is answered. */
  freeze(): void {
    this.#signal("SIGSTOP");
  }

  thaw(): void {
    this.#signal("SIGCONT");
  }

  /** Not `ChildProcess.kill`, which Deno lets through only once. */
  #signal(signal: NodeJS.Signals): void {
    if (this.pid !== undefined) process.kill(this.pid, signal);
  }

  /** Deletes everything, behind the backs of those connected. */
  async flush(): Promise<void> {
    await this.command("FLUSHALL");
  }

  /** A section of `INFO` as text. */
  info(section: string): Promise<string> {
    return this.command("INFO", section);
  }

  /** Resolves when `replica` has everything that was written here so far. */
  async followedBy(replica: RedisServer): Promise<void> {
    // Something that is passed on and leaves nothing: only then do the offsets say that the stream flows.
    await this.command("PUBLISH", "followed", "by");
    const read = (text: string, name: string): string => new RegExp(`^${name}:(\\S+)`, "m").exec(text)?.[1] ?? "";
    await waitUntil(
      async () => {
        const offset = read(await this.info("replication"), "master_repl_offset");
        const follower = await replica.info("replication");
        const up = read(follower, "master_link_status") === "up";
        return up && Number(read(follower, "slave_repl_offset")) >= Number(offset);
      },
      20_000,
      "the replica to follow",
    );
  }

  /** Sends one command on a connection of its own; arrays come back as lines. Rejects with an error reply's text. */
  async command(...words: string[]): Promise<string> {
    const { password } = this.#options;
    const socket = await dial(this.port);
    try {
      const commands = password === undefined ? [words] : [["AUTH", password], words];
      socket.write(commands.map(encode).join(""));
      let reply = "";
      for (const _ of commands) reply = await readReply(socket);
      return reply;
    } finally {
      socket.destroy();
    }
  }

  /** For the exit hook: ends the process and removes the folder without waiting. */
  killNow(): void {
    this.#signal("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error("redis-server does not answer")));
    socket.once("error", reject);
    socket.once("connect", () => resolve(socket));
  });
}

/** Bytes that came with an earlier reply and belong to the next. */
const unread = new WeakMap<Socket, string>();

/** The next reply on the socket, as text. */
function readReply(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let pending = unread.get(socket) ?? "";
    const attempt = (): boolean => {
      const parsed = parse(pending, 0);
      if (parsed === null) return false;
      socket.off("data", onData);
      socket.off("close", onClose);
      unread.set(socket, pending.slice(parsed.end));
      if (parsed.error) reject(new Error(parsed.value));
      else resolve(parsed.value);
      return true;
    };
    const onData = (chunk: Buffer): void => {
      pending += chunk.toString("latin1");
      attempt();
    };
    const onClose = (): void => reject(new Error("redis-server closed the connection"));
    if (attempt()) return;
    socket.on("data", onData);
    socket.once("close", onClose);
    socket.once("error", reject);
  });
}

interface Parsed {
  value: string;
  end: number;
  error: boolean;
}

/** One RESP2 reply from `start`; `null` when more is needed. */
function parse(input: string, start: number): Parsed | null {
  const line = input.indexOf("\r\n", start);
  if (line === -1) return null;
  const head = input.slice(start + 1, line);
  const after = line + 2;
  switch (input[start]) {
    case "+":
    case ":":
      return { value: head, end: after, error: false };
    case "-":
      return { value: head, end: after, error: true };
    case "$": {
      const length = Number(head);
      if (length === -1) return { value: "", end: after, error: false };
      if (input.length < after + length + 2) return null;
      return { value: input.slice(after, after + length), end: after + length + 2, error: false };
    }
    default: {
      const items: string[] = [];
      let end = after;
      for (let count = Number(head); count > 0; count -= 1) {
        const item = parse(input, end);
        if (item === null) return null;
        items.push(item.value);
        end = item.end;
      }
      return { value: items.join("\n"), end, error: false };
    }
  }
}
