/**
 * Reads a history and says what was promised and broken. Pure; `checker.test.ts` plants violations.
 *
 * | invariant | violated by |
 * |---|---|
 * | no session is lost | 404 for a session that its client did not delete |
 * | no acknowledged event is missing or duplicated | a gap or a step back between ids of one stream, the same id with other data, the same message under two ids, a stream that its id cannot resume |
 * | no non-idempotent call is executed twice | two executions; one of a call refused as not started; none of an answered call; a wrong answer |
 * | no task is lost | one that its session does not know (any more), that never ends, whose end or result changes, whose result is not its own, or that failed though its upstream outlives the nodes |
 * | every call ends | a call without an end |
 * | and in time, if its edge was whole | longer than the call, detection and one second; a connection that broke at a node without a fault |
 * | every DELETEd session stays dead | an answer other than 404 (or 503) after the DELETE was acknowledged |
 *
 * An id met again is a repeat, not a duplicate. Event ids are `<stream>-<n>`, with `_…` behind for priming events
 * (actors/session/streams.ts), so a gap can be told.
 */
import type { CallRecord, Fault, History } from "./history.ts";

export interface Verdict {
  invariant: string;
  /** What was looked at, for people. */
  counts: string;
  violations: string[];
}

export interface CheckOptions {
  /** Longest time from a fault to its detection, milliseconds: TTL, grace and what observing adds. */
  detectionMs: number;
  /** Beyond detection and the call's own time: the second that is promised, and a margin. */
  slackMs: number;
}

const EVENT_ID = /^(.+)-([0-9a-z]+)(_[0-9a-z]+)?$/;
/** A request that was on its way when the DELETE was acknowledged elsewhere. */
const IN_FLIGHT_MS = 2_000;

export function check(history: History, options: CheckOptions): Verdict[] {
  return [
    sessions(history),
    events(history),
    executions(history),
    tasks(history),
    deadlines(history, options),
    deleted(history),
  ];
}

function sessions({ records, routes }: History): Verdict {
  const gone = new Map<string, number>();
  const open = new Set<string>();
  for (const record of records) {
    if (record.kind === "opened") open.add(record.session);
    if (record.kind === "deleted") gone.set(record.session, record.at);
  }
  const violations: string[] = [];
  let answers = 0;
  for (const record of records) {
    if (record.kind !== "status") continue;
    answers++;
    if (record.status !== 404) continue;
    if (record.request !== undefined && (routes.get(record.request)?.length ?? 0) > 1) continue;
    const deletedAt = gone.get(record.session);
    // The client marks a DELETE when it is acknowledged; what overtook that is the deletion's doing.
    if (deletedAt === undefined || record.at < deletedAt - IN_FLIGHT_MS) {
      violations.push(`session ${record.session} was answered 404 at ${Math.round(record.at)} ms, and was not deleted`);
    }
  }
  return { invariant: "no session is lost", counts: `${open.size} sessions, ${answers} answers`, violations };
}

