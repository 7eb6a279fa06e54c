/**
 * One HTTP request and the writing of its answer. Everything the edge answers leaves through here, so that a request is
 * counted exactly once, `content-length` is always right, and a server that is closing tells keep-alive clients so.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Counter } from "../../runtime/observe/metrics.ts";

/** A larger answer is written in pieces of this size, so that a client's progress in reading it can be seen. */
const PIECE_BYTES = 64 * 1024;

/** What is counted for one route; resolved once, because it is on the path of every request. */
export interface RouteCounters {
  /** By status class: index 2 is 2xx. */
  readonly answers: readonly (Counter | undefined)[];
  readonly requestBytes: Counter;
  readonly responseBytes: Counter;
}

/** What an exchange asks of the server that accepted it. */
export interface ExchangeOwner {
  readonly closing: boolean;
  /** Name and value of the header that says which replica answered. */
  readonly nodeHeader: readonly [name: string, value: string];
  /** A handler threw: a defect of ours. The client gets an answer, and nobody else notices. */
  failed(exchange: Exchange, error: unknown): void;
}

export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Without query; percent-escapes are still in it. */
  readonly path: string;
  /** What stands after the `?`, or `""`. */
  readonly query: string;
  readonly counters: RouteCounters;
  readonly #owner: ExchangeOwner;

  constructor(
    req: IncomingMessage,
    res: ServerResponse,
    path: string,
    query: string,
    counters: RouteCounters,
    owner: ExchangeOwner,
  ) {
    this.req = req;
    this.res = res;
    this.path = path;
    this.query = query;
    this.counters = counters;
    this.#owner = owner;
  }

  /** Whether the answer was begun, or the client went away before it could be. */
  get answered(): boolean {
    return this.res.headersSent || this.res.destroyed;
  }

  /** Answers with a body. `headers` are further ones, as name, value, name, value. */
  text(status: number, contentType: string, body: string, headers: readonly string[] = NO_HEADERS): void {
    if (this.answered) return;
    const bytes = Buffer.byteLength(body);
    const head = ["content-type", contentType, "content-length", String(bytes)];
    if (headers.length > 0) head.push(...headers);
    this.head(status, head);
    this.counters.responseBytes.add(bytes);
    if (bytes <= PIECE_BYTES) this.res.end(body);
    else void writePieces(this.res, body).then(() => this.res.end());
  }

  /** Answers with JSON text. */
  json(status: number, body: string, headers?: readonly string[]): void {
    this.text(status, "application/json", body, headers);
  }

  /** For what a handler throws after it has returned. */
  failed(error: unknown): void {
    this.#owner.failed(this, error);
  }

  /** Answers without a body. */
  empty(status: number, headers: readonly string[] = NO_HEADERS): void {
    if (this.answered) return;
    this.head(status, status === 204 ? [...headers] : ["content-length", "0", ...headers]);
    this.res.end();
  }

  /** Writes the status line and headers, and counts the request. The body is the caller's business. */
  head(status: number, headers: string[]): void {
    const [name, value] = this.#owner.nodeHeader;
    headers.push(name, value);
    if (this.#owner.closing) headers.push("connection", "close");
    this.res.writeHead(status, headers);
    this.counters.answers[Math.floor(status / 100)]?.add();
  }
}

const NO_HEADERS: readonly string[] = [];

/**
 * Writes `text`, waiting for the client to take it where it is long. Resolves false when the connection closed; what
 * was queued then is gone. At most one such write may be under way per response.
 */
export async function writePieces(res: ServerResponse, text: string): Promise<boolean> {
  if (text.length <= PIECE_BYTES / 4) return res.write(text) || (await drained(res));
  const bytes = Buffer.from(text);
  for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
    const piece = bytes.subarray(start, start + PIECE_BYTES);
    if (!res.write(piece) && !(await drained(res))) return false;
  }
  return true;
}

/** Resolves true when `res` takes more bytes, false when its connection closed. */
function drained(res: ServerResponse): Promise<boolean> {
  if (res.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const settle = (open: boolean): void => {
      res.off("drain", onDrain);
      res.off("close", onClose);
      resolve(open);
    };
    const onDrain = (): void => settle(true);
    const onClose = (): void => settle(false);
    res.on("drain", onDrain);
    res.on("close", onClose);
  });
}
