/** One SSE connection as a client has it, read event by event: what a test looks at is kept in the order it came. */
import { type ClientRequest, request } from "node:http";
import { JSON_HEADERS, type RpcReply } from "./mcp_requests.ts";

export interface Message extends RpcReply {
  method?: string;
  params?: Record<string, unknown>;
}

export class SseConnection {
  readonly events: { id: string; message: Message | undefined }[] = [];
  status = 0;
  ended = false;
  readonly #request: ClientRequest;
  #buffer = "";

  constructor(method: "GET" | "POST", url: string, headers: Record<string, string>, body?: unknown) {
    this.#request = request(url, { method, headers: { ...JSON_HEADERS, ...headers } }, (response) => {
      this.status = response.statusCode ?? 0;
      response.setEncoding("utf8");
      response.on("data", (text: string) => this.#read(text));
      response.on("close", () => {
        this.ended = true;
      });
      response.on("error", () => {});
    });
    this.#request.on("error", () => {
      this.ended = true;
    });
    this.#request.end(body === undefined ? undefined : JSON.stringify(body));
  }

  get lastId(): string {
    return this.events.findLast(({ id }) => id !== "")?.id ?? "";
  }
  get messages(): Message[] {
    return this.events.flatMap(({ message }) => message ?? []);
  }
  response(id: string): Message | undefined {
    return this.messages.find((message) => message.method === undefined && message.id === id);
  }
  close(): void {
    this.#request.destroy();
  }

  #read(text: string): void {
    this.#buffer += text;
    for (let end = this.#buffer.indexOf("\n\n"); end >= 0; end = this.#buffer.indexOf("\n\n")) {
      const lines = this.#buffer.slice(0, end).split("\n");
      this.#buffer = this.#buffer.slice(end + 2);
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? "";
      const data = field("data");
      this.events.push({ id: field("id"), message: data === "" ? undefined : (JSON.parse(data) as Message) });
    }
  }
}
