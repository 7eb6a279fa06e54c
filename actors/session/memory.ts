/**
 * What a session knows of its upstreams' memory, and what its client is told when some of it is lost.
 *
 * An HTTP upstream keeps its memory in a session of its own, which outlives the owner: the state holds its id, and the
 * next owner goes on with it. A module that exports `snapshot` and `restore` has its memory in the state itself, as it was
 * when it last answered. Other memory of a process or module dies with the owner; the state holds the names of those that
 * have begun to run (`ran`). All of that is stored before the client is answered, so nothing can be lost without a word.
 *
 * What is lost (the owner died with a process or module, an HTTP upstream forgot its session, a module could not take its
 * memory back) is counted, and told once, on the next stream the client opens: a warning as `notifications/message`, and
 * `list_changed` for what the upstream declares, so that the client asks again. Until then the state has it (`lost`), so
 * that it outlives further owners; while the upstream cannot be reached to say what it declares, it is asked again. Where
 * the upstream's policy is `terminate` the session ends instead: the client finds it unknown, and begins anew.
 */
import type {
  Catalogue,
  ModuleMemory,
  OwnerLossPolicy,
  UpstreamConfig,
  UpstreamSession,
} from "../../transports/upstream/contract.ts";
import { LOG_LEVELS, severity } from "./capabilities.ts";
import type { SessionState } from "./contract.ts";
import { startForUpdates } from "./own_methods.ts";
import type { SessionParts } from "./parts.ts";
import { isObject } from "./rpc.ts";
import type { SessionSettings } from "./settings.ts";
import type { EventStream } from "./streams.ts";

const LISTS = ["tools", "prompts", "resources"] as const;
const WARNING = LOG_LEVELS.indexOf("warning");
/** A lost upstream that could not be reached is asked again after this time, while the client listens, milliseconds. */
const TELL_AGAIN_MS = 1_000;

/** Whether a session must end because the former owner took memory along that an upstream's policy says it needs. */
export function endsWithItsOwner({ ran, memory }: SessionState, settings: SessionSettings): boolean {
  return ran?.some((name) => memory?.[name] === undefined && policyOf(settings, name) === "terminate") === true;
}

/** Another activation had this session before: goes on with the upstreams that it had. Call once, when this one begins. */
export function restoreUpstreams(parts: SessionParts): void {
  const { state } = parts.ctx;
  const { ran, memory, connections, subscriptions, upstreams } = state;
  const gone = ran?.filter((name) => memory?.[name] === undefined) ?? [];
  if (gone.length > 0) {
    state.ran = ran?.filter((name) => !gone.includes(name));
    addLost(state, gone);
  }
  for (const name of Object.keys(connections ?? {})) {
    if (configOf(parts, name) === undefined) continue;
    const warn = (error: unknown) => parts.needUpstreams().warn(name, "a session's upstream cannot be reached", error);
    parts.needUpstreams().client(name).start().catch(warn);
  }
  // Subscriptions go on although no request may come for a while.
  if (subscriptions.length > 0) for (const name of upstreams) startForUpdates(parts, name);
}

/** `upstream` is about to be used: what the next owner must know of it is stored first. Never rejects. */
export async function rememberConnection(
  parts: SessionParts,
  upstream: string,
  session: UpstreamSession | undefined,
): Promise<void> {
  const { ctx } = parts;
  const { state } = ctx;
  if (session !== undefined) {
    const known = state.connections?.[upstream]?.sessionId === session.sessionId;
    state.connections = { ...state.connections, [upstream]: session };
    if (known) return;
  } else {
    const config = configOf(parts, upstream);
    if (config === undefined || !livesHere(config) || state.ran?.includes(upstream) === true) return;
    state.ran = [...(state.ran ?? []), upstream];
  }
  try {
    await ctx.commit();
  } catch (error) {
    ctx.worker.log.warn("it was not stored that an upstream runs", { upstream, error });
  }
}

/** The connection of an HTTP upstream is over, and with it its session there. Stored with whatever is stored next. */
export function forgetConnection({ ctx: { state } }: SessionParts, upstream: string): void {
  if (state.connections?.[upstream] === undefined) return;
  const { [upstream]: _, ...others } = state.connections;
  if (Object.keys(others).length > 0) state.connections = others;
  else delete state.connections;
}

/** An HTTP upstream no longer knows the session that the former owner had there. */
export function sessionForgotten(parts: SessionParts, upstream: string): void {
  forgetConnection(parts, upstream);
  lostToOwner(parts, upstream);
}

