/**
 * Names of tools and prompts where several upstreams stand behind one endpoint.
 *
 * With prefixes a name is `server__tool`. Clients and model APIs take at most 64 characters, so a longer one keeps its
 * beginning and ends in a hash of the whole name. Such a name cannot be read backwards; it is resolved by listing
 * (`NameIndex`). Without prefixes names stay as they are and the first upstream that has one keeps it.
 */
import { createHash } from "node:crypto";

/** Longest name a client sees. */
export const MAX_NAME = 64;
const SEPARATOR = "__";
const HASH_LENGTH = 8;

/** The name a client sees for `name` of `upstream`: at most 64 characters. */
export function prefixedName(upstream: string, name: string): string {
  const full = `${upstream}${SEPARATOR}${name}`;
  if (full.length <= MAX_NAME) return full;
  const hash = createHash("sha256").update(full).digest("hex").slice(0, HASH_LENGTH);
  return `${full.slice(0, MAX_NAME - HASH_LENGTH - 1)}_${hash}`;
}

export interface ResolvedName {
  upstream: string;
  /** As the upstream knows it. */
  name: string;
}

/**
 * Reads a prefixed name without any list: the longest upstream whose prefix it has. Undefined when no upstream's prefix
 * fits. A name of full length may be a shortened one, so the caller asks the index first.
 */
export function splitName(name: string, upstreams: readonly string[]): ResolvedName | undefined {
  let best: string | undefined;
  for (const upstream of upstreams) {
    if (name.startsWith(upstream + SEPARATOR) && upstream.length > (best?.length ?? -1)) best = upstream;
  }
  return best === undefined ? undefined : { upstream: best, name: name.slice(best.length + SEPARATOR.length) };
}

/**
 * What lists have taught about names that cannot be read: shortened ones, and all of them without prefixes. Filled by
 * each list, so its size is bounded by the bound of a list.
 */
export class NameIndex {
  readonly #names = new Map<string, ResolvedName>();

  get(name: string): ResolvedName | undefined {
    return this.#names.get(name);
  }
  set(name: string, resolved: ResolvedName): void {
    this.#names.set(name, resolved);
  }
  clear(): void {
    this.#names.clear();
  }
}
