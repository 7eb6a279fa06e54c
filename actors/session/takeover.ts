/**
 * What a session does first when another activation had it before, because that one's node died or gave it away.
 *
 * Streams, events and their ids come from the stored log (streams.ts); what was under way comes with it (handover.ts).
 * - A call on an HTTP upstream: its answer is fetched from where its stream was left, so the client notices nothing.
 * - Any other call, and one whose answer cannot be fetched: it is run again where that is safe (repeat.ts), else it is
 *   answered with an error that says that nobody knows whether it ran.
 * - Tasks: tasks.ts.
 * - A question of an HTTP upstream: it keeps its id, so the client's answer still finds its way. Of an upstream that
 *   died with the former owner it is withdrawn with `notifications/cancelled`.
 *
 * What became of the memory of upstreams is told apart from that (memory.ts).
 */
import type { UpstreamClient } from "../../transports/upstream/contract.ts";
import { type ClientCall, Exchange } from "./calls.ts";
import type { StoredCall, StoredLog, StoredQuestion } from "./contract.ts";
import type { FromClient } from "./from_client.ts";
import type { SessionParts } from "./parts.ts";
import type { EventStream } from "./streams.ts";

/** Goes on with what the former activation left open, or ends it. Call once, when the activation begins. */
export function takeOver(parts: SessionParts, client: FromClient): void {
  const tasks = client.takeOverTasks();
  const { log } = parts.ctx.state;
  if (log === undefined) return;
  const calls = restoreCalls(parts, log);
  const asking = [...calls.map(({ call }) => call), ...tasks];
  for (const [id, streamId, question] of log.asked) {
    const stream = parts.needStreams().known(streamId);
    takeQuestion(parts, id, stream ?? parts.needStreams().standalone(), question, asking);
  }
  for (const { call, stored } of calls) client.goOn(call, fetched(parts, call, stored));
}

interface Restored {
  readonly call: ClientCall;
  readonly stored: StoredCall | undefined;
}

function restoreCalls(parts: SessionParts, log: StoredLog): Restored[] {
  const restored: Restored[] = [];
  for (const stream of parts.needStreams().unfinished()) {
    const exchange = Exchange.restored(stream, stream.waiting.length);
    for (const id of stream.waiting) {
      const stored = log.calls?.find((known) => known.id === id);
      const params = stored?.params === undefined ? undefined : (JSON.parse(stored.params) as Record<string, unknown>);
      const call = parts.needCalls().restore(exchange, stored ?? { id, method: "" }, params);
      call.upstream = stored?.upstream;
      restored.push({ call, stored });
    }
  }
  return restored;
}

/** The answer of a call that goes on without us; undefined where none does. */
function fetched(parts: SessionParts, call: ClientCall, stored: StoredCall | undefined): Promise<unknown> | undefined {
  if (stored?.upstream === undefined || stored.sent === undefined) return undefined;
  const upstream = connected(parts, stored.upstream);
  const resumed = upstream?.resumeRequest?.({ id: stored.sent, cursor: stored.cursor }, { related: call.related });
  if (resumed !== undefined) parts.ctx.worker.count("troupe_session_calls_resumed_total");
  return resumed;
}

function takeQuestion(
  parts: SessionParts,
  id: string,
  stream: EventStream,
  question: StoredQuestion | undefined,
  calls: readonly ClientCall[],
): void {
  const upstream = question === undefined ? undefined : connected(parts, question.upstream);
  const resume = upstream?.resumeQuestion?.bind(upstream);
  if (question === undefined || resume === undefined) return withdraw(parts, id, stream);
  const related = calls.find((call) => call.id === question.call)?.related;
  parts.ask(
    { id, upstream: question.upstream, related, stream, token: question.token, question: question.id },
    (answer) => resume(question.id, answer),
  );
}

function withdraw(parts: SessionParts, requestId: string, stream: EventStream): void {
  const params = { requestId, reason: "the server that asked is gone: its node died" };
  parts.needStreams().send(stream, JSON.stringify({ jsonrpc: "2.0", method: "notifications/cancelled", params }));
  parts.ctx.worker.count("troupe_session_takeover_withdrawn_total");
}

/** The client of an upstream that kept a session for the former owner. */
function connected(parts: SessionParts, name: string): UpstreamClient | undefined {
  const known =
    parts.ctx.state.connections?.[name] !== undefined && parts.settings.upstreams.some((u) => u.name === name);
  return known ? parts.needUpstreams().client(name) : undefined;
}
