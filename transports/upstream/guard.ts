/**
 * The node's end of its guard process (guard_main.mjs), on the I/O thread.
 *
 * The guard is started with the first process to protect, so a node without stdio upstreams has none. `feed` hands on
 * how long the node may still consider itself alive; called at each renewal of the node's lease. A guard that dies is
 * started again at once and told everything again; `protect` resolves when a living guard has acknowledged.
 *
 * What it cannot do: end the groups of a node that is killed within the milliseconds between a guard's death and the
 * start of the next; and find a process that has left its group.
 *
 * Bounds: a guard that dies young is started again at once three times in a row, then after 1 s; a `protect` not
 * acknowledged within 5 s rejects.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Clock } from "../../runtime/actor/clock.ts";
import type { ProcessGuard } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import { signalGroup } from "./process_group.ts";

const ACK_MS = 5_000;
const RESTART_MS = 1_000;
/** A guard that lived this long did not die young. */
const SOUND_MS = 5_000;
const QUICK_RESTARTS = 3;

export interface GuardOptions {
  clock: Clock;
  log: Logger;
  /** From SIGTERM to SIGKILL when the node stops in order, milliseconds; one that dies has none. Default 1,000. */
  graceMs?: number;
}

interface Ack {
  readonly pid: number;
  readonly resolve: () => void;
  readonly reject: (error: TroupeError) => void;
  readonly cancelTimer: () => void;
}

type Guard = ChildProcessByStdio<Writable, Readable, null>;

export class GuardProcess implements ProcessGuard {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #graceMs: number;
  readonly #groups = new Set<number>();
  readonly #acks = new Map<number, Ack>();
  #guard: Guard | undefined;
  #startedAt = 0;
  #diedYoung = 0;
  #cancelRestart: (() => void) | undefined;
  #lastAck = 0;
  #unfinished = "";
  /** On our clock; undefined: never fed, so nothing lapses. */
  #deadline: number | undefined;
  #closed = false;

  constructor(options: GuardOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#graceMs = options.graceMs ?? 1_000;
  }

  /** Process id of the guard, while there is one. */
  get pid(): number | undefined {
    return this.#guard?.pid;
  }

  protect(pid: number): Promise<void> {
    if (this.#closed) {
      return Promise.reject(new TroupeError("draining", "the process guard is closed", { started: "no" }));
    }
    this.#groups.add(pid);
    return new Promise((resolve, reject) => {
      const ack = ++this.#lastAck;
      const cancelTimer = this.#clock.after(ACK_MS, () => {
        this.#settle(ack);
        this.#groups.delete(pid);
        reject(
          new TroupeError("unavailable", `the process guard did not answer within ${ACK_MS} ms`, { started: "no" }),
        );
      });
      this.#acks.set(ack, { pid, resolve, reject, cancelTimer });
      if (this.#guard !== undefined) this.#write({ protect: pid, ack });
      else if (this.#cancelRestart === undefined) this.#start();
      this.#holdProcess(true);
    });
  }