function events({ records }: History): Verdict {
  const violations: string[] = [];
  /** By session and event id. */
  const dataOf = new Map<string, string>();
  /** By session and message. */
  const idOf = new Map<string, string>();
  /** The last position read, by connection. */
  const reading = new Map<string, { stream: string | undefined; position: number }>();
  let count = 0;
  let repeats = 0;
  let resumes = 0;
  for (const record of records) {
    if (record.kind === "connected") {
      const parsed = EVENT_ID.exec(record.after);
      if (parsed !== null) resumes++;
      reading.set(record.connection, {
        stream: parsed?.[1],
        position: parsed === null ? Number.NaN : Number.parseInt(parsed[2] ?? "", 36),
      });
      continue;
    }
    if (record.kind !== "event" || record.id === "") continue;
    const [, stream = "", position36 = "", priming] = EVENT_ID.exec(record.id) ?? [];
    const position = Number.parseInt(position36, 36);
    const at = reading.get(record.connection);
    const told = `session ${record.session}, event ${record.id} at ${Math.round(record.at)} ms`;
    if (at === undefined) {
      violations.push(`${told}: on a connection nobody made`);
      continue;
    }
    if (at.stream !== undefined && at.stream !== stream) {
      violations.push(`${told}: on a connection that reads stream ${at.stream}`);
    }
    const isPriming = record.data === "";
    const expected = isPriming ? at.position : at.position + 1;
    // A connection that begins without an id begins where the session says; from there on nothing may be left out.
    if (!Number.isNaN(at.position) && position !== expected) {
      violations.push(`${told}: after position ${at.position} of the stream`);
    }
    at.stream = stream;
    at.position = position;
    if (isPriming && priming === undefined && position !== 0)
      violations.push(`${told}: a priming event took an event's id`);
    if (isPriming) continue;
    count++;
    const key = `${record.session} ${record.id}`;
    const before = dataOf.get(key);
    if (before === undefined) dataOf.set(key, record.data);
    else if (before === record.data) repeats++;
    else violations.push(`${told}: the id was given to another message before`);
    if (!isUnique(record.data)) continue;
    const message = `${record.session} ${record.data}`;
    const other = idOf.get(message);
    if (other !== undefined && other !== record.id)
      violations.push(`${told}: the same message came as ${other} before`);
    idOf.set(message, record.id);
  }
  for (const record of records) {
    if (record.kind === "call" && record.end?.how === "denied") {
      const { session, call, end } = record;
      violations.push(`session ${session}, call ${call}: its stream could not be resumed (${end.status})`);
    }
  }
  const counts = `${count} events, ${resumes} resumes, ${repeats} repeats`;
  return { invariant: "no acknowledged event is missing or duplicated", counts, violations };
}

/**
 * Whether two messages with this text are the same message: a response, a question, an update that names its call. That
 * a list changed, or memory was lost, is told again and again.
 */
function isUnique(data: string): boolean {
  return data.includes('"id":') || data.includes('"_meta":');
}

function executions({ records, executions: executed }: History): Verdict {
  const violations: string[] = [];
  let effects = 0;
  let answered = 0;
  let refused = 0;
  let unknown = 0;
  for (const record of records) {
    if (record.kind !== "call" || record.end === undefined) continue;
    const { call, end } = record;
    if (end.how === "answered" && !end.correct) violations.push(`call ${call} got an answer that is not its own`);
    if (!record.recorded) continue;
    const times = executed.get(call) ?? 0;
    effects += times;
    if (end.how === "answered") answered++;
    else if (end.how === "refused" && end.started === "no") refused++;
    else unknown++;
    if (times > 1 && !record.idempotent) violations.push(`call ${call} was executed ${times} times`);
    if (end.how === "answered" && times === 0) violations.push(`call ${call} was answered and not executed`);
    if (end.how === "refused" && end.started === "no" && times > 0) {
      violations.push(`call ${call} was refused as not started, and executed`);
    }
  }
  const counts = `${answered} answered, ${refused} refused unstarted, ${unknown} unknown; ${effects} executions`;
  return { invariant: "no non-idempotent call is executed twice", counts, violations };
}

function tasks({ records }: History): Verdict {
  const violations: string[] = [];
  const ends = new Map<string, number>();
  for (const record of records) {
    if (record.kind !== "task") continue;
    const { session, call, seen, results } = record;
    const told = `session ${session}, the task of call ${call}`;
    const end = seen.find((status) => status !== "working" && status !== "input_required");
    if (seen.includes("unknown")) violations.push(`${told}: is not known any more`);
    else if (end === undefined || results.length === 0) violations.push(`${told}: has no end`);
    else {
      ends.set(end, (ends.get(end) ?? 0) + 1);
      const later = seen.slice(seen.indexOf(end)).find((status) => status !== end);
      if (later !== undefined) violations.push(`${told}: was ${end}, and ${later} afterwards`);
      if (new Set(results).size > 1) violations.push(`${told}: has more than one result: ${results.join(", ")}`);
      if (record.remembered && end !== "completed") violations.push(`${told}: is ${end}, though its upstream lived`);
      if (end === "completed" && results[0] !== call) violations.push(`${told}: its result is "${results[0]}"`);
    }
  }
  const summary = [...ends].map(([how, count]) => `${count} ${how}`).join(", ");
  return { invariant: "no task is lost", counts: summary || "no tasks", violations };
}

