/**
 * How a session begins: an `initialize` request becomes a session's first state, or a refusal. Pure; the gateway stores
 * the state before the session's id leaves the node, and only then lets the session answer.
 *
 * MCP, Lifecycle, Version negotiation: the client's version if we serve it, else our newest; whether to go on is then the
 * client's decision.
 */
import { LEGACY_VERSIONS, type Principal, type SessionState } from "./contract.ts";
import { isObject, type Refused, RpcCode, readMessage, refused } from "./rpc.ts";

export interface OpenOptions {
  principal: Principal;
  /** Upstreams the endpoint offers, in order. */
  upstreams: readonly string[];
  /** Whether names carry the upstream's prefix. */
  prefixed: boolean;
  /** Wall clock milliseconds. */
  now: number;
}

export type Opening = { kind: "opened"; state: SessionState } | Refused;

/** Reads an `initialize` request: `message` is the parsed body of the POST. */
export function openSession(message: unknown, options: OpenOptions): Opening {
  if (Array.isArray(message)) {
    return refused(400, RpcCode.invalidRequest, "Invalid Request: initialize must not be part of a batch");
  }
  const incoming = readMessage(message);
  if (typeof incoming === "string") return refused(400, RpcCode.invalidRequest, `Invalid Request: ${incoming}`);
  if (incoming.kind !== "request" || incoming.message.method !== "initialize") {
    return refused(400, RpcCode.invalidRequest, "Bad Request: a session begins with an initialize request");
  }
  const { id, params } = incoming.message;
  const invalid = (what: string): Refused => refused(400, RpcCode.invalidParams, `Invalid params: ${what}`, id);
  if (params === undefined) return invalid("initialize needs params");
  const { protocolVersion, capabilities, clientInfo } = params;
  if (typeof protocolVersion !== "string") return invalid('"protocolVersion" must be a string');
  if (!isObject(capabilities)) return invalid('"capabilities" must be an object');
  if (!isObject(clientInfo) || typeof clientInfo.name !== "string" || typeof clientInfo.version !== "string") {
    return invalid('"clientInfo" must have a string "name" and a string "version"');
  }
  return {
    kind: "opened",
    state: {
      principal: options.principal,
      upstreams: [...options.upstreams],
      prefixed: options.prefixed,
      protocolVersion: negotiate(protocolVersion),
      clientInfo,
      capabilities,
      createdAt: options.now,
      initialized: false,
      logLevel: null,
      subscriptions: [],
    },
  };
}

/** The version a session speaks whose client asked for `requested`. */
export function negotiate(requested: string): string {
  return LEGACY_VERSIONS.find((version) => version === requested) ?? LEGACY_VERSIONS[0];
}
