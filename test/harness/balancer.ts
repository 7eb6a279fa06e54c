/**
 * Requests as a client behind a load balancer sends them: to a node chosen by chance, over a new connection each, and to
 * another node when that one does not take the connection. Such a node, and one that is about to be stopped, is asked
 * `/ready` before each request: a connection that comes in the microseconds in which a listener closes is reset by the
 * kernel, and nobody can tell then whether a request on it was begun. A node that is too busy (503 `overloaded`, nothing
 * started) is given the time it asks for. Nothing is sent twice that may have begun.
 */
import { request } from "node:http";
import { JSON_HEADERS, type RpcReply } from "./mcp_requests.ts";
import { chooseIndex, randomFrom, seedOf } from "./seed.ts";

export interface BalancedReply {
  status: number;
  headers: NodeJS.Dict<string | string[]>;
  text: string;
  /** Messages of the answer, of an event stream all of them. */
  messages: (RpcReply & { method?: string })[];
  /** The node that answered. */
  node: number;
}

interface Refusal {
  code: string;
  started: string;
  retryAfterMs?: number;
}

export class Balancer {
  readonly #urls: readonly string[];
  readonly #random: () => number;
  /** Connections that a node did not take. */
  refused = 0;
  /** Requests that a busy node did not begin. */
  shed = 0;
  /** Out of rotation until they are ready. */
  readonly #out = new Set<number>();
  readonly #doubted = new Set<number>();

  constructor(urls: readonly string[], seed = seedOf("balancer")) {
    this.#urls = urls;
    this.#random = randomFrom(seed);
  }

  /** A node is to be stopped: it is asked before each request, until {@link back}. */
  doubt(node: number): void {
    this.#doubted.add(node);
  }

  back(node: number): void {
    this.#doubted.delete(node);
  }

  /** POSTs a message, or sends a request without a body. Rejects when no node takes it, or the connection breaks. */
  async send(
    method: "POST" | "GET" | "DELETE",
    path: string,
    headers: Record<string, string>,
    body?: unknown,
  ): Promise<BalancedReply> {
    for (;;) {
      const reply = await this.#once(method, path, headers, body);
      const data = reply.status === 503 ? (reply.messages[0]?.error?.data as Refusal | undefined) : undefined;
      if (data?.code !== "overloaded" || data.started !== "no") return reply;
      this.shed++;
      await new Promise((resolve) => setTimeout(resolve, data.retryAfterMs ?? 1_000));
    }
  }

  async #once(
    method: "POST" | "GET" | "DELETE",
    path: string,
    headers: Record<string, string>,
    body: unknown,
  ): Promise<BalancedReply> {
    const first = chooseIndex(this.#random, this.#urls.length);
    let failure: unknown;
    for (let turn = 0; turn < this.#urls.length; turn++) {
      const node = (first + turn) % this.#urls.length;
      if (!(await this.#inRotation(node))) continue;
      try {
        return { ...(await exchange(method, `${this.#urls[node]}${path}`, headers, body)), node };
      } catch (error) {
        if ((error as { code?: string }).code !== "ECONNREFUSED") throw error;
        this.refused++;
        this.#out.add(node);
        failure = error;
      }
    }
    throw failure ?? new Error("no node is ready");
  }

  async #inRotation(node: number): Promise<boolean> {
    if (!this.#out.has(node) && !this.#doubted.has(node)) return true;
    const { status } = await exchange("GET", `${this.#urls[node]}/ready`, {}, undefined).catch(() => ({ status: 0 }));
    if (status === 200) this.#out.delete(node);
    return status === 200;
  }
}

function exchange(
  method: string,
  url: string,
  headers: Record<string, string>,
  body: unknown,
): Promise<Omit<BalancedReply, "node">> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers: { ...JSON_HEADERS, ...headers }, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => {
        text += piece;
      });
      answer.on("error", reject);
      answer.on("end", () => {
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, messages: messagesIn(text) });
      });
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function messagesIn(text: string): BalancedReply["messages"] {
  if (text.startsWith("{")) return [JSON.parse(text)];
  const data = text.split("\n").filter((line) => line.startsWith("data: {"));
  return data.map((line) => JSON.parse(line.slice("data: ".length)));
}
