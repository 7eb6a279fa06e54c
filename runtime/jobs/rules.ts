/** Bounds and checks that hold for jobs on every store, and the identity of a job. Pure. */
import { TroupeError } from "../actor/errors.ts";
import type { AddOptions, Backoff, JobDefinition, JobId, JobOptions } from "./contract.ts";

/** Bytes of JSON. */
export const MAX_DATA_BYTES = 65_536;
export const MAX_RESULT_BYTES = 65_536;
export const MAX_PROGRESS_BYTES = 4_096;
/** Waiting, delayed and running jobs of one name. */
export const MAX_UNFINISHED = 100_000;
/** Per name; the oldest are dropped. */
export const MAX_DEAD = 1_000;
export const MAX_COMPLETED = 1_000;
/** Names of one queue. */
export const MAX_NAMES = 256;
/** Characters of an error that is kept. */
export const MAX_ERROR_LENGTH = 1_000;
export const MAX_KEEP_MS = 86_400_000;
const MAX_DELAY_MS = 14 * 86_400_000;
const MAX_BACKOFF_MS = 86_400_000;
const MAX_DEPTH = 64;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const KEY = /^[A-Za-z0-9._:/@=+-]{1,128}$/;

const DEFAULTS = {
  delayMs: 0,
  attempts: 3,
  backoff: { kind: "exponential", delayMs: 1_000 },
  keepMs: 3_600_000,
} as const satisfies JobOptions;

/**
 * A typed definition of a kind of job, to be shared by those who add and those who process. Throws `invalid_argument`
 * for a name that cannot be one, or defaults out of range.
 */
export function defineJob<Data, Result = void>(name: string, defaults: JobOptions = {}): JobDefinition<Data, Result> {
  checkName(name);
  settle(defaults, name);
  return { name, defaults };
}

/** `add`, checked: nothing is left to default. */
export interface NewJob {
  id: JobId;
  name: string;
  key: string;
  /** JSON. */
  data: string;
  delayMs: number;
  attempts: number;
  backoff: Backoff;
  keepMs: number;
}

/** Checks everything about a job to be added. */
export function newJob(
  definition: { readonly name: string; readonly defaults: JobOptions },
  data: unknown,
  options: AddOptions,
  randomKey: () => string,
): NewJob {
  const { name } = definition;
  checkName(name);
  const { key = randomKey(), ...rest } = options;
  if (!KEY.test(key)) {
    throw wrong(
      `${name}: key ${shown(key)} must have 1 to 128 letters, digits or . _ : / @ = + -; hash what does not fit`,
    );
  }
  const settled = settle({ ...definition.defaults, ...defined(rest) }, name);
  return { id: `${name}/${key}`, name, key, data: jsonOf(data, `${name}: data`, MAX_DATA_BYTES), ...settled };
}

/** The id of the job of that definition and key. */
export function jobId<Data, Result>({ name }: JobDefinition<Data, Result>, key: string): JobId<Data, Result> {
  return `${name}/${key}`;
}

/** The two parts of an id. Throws `invalid_argument` for one that no job has. */
export function parseJobId(id: string): { name: string; key: string } {
  const slash = id.indexOf("/");
  const name = id.slice(0, slash);
  const key = id.slice(slash + 1);
  if (slash < 1 || !NAME.test(name) || !KEY.test(key)) throw wrong(`${shown(id)} is not a job id: it must be name/key`);
  return { name, key };
}

export function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw wrong(`job name ${shown(name)} must have 1 to 64 letters, digits, dots, - and _, first a letter or digit`);
}

export function checkConcurrency(name: string, concurrency: number): void {
  whole(`${name}: concurrency`, concurrency, 1, 1_000);
}

export function checkLimit(limit: number): void {
  whole("dead: limit", limit, 1, 1_000);
}

/** How long to wait after the `failures`th failure, milliseconds. */
export function backoffDelay(backoff: Backoff, failures: number): number {
  if (backoff.kind === "fixed") return backoff.delayMs;
  return Math.min(backoff.delayMs * 2 ** Math.min(failures - 1, 40), MAX_BACKOFF_MS);
}

