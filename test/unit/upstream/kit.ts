/** What upstream tests share: a worker's services without a node, owners that remember, and ways to wait. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Clock, systemClock } from "../../../runtime/actor/clock.ts";
import type { ProcessGuard, WorkerServices } from "../../../runtime/actor/define.ts";
import type { Incarnation, NodeId } from "../../../runtime/actor/ids.ts";
import { DiagnosticEvents } from "../../../runtime/observe/events.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import type {
  Channel,
  ChannelClosed,
  ChannelMessageInfo,
  Handshake,
  RpcId,
  RpcMessage,
  RpcRequest,
  UpstreamConfig,
  UpstreamOwner,
} from "../../../transports/upstream/contract.ts";

export const isDeno = "Deno" in globalThis;

/** A guard that only keeps count. */
export class CountingGuard implements ProcessGuard {
  readonly held = new Set<number>();
  async protect(pid: number): Promise<void> {
    this.held.add(pid);
  }
  release(pid: number): void {
    this.held.delete(pid);
  }
}

export interface TestServices extends WorkerServices {
  readonly counts: Map<string, number>;
}

export function testServices(
  options: { clock?: Clock; guard?: ProcessGuard; upstreams?: UpstreamConfig[] } = {},
): TestServices {
  const counts = new Map<string, number>();
  return {
    nodeId: "n1" as NodeId,
    incarnation: "1" as Incarnation,
    clock: options.clock ?? systemClock(),
    log: silentLogger,
    settings: { upstreams: options.upstreams ?? [] },
    events: new DiagnosticEvents(),
    processGuard: options.guard ?? new CountingGuard(),
    count: (name, by = 1) => void counts.set(name, (counts.get(name) ?? 0) + by),
    counts,
  };
}

/** The configuration of the stdio fixture in `mode`. */
export function stdioConfig(
  mode = "good",
  overrides: Partial<UpstreamConfig> = {},
  env: Record<string, string> = {},
): UpstreamConfig {
  const file = fileURLToPath(new URL("./fixtures/stdio_server.mjs", import.meta.url));
  const args = isDeno ? ["run", "-A", file, mode] : [file, mode];
  return upstream({ kind: "stdio", command: process.execPath, args, env, cwd: process.cwd() }, overrides);
}

export function upstream(
  transport: UpstreamConfig["transport"],
  overrides: Partial<UpstreamConfig> = {},
): UpstreamConfig {
  return {
    name: "fixture",
    transport,
    isolation: "session",
    idleStopMs: 0,
    maxProcesses: 8,
    startTimeoutMs: 10_000,
    ...overrides,
  };
}

export const HANDSHAKE: Handshake = {
  protocolVersion: "2025-11-25",
  capabilities: { sampling: {} },
  clientInfo: { name: "test", version: "0" },
};

type Params = Record<string, unknown> | undefined;

/** An owner that remembers what it was told, and answers requests with `answer`. */
export class RecordingOwner implements UpstreamOwner {
  readonly requests: { method: string; params: Params; related: number | undefined; signal: AbortSignal }[] = [];
  /** Of the requests, the upstream's own. */
  readonly ids: (RpcId | undefined)[] = [];
  readonly notifications: { method: string; params: Params; related: number | undefined }[] = [];
  readonly closed: ChannelClosed[] = [];
  readonly closedStreams: number[] = [];
  starts = 0;
  answer: (method: string, params: Params) => Promise<unknown> = async (method) => ({ answered: method });

  onRequest(
    _upstream: string,
    method: string,
    params: Params,
    related: number | undefined,
    signal: AbortSignal,
    id?: RpcId,
  ) {
    this.ids.push(id);
    this.requests.push({ method, params, related, signal });
    return this.answer(method, params);
  }
  onNotification(_upstream: string, method: string, params: Params, related: number | undefined): void | Promise<void> {
    this.notifications.push({ method, params, related });
  }
  onStarted(): void {
    this.starts++;
  }
  onClosed(_upstream: string, closed: ChannelClosed): void {
    this.closed.push(closed);
  }
  closeStream(_upstream: string, related: number): void {
    this.closedStreams.push(related);
  }
}

/** A channel whose other end is the test. */
export class ScriptedChannel implements Channel {
  onmessage: Channel["onmessage"];
  onclose: Channel["onclose"];
  onlost: Channel["onlost"];
  onclosestream: Channel["onclosestream"];
  readonly sent: RpcMessage[] = [];
  readonly closedFor: string[] = [];
  paused = false;
  congested = false;
  /** Answers `initialize` by itself. */
  constructor(autoInitialize = true) {
    this.#autoInitialize = autoInitialize;
  }
  readonly #autoInitialize: boolean;

  send(message: RpcMessage): void {
    this.sent.push(message);
    if (this.#autoInitialize && "method" in message && "id" in message && message.method === "initialize") {
      const result = {
        protocolVersion: "2025-11-25",
        capabilities: {},
        serverInfo: { name: "scripted", version: "1" },
      };
      queueMicrotask(() => this.receive({ jsonrpc: "2.0", id: message.id, result }));
    }
  }
  receive(message: RpcMessage, info: ChannelMessageInfo = {}): void {
    this.onmessage?.(message, info);
  }
  answer(id: RpcId, result: unknown): void {
    this.receive({ jsonrpc: "2.0", id, result });
  }
  end(closed: ChannelClosed): void {
    this.onclose?.(closed);
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  async close(reason: string): Promise<void> {
    this.closedFor.push(reason);
    this.onclose?.({ reason: "closed", detail: `closed (${reason})` });
  }
  /** Requests of `method`, in order. */
  requests(method: string): RpcRequest[] {
    return this.sent.filter(
      (message): message is RpcRequest => "method" in message && "id" in message && message.method === method,
    );
  }
  /** Notifications of `method`, in order. */
  notified(method: string): Params[] {
    return this.sent.flatMap((message) =>
      "method" in message && !("id" in message) && message.method === method ? [message.params] : [],
    );
  }
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #now = 1_000;
  readonly #timers = new Set<{ at: number; callback: () => void }>();
  now(): number {
    return this.#now;
  }
  wallNow(): number {
    return this.#now;
  }
  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }
  /** Moves on, running timers in order, and lets promises settle after each. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await settle();
    }
    this.#now = until;
    await settle();
  }
}

/** Lets everything run that waits for no I/O. */
export async function settle(): Promise<void> {
  for (let n = 0; n < 3; n++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Polls `predicate` until it holds; fails after `ms`. */
export async function until(what: string, predicate: () => boolean | Promise<boolean>, ms = 5_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await predicate())) {
    assert.ok(performance.now() < deadline, `not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether process `pid` runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return !["Z", "X"].includes(stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3));
  } catch {
    return false;
  }
}
