/**
 * Which requests may be run a second time when nobody knows whether the first one took effect: reads, what only sets the
 * same value again, and tools that say so of themselves (MCP, Tools: `readOnlyHint`, `idempotentHint`). Everything else
 * runs at most once, and its client gets an error that says that the outcome is unknown.
 *
 * Which tools say so is known from any list of the upstream that passed through this worker; else the upstream is asked,
 * and if it does not answer within `ASK_MS` the request counts as one that must not be run twice.
 */
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { ClientCall } from "./calls.ts";
import type { SessionParts } from "./parts.ts";

/** Longest time for learning whether a tool may be run twice, milliseconds: its client waits meanwhile. */
const ASK_MS = 800;

const REPEATABLE: ReadonlySet<string> = new Set([
  "initialize",
  "ping",
  "tools/list",
  "prompts/list",
  "prompts/get",
  "resources/list",
  "resources/templates/list",
  "resources/read",
  "resources/subscribe",
  "resources/unsubscribe",
  "logging/setLevel",
  "completion/complete",
  "tasks/list",
  "tasks/get",
  "tasks/result",
]);

type Repeatable = Pick<ClientCall, "method" | "params">;

/** Whether `call` may be run again. Never rejects. */
export async function mayRepeat(parts: SessionParts, { method, params }: Repeatable): Promise<boolean> {
  if (REPEATABLE.has(method)) return true;
  const name = params?.name;
  if (method !== "tools/call" || typeof name !== "string") return false;
  let cancelTimer = (): void => {};
  const late = new Promise<false>((resolve) => {
    cancelTimer = parts.ctx.worker.clock.after(ASK_MS, () => resolve(false));
  });
  try {
    return await Promise.race([saysSo(parts, name), late]);
  } catch {
    return false;
  } finally {
    cancelTimer();
  }
}

async function saysSo(parts: SessionParts, name: string): Promise<boolean> {
  const router = parts.needRouter();
  const tool = await router.toolOf(name);
  return tool !== undefined && (await router.repeatableTools(tool.upstream)).has(tool.name);
}

/** False where it is known already that `call` must not be run twice. */
export function maySometimesRepeat(parts: SessionParts, { method, params, upstream }: ClientCall): boolean {
  if (REPEATABLE.has(method)) return true;
  if (method !== "tools/call") return false;
  const known = upstream === undefined ? undefined : parts.upstreams?.repeatable(upstream);
  if (known === undefined || known.size > 0) return typeof params?.name === "string";
  return false;
}

/** For a request that is not run again: what happened to it is not known. */
export function outcomeUnknown(): TroupeError {
  const message = "the node that ran this request died or left; whether the request took effect is unknown";
  return new TroupeError("unavailable", message, { started: "unknown" });
}
