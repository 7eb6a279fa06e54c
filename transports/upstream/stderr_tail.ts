/**
 * The last words of a child process: the end of its standard error, bounded, without the secrets it was given.
 *
 * Values of configured environment variables are replaced before anything leaves here. More is kept than is shown, so
 * that a secret cut in two at the old end of the ring does not show its second half.
 */
const KEPT_CHARS = 16 * 1024;
const SHOWN_CHARS = 1_024;
const LINE_CHARS = 2_048;
/** Shorter values (`1`, `dev`) are no secrets and would riddle the text with holes. */
const MIN_SECRET_CHARS = 4;

export class StderrTail {
  readonly #secrets: readonly string[];
  readonly #onLine: (line: string) => void;
  #kept = "";
  #line = "";

  /** `onLine` is called with each whole line, cut to 2,048 characters. */
  constructor(secrets: readonly string[], onLine: (line: string) => void) {
    this.#secrets = secrets.filter((value) => value.length >= MIN_SECRET_CHARS).sort((a, b) => b.length - a.length);
    this.#onLine = onLine;
  }

  push(text: string): void {
    this.#kept = (this.#kept + text).slice(-KEPT_CHARS);
    const lines = (this.#line + text).split("\n");
    this.#line = (lines.pop() ?? "").slice(0, LINE_CHARS);
    for (const line of lines) if (line !== "") this.#onLine(this.redact(line).slice(0, LINE_CHARS));
  }

  /** The last lines, at most 1,024 characters on one line; empty when nothing was said. */
  tail(): string {
    return this.redact(this.#kept).slice(-SHOWN_CHARS).replace(/\s+/g, " ").trim();
  }

  redact(text: string): string {
    let clean = text;
    for (const secret of this.#secrets) clean = clean.replaceAll(secret, "[redacted]");
    return clean;
  }
}
