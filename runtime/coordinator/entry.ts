/**
 * What may be a key and a value of the key-value store, on every kind of coordinator.
 */
import { TroupeError } from "../actor/errors.ts";

export const DEFAULT_LIST_LIMIT = 1_000;
const MAX_KEY_LENGTH = 1_024;
/** The value travels to every watcher. */
const MAX_VALUE_BYTES = 1_048_576;

/** Throws `invalid_argument` unless `key` has 1 to 1,024 characters. */
export function checkKey(key: string): void {
  if (key.length > 0 && key.length <= MAX_KEY_LENGTH) return;
  throw new TroupeError(
    "invalid_argument",
    `a key of the key-value store must have 1 to ${MAX_KEY_LENGTH} characters, got ${key.length}`,
    { started: "no" },
  );
}

/** As `checkKey`; `too_large` for a value of more than 1 MiB. */
export function checkEntry(key: string, value: Uint8Array): void {
  checkKey(key);
  if (value.byteLength <= MAX_VALUE_BYTES) return;
  throw new TroupeError(
    "too_large",
    `the value of ${JSON.stringify(key)} has ${value.byteLength} bytes, the limit is ${MAX_VALUE_BYTES}`,
    { started: "no" },
  );
}
