/**
 * How a failed call looks to an HTTP client: status, JSON-RPC error, and whether trying again is safe.
 *
 * `data.started` says honestly whether the work had begun; `data.retryable` is true only where it had not and the cause
 * passes by itself.
 */
import { errorText, isObject, RpcCode } from "../../actors/session/rpc.ts";
import { type ErrorCode, TroupeError } from "../../runtime/actor/errors.ts";
import type { RpcId } from "../upstream/contract.ts";
import { SERVER_ERROR, SESSION_NOT_FOUND } from "./classify.ts";

const STATUS: Readonly<Record<ErrorCode, number>> = {
  cancelled: 503,
  deadline_exceeded: 504,
  disconnected: 503,
  caller_died: 503,
  unavailable: 503,
  not_found: 404,
  ended: 404,
  already_exists: 503,
  fenced: 503,
  conflict: 503,
  overloaded: 503,
  too_large: 413,
  call_cycle: 500,
  unknown_method: 500,
  unknown_kind: 500,
  invalid_argument: 400,
  method_failed: 500,
  activation_failed: 503,
  stream_failed: 503,
  store_unavailable: 503,
  store_reset: 503,
  draining: 503,
  protocol: 500,
};

/** `data.reason` of a session that the caller has no business with. */
const UNKNOWN_SESSION = "unknown session";

export interface Failure {
  status: number;
  /** The JSON-RPC error, complete. */
  body: string;
  /** Further response headers: name, value, name, value. */
  headers: readonly string[];
}

/** Describes `error` for the client whose request had `id`. What is not a `TroupeError` is an internal error. */
export function describeFailure(error: unknown, id: RpcId | null): Failure {
  if (!TroupeError.is(error)) {
    const data = { code: "method_failed", started: "unknown", retryable: false };
    return {
      status: 500,
      body: errorText(id, { code: RpcCode.internal, message: "Internal error", data }),
      headers: [],
    };
  }
  const refusal = refusalOf(error);
  const status = refusal?.status ?? STATUS[error.code];
  const retryable = error.started === "no" && (status === 503 || status === 504);
  const retryAfterMs = status === 503 ? (error.retryAfterMs ?? 1_000) : undefined;
  // Of a session that is not there, and of one that is another's, the same is told.
  const started = status === 404 ? "no" : error.started;
  const data = { code: error.code, started, retryable, retryAfterMs: error.retryAfterMs };
  return {
    status,
    body: errorText(id, { code: rpcCode(status), message: refusal?.message ?? messageOf(error, status), data }),
    headers: retryAfterMs === undefined ? [] : ["retry-after", String(Math.max(1, Math.ceil(retryAfterMs / 1_000)))],
  };
}

/** The HTTP status that fits a failure's code. */
export function statusOf(code: ErrorCode): number {
  return STATUS[code];
}

/** Whether a broken stream may come back: its session is being moved, or its node was lost. */
export function mayComeBack(error: unknown): boolean {
  return TroupeError.is(error) && STATUS[error.code] === 503;
}

/** What a session itself says about a request it refuses: an HTTP status, and a reason fit for its client. */
function refusalOf(error: TroupeError): { status: number; message: string } | null {
  const { data } = error;
  if (!isObject(data) || typeof data.reason !== "string" || typeof data.status !== "number") return null;
  if (data.status < 400 || data.status > 499 || data.reason === UNKNOWN_SESSION) return null;
  return { status: data.status, message: `Bad Request: ${data.reason}` };
}

function rpcCode(status: number): number {
  if (status === 404) return SESSION_NOT_FOUND;
  if (status === 400) return RpcCode.invalidParams;
  return status === 500 ? RpcCode.internal : SERVER_ERROR;
}

/** A defect's own words stay in the log: they may tell a stranger about the inside. */
function messageOf(error: TroupeError, status: number): string {
  if (status === 404) return "Session not found";
  return status === 500 ? "Internal error" : error.message;
}
