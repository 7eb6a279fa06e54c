/**
 * What is wrong with a configuration, as sentences a user can act on: which file, which key, what stands there, what is
 * expected or meant. All problems of a configuration are reported together.
 */
import type * as z from "zod";
import type { Layers } from "./layers.ts";
import { nearest } from "./nearest.ts";
import { configSchema } from "./schema.ts";

/** One thing that is wrong. */
export interface Problem {
  /** The file, flag or environment variable it stands in. */
  source: string;
  /** `mcpServers.echo.command`; empty for the file as a whole, and for flags and variables, which name themselves. */
  key: string;
  what: string;
}

/** Thrown for a configuration that cannot be used. The message has one sentence per line, one line per problem. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    super(problems.map(sentence).join("\n"));
    this.problems = problems;
  }
}

export function sentence({ source, key, what }: Problem): string {
  return [source, key, what].filter((part) => part !== "").join(": ");
}

export type KeyPath = readonly (string | number)[];

/** `["a", "b", 0]` as `a.b[0]`. */
export function keyText(path: KeyPath): string {
  return path.map((part, at) => (typeof part === "number" ? `[${part}]` : at === 0 ? part : `.${part}`)).join("");
}

/** Reports what the schema refused. */
export function reportIssues(issues: readonly z.core.$ZodIssue[], layers: Layers): void {
  for (const issue of issues) {
    const path = issue.path.filter((part) => typeof part !== "symbol");
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) layers.report([...path, key], unknownKey([...path, key]));
    } else {
      const got = issue.code === "invalid_key" ? JSON.stringify(path.at(-1)) : shown(path, layers.at(path));
      const quotes = issue.code === "invalid_type" && issue.expected === "string" && /^(\d|true|false)/.test(got);
      layers.report(path, `expected ${expectation(issue)}, got ${got}${quotes ? "; put it in quotes" : ""}`);
    }
  }
}

/** Keys and blocks that the design names and this version does not have. Longest match not needed: prefixes differ. */
const NOT_YET = [
  "governance",
  "plugins",
  "observability",
  "mcp.capabilities",
  "mcp.configurations.sessions.store",
  "mcp.configurations.tasks",
  "mcp.configurations.subscriptions",
  "mcp.configurations.pipelines",
  "mcp.configurations.delivery",
  "mcp.configurations.cancellation",
  "cluster.lease_ttl_ms",
  "cluster.lease_renew_before_expiry_percent",
  "cluster.subscribe_pattern_buffer",
  "cluster.readiness_gate",
  "cluster.allow_degraded_boot",
  "cluster.allow_insecure_transport",
  "cluster.state_encryption_key_env",
  "cluster.tenant_segment",
];

function unknownKey(path: KeyPath): string {
  const key = keyText(path);
  if (NOT_YET.includes(key)) return "not supported yet by this version; remove it";
  const last = String(path.at(-1));
  const known = keysAt(path.slice(0, -1));
  const near = nearest(last, known);
  if (near !== undefined) return `unknown key, did you mean "${near}"?`;
  return `unknown key; known here: ${known.join(", ")}`;
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return typeWord(
        issue.expected,
        issue.path.filter((part) => typeof part !== "symbol"),
      );
    case "invalid_value":
      return `one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
    case "too_small":
      if (issue.origin !== "string") return `${rangeWord(issue)} of at least ${issue.minimum}`;
      return Number(issue.minimum) <= 1 ? "text that is not empty" : `at least ${issue.minimum} characters`;
    case "too_big":
      return issue.origin === "string"
        ? `at most ${issue.maximum} characters`
        : `${rangeWord(issue)} of at most ${issue.maximum}`;
    case "invalid_key":
      return issue.issues[0]?.message ?? "another name";
    // Patterns carry what they expect as their message: see `shaped` in schema.ts.
    default:
      return issue.message;
  }
}

function rangeWord(issue: { origin: string }): string {
  return issue.origin === "array" ? "a list" : "a whole number";
}

function typeWord(expected: string, path: KeyPath): string {
  switch (expected) {
    case "string":
      return "text";
    case "int":
    case "number":
      return `a whole number${rangeOf(path)}`;
    case "boolean":
      return "true or false";
    case "array":
      return "a list";
    case "object":
    case "record":
      return "a block of keys";
    default:
      return expected;
  }
}

/** ` from 0 to 256`, read from the schema; empty where there is no range. */
function rangeOf(path: KeyPath): string {
  const schema = unwrapped(schemaAt(path));
  if (schema?.def.type !== "number") return "";
  const { minValue, maxValue } = schema as z.ZodNumber;
  return minValue === null || maxValue === null ? "" : ` from ${minValue} to ${maxValue}`;
}

const SECRET = /secret|token|password|authorization|cookie|api[-_]?key|\.headers\.|\.env\./i;

/** A value for an error message: short, and never one that may be a secret. */
function shown(path: KeyPath, value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a block of keys";
  const key = keyText(path);
  if (SECRET.test(key)) return typeof value === "string" ? `${value.length} characters` : `a ${typeof value}`;
  if (typeof value !== "string") return String(value);
  const masked = value.replace(/(\/\/[^/@\s:]*:)[^/@\s]*@/, "$1***@");
  return JSON.stringify(masked.length > 80 ? `${masked.slice(0, 77)}...` : masked);
}

/** The schema's keys of the block at `path`; empty where keys are free. */
export function keysAt(path: KeyPath): string[] {
  const schema = unwrapped(schemaAt(path));
  return schema?.def.type === "object" ? Object.keys((schema as z.ZodObject).shape) : [];
}

function schemaAt(path: KeyPath): z.ZodType | undefined {
  let schema: z.ZodType | undefined = configSchema;
  for (const part of path) {
    const inner = unwrapped(schema);
    if (inner?.def.type === "object") schema = (inner as z.ZodObject).shape[part] as z.ZodType | undefined;
    else if (inner?.def.type === "record") schema = (inner as z.ZodRecord).valueType as z.ZodType;
    else if (inner?.def.type === "array") schema = (inner as z.ZodArray).element as z.ZodType;
    else return undefined;
  }
  return schema;
}

/** The schema under `optional`, `default` and `prefault`. */
function unwrapped(schema: z.ZodType | undefined): z.ZodType | undefined {
  let inner = schema;
  while (inner !== undefined && ["optional", "default", "prefault"].includes(inner.def.type)) {
    inner = (inner as z.ZodOptional<z.ZodType>).unwrap();
  }
  return inner;
}
