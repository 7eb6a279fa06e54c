/**
 * A `Channel` over a child process that speaks newline-delimited JSON on its standard streams (MCP, stdio transport).
 *
 * ## The process never outlives its owner
 * It leads a process group of its own, and that group is registered with the node's guard process before the command
 * runs: the child is first a shell that waits for one line on its standard input. A node killed between spawn and
 * registration closes that pipe, and the shell ends without having started anything.
 *
 * ## Bounds
 * - A line is at most 16 MiB; a longer one closes the channel.
 * - Lines that are no JSON-RPC (banners, prints) are dropped and counted; 100 of them in a row close the channel.
 * - After `TURN_MESSAGES` messages (and the rest of their chunk) the rest of the worker gets its turn; while the owner is behind
 *   (`pause`), nothing is read, so the pipe fills and the upstream has to wait: memory stays flat.
 * - Writes of one tick leave as one. When 8 MiB wait unread the channel says that it is `congested`; at twice that,
 *   which only answers and notifications can reach, it is closed.
 * - Standard error is drained; only its end is kept (stderr_tail.ts).
 *
 * ## The end
 * Standard input is closed, 2 s later the group gets SIGTERM, 2 s later SIGKILL; where ownership was lost (`fenced`)
 * SIGKILL at once, because a successor may have started. `close` resolves when no process of the group runs. A leader that ends by itself takes the rest of its group with it.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { WorkerServices } from "../../runtime/actor/define.ts";
import type { AbortReason } from "../../runtime/actor/errors.ts";
import type { Channel, ChannelClosed, ChannelMessageInfo, RpcMessage, UpstreamConfig } from "./contract.ts";
import { LineSplitter, LineTooLong } from "./lines.ts";
import { groupRuns, signalGroup } from "./process_group.ts";
import { StderrTail } from "./stderr_tail.ts";

const GATE = 'read -r _ && exec "$@"';
/** What a child gets of our own environment; everything else must be configured. */
const INHERITED = [
  "HOME",
  "LANG",
  "LC_ALL",
  "LOGNAME",
  "PATH",
  "SHELL",
  "TEMP",
  "TERM",
  "TMP",
  "TMPDIR",
  "TZ",
  "USER",
] as const;
const TURN_MESSAGES = 256;
/** Longest wait for what a process that has ended still has in its pipes, milliseconds. */
const DRAIN_MS = 250;
const GROUP_POLL_MS = 20;
/** After SIGKILL the kernel needs a moment; a group that stays longer is out of reach. Milliseconds. */
const KILLED_MS = 2_000;
const NO_INFO: ChannelMessageInfo = {};

export interface StdioOptions {
  /** Longest line, bytes. Default 16 MiB. */
  maxLineBytes?: number;
  /** Lines in a row that are no JSON-RPC, before the channel is closed. Default 100. */
  maxBadLines?: number;
  /** Unread bytes from which on the channel is congested. Default 8 MiB. */
  maxQueuedBytes?: number;
  /** From closing standard input to SIGTERM, milliseconds. Default 2,000. */
  endMs?: number;
  /** From SIGTERM to SIGKILL, milliseconds. Default 2,000. */
  terminateMs?: number;
}

type StdioTransport = Extract<UpstreamConfig["transport"], { kind: "stdio" }>;

export class StdioChannel implements Channel {
  onmessage: Channel["onmessage"];
  onclose: Channel["onclose"];
  /** The leader of the process group; undefined when it could not be started. */
  readonly pid: number | undefined;
  readonly #services: WorkerServices;
  readonly #transport: StdioTransport;
  readonly #options: Required<StdioOptions>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #stderr: StderrTail;
  readonly #lines: LineSplitter;
  /** Chunks that were read and not yet looked at: at most what one pause leaves behind. */
  readonly #unread: Buffer[] = [];
  #queue: string[] = [];
  #queuedChars = 0;
  #flushing = false;
  #gateOpen = false;
  #badLines = 0;
  #handled = 0;
  #pausedByOwner = false;
  #yielding = false;
  #closed: ChannelClosed | undefined;
  #ended: Promise<void> | undefined;
  #exited = false;
  readonly #exit: Promise<void>;

