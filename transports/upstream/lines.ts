/**
 * Cuts a stream of bytes into lines, for newline-delimited JSON.
 *
 * Each byte is looked at once and copied at most once, however a long line arrives: its pieces are kept as they came and
 * joined when its end is seen. A line longer than `maxBytes` is refused with `LineTooLong` before it is held as a whole.
 */
const NEWLINE = 10;

export class LineTooLong extends Error {
  override readonly name = "LineTooLong";
}

export class LineSplitter {
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  #held = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of an unfinished line. */
  get held(): number {
    return this.#held;
  }

  /** Calls `line` with each line that `chunk` completes, without its newline. Throws `LineTooLong`. */
  push(chunk: Buffer, line: (text: string) => void): void {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start);
      if (end < 0) break;
      if (this.#held + end - start > this.#maxBytes) throw this.#tooLong();
      if (this.#held === 0) {
        line(chunk.toString("utf8", start, end));
      } else {
        this.#pieces.push(chunk.subarray(start, end));
        const whole = Buffer.concat(this.#pieces);
        this.#pieces = [];
        this.#held = 0;
        line(whole.toString("utf8"));
      }
      start = end + 1;
    }
    if (start === chunk.length) return;
    this.#held += chunk.length - start;
    if (this.#held > this.#maxBytes) throw this.#tooLong();
    this.#pieces.push(start === 0 ? chunk : chunk.subarray(start));
  }

  #tooLong(): LineTooLong {
    this.#pieces = [];
    this.#held = 0;
    return new LineTooLong(`a line is longer than ${this.#maxBytes} bytes`);
  }
}
