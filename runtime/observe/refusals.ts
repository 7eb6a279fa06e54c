/**
 * Why work was refused at a bound, as one family of counters: `troupe_refusals_total{reason="…"}`. Every place that
 * refuses a call, a stream, a session or a built-in actor's service with `overloaded` names its reason here, so that an
 * operator sees in one place what the node is short of. Job queues and the coordinator's own channels and commits tell
 * their caller alone.
 */

export const REFUSALS_METRIC = "troupe_refusals_total";
export const REFUSALS_HELP = "Calls, activations and sessions refused at a bound, by reason";

/** Reasons, each with what is full. */
export const REFUSAL_REASONS = {
  mailbox: "an actor's mailbox",
  streams: "an actor's open streams",
  alarms: "an actor's timers or reminders",
  pending: "calls of one thread that wait for their answer",
  held: "calls of one thread that wait for an actor that moves",
  thread: "what is queued for a worker thread",
  calls: "calls on record in the node's router",
  placement: "calls that wait for one actor's placement",
  claims: "actors that wait for their placement",
  peer: "calls that wait for the link to a node",
  link: "what is queued on the link to a node",
  loop_delay: "the event loop of the node or of one of its workers",
  heap: "the heap of the node or of one of its workers",
  sessions: "the sessions of the node",
  principal: "the sessions of one caller",
  bodies: "request bodies that wait for their answer",
  event_streams: "event streams of clients",
  upstream: "requests, connections or subscriptions of an upstream server",
  lease: "callers that wait for one lease",
  presence: "members of one presence group",
  cancellation: "joiners or parents of one cancellation scope",
  store: "commands that wait for the coordinator's store",
} as const;

export type RefusalReason = keyof typeof REFUSAL_REASONS;

/** The counter of one reason, as `WorkerServices.count` takes it. */
export type RefusalSeries = `${typeof REFUSALS_METRIC}{reason="${RefusalReason}"}`;

export function refusalSeries(reason: RefusalReason): RefusalSeries {
  return `${REFUSALS_METRIC}{reason="${reason}"}`;
}