function deadlines({ records, faults, routes, stalls }: History, options: CheckOptions): Verdict {
  const violations: string[] = [];
  const ends = new Map<string, number>();
  let longest = 0;
  const calls = records.filter((record): record is CallRecord => record.kind === "call");
  for (const record of calls) {
    const { call, end, endedAt, at, takesMs } = record;
    if (end === undefined || endedAt === undefined) {
      violations.push(`call ${call} of ${Math.round(at)} ms has no end`);
      continue;
    }
    ends.set(end.how, (ends.get(end.how) ?? 0) + 1);
    if (edgeFailed(record, endedAt, faults, routes)) continue;
    const overMs = endedAt - at - takesMs;
    longest = Math.max(longest, overMs);
    const allowedMs =
      options.detectionMs + options.slackMs + heldUp(record, endedAt, faults) + stalled(record, endedAt, stalls);
    const told = `call ${call} of ${Math.round(at)} ms, at nodes ${nodesOf(record, routes).join(", ") || "none"}`;
    if (end.how === "timeout" || overMs > allowedMs) {
      violations.push(
        `${told}: ${end.how} after ${Math.round(overMs)} ms more than it takes (${Math.round(allowedMs)} allowed)`,
      );
    } else if (end.how === "broken") {
      violations.push(`${told}: its connection broke, and the node had no fault`);
    }
  }
  const summary = [...ends].map(([how, count]) => `${count} ${how}`).join(", ");
  return {
    invariant: "every call is answered or refused within its deadline",
    counts: `${summary || "no calls"}; longest ${Math.round(longest)} ms more than the call takes`,
    violations,
  };
}

function nodesOf({ requests }: CallRecord, routes: History["routes"]): number[] {
  return requests.flatMap((request) => routes.get(request) ?? []);
}

function overlaps({ from, until }: Fault, record: CallRecord, endedAt: number): boolean {
  return from <= endedAt && (until ?? Number.POSITIVE_INFINITY) >= record.at;
}

function heldUp(record: CallRecord, endedAt: number, faults: readonly Fault[]): number {
  return faults.reduce((ms, fault) => ms + (overlaps(fault, record, endedAt) ? fault.holdsUpMs : 0), 0);
}

function stalled(record: CallRecord, endedAt: number, stalls: History["stalls"]): number {
  return stalls.reduce((sum, { at, ms }) => sum + (at >= record.at && at - ms <= endedAt ? ms : 0), 0);
}

/** Whether a node that had one of the call's requests could not serve its sockets while the call went on. */
function edgeFailed(record: CallRecord, endedAt: number, faults: readonly Fault[], routes: History["routes"]): boolean {
  const nodes = nodesOf(record, routes);
  return faults.some((fault) => overlaps(fault, record, endedAt) && fault.nodes.some((node) => nodes.includes(node)));
}

function deleted({ records }: History): Verdict {
  const violations: string[] = [];
  const deletedAt = new Map<string, number>();
  for (const record of records) if (record.kind === "deleted") deletedAt.set(record.session, record.at);
  let probes = 0;
  for (const record of records) {
    if (record.kind !== "status") continue;
    const since = deletedAt.get(record.session);
    if (since === undefined || record.at < since) continue;
    probes++;
    if (record.status < 400) {
      violations.push(
        `session ${record.session} was answered ${record.status} ${Math.round(record.at - since)} ms after its DELETE`,
      );
    }
  }
  const counts = `${deletedAt.size} sessions deleted, ${probes} answers after it`;
  return { invariant: "every DELETEd session stays dead", counts, violations };
}
