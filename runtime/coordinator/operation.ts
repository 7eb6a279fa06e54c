/**
 * Operation ids, as every coordinator accepts them: they are stored between separators, so they must not contain any.
 */
import { TroupeError } from "../actor/errors.ts";

const OPERATION = /^[\x21-\x7e]{1,128}$/;

/** Throws `invalid_argument` unless `operation` is 1 to 128 printable ASCII characters without spaces. */
export function checkOperation(operation: string): void {
  if (OPERATION.test(operation)) return;
  throw new TroupeError(
    "invalid_argument",
    `an operation id must be 1 to 128 printable ASCII characters without spaces, got ${JSON.stringify(operation.slice(0, 140))}`,
    { started: "no" },
  );
}