/** `value` as JSON of at most `limit` bytes. Throws `invalid_argument` for what JSON cannot carry, or `too_large`. */
export function jsonOf(value: unknown, what: string, limit: number): string {
  checkJson(value, what, 0);
  const text = JSON.stringify(value ?? null);
  // A UTF-16 code unit is one to three bytes, so most sizes are known without encoding.
  const bytes = text.length * 3 <= limit ? text.length : new TextEncoder().encode(text).byteLength;
  if (bytes <= limit) return text;
  throw new TroupeError(
    "too_large",
    `${what} is ${bytes} bytes of JSON, more than ${limit}: store it elsewhere and hand over where it is`,
    { started: "no" },
  );
}

export function tooManyUnfinished(name: string, limit: number): TroupeError {
  return new TroupeError("overloaded", `${name}: ${limit} jobs are waiting or running already`, {
    started: "no",
    retryAfterMs: 1_000,
  });
}

export function tooManyNames(name: string): TroupeError {
  return new TroupeError("overloaded", `${name}: this queue has ${MAX_NAMES} job names already, which is the limit`, {
    started: "no",
  });
}

export function processedAlready(name: string): TroupeError {
  return new TroupeError("already_exists", `${name}: this queue has a handler for it; stop that one first`, {
    started: "no",
  });
}

export function unknownJob(id: string): TroupeError {
  return new TroupeError("not_found", `no job ${id}: never added, cancelled, or completed and no longer kept`, {
    started: "no",
  });
}

export function queueClosed(): TroupeError {
  return new TroupeError("draining", "the job queue is closed", { started: "no" });
}

function settle(options: JobOptions, name: string): Required<JobOptions> {
  const settled = { ...DEFAULTS, ...defined(options) };
  whole(`${name}: delayMs`, settled.delayMs, 0, MAX_DELAY_MS);
  whole(`${name}: attempts`, settled.attempts, 1, 100);
  whole(`${name}: keepMs`, settled.keepMs, 0, MAX_KEEP_MS);
  const { kind, delayMs } = settled.backoff;
  if (kind !== "fixed" && kind !== "exponential") {
    throw wrong(`${name}: backoff.kind is ${shown(kind)}, must be "fixed" or "exponential"`);
  }
  whole(`${name}: backoff.delayMs`, delayMs, 0, MAX_BACKOFF_MS);
  return { ...settled, backoff: { kind, delayMs } };
}

function defined(options: JobOptions): JobOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** JSON.stringify would turn a Date into text, a Map into {} and NaN into null without a word. */
function checkJson(value: unknown, where: string, depth: number): void {
  if (depth > MAX_DEPTH) throw wrong(`${where} is nested more than ${MAX_DEPTH} levels deep, or refers to itself`);
  if (value === null || value === undefined || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value === "number") {
    if (Number.isFinite(value)) return;
    throw wrong(`${where} is ${value}, which JSON cannot carry`);
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) checkJson(item, `${where}[${index}]`, depth + 1);
    return;
  }
  const prototype: unknown = typeof value === "object" ? Object.getPrototypeOf(value) : undefined;
  if (prototype !== Object.prototype && prototype !== null) {
    const kind = typeof value === "object" ? (value.constructor?.name ?? "object") : typeof value;
    throw wrong(`${where} is a ${kind}, which is not plain JSON`);
  }
  for (const [name, item] of Object.entries(value)) checkJson(item, `${where}.${name}`, depth + 1);
}

function whole(what: string, value: unknown, least: number, most: number): void {
  if (Number.isInteger(value) && Number(value) >= least && Number(value) <= most) return;
  throw wrong(`${what} is ${shown(value)}, must be a whole number from ${least} to ${most}`);
}

function shown(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}…`;
}

function wrong(message: string): TroupeError {
  return new TroupeError("invalid_argument", message, { started: "no" });
}
