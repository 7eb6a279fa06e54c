/**
 * Goes round the entries of a `Map` or `Set` that changes meanwhile, a few at a time.
 *
 * Its place is kept from one call to the next. To begin at the first entry each time would be wrong twice over: what was
 * passed would be looked at again, and a `Map` keeps the places of deleted entries for a while, so that where the first
 * ones were deleted a new iterator passes up to as many empty places as there are entries.
 */
export class Rounds<T> {
  readonly #begin: () => Iterator<T, unknown>;
  #place: Iterator<T, unknown>;

  constructor(begin: () => Iterator<T, unknown>) {
    this.#begin = begin;
    this.#place = begin();
  }

  /** The next entry; undefined where a round is over and another begins. */
  next(): T | undefined {
    const { value, done } = this.#place.next();
    if (done !== true) return value;
    this.#place = this.#begin();
    return undefined;
  }
}
