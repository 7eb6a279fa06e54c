/**
 * The log: one line per event. Readable on a terminal, JSON lines otherwise. Values under names that hold secrets are
 * never written.
 */
export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Logger;
}

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };
const SECRET = /secret|token|password|authorization|cookie|api[-_]?key/i;

export interface LogOptions {
  /** Default `info`. */
  level?: LogLevel;
  /** Default: pretty when standard error is a terminal. */
  format?: "pretty" | "json";
  /** Default standard error. */
  write?: (line: string) => void;
  fields?: LogFields;
}

/** Makes the process' logger. Lines go to standard error, so that standard output stays for what a command prints. */
export function createLogger(options: LogOptions = {}): Logger {
  const rank = RANK[options.level ?? "info"];
  const format = options.format ?? (process.stderr.isTTY ? "pretty" : "json");
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const base = options.fields ?? {};

  const emit = (level: LogLevel, message: string, fields: LogFields | undefined): void => {
    if (RANK[level] < rank) return;
    const all = redact(fields === undefined ? base : { ...base, ...fields });
    const time = new Date().toISOString();
    write(format === "json" ? jsonLine(time, level, message, all) : prettyLine(time, level, message, all));
  };
  return {
    debug: (message, fields) => emit("debug", message, fields),
    info: (message, fields) => emit("info", message, fields),
    warn: (message, fields) => emit("warn", message, fields),
    error: (message, fields) => emit("error", message, fields),
    with: (fields) => createLogger({ ...options, fields: { ...base, ...fields } }),
  };
}

/** A logger that says nothing. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  with: () => silentLogger,
};

function jsonLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  return `${JSON.stringify({ time, level, message, ...fields })}\n`;
}

function prettyLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const rest = Object.entries(fields)
    .map(([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("");
  return `${time.slice(11, 23)} ${level.padEnd(5)} ${message}${rest}\n`;
}

function redact(fields: LogFields): LogFields {
  const clean: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (SECRET.test(name)) clean[name] = "[redacted]";
    else clean[name] = value instanceof Error ? `${value.name}: ${value.message}` : value;
  }
  return clean;
}
