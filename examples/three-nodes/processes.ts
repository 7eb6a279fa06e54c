/** The programs of this example: found, started on free ports, and all ended when it ends. */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { connect, createServer } from "node:net";
import { delimiter, join } from "node:path";

const STOP_MS = 10_000;
const READY_MS = 30_000;

/** Where `program` is, or undefined. Debian keeps servers in sbin, which is not on every user's PATH. */
export function findProgram(program: string): string | undefined {
  return `${process.env.PATH}${delimiter}/usr/sbin${delimiter}/usr/local/sbin`
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** `wanted` if nobody listens there, else another port. */
export async function freePort(wanted: number): Promise<number> {
  return (await tryPort(wanted)) ?? (await tryPort(0)) ?? wanted;
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? address?.port : undefined));
    });
  });
}

/** Programs that run until `stopAll`, in the order they were started. */
export class Programs {
  readonly #running: { name: string; child: ChildProcess; ended: Promise<void> }[] = [];

  constructor() {
    // The last resort, when this program ends in another way than by its own `stopAll`.
    process.on("exit", () => {
      for (const { child } of this.#running) child.kill("SIGKILL");
    });
  }

  /** Starts a program; resolves when `ready` is true for what it printed so far. Its log goes to standard error. */
  async start(
    name: string,
    command: string,
    args: readonly string[],
    options: { env?: Record<string, string>; ready(output: string): boolean | Promise<boolean> },
  ): Promise<void> {
    const child = spawn(command, args, { env: { ...process.env, ...options.env }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let exited = false;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output = (output + text).slice(-20_000);
      });
    }
    const ended = new Promise<void>((resolve) => {
      child.once("error", (error) => {
        output += error.message;
        exited = true;
        resolve();
      });
      child.once("exit", () => {
        exited = true;
        resolve();
      });
    });
    this.#running.push({ name, child, ended });
    const deadline = performance.now() + READY_MS;
    while (!(await options.ready(output))) {
      if (exited) throw new Error(`${name} did not start:\n${output}`);
      if (performance.now() > deadline) throw new Error(`${name} was not ready within ${READY_MS} ms:\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  /** Asks all to end, the last started first, and ends those that do not. */
  async stopAll(): Promise<void> {
    for (const { child, ended } of this.#running.splice(0).reverse()) {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(timer);
    }
  }
}

/** Whether something accepts connections on that port of this machine. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
