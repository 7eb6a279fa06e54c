/** Flags and arguments of one command, checked: an unknown flag is refused with the one that was probably meant. */
import { parseArgs } from "node:util";
import { nearest } from "../config/nearest.ts";

/** The command line was wrong, as opposed to what it asked for. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What a flag takes: text, text several times, or nothing. */
export type FlagKind = "text" | "texts" | "switch";

export type Flags<Kinds extends Record<string, FlagKind>> = {
  [Name in keyof Kinds]?: Kinds[Name] extends "text" ? string : Kinds[Name] extends "texts" ? string[] : boolean;
};

/**
 * Reads `args`. `positionals` is how many arguments without a flag are allowed, with a word for them in errors.
 * Throws `UsageError`.
 */
export function readFlags<const Kinds extends Record<string, FlagKind>>(
  args: readonly string[],
  kinds: Kinds,
  positionals: { min: number; max: number; name: string } = { min: 0, max: 0, name: "" },
): { flags: Flags<Kinds>; positionals: string[] } {
  const options = Object.fromEntries(
    Object.entries(kinds).map(([name, kind]) => [
      name,
      { type: kind === "switch" ? ("boolean" as const) : ("string" as const), multiple: kind === "texts" },
    ]),
  );
  const parsed = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  for (const token of parsed.tokens) {
    if (token.kind !== "option") continue;
    const kind = Object.hasOwn(kinds, token.name) ? kinds[token.name] : undefined;
    if (kind === undefined) {
      const near = nearest(token.name, Object.keys(kinds));
      throw new UsageError(
        `unknown flag ${token.rawName}${near === undefined ? "; see --help" : `, did you mean --${near}?`}`,
      );
    }
    if (kind === "switch" && token.value !== undefined) throw new UsageError(`--${token.name} takes no value`);
    const looksLikeFlag = token.inlineValue === false && token.value?.startsWith("-");
    if (kind !== "switch" && (token.value === undefined || looksLikeFlag)) {
      throw new UsageError(`--${token.name} needs a value`);
    }
  }
  const given = parsed.positionals;
  if (given.length < positionals.min) throw new UsageError(`needs ${positionals.name}; see --help`);
  if (given.length > positionals.max)
    throw new UsageError(`unexpected argument "${given[positionals.max]}"; see --help`);
  return { flags: parsed.values as Flags<Kinds>, positionals: given };
}
