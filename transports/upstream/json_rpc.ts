/**
 * JSON-RPC as upstreams get it from us and as we get it from them: what is built, and what must be checked because it
 * comes from outside. Pure.
 */
import { type InitializeResult, RpcError, type RpcErrorObject, type RpcRequest } from "./contract.ts";

/** JSON-RPC: internal error. */
const INTERNAL_ERROR = -32603;
/** Versions of the legacy era an upstream may answer. */
const KNOWN_VERSIONS = new Set(["2024-10-07", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]);

/** A request with our id, and with our progress token or none: the client's own never reaches an upstream. */
export function requestMessage(
  id: string,
  method: string,
  params: Record<string, unknown> | undefined,
  progress: boolean,
): RpcRequest {
  const meta = params?._meta as Record<string, unknown> | undefined;
  if (progress) return { jsonrpc: "2.0", id, method, params: { ...params, _meta: { ...meta, progressToken: id } } };
  if (meta?.progressToken !== undefined) {
    const { progressToken: _, ...rest } = meta;
    return { jsonrpc: "2.0", id, method, params: { ...params, _meta: rest } };
  }
  return params === undefined ? { jsonrpc: "2.0", id, method } : { jsonrpc: "2.0", id, method, params };
}

/** The answer to `initialize`, or what is wrong with it. */
export function checkInitialize(message: { result?: unknown; error?: RpcErrorObject }): InitializeResult | string {
  if (message.error !== undefined) return `it refused initialize: ${checkError(message.error).message}`;
  const result = message.result as Partial<InitializeResult> | undefined | null;
  if (typeof result !== "object" || result === null || typeof result.protocolVersion !== "string") {
    return "its answer to initialize has no protocolVersion";
  }
  if (!KNOWN_VERSIONS.has(result.protocolVersion)) {
    return `it speaks MCP version "${result.protocolVersion}"; known are ${[...KNOWN_VERSIONS].join(", ")}`;
  }
  return {
    ...result,
    protocolVersion: result.protocolVersion,
    capabilities: isRecord(result.capabilities) ? result.capabilities : {},
    serverInfo: isRecord(result.serverInfo) ? result.serverInfo : {},
  };
}

/** An upstream's error, made whole where it is not. */
export function checkError(error: unknown): RpcErrorObject {
  if (!isRecord(error)) return { code: INTERNAL_ERROR, message: "the upstream sent a malformed error" };
  const { code, message, data } = error;
  const checked: RpcErrorObject = {
    code: typeof code === "number" ? code : INTERNAL_ERROR,
    message: typeof message === "string" ? message : "the upstream sent an error without a message",
  };
  if (data !== undefined) checked.data = data;
  return checked;
}

/** Any failure as what JSON-RPC answers. */
export function errorObjectOf(error: unknown): RpcErrorObject {
  if (error instanceof RpcError) {
    const { code, message, data } = error;
    return data === undefined ? { code, message } : { code, message, data };
  }
  return { code: INTERNAL_ERROR, message: error instanceof Error ? error.message : String(error) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
