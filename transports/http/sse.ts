/**
 * Server-sent events: the format, and the open streams of a node.
 *
 * A stream takes its next event only when the client has taken the last one, so what a client does not read is never
 * more than one event in memory here. Proxies cut connections that are silent, so a comment is written after 15 quiet
 * seconds; one timer serves all streams. A client that stops reading is disconnected by `StalledSockets`.
 */
import type { ServerResponse } from "node:http";
import type { SessionEvent } from "../../actors/session/contract.ts";
import type { Clock } from "../../runtime/actor/clock.ts";
import { type Exchange, writePieces } from "./exchange.ts";

const HEADERS: readonly string[] = [
  "content-type",
  "text/event-stream",
  "cache-control",
  "no-cache, no-transform",
  // nginx and its relatives buffer answers unless told not to.
  "x-accel-buffering",
  "no",
];

/** The text of one event. `""` for one that only says that the stream was accepted. */
export function formatEvent(event: SessionEvent): string {
  let text = "";
  if (event.retryMs !== undefined) text += `retry: ${Math.max(0, Math.ceil(event.retryMs))}\n`;
  if (event.id !== undefined) text += `id: ${event.id.replace(/[\r\n\0]/g, "")}\n`;
  // A priming event has an id and empty data (SEP-1699); without an id, empty data is nothing to tell.
  if (event.data !== "") text += `event: message\n${dataLines(event.data)}`;
  else if (event.id !== undefined) text += "data: \n";
  return text === "" ? "" : `${text}\n`;
}

function dataLines(data: string): string {
  if (!data.includes("\n") && !data.includes("\r")) return `data: ${data}\n`;
  return data
    .split(/\r\n|\r|\n/)
    .map((line) => `data: ${line}\n`)
    .join("");
}

export interface SseOptions {
  clock: Clock;
  /** A stream silent for this long gets a comment. Default 15,000. */
  keepAliveMs?: number;
  /** Streams open at once; more are refused. Default 20,000. */
  maxStreams?: number;
}

/** All open streams of a server. */
export class SseStreams {
  readonly #clock: Clock;
  readonly #keepAliveMs: number;
  readonly #tickMs: number;
  readonly #maxStreams: number;
  readonly #open = new Set<SseStream>();
  #cancelTick: (() => void) | undefined;

  constructor(options: SseOptions) {
    this.#clock = options.clock;
    this.#keepAliveMs = options.keepAliveMs ?? 15_000;
    this.#tickMs = this.#keepAliveMs / 5;
    this.#maxStreams = options.maxStreams ?? 20_000;
  }

  get size(): number {
    return this.#open.size;
  }

  get full(): boolean {
    return this.#open.size >= this.#maxStreams;
  }

  /** Answers `exchange` with a stream; its head is sent at once. `answer`: it carries the answer of a POST. */
  start(exchange: Exchange, answer: boolean, headers: readonly string[] = []): SseStream {
    const stream = new SseStream(exchange, answer, this.#clock);
    this.#open.add(stream);
    exchange.res.on("close", () => this.#open.delete(stream));
    exchange.head(200, [...HEADERS, ...headers]);
    exchange.res.flushHeaders();
    this.#cancelTick ??= this.#clock.after(this.#tickMs, this.#tick);
    return stream;
  }

  /** Ends streams after their current event, telling clients to come back after `retryMs`. */
  endAll(which: "standalone" | "all", retryMs: number): void {
    for (const stream of this.#open) {
      if (which === "all" || !stream.answer) stream.leave(retryMs);
    }
  }

  #tick = (): void => {
    const silentSince = this.#clock.now() - this.#keepAliveMs + this.#tickMs;
    for (const stream of this.#open) stream.keepAlive(silentSince);
    this.#cancelTick = this.#open.size === 0 ? undefined : this.#clock.after(this.#tickMs, this.#tick);
  };
}

export class SseStream {
  /** Whether it carries the answer of a POST; a standalone stream can be ended at any time. */
  readonly answer: boolean;
  readonly #res: ServerResponse;
  readonly #exchange: Exchange;
  readonly #clock: Clock;
  #lastWrite: number;
  #writing = false;
  #retryMs: number | undefined;

  constructor(exchange: Exchange, answer: boolean, clock: Clock) {
    this.answer = answer;
    this.#exchange = exchange;
    this.#res = exchange.res;
    this.#clock = clock;
    this.#lastWrite = clock.now();
  }

  /** Writes one event; resolves when the client is ready for the next, false when there will be no next. */
  async write(event: SessionEvent): Promise<boolean> {
    if (this.#ended) return false;
    const text = formatEvent(event);
    if (text === "") return true;
    this.#writing = true;
    const open = await writePieces(this.#res, text);
    this.#writing = false;
    this.#exchange.counters.responseBytes.add(text.length);
    this.#lastWrite = this.#clock.now();
    if (this.#retryMs !== undefined) this.end(this.#retryMs);
    return open && !this.#ended;
  }

  /** Ends the response. `retryMs`: the client should come back after that. */
  end(retryMs?: number): void {
    if (this.#ended) return;
    this.#res.end(retryMs === undefined ? undefined : formatEvent({ data: "", retryMs }));
  }

  /** Ends it as soon as no event is half written. */
  leave(retryMs: number): void {
    if (this.#writing) this.#retryMs = retryMs;
    else this.end(retryMs);
  }

  /** Writes a comment if nothing was written since `silentSince` and nothing waits to be read. */
  keepAlive(silentSince: number): void {
    // While the client has not taken the last piece, an event may be half written.
    if (this.#ended || this.#res.writableNeedDrain || this.#lastWrite > silentSince) return;
    this.#lastWrite = this.#clock.now();
    this.#res.write(": keep-alive\n\n");
  }

  get #ended(): boolean {
    return this.#res.writableEnded || this.#res.destroyed;
  }
}
