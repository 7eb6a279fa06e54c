/**
 * Layers of configuration merged into one tree that remembers where every value came from, so that an error can name
 * the file (or flag, or variable) and a relative path can be resolved against the file that wrote it.
 *
 * A later layer overrides only what it declares: blocks are merged key by key, lists and values are replaced. A key
 * whose value is empty (`null` in YAML) is as if it were not there, and removes what earlier layers declared.
 */
import { type KeyPath, keyText, type Problem } from "./problem.ts";

/** Where values come from. */
export interface Source {
  /** As the user named it: `a.yaml`, `--port`, `RUNTIME_PORT`. */
  name: string;
  /** Relative paths in it start here. */
  folder: string;
  /** Flags and variables name themselves, and are text even where a number is meant. */
  kind: "file" | "setting";
}

type Block = Record<string, unknown>;

export class Layers {
  readonly values: Block = {};
  /** What was found wrong so far. */
  readonly problems: Problem[] = [];
  /** By key path: the source of the value (or whole list) there, or of the first layer that opened that block. */
  readonly #sources = new Map<string, Source>();
  /** Key paths whose text may stand for a number or a boolean, because it came from a variable or a flag. */
  readonly #textual = new Set<string>();
  readonly #first: Source;

  /** `first` is named for problems that no layer declared, such as a missing key. */
  constructor(first: Source) {
    this.#first = first;
  }

  /** Puts a layer on top. */
  add(values: Block, source: Source): void {
    this.#merge(this.values, values, [], source);
  }

  /** Sets one value, for flags and variables. */
  set(path: KeyPath, value: string, source: Source): void {
    let block = this.values;
    for (const part of path.slice(0, -1)) {
      if (!isBlock(block[part])) block[part] = {};
      block = block[part] as Block;
    }
    block[String(path.at(-1))] = value;
    this.#sources.set(pathKey(path), source);
    this.#textual.add(pathKey(path));
  }

  at(path: KeyPath): unknown {
    let value: unknown = this.values;
    for (const part of path) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
      value = (value as Record<string | number, unknown>)[part];
    }
    return value;
  }

  /** The source of what stands at `path`, or of the nearest block around it. */
  sourceOf(path: KeyPath): Source {
    for (let length = path.length; length > 0; length--) {
      const source = this.#sources.get(pathKey(path.slice(0, length)));
      if (source !== undefined) return source;
    }
    return this.#first;
  }

  /** Notes what is wrong at `path`. Only the first problem of a key is kept: the others follow from it. */
  report(path: KeyPath, what: string): void {
    const source = this.sourceOf(path);
    this.reportSource(source.name, source.kind === "setting" ? "" : keyText(path), what);
  }

  reportSource(source: string, key: string, what: string): void {
    if (this.problems.some((problem) => problem.source === source && problem.key === key)) return;
    this.problems.push({ source, key, what });
  }

  /** Replaces text values by what `change` makes of them; text that changed counts as textual with `markTextual`. */
  mapText(change: (text: string, path: KeyPath) => string, markTextual = false): void {
    const visit = (value: unknown, path: KeyPath): unknown => {
      if (typeof value === "string") {
        const changed = change(value, path);
        if (markTextual && changed !== value) this.#textual.add(pathKey(path));
        return changed;
      }
      if (Array.isArray(value)) return value.map((item, at) => visit(item, [...path, at]));
      if (isBlock(value)) {
        for (const key of Object.keys(value)) value[key] = visit(value[key], [...path, key]);
      }
      return value;
    };
    visit(this.values, []);
  }

  /** Turns textual `"4"` and `"true"` into what the schema wants there. True if it could. */
  coerce(path: KeyPath, expected: string): boolean {
    const value = this.at(path);
    if (typeof value !== "string" || !this.#textual.has(pathKey(path))) return false;
    const meant =
      expected === "boolean"
        ? ({ true: true, false: false } as Record<string, boolean>)[value]
        : (expected === "int" || expected === "number") && /^-?\d{1,15}$/.test(value)
          ? Number(value)
          : undefined;
    if (meant === undefined) return false;
    const holder = this.at(path.slice(0, -1)) as Record<string | number, unknown>;
    holder[path.at(-1) as string | number] = meant;
    return true;
  }

  #merge(into: Block, from: Block, path: KeyPath, source: Source): void {
    for (const [key, value] of Object.entries(from)) {
      const here = [...path, key];
      if (key === "__proto__") {
        this.report(here, "cannot be a key; remove it");
        continue;
      }
      if (value === null) {
        delete into[key];
        continue;
      }
      if (isBlock(value)) {
        if (!Object.hasOwn(into, key) || !isBlock(into[key])) into[key] = {};
        if (!this.#sources.has(pathKey(here))) this.#sources.set(pathKey(here), source);
        this.#merge(into[key] as Block, value, here, source);
      } else {
        into[key] = value;
        this.#sources.set(pathKey(here), source);
      }
    }
  }
}

export function isBlock(value: unknown): value is Block {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function pathKey(path: KeyPath): string {
  return JSON.stringify(path);
}
