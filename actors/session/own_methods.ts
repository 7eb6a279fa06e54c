/**
 * What a session answers itself, and what it remembers for its client: the greeting, the log level, subscriptions.
 * The last two are stored before they are acknowledged, and told again to each connection of an upstream, so that
 * neither a restart of an upstream nor a move of the session is noticed.
 */
import { type InitializeResult, RpcError, type UpstreamClient } from "../../transports/upstream/contract.ts";
import type { ClientCall } from "./calls.ts";
import { initializeResult, offers, severity } from "./capabilities.ts";
import type { SessionParts } from "./parts.ts";
import { invalidParams, methodNotFound } from "./router.ts";
import { RpcCode, refused } from "./rpc.ts";

type Params = Record<string, unknown> | undefined;

/** `initialize`: what the upstreams that can be reached offer together. If none can be reached there is no session. */
export async function initialize(parts: SessionParts, call: ClientCall): Promise<InitializeResult> {
  const { state } = parts.ctx;
  const upstreams = parts.needUpstreams();
  const only = state.upstreams.length === 1;
  const problems: string[] = [];
  const catalogues = await upstreams.describeAll(
    // Asked again if it is known: the memory behind it decides how old an answer may be.
    (name) => (only || upstreams.known(name) !== undefined ? upstreams.probe(name) : upstreams.describe(name)),
    (error, name) => {
      problems.push(`upstream "${name}" cannot be reached: ${error instanceof Error ? error.message : String(error)}`);
    },
  );
  if (catalogues.length === 0 && problems.length > 0) {
    // As a refusal, so that the gateway gives no session id away; in 200, so that clients read the reason.
    call.exchange.answer(refused(200, RpcCode.internal, problems.join("; "), call.id));
  }
  return initializeResult(catalogues, state.protocolVersion, parts.settings.serverVersion);
}

/** `logging/setLevel`. */
export async function setLevel(parts: SessionParts, params: Params): Promise<unknown> {
  const level = params?.level;
  if (typeof level !== "string" || severity(level) === undefined) {
    throw invalidParams('"level" must be a level of RFC 5424 in lower case, such as "warning"');
  }
  if (!(await parts.needRouter().offered("logging/setLevel"))) throw methodNotFound("logging/setLevel");
  parts.ctx.state.logLevel = level;
  const upstreams = parts.needUpstreams();
  for (const client of upstreams.running()) {
    const catalogue = upstreams.known(client.name);
    if (catalogue === undefined || offers(catalogue, "logging/setLevel"))
      tell(parts, client, "logging/setLevel", { level });
  }
  await parts.ctx.commit();
  return {};
}

/** `resources/subscribe`. */
export async function subscribe(parts: SessionParts, call: ClientCall, params: Params): Promise<unknown> {
  const { subscriptions } = parts.ctx.state;
  const uri = params?.uri;
  if (typeof uri !== "string") throw invalidParams('"uri" must be a string');
  if (!subscriptions.includes(uri) && subscriptions.length >= parts.settings.maxSubscriptions) {
    const message = `a session has at most ${parts.settings.maxSubscriptions} subscriptions`;
    throw new RpcError({ code: RpcCode.overloaded, message });
  }
  parts.subscribing ??= new Set();
  parts.subscribing.add(uri);
  try {
    const result = await parts.needRouter().route(call, call.method, params);
    if (!subscriptions.includes(uri)) {
      subscriptions.push(uri);
      await parts.ctx.commit();
    }
    return result;
  } finally {
    parts.subscribing.delete(uri);
  }
}

/** `resources/unsubscribe`. Nothing is delivered from here on, whatever the upstream says. */
export async function unsubscribe(parts: SessionParts, call: ClientCall, params: Params): Promise<unknown> {
  const uri = params?.uri;
  if (typeof uri !== "string") throw invalidParams('"uri" must be a string');
  const removed = removeFrom(parts.ctx.state.subscriptions, uri);
  const result = await parts.needRouter().route(call, call.method, params);
  if (removed) await parts.ctx.commit();
  return result;
}

/** Tells a fresh connection of an upstream what the client has set. */
export function restore(parts: SessionParts, upstream: string, greeting: InitializeResult): void {
  const { logLevel, subscriptions } = parts.ctx.state;
  const client = parts.needUpstreams().client(upstream);
  if (logLevel !== null && offers(greeting, "logging/setLevel")) {
    tell(parts, client, "logging/setLevel", { level: logLevel });
  }
  if (!offers(greeting, "resources/subscribe")) return;
  for (const uri of subscriptions) {
    // An owner that is not known (the session came from another node) may be any of them.
    const owner = parts.needRouter().ownerOf(uri) ?? upstream;
    if (owner === upstream) tell(parts, client, "resources/subscribe", { uri });
  }
}

/** Starts an upstream whose notifications the client waits for, though nobody calls it. */
export function startForUpdates(parts: SessionParts, name: string): void {
  const upstreams = parts.needUpstreams();
  const start = async (): Promise<void> => {
    const catalogue = await upstreams.describe(name);
    if (!parts.closed && offers(catalogue, "resources/subscribe")) await upstreams.client(name).start();
  };
  start().catch((error) => upstreams.warn(name, "an upstream could not be started for its subscriptions", error));
}

function tell(parts: SessionParts, client: UpstreamClient, method: string, params: Record<string, unknown>): void {
  client.request(method, params, { related: parts.needCalls().nextRelated(), progress: false }).catch((error) => {
    if (!parts.closed) parts.needUpstreams().warn(client.name, `${method} was refused`, error);
  });
}

function removeFrom(list: string[], value: string): boolean {
  const at = list.indexOf(value);
  if (at >= 0) list.splice(at, 1);
  return at >= 0;
}
