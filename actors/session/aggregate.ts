/**
 * Lists of several upstreams as one list.
 *
 * All pages of all upstreams are gathered, in the order of the upstreams and of each one's own list, so the answer is
 * deterministic and needs no cursor. Bounds: `MAX_PAGES` per upstream, `MAX_ITEMS` in all; what is beyond is left out,
 * and logged. An upstream that fails is left out and logged; if all fail, the first failure is the answer.
 */
import { RpcError } from "../../transports/upstream/contract.ts";
import { isObject, RpcCode } from "./rpc.ts";

export const MAX_PAGES = 100;
export const MAX_ITEMS = 10_000;

/** Which field of a list's result holds the items. */
export const LIST_FIELDS: Readonly<Record<string, "tools" | "prompts" | "resources" | "resourceTemplates">> = {
  "tools/list": "tools",
  "prompts/list": "prompts",
  "resources/list": "resources",
  "resources/templates/list": "resourceTemplates",
};

export type Item = Record<string, unknown>;

export interface Gathered {
  upstream: string;
  items: Item[];
}

export interface GatherOptions {
  upstreams: readonly string[];
  /** Name of the field in the results. */
  field: string;
  /** One page of one upstream. */
  page: (upstream: string, cursor: string | undefined) => Promise<unknown>;
  /** An upstream was left out, or cut off at a bound. */
  incomplete: (upstream: string, what: string, error: unknown) => void;
}

/** Gathers the lists. Rejects only if every upstream failed. */
export async function gather(options: GatherOptions): Promise<Gathered[]> {
  const { upstreams, incomplete } = options;
  const settled = await Promise.allSettled(upstreams.map((upstream) => gatherOne(upstream, options)));
  const gathered: Gathered[] = [];
  let failure: { error: unknown } | undefined;
  let left = MAX_ITEMS;
  for (const [at, outcome] of settled.entries()) {
    const upstream = upstreams[at] ?? "";
    if (outcome.status === "rejected") {
      failure ??= { error: outcome.reason };
      incomplete(upstream, "an upstream's list failed, it is left out", outcome.reason);
      continue;
    }
    const items = outcome.value;
    if (items.length > left) incomplete(upstream, `a list has more than ${MAX_ITEMS} items, it is cut off`, undefined);
    gathered.push({ upstream, items: items.slice(0, left) });
    left = Math.max(0, left - items.length);
  }
  if (gathered.length === 0 && failure !== undefined) throw failure.error;
  return gathered;
}

async function gatherOne(upstream: string, { field, page, incomplete }: GatherOptions): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | undefined;
  for (let pages = 0; ; pages++) {
    if (pages === MAX_PAGES || items.length > MAX_ITEMS) {
      incomplete(upstream, `a list has more than ${MAX_PAGES} pages or ${MAX_ITEMS} items, it is cut off`, undefined);
      return items;
    }
    let result: unknown;
    try {
      result = await page(upstream, cursor);
    } catch (error) {
      // An upstream with resources need not have templates.
      if (error instanceof RpcError && error.code === RpcCode.methodNotFound) return items;
      throw error;
    }
    const list = isObject(result) ? result[field] : undefined;
    if (Array.isArray(list)) for (const item of list) if (isObject(item)) items.push(item);
    const next = isObject(result) ? result.nextCursor : undefined;
    if (typeof next !== "string" || next === cursor) return items;
    cursor = next;
  }
}