  constructor(name: string, transport: StdioTransport, services: WorkerServices, options: StdioOptions = {}) {
    this.#services = services;
    this.#transport = transport;
    this.#options = {
      maxLineBytes: options.maxLineBytes ?? 16 * 1024 * 1024,
      maxBadLines: options.maxBadLines ?? 100,
      maxQueuedBytes: options.maxQueuedBytes ?? 8 * 1024 * 1024,
      endMs: options.endMs ?? 2_000,
      terminateMs: options.terminateMs ?? 2_000,
    };
    this.#lines = new LineSplitter(this.#options.maxLineBytes);
    this.#stderr = new StderrTail(Object.values(transport.env), (line) => {
      services.log.debug("upstream stderr", { upstream: name, line });
    });
    const child = spawn("/bin/sh", ["-c", GATE, "sh", transport.command, ...transport.args], {
      detached: true,
      stdio: "pipe",
      cwd: transport.cwd,
      env: childEnvironment(transport.env),
    });
    this.#child = child;
    this.pid = child.pid;
    this.#exit = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.#exited = true;
        resolve();
        this.#onExit(code, signal);
      });
      child.once("error", (error) => {
        if (this.pid === undefined) this.#exited = true;
        resolve();
        this.#fail("crashed", this.#spawnFailure(error));
      });
    });
    // A broken pipe is followed by the process' exit, which says more.
    child.stdin.on("error", () => {});
    child.stderr.setEncoding("utf8").on("data", (text: string) => this.#stderr.push(text));
    child.stdout.on("data", (chunk: Buffer) => this.#read(chunk));
    if (this.pid !== undefined) void this.#openGate(this.pid);
  }

  get congested(): boolean {
    return this.#queuedChars + this.#child.stdin.writableLength > this.#options.maxQueuedBytes;
  }

  send(message: RpcMessage): void {
    if (this.#closed !== undefined) return;
    const line = `${JSON.stringify(message)}\n`;
    this.#queue.push(line);
    this.#queuedChars += line.length;
    if (this.#queuedChars + this.#child.stdin.writableLength > 2 * this.#options.maxQueuedBytes) {
      this.#fail("protocol", `it does not read its input: ${2 * this.#options.maxQueuedBytes} bytes wait`);
    } else if (!this.#flushing && this.#gateOpen) {
      this.#flushing = true;
      setImmediate(() => this.#flush());
    }
  }

  pause(): void {
    this.#pausedByOwner = true;
    this.#child.stdout.pause();
  }

  resume(): void {
    this.#pausedByOwner = false;
    if (!this.#yielding && this.#closed === undefined) this.#drain();
  }

  close(reason: AbortReason | "idle" | "ended"): Promise<void> {
    this.#fail("closed", `it was stopped (${reason})`, reason === "fenced");
    return this.#ended ?? Promise.resolve();
  }

  async #openGate(pid: number): Promise<void> {
    try {
      await this.#services.processGuard.protect(pid);
    } catch (error) {
      return this.#fail("crashed", `the process guard does not answer: ${messageOf(error)}`);
    }
    if (this.#closed !== undefined) return;
    this.#gateOpen = true;
    this.#child.stdin.write("\n");
    this.#flush();
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#queue.length === 0 || this.#closed !== undefined) return;
    const text = this.#queue.length === 1 ? (this.#queue[0] as string) : this.#queue.join("");
    this.#queue = [];
    this.#queuedChars = 0;
    this.#child.stdin.write(text);
  }

  #read(chunk: Buffer): void {
    this.#unread.push(chunk);
    if (!this.#pausedByOwner && !this.#yielding) this.#drain();
  }

  /** Handles what was read, chunk by chunk, until a turn's share is used up or the owner is behind. */
  #drain(): void {
    while (this.#unread.length > 0) {
      const chunk = this.#unread.shift() as Buffer;
      try {
        this.#lines.push(chunk, (line) => this.#line(line));
      } catch (error) {
        if (!(error instanceof LineTooLong)) throw error;
        return this.#fail("protocol", `it sent a line of more than ${this.#options.maxLineBytes} bytes`);
      }
      if (this.#closed !== undefined || this.#pausedByOwner) return;
      if (this.#handled >= TURN_MESSAGES) return this.#yield();
    }
    this.#child.stdout.resume();
  }

  /** Reads on in the next round of the event loop, so that one upstream does not keep the worker to itself. */
  #yield(): void {
    this.#handled = 0;
    this.#yielding = true;
    this.#child.stdout.pause();
    setImmediate(() => {
      this.#yielding = false;
      if (!this.#pausedByOwner && this.#closed === undefined) this.#drain();
    });
  }

  #line(line: string): void {
    if (this.#closed !== undefined || line.length === 0 || line === "\r") return;
    this.#handled++;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return this.#badLine();
    }
    if (Array.isArray(value)) {
      // A batch, which 2025-03-26 allows.
      for (const element of value) this.#message(element);
    } else {
      this.#message(value);
    }
  }

  #message(value: unknown): void {
    if (typeof value !== "object" || value === null || !("jsonrpc" in value)) return this.#badLine();
    this.#badLines = 0;
    this.onmessage?.(value as RpcMessage, NO_INFO);
  }

  #badLine(): void {
    this.#services.count("troupe_upstream_bad_messages_total");
    if (++this.#badLines >= this.#options.maxBadLines) {
      this.#fail("protocol", `it sent ${this.#badLines} lines in a row that are not JSON-RPC`);
    }
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#closed !== undefined) return;
    // What it wrote last is still in the pipes; a descendant may hold them open, so this wait is bounded.
    let cancel = (): void => {};
    const report = (): void => {
      cancel();
      this.#child.removeListener("close", report);
      this.#fail(code === 0 ? "exited" : "crashed", this.#exitDetail(code, signal));
    };
    cancel = this.#services.clock.after(DRAIN_MS, report);
    this.#child.once("close", report);
  }

  #exitDetail(code: number | null, signal: NodeJS.Signals | null): string {
    const { command } = this.#transport;
    if (code === 127) return `command not found: ${this.#stderr.redact(command)} (exit code 127)`;
    if (code === 126) return `command cannot be executed: ${this.#stderr.redact(command)} (exit code 126)`;
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    const tail = this.#stderr.tail();
    return tail === "" ? `it ended with ${how}` : `it ended with ${how}; its last words: ${tail}`;
  }

  #spawnFailure(error: Error): string {
    const { cwd } = this.#transport;
    if (!existsSync(cwd)) return `its working directory does not exist: ${cwd}`;
    return `it could not be started: ${this.#stderr.redact(error.message)}`;
  }

  /** The one way to the end. */
  #fail(reason: ChannelClosed["reason"], detail: string, atOnce = false): void {
    if (this.#closed !== undefined) return;
    this.#closed = { reason, detail };
    this.#queue = [];
    this.#unread.length = 0;
    // Nobody listens any more, but a process that cannot write its last words does not end by itself.
    this.#child.stdout.removeAllListeners("data");
    this.#child.stdout.resume();
    this.#ended = this.#end(reason === "closed" ? this.#options.endMs : 0, atOnce);
    this.onclose?.(this.#closed);
  }

  async #end(endMs: number, atOnce: boolean): Promise<void> {
    this.#child.stdin.end();
    if (this.pid === undefined) return;
    if (atOnce) {
      signalGroup(this.pid, "SIGKILL");
      await this.#goneWithin(KILLED_MS);
    } else if (!(await this.#goneWithin(endMs))) {
      signalGroup(this.pid, "SIGTERM");
      if (!(await this.#goneWithin(this.#options.terminateMs))) {
        signalGroup(this.pid, "SIGKILL");
        await this.#goneWithin(KILLED_MS);
      }
    }
    this.#services.processGuard.release(this.pid);
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr]) stream.destroy();
  }

  /** Whether no process of the group runs, at the latest after `ms`. */
  async #goneWithin(ms: number): Promise<boolean> {
    const { clock } = this.#services;
    const pid = this.pid as number;
    const deadline = clock.now() + ms;
    if (!this.#exited && ms > 0) {
      let cancel = (): void => {};
      await Promise.race([
        this.#exit,
        new Promise<void>((resolve) => {
          cancel = clock.after(ms, resolve);
        }),
      ]);
      cancel();
    }
    for (;;) {
      if (this.#exited && !(await groupRuns(pid))) return true;
      if (clock.now() >= deadline) return false;
      await new Promise<void>((resolve) => clock.after(GROUP_POLL_MS, resolve));
    }
  }
}

function childEnvironment(configured: Readonly<Record<string, string>>): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of INHERITED) {
    const value = process.env[name];
    // A value that starts like this is a function exported by a shell, which would be code.
    if (value !== undefined && !value.startsWith("()")) env[name] = value;
  }
  return { ...env, ...configured };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
