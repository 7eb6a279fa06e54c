/**
 * One Troupe node as a real process, with verbs for what happens to nodes: `kill`, `freeze`, `thaw`, `stop`.
 *
 * A signal goes to the node alone, never to what it started: what becomes of its guard and its upstreams is the node's
 * promise, and tests look. Only `discard`, the end of a test, takes what is left of them too.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Leash } from "./leash.ts";
import { alive, family } from "./processes.ts";
import { waitUntil, within } from "./wait.ts";

export type RuntimeName = "node" | "deno";

export interface NodeCommand {
  runtime: RuntimeName;
  /** Arguments of `runtime`, such as `["start", "--config", file]`. */
  args: string[];
  /** Added to the environment of the test. */
  env?: Record<string, string>;
  cwd?: string;
  /** The `runtime` program; default the checkout's. */
  bin?: string;
  /** Flags of the runtime itself, such as `--inspect=127.0.0.1:0`. */
  flags?: string[];
  /** What replaces itself by the command, such as `["ip", "netns", "exec", name]`. */
  wrapper?: readonly [program: string, ...args: string[]];
}

/** How a process ended: exactly one of the two is not null. */
export interface Exit {
  code: number | null;
  signal: string | null;
}

/** Longest output kept per process, characters; the oldest goes first. */
const OUTPUT_KEPT = 1_000_000;
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BIN = fileURLToPath(new URL("../../runtime/bin.mjs", import.meta.url));
const DENO = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));

function tryKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}

/** The executable and arguments that run `runtime …` on that runtime. */
export function commandLine(command: NodeCommand): [executable: string, args: string[]] {
  const bin = command.bin ?? BIN;
  const flags = command.flags ?? [];
  const node = process.versions.deno === undefined ? process.execPath : "node";
  const [executable, args]: [string, string[]] =
    command.runtime === "deno"
      ? [DENO, ["run", "-A", ...flags, bin, ...command.args]]
      : [node, [...flags, bin, ...command.args]];
  if (command.wrapper === undefined) return [executable, args];
  const [program, ...before] = command.wrapper;
  return [program, [...before, executable, ...args]];
}

/** The environment of a child: ours, without what configures Troupe or makes Node.js believe it runs a test file. */
function environment(extra: Record<string, string> = {}): Record<string, string> {
  const clean: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value === undefined || name.startsWith("RUNTIME_") || name.startsWith("NODE_TEST") || name === "NODE_OPTIONS")
      continue;
    clean[name] = value;
  }
  return { ...clean, ...extra };
}

export class NodeProcess {
  readonly pid: number;
  /** Settles when the process has ended. */
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #leash: Leash;
  #stdout = "";
  #stderr = "";
  #exit: Exit | undefined;

  constructor(command: NodeCommand, leash: Leash) {
    const [executable, args] = commandLine(command);
    this.#child = spawn(executable, args, {
      cwd: command.cwd ?? ROOT,
      env: environment(command.env),
      // Its own process group, so that nothing it started can be left behind.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    if (this.#child.pid === undefined) throw new Error(`could not start ${executable}`);
    this.pid = this.#child.pid;
    this.#leash = leash;
    leash.hold(this.pid);
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-OUTPUT_KEPT);
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-OUTPUT_KEPT);
    });
    this.exited = new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => {
        this.#exit = { code, signal };
        resolve(this.#exit);
      });
    });
  }

  /** Whether it has not ended yet. A frozen process has not. */
  get running(): boolean {
    return this.#exit === undefined;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Everything it said, for the message of a failed test. */
  logs(): string {
    return `${this.#stdout}${this.#stderr}`;
  }

  /** The line it prints when it serves. Rejects with its output if it ends first. */
  async ready(deadlineMs = 30_000): Promise<string> {
    await waitUntil(
      () => this.#stdout.includes("\n") || !this.running,
      deadlineMs,
      `the ready line of process ${this.pid}; it said: ${this.#stderr.slice(-2_000) || "nothing"}`,
      5,
    );
    if (!this.#stdout.includes("\n")) {
      throw new Error(`the node ended (${JSON.stringify(this.#exit)}) before it served:\n${this.logs()}`);
    }
    return this.#stdout.slice(0, this.#stdout.indexOf("\n"));
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.exited;
  }

  /** SIGSTOP: alive, and silent. */
  freeze(): void {
    this.signal("SIGSTOP");
  }

  /** SIGCONT. */
  thaw(): void {
    this.signal("SIGCONT");
  }

  /** SIGTERM, and how it ended. */
  async stop(deadlineMs = 40_000): Promise<Exit> {
    this.signal("SIGTERM");
    return within(
      this.exited,
      deadlineMs,
      `process ${this.pid} to end after SIGTERM; it said:\n${this.logs().slice(-4_000)}`,
    );
  }

  signal(name: "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGTERM" | "SIGINT"): void {
    // Not `ChildProcess.kill`: Deno's sends one signal only, and then reports that signal as the end.
    if (this.running) process.kill(this.pid, name);
  }

  /** Kills it, gives its guard the time to end the upstreams, and kills what is left. */
  async discard(): Promise<void> {
    const relatives = this.running ? family(this.pid).map(({ pid }) => pid) : [];
    await this.kill();
    this.#leash.release(this.pid);
    await waitUntil(() => !relatives.some(alive), 3_000, "the guard to clean up").catch(() => {
      for (const pid of relatives.filter(alive)) tryKill(pid);
    });
    tryKill(-this.pid);
  }
}
