/**
 * Requests of upstreams to the client (sampling, elicitation, roots) that wait for its answer.
 *
 * Ids are the session's own and contain the activation's epoch: an answer to a request of an earlier activation is
 * recognised and dropped, and two upstreams never collide. A request settles once: by the client's response, on whatever
 * replica it arrives, or when the upstream no longer wants it (then the client is told with `notifications/cancelled`).
 * A client that comes back without naming what it had is offered again what it was asked, under the same id.
 * A progress token of the upstream is replaced by the request's id and put back when the client reports progress.
 */
import type { TroupeError } from "../../runtime/actor/errors.ts";
import { RpcError, type RpcId, type RpcResponse } from "../../transports/upstream/contract.ts";
import type { SessionParts } from "./parts.ts";
import { isId, isObject } from "./rpc.ts";
import type { EventStream } from "./streams.ts";

export interface ClientRequest {
  readonly id: string;
  readonly upstream: string;
  /** The client's call in whose course it came. */
  readonly related: number | undefined;
  /** Where it was sent last. */
  stream: EventStream;
  /** The upstream's own progress token. */
  readonly token: RpcId | undefined;
  /** The upstream's own id of it, where another owner of this session could answer it. */
  readonly question: RpcId | undefined;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly signal: AbortSignal;
  readonly onAbort: () => void;
}

export class ClientRequests {
  readonly #pending = new Map<RpcId, ClientRequest>();
  readonly #prefix: string;
  #lastId = 0;

  constructor(epoch: string) {
    this.#prefix = `t-${epoch}-`;
  }

  get size(): number {
    return this.#pending.size;
  }

  nextId(): string {
    return this.#prefix + (++this.#lastId).toString(36);
  }

  add(request: ClientRequest): void {
    this.#pending.set(request.id, request);
    request.signal.addEventListener("abort", request.onAbort, { once: true });
  }

  get(id: unknown): ClientRequest | undefined {
    return isId(id) ? this.#pending.get(id) : undefined;
  }

  /** The client answered. False when nobody waits for that answer (any more). */
  settle(response: RpcResponse): boolean {
    const request = this.get(response.id);
    if (request === undefined) return false;
    this.remove(request);
    if (response.error !== undefined) request.reject(new RpcError(response.error));
    else request.resolve(response.result);
    return true;
  }

  /** Takes it out; true if it was waiting. */
  remove(request: ClientRequest): boolean {
    request.signal.removeEventListener("abort", request.onAbort);
    return this.#pending.delete(request.id);
  }

  /** Those that `filter` picks. */
  select(filter: (request: ClientRequest) => boolean): ClientRequest[] {
    return [...this.#pending.values()].filter(filter);
  }

  all(): ClientRequest[] {
    return [...this.#pending.values()];
  }

  /** Whether `data`, an event's text, is a request that waits for its answer. */
  isQuestion(data: string): boolean {
    for (const id of this.#pending.keys()) if (asks(data, String(id))) return true;
    return false;
  }

  failAll(error: TroupeError): void {
    for (const request of [...this.#pending.values()]) {
      this.remove(request);
      request.reject(error);
    }
  }
}

/** The upstream's progress token in `params`, and the params with `id` in its place. */
export function replaceToken(
  params: Record<string, unknown> | undefined,
  id: string,
): { token: RpcId | undefined; params: Record<string, unknown> | undefined } {
  const meta = params?._meta;
  if (!isObject(meta) || !isId(meta.progressToken)) return { token: undefined, params };
  return { token: meta.progressToken, params: { ...params, _meta: { ...meta, progressToken: id } } };
}

/**
 * A client opened `stream` without saying what it had before: what it was asked on connections that are gone is asked
 * here. It may have seen a question already; the id is the same, and the first answer counts.
 */
export function offerAgain(
  { requests, streams }: SessionParts,
  stream: EventStream,
  which: (request: ClientRequest) => boolean = () => true,
): void {
  if (requests === undefined || streams === undefined) return;
  for (const request of requests.select(which)) {
    const moved = streams.moveTo(stream, request.stream, (data) => asks(data, request.id));
    if (moved) request.stream = stream;
  }
}

/** Whether `data`, an event's text, is the request `id`. */
function asks(data: string, id: string): boolean {
  if (!data.includes(id)) return false;
  const message: unknown = JSON.parse(data);
  return isObject(message) && message.method !== undefined && message.id === id;
}
