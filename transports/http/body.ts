/**
 * Reading a request's body, within two bounds: one body's size, and the bytes that all requests of the server hold
 * together. A body stays counted until its request is answered, because its text waits in a mailbox until then.
 */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import type { Exchange } from "./exchange.ts";

/** A refused upload is read and thrown away for this long, so that the answer arrives before the connection is cut. */
const LINGER_MS = 2_000;

export type Body =
  | { kind: "text"; text: string; bytes: number }
  | { kind: "too-large" }
  | { kind: "overloaded" }
  | { kind: "not-utf8" }
  /** The client went away in the middle. */
  | { kind: "gone" };

/** What all bodies of a server may hold together. Each counts at least 4 KiB, for what a waiting request costs beside. */
export class BodyBudget {
  readonly #limit: number;
  #held = 0;

  /** `limit` in bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get held(): number {
    return this.#held;
  }

  take(bytes: number): boolean {
    if (this.#held + bytes > this.#limit) return false;
    this.#held += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#held -= bytes;
  }
}

const FLOOR_BYTES = 4_096;

/**
 * Reads the body of `req`, at most `limit` bytes, taking them from `budget`, and calls `settled` once. That one gives
 * back what a `text` says it took (`bytes`); every other outcome has given it back already.
 */
export function readBody(req: IncomingMessage, limit: number, budget: BodyBudget, settled: (body: Body) => void): void {
  const declared = Number(req.headers["content-length"] ?? 0);
  if (declared > limit) return settled({ kind: "too-large" });
  if (!budget.take(FLOOR_BYTES)) return settled({ kind: "overloaded" });
  let first: Buffer | undefined;
  let rest: Buffer[] | undefined;
  let length = 0;
  let taken = FLOOR_BYTES;
  let over = false;

  const settle = (body: Body): void => {
    over = true;
    if (body.kind !== "text") budget.give(taken);
    settled(body);
  };
  // Listeners stay until the request is gone: taking them off costs more than asking whether it is over.
  req.on("data", (chunk: Buffer) => {
    if (over) return;
    length += chunk.length;
    if (length > limit) return settle({ kind: "too-large" });
    if (length > taken) {
      if (!budget.take(length - taken)) return settle({ kind: "overloaded" });
      taken = length;
    }
    if (first === undefined) first = chunk;
    else if (rest === undefined) rest = [first, chunk];
    else rest.push(chunk);
  });
  req.on("end", () => {
    if (over) return;
    const bytes = rest === undefined ? (first ?? NOTHING) : Buffer.concat(rest, length);
    const text = bytes.toString();
    // Bytes that are no UTF-8 become this character, so bytes are only looked at again where it is there.
    const sound = !text.includes(REPLACEMENT) || isUtf8(bytes);
    settle(sound ? { kind: "text", text, bytes: taken } : { kind: "not-utf8" });
  });
  req.on("close", () => {
    if (!over) settle({ kind: "gone" });
  });
}

const REPLACEMENT = "\ufffd";

const NOTHING = Buffer.alloc(0);

/**
 * Answers a request whose body will not be read, and ends the connection. The answer is complete on the wire at once;
 * then the rest of the upload is thrown away for up to two seconds, because closing a socket with unread bytes resets
 * the connection, and a reset may overtake the answer.
 */
export function refuseUpload(exchange: Exchange, status: number, body: string, headers: readonly string[] = []): void {
  if (exchange.answered) return;
  const { req, res } = exchange;
  const length = String(Buffer.byteLength(body));
  exchange.head(status, [
    "content-type",
    "application/json",
    "content-length",
    length,
    "connection",
    "close",
    ...headers,
  ]);
  res.write(body);
  const end = (): void => {
    clearTimeout(timer);
    res.end();
  };
  const timer = setTimeout(end, LINGER_MS);
  timer.unref?.();
  req.on("end", end);
  req.on("close", end);
  req.resume();
}
