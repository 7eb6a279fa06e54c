/**
 * Who may ask for what: capabilities of the upstreams merged into one answer to `initialize`, the capability each method
 * needs, and what the client must have declared before an upstream may ask it something.
 */
import { type Catalogue, type InitializeResult, RpcError } from "../../transports/upstream/contract.ts";
import { isObject, RpcCode } from "./rpc.ts";

type Fields = Record<string, unknown>;

/** Levels of `logging/setLevel`, least severe first (RFC 5424). */
export const LOG_LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"] as const;

/** The version that has tasks, and what a session with an upstream that has them offers. */
export const TASKS_VERSION = "2025-11-25";
const TASKS = { list: {}, cancel: {}, requests: { tools: { call: {} } } };

/** Severity of a level; undefined for what is none. */
export function severity(level: unknown): number | undefined {
  const rank = (LOG_LEVELS as readonly unknown[]).indexOf(level);
  return rank < 0 ? undefined : rank;
}

/** The answer to `initialize`, in the session's version. `catalogues` has at least one entry, in the session's order. */
export function initializeResult(
  catalogues: readonly Catalogue[],
  protocolVersion: string,
  serverVersion: string,
): InitializeResult {
  const [first] = catalogues;
  const result: InitializeResult = {
    protocolVersion,
    capabilities: mergeCapabilities(catalogues.map(({ capabilities }) => capabilities)),
    serverInfo:
      catalogues.length === 1 && first !== undefined
        ? downLevelImplementation(first.serverInfo, protocolVersion)
        : { name: "troupe", version: serverVersion },
  };
  if (protocolVersion === TASKS_VERSION && catalogues.some(offersTasks)) result.capabilities.tasks = TASKS;
  const instructions = joinInstructions(catalogues);
  if (instructions !== undefined) result.instructions = instructions;
  return result;
}

/** Whether tools of this upstream may be called as tasks. */
export function offersTasks({ capabilities }: Pick<InitializeResult, "capabilities">): boolean {
  const { tasks } = capabilities;
  const requests = isObject(tasks) && isObject(tasks.requests) ? tasks.requests : {};
  return isObject(requests.tools) && isObject(requests.tools.call);
}

/** The union: what one of them can, the session can. Tasks are not among it: they are the session's own (tasks.ts). */
export function mergeCapabilities(all: readonly Fields[]): Fields {
  const merged: Fields = {};
  for (const capabilities of all) {
    for (const [name, value] of Object.entries(capabilities)) {
      if (name === "tasks" || !isObject(value)) continue;
      const known = merged[name];
      const union: Fields = isObject(known) ? { ...known } : {};
      for (const [flag, set] of Object.entries(value)) if (union[flag] !== true) union[flag] = set;
      merged[name] = union;
    }
  }
  return merged;
}

/** `title` is of 2025-06-18; `icons`, `websiteUrl` and `description` are of 2025-11-25. */
function downLevelImplementation(info: Fields, version: string): Fields {
  if (version >= "2025-11-25") return info;
  const { icons: _icons, websiteUrl: _url, description: _description, title, ...rest } = info;
  return version >= "2025-06-18" && title !== undefined ? { ...rest, title } : rest;
}

function joinInstructions(catalogues: readonly Catalogue[]): string | undefined {
  const [first] = catalogues;
  if (catalogues.length === 1) return first?.instructions;
  const parts = catalogues.flatMap(({ name, instructions }) =>
    instructions === undefined || instructions === "" ? [] : [`## ${name}\n${instructions}`],
  );
  return parts.length === 0 ? undefined : parts.join("\n\n");
}

/** Whether a server with this catalogue may be sent `method`. Methods of no capability: true. */
export function offers(catalogue: InitializeResult, method: string): boolean {
  const { capabilities } = catalogue;
  switch (method) {
    case "tools/list":
    case "tools/call":
      return capabilities.tools !== undefined;
    case "prompts/list":
    case "prompts/get":
      return capabilities.prompts !== undefined;
    case "resources/list":
    case "resources/read":
    case "resources/templates/list":
      return capabilities.resources !== undefined;
    case "resources/subscribe":
    case "resources/unsubscribe":
      return isObject(capabilities.resources) && capabilities.resources.subscribe === true;
    case "logging/setLevel":
      return capabilities.logging !== undefined;
    case "completion/complete":
      // 2024-11-05 had completion without a capability for it.
      if (catalogue.protocolVersion < "2025-03-26") return true;
      return capabilities.completions !== undefined;
    case "tasks/list":
    case "tasks/get":
    case "tasks/result":
    case "tasks/cancel":
      return offersTasks(catalogue);
    default:
      return true;
  }
}

/**
 * Why an upstream may not send `method` to a client that declared `capabilities`; undefined if it may.
 * MCP 2025-11-25: Client features; an undeclared elicitation mode is -32602, an undeclared feature -32601.
 */
export function clientRefusal(method: string, params: Fields | undefined, capabilities: Fields): RpcError | undefined {
  switch (method) {
    case "roots/list":
      return capabilities.roots === undefined ? undeclared("roots") : undefined;
    case "sampling/createMessage": {
      if (capabilities.sampling === undefined) return undeclared("sampling");
      const needsTools = params?.tools !== undefined || params?.toolChoice !== undefined;
      const hasTools = isObject(capabilities.sampling) && capabilities.sampling.tools !== undefined;
      return needsTools && !hasTools ? unsupported("sampling with tools") : undefined;
    }
    case "elicitation/create": {
      const { elicitation } = capabilities;
      if (elicitation === undefined) return undeclared("elicitation");
      const { form, url }: Fields = isObject(elicitation) ? elicitation : {};
      if (params?.mode === "url") return url === undefined ? unsupported("URL mode elicitation") : undefined;
      // An empty object means form mode: it is all there was before 2025-11-25.
      return form === undefined && url !== undefined ? unsupported("form mode elicitation") : undefined;
    }
    default:
      return new RpcError({ code: RpcCode.methodNotFound, message: `Method not found: ${method}` });
  }
}

function undeclared(capability: string): RpcError {
  const message = `Method not found: the client did not declare the capability "${capability}"`;
  return new RpcError({ code: RpcCode.methodNotFound, message });
}

function unsupported(what: string): RpcError {
  return new RpcError({ code: RpcCode.invalidParams, message: `Invalid params: the client did not declare ${what}` });
}
