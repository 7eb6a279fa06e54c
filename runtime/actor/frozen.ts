/**
 * Arguments between actors of one thread travel by reference. In development they are frozen on their way, so that code
 * that would change what somebody else holds fails on its author's machine, and not by the accident of where two actors
 * were placed.
 *
 * Plain objects and arrays are frozen, all the way down; bytes, maps and dates cannot be, and are left as they are.
 */

/** Freezes `value` and what it holds. What is frozen already is not looked into: it was frozen here, or is its author's. */
export function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return;
  if (!Array.isArray(value)) {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) return;
  }
  Object.freeze(value);
  for (const inner of Object.values(value)) freeze(inner);
}
