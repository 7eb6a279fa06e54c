/**
 * Every error a caller can meet, in one checked-in registry, and the one class that carries them over the wire.
 *
 * A code is stable: users script against it. Each failure also says whether the work had begun (`started`), which is
 * what decides whether a caller may try again: `no` is always safe to retry, `unknown` never is without knowledge of
 * the method.
 */

/** Stable codes, each with what it means. Codes are never renamed or reused. */
export const ERROR_CODES = {
  cancelled: "the caller cancelled the call",
  deadline_exceeded: "the call's deadline passed before it was answered",
  disconnected: "the caller's connection closed before the call was answered",
  caller_died: "the node or worker that made the call died",
  unavailable: "the actor cannot be reached now: its node or worker died, is parked, or ownership is being moved",
  not_found: "no such actor: its kind needs stored state and there is none",
  ended: "the actor was ended for good",
  already_exists: "an actor with that address exists already",
  fenced: "this activation lost ownership of its actor",
  conflict: "the stored state was changed by somebody else",
  overloaded: "a bound was reached; try again after `retryAfterMs`",
  too_large: "a message is larger than the limit",
  call_cycle: "the call would wait for itself: its chain comes back to an actor that is busy with it",
  unknown_method: "the actor kind has no such method",
  unknown_kind: "no node knows that actor kind",
  invalid_argument: "an argument does not have the declared shape",
  method_failed: "the actor's method threw",
  activation_failed: "the actor could not be activated",
  stream_failed: "a stream broke before its end",
  store_unavailable: "the coordinator's store cannot be reached",
  store_reset: "the coordinator's store was emptied or replaced",
  draining: "the node is shutting down",
  protocol: "a peer sent something that the protocol does not allow",
} as const;

/** A stable error code. */
export type ErrorCode = keyof typeof ERROR_CODES;
/** Whether the called method had begun when the call failed. */
export type Started = "no" | "yes" | "unknown";

/** Why a running turn is told to stop. Only the first four may be passed on to the outside as a cancel. */
export type AbortReason = "cancelled" | "deadline" | "disconnected" | "callerDied" | "fenced" | "drain";

/** Whether an abort for `reason` should reach the work outside as a cancel; losing ownership is not a cancel. */
export function isCancel(reason: AbortReason): boolean {
  return reason !== "fenced" && reason !== "drain";
}

/** Why whatever failed with `error` stops; what is not known to be a death or a loss of ownership is a cancel. */
export function abortReasonOf({ code }: TroupeError): AbortReason {
  if (code === "caller_died") return "callerDied";
  return code === "fenced" ? "fenced" : code === "draining" ? "drain" : "cancelled";
}

export interface TroupeErrorOptions {
  /** Default `unknown`. */
  started?: Started;
  /** For `overloaded`: when trying again makes sense, milliseconds. */
  retryAfterMs?: number;
  /** Structured data for the caller; must survive the wire (plain data). */
  data?: unknown;
  cause?: unknown;
}

/** The error of every failed call; survives threads and the wire. */
export class TroupeError extends Error {
  override readonly name = "TroupeError";
  readonly code: ErrorCode;
  readonly started: Started;
  readonly retryAfterMs: number | undefined;
  readonly data: unknown;

  constructor(code: ErrorCode, message: string, options: TroupeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.started = options.started ?? "unknown";
    this.retryAfterMs = options.retryAfterMs;
    this.data = options.data;
  }

  /** Whether `error` is a Troupe error, of `code` where given. */
  static is(error: unknown, code?: ErrorCode): error is TroupeError {
    return error instanceof TroupeError && (code === undefined || error.code === code);
  }
}

/** A `TroupeError` as plain data. */
export type WireError = readonly [
  code: string,
  message: string,
  started: Started,
  retryAfterMs: number | null,
  data: unknown,
  /** Where it was thrown; only from a node in development. */
  stack?: string,
];

/** Longest stack that travels, characters. */
const MAX_STACK = 8_192;

/**
 * Turns any thrown value into plain data. What is not a `TroupeError` becomes `method_failed`, started `yes`. A stack names
 * files and functions of the node, so it goes along `withStack` only.
 */
export function encodeError(error: unknown, withStack = false): WireError {
  if (withStack && error instanceof Error && typeof error.stack === "string") {
    const [code, message, started, retryAfterMs, data] = encodeError(error);
    return [code, message, started, retryAfterMs, data, error.stack.slice(0, MAX_STACK)];
  }
  if (error instanceof TroupeError) {
    return [error.code, error.message, error.started, error.retryAfterMs ?? null, error.data ?? null];
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return ["method_failed", message, "yes", null, null];
}

/** The error that `encodeError` described. A code this version does not know becomes `method_failed`. */
export function decodeError(wire: WireError): TroupeError {
  const [code, message, started, retryAfterMs, data, stack] = wire;
  const known = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "method_failed";
  const options = { started, retryAfterMs: retryAfterMs ?? undefined, data: data ?? undefined };
  const error = new TroupeError(known, message, options);
  if (typeof stack === "string") error.stack = `${error.stack}\nthrown at the actor as ${stack}`;
  return error;
}
