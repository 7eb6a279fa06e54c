/**
 * What a session stores of what is under way, so that its next owner can go on with it (takeover.ts).
 *
 * Stored together with the event log, in the same commit and at no other time, so that the three always fit: a call is
 * stored from when its answer became a stream that a client may resume. A call that is answered in plain JSON costs the
 * store nothing; if its owner dies, its edge asks the next owner (`PostCall.again`).
 *
 * Of a call that an HTTP upstream works on: its id there and the last event of the stream that brings its answer. Of any
 * call that might be run twice: its params. Bound: params of more than `MAX_PARAMS` characters are not kept, and the call
 * is then not run again.
 */
import type { UpstreamSession } from "../../transports/upstream/contract.ts";
import type { ClientCall } from "./calls.ts";
import type { StoredCall, StoredQuestion } from "./contract.ts";
import type { SessionParts } from "./parts.ts";
import { maySometimesRepeat } from "./repeat.ts";

const MAX_PARAMS = 16_384;

/** JSON text of the params of calls, null where there are too many. */
const texts = new WeakMap<ClientCall, string | null>();

export function storedCalls(parts: SessionParts): StoredCall[] {
  return (parts.calls?.streamed() ?? []).map((call) => storedCall(parts, call));
}

function storedCall(parts: SessionParts, call: ClientCall): StoredCall {
  const { id, method, token, progress, upstream, related } = call;
  const stored: StoredCall = { id, method };
  if (token !== undefined) stored.token = token;
  if (Number.isFinite(progress)) stored.progress = progress;
  const params = maySometimesRepeat(parts, call) ? textOf(call) : null;
  if (params !== null) stored.params = params;
  if (upstream === undefined) return stored;
  stored.upstream = upstream;
  const sent = parts.upstreams?.get(upstream)?.sent?.(related);
  if (sent !== undefined) {
    stored.sent = sent.id;
    if (sent.cursor !== undefined) stored.cursor = sent.cursor;
  }
  return stored;
}

function textOf(call: ClientCall): string | null {
  let text = texts.get(call);
  if (text === undefined) {
    const whole = JSON.stringify(call.params ?? {});
    text = whole.length > MAX_PARAMS ? null : whole;
    texts.set(call, text);
  }
  return text;
}

export function storedQuestions(parts: SessionParts): [id: string, stream: string, question?: StoredQuestion][] {
  return (parts.requests?.all() ?? []).map(({ id, stream, upstream, question, token, related }) => {
    if (question === undefined) return [id, stream.id];
    const stored: StoredQuestion = { upstream, id: question };
    const call = parts.calls?.byRelated(related)?.id;
    if (call !== undefined) stored.call = call;
    if (token !== undefined) stored.token = token;
    return [id, stream.id, stored];
  });
}

/** `known`, with how far each connection has come by now. */
export function storedConnections(
  parts: SessionParts,
  known: Record<string, UpstreamSession>,
): Record<string, UpstreamSession> {
  const now: Record<string, UpstreamSession> = {};
  for (const [name, session] of Object.entries(known)) now[name] = parts.upstreams?.get(name)?.session ?? session;
  return now;
}
