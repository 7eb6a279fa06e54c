/**
 * What a session does first when another activation had it before, because that one's node died or gave it away.
 *
 * Streams, events and their ids come from the stored log (streams.ts). What was in flight is gone with the former
 * owner, and every waiting client gets an honest end: its call is answered with an error that says that nobody knows
 * whether it ran, and a request of an upstream that can no longer take the answer is withdrawn.
 *
 * Memory of upstreams that lived in the former owner (processes and modules) is gone too. The client is told once, on
 * the next stream it opens: a warning as `notifications/message`, and `list_changed` for what the upstream declares, so
 * that it asks again. It is told only of upstreams that had begun to run; the state keeps their names (`ran`), written
 * when one starts for the first time.
 */
import type { Catalogue, UpstreamConfig } from "../../transports/upstream/contract.ts";
import { LOG_LEVELS, severity } from "./capabilities.ts";
import type { SessionParts } from "./parts.ts";
import { errorText, isObject, RpcCode } from "./rpc.ts";
import type { EventStream } from "./streams.ts";

const LISTS = ["tools", "prompts", "resources"] as const;
const WARNING = LOG_LEVELS.indexOf("warning");

/** Ends what the former activation left open. Call once, when the activation begins. */
export function takeOver(parts: SessionParts): void {
  const { log, ran } = parts.ctx.state;
  if (ran !== undefined && ran.length > 0) parts.lostMemory = [...ran];
  if (log === undefined) return;
  const streams = parts.needStreams();
  const unfinished = streams.unfinished();
  for (const [requestId, id] of log.asked) {
    const params = { requestId, reason: "the server that asked is gone: its node died" };
    const withdrawal = JSON.stringify({ jsonrpc: "2.0", method: "notifications/cancelled", params });
    streams.send(unfinished.find((stream) => stream.id === id) ?? streams.standalone(), withdrawal);
    parts.ctx.worker.count("troupe_session_takeover_withdrawn_total");
  }
  for (const stream of unfinished) {
    for (const request of [...stream.waiting]) {
      const message = "the node that ran this request died or left; whether the request took effect is unknown";
      const data = { code: "unavailable", started: "unknown", retryable: false };
      streams.answered(stream, request);
      streams.send(stream, errorText(request, { code: RpcCode.internal, message, data }));
      parts.ctx.worker.count("troupe_session_takeover_failed_calls_total");
    }
    streams.end(stream);
  }
}

/** `upstream` runs now: should this node die, the client must be told that its memory is gone. */
export function rememberRunning(parts: SessionParts, upstream: string): void {
  const { ctx, settings } = parts;
  const config = settings.upstreams.find(({ name }) => name === upstream);
  if (config === undefined || !livesHere(config) || ctx.state.ran?.includes(upstream) === true) return;
  ctx.state.ran = [...(ctx.state.ran ?? []), upstream];
  ctx.commit().catch((error) => ctx.worker.log.warn("it was not stored that an upstream runs", { upstream, error }));
}

/** Tells on `stream` what memory was lost, if the client has not been told yet. */
export async function tellLostMemory(parts: SessionParts, stream: EventStream): Promise<void> {
  const { lostMemory, ctx } = parts;
  if (lostMemory === undefined || stream.ended) return;
  parts.lostMemory = undefined;
  const upstreams = parts.needUpstreams();
  const described = await Promise.allSettled(lostMemory.map((name) => upstreams.describe(name)));
  if (parts.closed) return;
  const unreachable = lostMemory.filter((_name, at) => described[at]?.status === "rejected");
  // They are told of on the stream after this one.
  if (unreachable.length > 0) parts.lostMemory = unreachable;
  // Stored with what is sent: a successor tells of what runs by now, and of what could not be told.
  const left = (name: string): boolean => unreachable.includes(name) || upstreams.get(name)?.running === true;
  ctx.state.ran = ctx.state.ran?.filter(left);
  for (const outcome of described) if (outcome.status === "fulfilled") tell(parts, stream, outcome.value);
}

function tell(parts: SessionParts, opened: EventStream, { name, capabilities }: Catalogue): void {
  const streams = parts.needStreams();
  const stream = opened.ended ? streams.standalone() : opened;
  const least = severity(parts.ctx.state.logLevel) ?? 0;
  if (capabilities.logging !== undefined && least <= WARNING) {
    const data = `The server "${name}" was restarted on another node: what it kept in memory for this session is lost.`;
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
