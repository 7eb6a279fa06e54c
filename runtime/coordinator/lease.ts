/**
 * What may name a lease and its holder, on every kind of coordinator.
 */
import { TroupeError } from "../actor/errors.ts";

const MAX_LENGTH = 512;

/** Throws `invalid_argument` unless both have 1 to 512 characters. */
export function checkLease(name: string, holder: string): void {
  for (const [what, value] of [
    ["name", name],
    ["holder", holder],
  ] as const) {
    if (value.length > 0 && value.length <= MAX_LENGTH) continue;
    throw new TroupeError(
      "invalid_argument",
      `a lease's ${what} must have 1 to ${MAX_LENGTH} characters, got ${value.length}`,
      { started: "no" },
    );
  }
}

/** A lease's time to live as text, at least one millisecond. */
export function leaseTtl(ttlMs: number): string {
  if (Number.isFinite(ttlMs)) return String(Math.max(1, Math.ceil(ttlMs)));
  throw new TroupeError("invalid_argument", `a lease's time to live must be milliseconds, got ${ttlMs}`, {
    started: "no",
  });
}