/** Where `upstream` keeps its memory, if it is a module that can save it. */
export function moduleMemory(parts: SessionParts, upstream: string): ModuleMemory | undefined {
  const { ctx } = parts;
  const { state } = ctx;
  if (configOf(parts, upstream)?.transport.kind !== "module") return undefined;
  const set = (text: string | undefined): void => {
    const { [upstream]: _, ...others } = state.memory ?? {};
    const memory = text === undefined ? others : { ...others, [upstream]: text };
    if (Object.keys(memory).length > 0) state.memory = memory;
    else delete state.memory;
  };
  return {
    get saved() {
      return state.memory?.[upstream];
    },
    async save(text) {
      set(text);
      try {
        await ctx.commit();
      } catch (error) {
        ctx.worker.log.warn("a module's memory could not be stored", { upstream, error });
      }
    },
    lost(error) {
      ctx.worker.log.warn("a module could not take its memory back, it begins empty", { upstream, error });
      set(undefined);
      lostToOwner(parts, upstream);
    },
  };
}

/** What `upstream` kept for this session is lost because its owner is: the policy decides what that means. */
function lostToOwner(parts: SessionParts, upstream: string): void {
  if (policyOf(parts.settings, upstream) !== "terminate") return memoryLost(parts, upstream);
  const { ctx } = parts;
  ctx.worker.count("troupe_session_owner_loss_ended_total");
  ctx.end().catch((error) => ctx.worker.log.warn("a session that lost its upstream's memory did not end", { error }));
}

/** `upstream` lost what it kept for this session; the client is told on a stream it opens, or on the one it has open. */
export function memoryLost(parts: SessionParts, upstream: string): void {
  addLost(parts.ctx.state, [upstream]);
  if (parts.streams?.listening === true) void tellLostMemory(parts, parts.streams.standalone());
}

function addLost(state: SessionState, names: readonly string[]): void {
  state.lost = [...(state.lost ?? []).filter((name) => !names.includes(name)), ...names];
}

function dropLost(state: SessionState, name: string): void {
  const left = state.lost?.filter((other) => other !== name) ?? [];
  if (left.length > 0) state.lost = left;
  else delete state.lost;
}

/**
 * Tells on `opened` what memory was lost, if the client has not been told yet; what cannot be told now, later on the
 * stream it listens to. Never rejects.
 */
export async function tellLostMemory(parts: SessionParts, opened: EventStream): Promise<void> {
  const { state, worker } = parts.ctx;
  if (parts.tellingLoss || opened.ended) return;
  parts.tellingLoss = true;
  for (let stream = opened; state.lost !== undefined; stream = parts.needStreams().standalone()) {
    const upstreams = parts.needUpstreams();
    const described = await Promise.allSettled(state.lost.map((name) => upstreams.describe(name)));
    if (parts.closed) return;
    for (const outcome of described) {
      if (outcome.status === "rejected") continue;
      // Stored with what is sent.
      dropLost(state, outcome.value.name);
      tell(parts, stream, outcome.value);
    }
    if (state.lost === undefined || parts.streams?.listening !== true) break;
    await new Promise<void>((resolve) => worker.clock.after(TELL_AGAIN_MS, resolve));
    if (parts.closed) return;
  }
  parts.tellingLoss = false;
}

function tell(parts: SessionParts, opened: EventStream, { name, capabilities }: Catalogue): void {
  const streams = parts.needStreams();
  const stream = opened.ended ? streams.standalone() : opened;
  const least = severity(parts.ctx.state.logLevel) ?? 0;
  if (capabilities.logging !== undefined && least <= WARNING) {
    const data = `The server "${name}" was restarted: what it kept in memory for this session is lost.`;
    const params = { level: "warning", logger: "troupe", data };
    streams.send(stream, JSON.stringify({ jsonrpc: "2.0", method: "notifications/message", params }));
  }
  for (const list of LISTS) {
    const declared = capabilities[list];
    if (!isObject(declared) || declared.listChanged !== true) continue;
    streams.send(stream, JSON.stringify({ jsonrpc: "2.0", method: `notifications/${list}/list_changed` }), true);
  }
  parts.ctx.worker.count("troupe_session_upstream_resets_total");
}

function livesHere({ transport }: UpstreamConfig): boolean {
  return transport.kind !== "http";
}

function policyOf(settings: SessionSettings, upstream: string): OwnerLossPolicy {
  return settings.upstreams.find(({ name }) => name === upstream)?.onOwnerLoss ?? "reinitialize";
}

function configOf({ settings }: SessionParts, upstream: string): UpstreamConfig | undefined {
  return settings.upstreams.find(({ name }) => name === upstream);
}
