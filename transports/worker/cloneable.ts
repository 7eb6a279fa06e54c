/**
 * What may cross a thread: a look at each message before it is posted.
 *
 * Two things go wrong when a tick's messages are posted as one array. One value that cannot be cloned would fail the
 * whole array long after its sender went on; so it is found here, while the sender can still be told. And a byte view
 * is cloned with the whole buffer under it, so 100 bytes out of a 64 KiB network chunk would copy 64 KiB; such a view
 * is cut out first.
 *
 * The look is cheap (no allocation for plain data) and therefore not complete: a `Proxy` looks plain, and beyond
 * `MAX_NODES` values nothing is looked at. What slips through is caught when the array is posted.
 */

/** Values looked at per message; what lies beyond is left to the post. */
const MAX_NODES = 20_000;
/** Nesting looked at; also what ends a cycle. */
const MAX_DEPTH = 64;
/** A view is cut out when its buffer is at least this many bytes larger than the view. */
const SLACK_BYTES = 4_096;

let nodes = 0;

/**
 * Returns `value`, or a copy that differs only in byte views that were cut out of larger buffers. Values are shared
 * with the original, which is never changed. Throws what `structuredClone` throws (a `DataCloneError`) for a value
 * that cannot be cloned.
 */
export function readyToClone<T>(value: T): T {
  nodes = 0;
  return ready(value, 0) as T;
}

function ready(value: unknown, depth: number): unknown {
  if (typeof value !== "object") {
    return typeof value === "function" || typeof value === "symbol" ? structuredClone(value) : value;
  }
  if (value === null || depth > MAX_DEPTH || ++nodes > MAX_NODES) return value;
  if (Array.isArray(value)) return readyArray(value, depth);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    return readyObject(value as Record<string, unknown>, depth);
  }
  if (ArrayBuffer.isView(value)) return readyView(value);
  // Anything with a class: dates and maps pass, promises and streams do not. Rare enough to be tried.
  structuredClone(value);
  return value;
}

function readyArray(values: readonly unknown[], depth: number): readonly unknown[] {
  let copy: unknown[] | undefined;
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (typeof value === "string" || typeof value === "number") continue;
    const next = ready(value, depth + 1);
    if (next !== value) {
      copy ??= values.slice();
      copy[index] = next;
    }
  }
  return copy ?? values;
}

function readyObject(record: Record<string, unknown>, depth: number): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key in record) {
    const value = record[key];
    if (typeof value === "string" || typeof value === "number") continue;
    const next = ready(value, depth + 1);
    if (next !== value) {
      copy ??= { ...record };
      copy[key] = next;
    }
  }
  return copy ?? record;
}

function readyView(view: ArrayBufferView): ArrayBufferView {
  const { buffer, byteOffset, byteLength } = view;
  if (view instanceof Uint8Array && buffer.byteLength - byteLength >= SLACK_BYTES) {
    return new Uint8Array(buffer, byteOffset, byteLength).slice();
  }
  // A detached buffer cannot be cloned, and a view of one has length 0: the one case worth a try.
  if (byteLength === 0) structuredClone(view);
  return view;
}
