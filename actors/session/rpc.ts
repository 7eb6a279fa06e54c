/**
 * JSON-RPC as MCP writes it: reading the text of a POST, and writing answers.
 *
 * A body is read once. What is wrong with it is found here, before any of it takes effect: a batch with one invalid
 * message is refused whole.
 */
import type {
  RpcErrorObject,
  RpcId,
  RpcNotification,
  RpcRequest,
  RpcResponse,
} from "../../transports/upstream/contract.ts";
import type { PostAnswer } from "./contract.ts";

/** JSON-RPC error codes that a session answers with. */
export const RpcCode = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  /** A bound was reached; `data.retryAfterMs` says when to try again. */
  overloaded: -32000,
  /** MCP 2025-11-25, Resources: resource not found. */
  resourceNotFound: -32002,
} as const;

/** Most messages in one batch. */
export const MAX_BATCH = 100;

/** What a POST carried. A request comes with its kind, so that nobody has to look twice. */
export type Incoming =
  | { kind: "request"; message: RpcRequest }
  | { kind: "notification"; message: RpcNotification }
  | { kind: "response"; message: RpcResponse };

export type Refused = Extract<PostAnswer, { kind: "refused" }>;

/** The messages of a POST, or why it is refused. */
export type Body = { batch: boolean; messages: Incoming[] } | Refused;

/** A refusal with a JSON-RPC error body. `id` is null unless the whole POST was one request. */
export function refused(
  status: number,
  code: number,
  message: string,
  id: RpcId | null = null,
  data?: unknown,
): Refused {
  return { kind: "refused", status, body: errorText(id, { code, message, data }) };
}

/** Reads the text of a POST. `batches`: whether the session's version has them (2025-03-26 only). */
export function readBody(text: string, batches: boolean): Body {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refused(400, RpcCode.parse, "Parse error: the body is not JSON");
  }
  if (!Array.isArray(value)) {
    const incoming = readMessage(value);
    return typeof incoming === "string"
      ? refused(400, RpcCode.invalidRequest, `Invalid Request: ${incoming}`)
      : { batch: false, messages: [incoming] };
  }
  if (!batches) {
    return refused(400, RpcCode.invalidRequest, "Invalid Request: this protocol version has no batches");
  }
  if (value.length === 0 || value.length > MAX_BATCH) {
    const found = `Invalid Request: a batch has 1 to ${MAX_BATCH} messages, got ${value.length}`;
    return refused(400, RpcCode.invalidRequest, found);
  }
  const messages: Incoming[] = [];
  for (const [at, item] of value.entries()) {
    const incoming = readMessage(item);
    if (typeof incoming === "string") {
      return refused(400, RpcCode.invalidRequest, `Invalid Request: message ${at} of the batch: ${incoming}`);
    }
    if (incoming.kind !== "response" && incoming.message.method === "initialize") {
      return refused(400, RpcCode.invalidRequest, "Invalid Request: initialize must not be part of a batch");
    }
    messages.push(incoming);
  }
  return { batch: true, messages };
}

/** One message, or what is wrong with it. */
export function readMessage(value: unknown): Incoming | string {
  if (!isObject(value)) return "a message must be an object";
  if (value.jsonrpc !== "2.0") return '"jsonrpc" must be "2.0"';
  const { id, method, params } = value;
  if (method === undefined) return readResponse(value);
  if (typeof method !== "string") return '"method" must be a string';
  if (params !== undefined && !isObject(params)) return '"params" must be an object';
  // The checks above are what these types say; the parsed object itself is passed on, untouched.
  if (!Object.hasOwn(value, "id")) return { kind: "notification", message: value as typeof value & RpcNotification };
  if (!isId(id)) return '"id" must be a string or a whole number';
  return { kind: "request", message: value as typeof value & RpcRequest };
}

function readResponse(value: Record<string, unknown>): Incoming | string {
  if (!isId(value.id) && value.id !== null) return '"id" of a response must be a string or a whole number';
  const { error } = value;
  if (error === undefined) {
    if (!Object.hasOwn(value, "result")) return 'a message needs "method", "result" or "error"';
  } else if (!isObject(error) || !Number.isInteger(error.code) || typeof error.message !== "string") {
    return '"error" must have a whole number "code" and a string "message"';
  } else if (Object.hasOwn(value, "result")) {
    return 'a response has "result" or "error", not both';
  }
  return { kind: "response", message: value as typeof value & RpcResponse };
}

/** The text of a response with a result. */
export function resultText(id: RpcId, result: unknown): string {
  return JSON.stringify({ jsonrpc: "2.0", id, result: result === undefined ? {} : result });
}

/** The text of a response with an error. */
export function errorText(id: RpcId | null, error: RpcErrorObject): string {
  return JSON.stringify({ jsonrpc: "2.0", id, error });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether `value` may be a JSON-RPC id, or a progress token: a string or a whole number. */
export function isId(value: unknown): value is RpcId {
  return typeof value === "string" || Number.isSafeInteger(value);
}
