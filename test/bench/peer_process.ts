/** A process of the benchmark that is no Troupe node: a peer, or the client. */
import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import { createInterface, type Interface } from "node:readline";
import type { Leash } from "../harness/leash.ts";
import { waitUntil } from "../harness/wait.ts";

export class PeerProcess {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #lines: Interface | undefined;
  #stderr = "";

  /** `conversation`: its standard output is read line by line with `ask`; otherwise it is thrown away. */
  constructor(executable: string, args: string[], leash: Leash, conversation = false) {
    this.#child = spawn(executable, args, {
      detached: true,
      stdio: [conversation ? "pipe" : "ignore", conversation ? "pipe" : "ignore", "pipe"],
    });
    if (this.#child.pid === undefined) throw new Error(`could not start ${executable}`);
    this.pid = this.#child.pid;
    leash.hold(this.pid);
    this.#child.once("exit", () => leash.release(this.pid));
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-10_000);
    });
    if (this.#child.stdout !== null) this.#lines = createInterface({ input: this.#child.stdout });
  }

  /** The end of what it has written to standard error. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves when it accepts connections on that loopback port. */
  async listening(port: number): Promise<void> {
    await waitUntil(
      () => {
        if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.#stderr}`);
        return accepts(port);
      },
      30_000,
      `port ${port} to answer`,
      50,
    );
  }

  /** Sends one JSON document and returns the next line that is one, parsed. */
  async ask<T>(question: object): Promise<T> {
    const answer = new Promise<string>((resolve, reject) => {
      const ended = () => reject(new Error(`the process ended: ${this.#stderr}`));
      this.#child.once("exit", ended);
      const heard = (line: string): void => {
        // Libraries print there too.
        if (!line.startsWith("{")) return;
        this.#lines?.off("line", heard);
        this.#child.off("exit", ended);
        resolve(line);
      };
      this.#lines?.on("line", heard);
    });
    this.#child.stdin?.write(`${JSON.stringify(question)}\n`);
    const parsed = JSON.parse(await answer) as T & { error?: string };
    if (parsed.error !== undefined) throw new Error(parsed.error);
    return parsed;
  }

  /** SIGTERM to its group, SIGKILL after two seconds. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    const timer = setTimeout(() => this.#signal("SIGKILL"), 2_000);
    this.#signal("SIGTERM");
    await exited;
    clearTimeout(timer);
  }

  #signal(name: "SIGTERM" | "SIGKILL"): void {
    try {
      process.kill(-this.pid, name);
    } catch {
      // The group is gone.
    }
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
