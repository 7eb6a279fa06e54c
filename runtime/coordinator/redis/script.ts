/**
 * How a Lua script is written here.
 *
 * A script names its keys and arguments, so that its body reads as words instead of `KEYS[3]`. Every key it touches is
 * one of its keys, and all of them carry one hash tag, so each script runs on Redis Cluster as well. `KEYS[1]` is the
 * generation key of that slot and `ARGV[1]` the generation the caller believes in: a guarded script answers `reset`
 * before it reads or writes anything else when they differ, which is what makes an emptied or replaced store harmless.
 *
 * Numbers cross as strings, in both directions: Lua prints numbers from 1e14 on in exponent form, so scripts format
 * them with `%.0f` and callers parse them.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

export interface Script {
  readonly name: string;
  readonly lua: string;
  readonly sha: string;
  /** With replicas, its effect counts only once a replica has it. */
  readonly acknowledged: boolean;
}

export interface ScriptSource {
  name: string;
  /** After the generation key. */
  keys: readonly string[];
  /** After the generation. */
  args: readonly string[];
  lua: string;
  /** False for the few scripts that make or replace the generation. Default true. */
  guarded?: boolean;
  /** Default false. */
  acknowledged?: boolean;
}

/** The answer of a guarded script whose generation is not the caller's. */
export const RESET = "reset";

const GUARD = `-- Rule: nothing is read or written in a store of another generation.
if redis.call('GET', generation) ~= expected then return {'${RESET}'} end
`;

/** Makes a script. `generation` (the key) and `expected` (its value) are always bound first. */
export function defineScript(source: ScriptSource): Script {
  const bind = (names: readonly string[], from: string): string =>
    `local ${names.join(", ")} = ${names.map((_, index) => `${from}[${index + 1}]`).join(", ")}\n`;
  const lua =
    bind(["generation", ...source.keys], "KEYS") +
    bind(["expected", ...source.args], "ARGV") +
    (source.guarded === false ? "" : GUARD) +
    source.lua.trim();
  const sha = createHash("sha1").update(lua).digest("hex");
  return { name: source.name, lua, sha, acknowledged: source.acknowledged ?? false };
}

/** One value of a script's answer as text; `""` for nil. */
export function text(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : Buffer.isBuffer(value) ? value.toString("utf8") : String(value);
}

/** A script's answer: always an array whose first element says which answer it is. */
export function fields(answer: unknown): readonly unknown[] {
  return Array.isArray(answer) ? answer : [answer];
}

/** Bytes of a script's answer, in memory of their own. */
export function bytes(value: unknown): Uint8Array {
  if (Buffer.isBuffer(value)) return new Uint8Array(value);
  return new TextEncoder().encode(text(value));
}