  release(pid: number): void {
    if (this.#groups.delete(pid)) this.#write({ release: pid });
  }

  /**
   * The node may consider itself alive for `deadlineMs` from now. When that passes without another `feed`, everything
   * protected is killed; 0 kills at once.
   */
  feed(deadlineMs: number): void {
    this.#deadline = this.#clock.now() + deadlineMs;
    this.#write({ deadline: deadlineMs });
  }

  /** The groups that one worker started. `end` when the worker is gone: nobody else would end its processes. */
  scope(): GuardScope {
    return new GuardScope(this);
  }

  /** Lets the guard end what is still protected, and itself. Resolves when it has. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRestart?.();
    for (const [id, ack] of this.#acks) {
      this.#settle(id);
      ack.reject(new TroupeError("draining", "the process guard is closed", { started: "no" }));
    }
    const guard = this.#guard;
    if (guard === undefined) return;
    this.#holdProcess(true);
    this.#write({ leave: this.#graceMs });
    const exit = new Promise<void>((resolve) => guard.once("exit", () => resolve()));
    guard.stdin.end();
    await exit;
  }

  #start(): void {
    this.#cancelRestart = undefined;
    const main = fileURLToPath(new URL("../../transports/upstream/guard_main.mjs", import.meta.url));
    const runtimeArgs = "Deno" in globalThis ? ["run", "-A", "--no-config", "--no-lock"] : [];
    const guard = spawn(process.execPath, [...runtimeArgs, main], {
      detached: true,
      stdio: ["pipe", "pipe", "inherit"],
      cwd: "/",
      env: { PATH: process.env.PATH, HOME: process.env.HOME },
    });
    this.#guard = guard;
    this.#startedAt = this.#clock.now();
    this.#unfinished = "";
    guard.stdin.on("error", () => {});
    guard.stdout.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    let gone = false;
    const onGone = (why: string): void => {
      if (gone) return;
      gone = true;
      this.#onGone(guard, why);
    };
    guard.once("exit", (code, signal) => onGone(signal ?? `exit code ${code}`));
    guard.once("error", (error) => onGone(error.message));
    this.#holdProcess(this.#acks.size > 0);
    const waiting = new Set([...this.#acks.values()].map(({ pid }) => pid));
    for (const pid of this.#groups) if (!waiting.has(pid)) this.#write({ protect: pid, ack: 0 });
    for (const [ack, { pid }] of this.#acks) this.#write({ protect: pid, ack });
    if (this.#deadline !== undefined) this.#write({ deadline: this.#deadline - this.#clock.now() });
  }

  #onGone(guard: Guard, why: string): void {
    if (this.#guard !== guard) return;
    this.#guard = undefined;
    if (this.#closed) return;
    this.#log.warn("the process guard ended, it is started again", { why, protected: this.#groups.size });
    if (this.#groups.size === 0) return;
    this.#diedYoung = this.#clock.now() - this.#startedAt < SOUND_MS ? this.#diedYoung + 1 : 0;
    if (this.#diedYoung <= QUICK_RESTARTS) this.#start();
    else this.#cancelRestart = this.#clock.after(RESTART_MS, () => this.#start());
  }

  #write(command: Readonly<Record<string, number>>): void {
    this.#guard?.stdin.write(`${JSON.stringify(command)}\n`);
  }

  #read(text: string): void {
    const lines = (this.#unfinished + text).split("\n");
    this.#unfinished = lines.pop() ?? "";
    for (const line of lines) {
      const { ack } = JSON.parse(line) as { ack: number };
      const waiting = this.#acks.get(ack);
      if (waiting === undefined) continue;
      this.#settle(ack);
      waiting.resolve();
    }
  }

  #settle(ack: number): void {
    this.#acks.get(ack)?.cancelTimer();
    this.#acks.delete(ack);
    if (this.#acks.size === 0) this.#holdProcess(false);
  }

  /** The guard keeps the node's process alive only while somebody waits for it: when the node ends, so does it. */
  #holdProcess(hold: boolean): void {
    const guard = this.#guard;
    if (guard === undefined) return;
    // Pipes of a child process are sockets, which their type does not say.
    for (const handle of [guard, guard.stdin as Socket, guard.stdout as Socket]) {
      if (hold) handle.ref();
      else handle.unref();
    }
  }
}

/** What one worker has the guard protect. */
export class GuardScope implements ProcessGuard {
  readonly #guard: GuardProcess;
  readonly #groups = new Set<number>();
  #ended = false;

  constructor(guard: GuardProcess) {
    this.#guard = guard;
  }

  async protect(pid: number): Promise<void> {
    // A message the worker sent before it died may arrive after its end.
    if (this.#ended) {
      signalGroup(pid, "SIGKILL");
      throw new TroupeError("unavailable", "the worker that started this process is gone", { started: "no" });
    }
    this.#groups.add(pid);
    try {
      await this.#guard.protect(pid);
    } catch (error) {
      this.#groups.delete(pid);
      throw error;
    }
  }

  release(pid: number): void {
    this.#groups.delete(pid);
    this.#guard.release(pid);
  }

  /** The worker is gone: kills what it left behind. */
  end(): void {
    this.#ended = true;
    for (const pid of this.#groups) {
      signalGroup(pid, "SIGKILL");
      this.#guard.release(pid);
    }
    this.#groups.clear();
  }
}
