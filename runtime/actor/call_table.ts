/**
 * Things by call number. An origin counts its calls upwards, so those that are open at one time have numbers close to each
 * other: a number's low bits are its place, and nearly always that place is free. Several times cheaper than a `Map`, which
 * hashes every number and is rebuilt again and again under entries that come and go.
 *
 * A call that stays long (a stream) keeps its place; a later number that falls on it goes into a `Map` beside. When many do,
 * the table doubles, up to `MOST_PLACES`.
 */
const FIRST_PLACES = 64;
const MOST_PLACES = 65_536;
/** Of a free place. Equal to no number, whatever a peer may send as one. */
const NONE = Number.NaN;

export class CallTable<T> {
  #numbers = new Float64Array(FIRST_PLACES).fill(NONE);
  #things: (T | undefined)[] = new Array<T | undefined>(FIRST_PLACES).fill(undefined);
  #beside: Map<number, T> | undefined;
  #inPlace = 0;

  get size(): number {
    return this.#inPlace + (this.#beside?.size ?? 0);
  }

  get(call: number): T | undefined {
    const place = call & (this.#numbers.length - 1);
    return this.#numbers[place] === call ? this.#things[place] : this.#beside?.get(call);
  }

  /** Answers whether it is new. */
  set(call: number, thing: T): boolean {
    const place = call & (this.#numbers.length - 1);
    const there = this.#numbers[place] as number;
    if (there === call) {
      this.#things[place] = thing;
      return false;
    }
    if (!Number.isNaN(there) || this.#beside?.has(call) === true) return this.#setBeside(call, thing);
    this.#numbers[place] = call;
    this.#things[place] = thing;
    this.#inPlace++;
    return true;
  }

  /** Answers whether it was there. */
  delete(call: number): boolean {
    const place = call & (this.#numbers.length - 1);
    if (this.#numbers[place] !== call) return this.#beside?.delete(call) ?? false;
    this.#numbers[place] = NONE;
    this.#things[place] = undefined;
    this.#inPlace--;
    return true;
  }

  *values(): IterableIterator<T> {
    for (let place = 0; place < this.#numbers.length; place++) {
      if (!Number.isNaN(this.#numbers[place])) yield this.#things[place] as T;
    }
    if (this.#beside !== undefined) yield* this.#beside.values();
  }

  #setBeside(call: number, thing: T): boolean {
    this.#beside ??= new Map();
    const fresh = !this.#beside.has(call);
    this.#beside.set(call, thing);
    if (this.#beside.size * 4 > this.#numbers.length && this.#numbers.length < MOST_PLACES) this.#grow();
    return fresh;
  }

  #grow(): void {
    const entries: [number, T][] = [...(this.#beside ?? [])];
    this.#numbers.forEach((call, place) => {
      if (!Number.isNaN(call)) entries.push([call, this.#things[place] as T]);
    });
    const places = this.#numbers.length * 2;
    this.#numbers = new Float64Array(places).fill(NONE);
    this.#things = new Array<T | undefined>(places).fill(undefined);
    this.#beside = undefined;
    this.#inPlace = 0;
    for (const [call, thing] of entries) this.set(call, thing);
  }
}
