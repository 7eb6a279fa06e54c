/**
 * What a posted JSON-RPC body is, and which era's rules apply to it (WIRE 1.0, C1 to C8). Pure: the body, parsed, and
 * the `MCP-Protocol-Version` header decide.
 *
 * A request for a session is read by the session, so of such a body only this is asked here: whether it is plainly one.
 *
 * The body comes first: an envelope in `params._meta` makes a request modern whatever the header says, because proxies
 * drop headers. This node serves the legacy era, so a modern request is refused with the error that tells a client of
 * both eras which versions to fall back to.
 */
import { LEGACY_VERSIONS } from "../../actors/session/contract.ts";
import { errorText, isObject, MAX_BATCH, RpcCode, readMessage } from "../../actors/session/rpc.ts";
import type { RpcId } from "../upstream/contract.ts";

/** An error of the endpoint itself, not of a method: the code the field's servers use. */
export const SERVER_ERROR = -32000;
/** The field's code for a session that is not there. */
export const SESSION_NOT_FOUND = -32001;
/** MCP 2026-07-28: the version a request names is not served here. */
export const UNSUPPORTED_VERSION = -32022;

/** Revisions are dates, so text order is their order. */
const FIRST_MODERN_VERSION = "2026-07-28";
const VERSION_KEY = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities";

export interface Refusal {
  kind: "refused";
  status: number;
  /** The JSON-RPC error, complete. */
  body: string;
}

export type Classified =
  /** The start of a legacy session. */
  | { kind: "initialize"; id: RpcId }
  /** For an existing legacy session. `id` is null for what has none of its own: notifications, responses, batches. */
  | { kind: "legacy"; id: RpcId | null }
  | Refusal;

/** Classifies one POST body. `version` is the `MCP-Protocol-Version` header, or null. */
export function classify(body: unknown, version: string | null): Classified {
  if (Array.isArray(body)) return classifyBatch(body, version);
  const incoming = readMessage(body);
  if (typeof incoming === "string") return invalid(incoming);
  if (incoming.kind === "response") return refuseVersion(version, null) ?? LEGACY_WITHOUT_ID;

  const { message } = incoming;
  const id = incoming.kind === "request" ? incoming.message.id : null;
  const claim = claimOf(message.params);
  const initialize = id !== null && message.method === "initialize";
  if (claim !== undefined && (!initialize || isWholeEnvelope(message.params))) {
    if (typeof claim === "string") return unsupported(id, claim);
    return refusal(id, RpcCode.invalidParams, `Invalid params: _meta "${VERSION_KEY}" must be a string`);
  }
  if (initialize) {
    // The handshake names its version in the body; a header of an older revision says nothing about it.
    return version !== null && isModern(version) ? unsupported(id, version) : { kind: "initialize", id };
  }
  return refuseVersion(version, id) ?? (id === null ? LEGACY_WITHOUT_ID : { kind: "legacy", id });
}

const LEGACY_WITHOUT_ID: Classified = { kind: "legacy", id: null };

/** Whether a request with that header is of a version served here. */
export function isServed(version: string | null): boolean {
  return version === null || (LEGACY_VERSIONS as readonly string[]).includes(version);
}

/** What a notification, a response, an `initialize` or a modern envelope has in it. Encoders escape slashes at most. */
const NOT_PLAIN = ["protocolVersion", "notifications", '"result"', '"error"'] as const;

/**
 * Whether `text` can only be one legacy request, if it is anything, so that nobody but its session need read it. False
 * says nothing: the text must be read.
 */
export function isPlainRequest(text: string): boolean {
  return text.startsWith("{") && text.includes('"id"') && !NOT_PLAIN.some((word) => text.includes(word));
}

/** The id of the request that `text` is; null where it is none. */
export function requestIdIn(text: string): RpcId | null {
  try {
    const incoming = readMessage(JSON.parse(text));
    return typeof incoming === "object" && incoming.kind === "request" ? incoming.message.id : null;
  } catch {
    return null;
  }
}

/** Null when `version` is absent or served here; else the refusal. For requests without a body, too. */
export function refuseVersion(version: string | null, id: RpcId | null): Refusal | null {
  if (isServed(version)) return null;
  if (version === null) return null;
  if (isModern(version)) return unsupported(id, version);
  const message = `Bad Request: unsupported MCP-Protocol-Version ${shown(version)}, supported: ${LEGACY_VERSIONS.join(", ")}`;
  return refusal(id, SERVER_ERROR, message, { supported: LEGACY_VERSIONS, requested: clipped(version) });
}

function classifyBatch(batch: readonly unknown[], version: string | null): Classified {
  if (batch.length === 0 || batch.length > MAX_BATCH) {
    return invalid(`a batch has 1 to ${MAX_BATCH} messages, got ${batch.length}`);
  }
  for (const [at, element] of batch.entries()) {
    const incoming = readMessage(element);
    if (typeof incoming === "string") return invalid(`message ${at} of the batch: ${incoming}`);
    if (incoming.kind === "response") continue;
    if (claimOf(incoming.message.params) !== undefined) {
      return invalid(
        `message ${at} of the batch is of revision ${FIRST_MODERN_VERSION} or later, which has no batches`,
      );
    }
    if (incoming.message.method === "initialize") return invalid("initialize must not be part of a batch");
  }
  return refuseVersion(version, null) ?? LEGACY_WITHOUT_ID;
}

/** What the envelope says the version is: undefined without an envelope, null for a value that is no version at all. */
function claimOf(params: Record<string, unknown> | undefined): unknown {
  const meta = params?._meta;
  return isObject(meta) && Object.hasOwn(meta, VERSION_KEY) ? (meta[VERSION_KEY] ?? null) : undefined;
}

/** `initialize` is the legacy handshake unless its envelope is complete and names a modern version. */
function isWholeEnvelope(params: Record<string, unknown> | undefined): boolean {
  const meta = params?._meta;
  return isObject(meta) && isModern(meta[VERSION_KEY]) && isObject(meta[CAPABILITIES_KEY]);
}

function isModern(version: unknown): boolean {
  return typeof version === "string" && version >= FIRST_MODERN_VERSION;
}

function invalid(flaw: string): Refusal {
  return refusal(null, RpcCode.invalidRequest, `Invalid Request: ${flaw}`);
}

function unsupported(id: RpcId | null, requested: string): Refusal {
  return refusal(id, UNSUPPORTED_VERSION, `Unsupported protocol version ${shown(requested)}`, {
    supported: LEGACY_VERSIONS,
    requested: clipped(requested),
  });
}

function refusal(id: RpcId | null, code: number, message: string, data?: unknown): Refusal {
  return { kind: "refused", status: 400, body: errorText(id, { code, message, data }) };
}

function shown(value: string): string {
  return JSON.stringify(clipped(value));
}

/** A stranger's text is not echoed at length. */
function clipped(value: string): string {
  return value.length > 64 ? `${value.slice(0, 64)}…` : value;
}
