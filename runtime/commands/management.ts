/** The management API of a running node, as the commands that print something of it need it. */
import { type Flags, readFlags } from "./flags.ts";

const DEFAULT_URL = "http://127.0.0.1:8787";
const TIMEOUT_MS = 10_000;

export const managementHelp = `  --url URL   a node's address, default ${DEFAULT_URL}
  --json      print the answer as JSON
`;

const SHARED = { url: "text", json: "switch" } as const;

/** Flags and arguments of a command that talks to a node. */
export function readManagementFlags<const Kinds extends Record<string, "text" | "switch">>(
  args: readonly string[],
  kinds: Kinds,
  positionals?: { min: number; max: number; name: string },
): { flags: Flags<Kinds & typeof SHARED>; positionals: string[] } {
  return readFlags(args, { ...kinds, ...SHARED }, positionals);
}

/** The `data` of one answer. Throws an error with one sentence for everything that is not a success. */
export async function ask(
  url: string | undefined,
  path: string,
  method: "GET" | "POST" | "DELETE" = "GET",
): Promise<unknown> {
  const base = url ?? DEFAULT_URL;
  let target: URL;
  try {
    target = new URL(path, base);
  } catch {
    throw new Error(`--url: expected a URL such as ${DEFAULT_URL}, got "${base}"`);
  }
  let response: Response;
  try {
    response = await fetch(target, { method, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    const slow = error instanceof Error && error.name === "TimeoutError";
    throw new Error(
      slow
        ? `${base} did not answer within ${TIMEOUT_MS / 1_000} s`
        : `no node answers at ${base}; start one with \`runtime start\`, or name its address with --url`,
    );
  }
  const body = await answer(response, base);
  if (response.ok && body.success === true) return body.data;
  const reason = typeof body.error === "string" ? body.error : messageOf(body.error);
  throw new Error(reason ?? `${target} answered ${response.status}`);
}

async function answer(response: Response, base: string): Promise<Record<string, unknown>> {
  const text = await response.text();
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null) return body as Record<string, unknown>;
  } catch {
    // Not JSON: told below.
  }
  throw new Error(`what answers at ${base} is no Troupe node (HTTP ${response.status})`);
}

function messageOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("message" in error)) return undefined;
  return typeof error.message === "string" ? error.message : undefined;
}

/** A list of objects, whatever else came. */
export function rowsOf(data: unknown): Record<string, unknown>[] {
  const list = Array.isArray(data) ? data : [];
  return list.filter((row) => typeof row === "object" && row !== null);
}

export function jsonText(data: unknown): string {
  return `${JSON.stringify(data, null, 2)}\n`;
}
