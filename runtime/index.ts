/** The package's public face: a node to run, and actors to write. */

export { Cancellation, type ScopeEvent } from "../actors/cancellation/cancellation.ts";
export { type CancellationScope, cancellationScope, type ScopeOptions } from "../actors/cancellation/client.ts";
export {
  type Delivery,
  type LocalCaller,
  publish,
  type SubscribeOptions,
  type Subscription,
  subscribe,
} from "../actors/delivery/client.ts";
export { Hub, Topic } from "../actors/delivery/delivery.ts";
export type { Gap } from "../actors/delivery/queue.ts";
export { type AcquireOptions, acquireLease, type HeldLease } from "../actors/lease/client.ts";
export { type Leadership, type LeadOptions, lead } from "../actors/lease/leadership.ts";
export { type AcquireRequest, Lease, type LeaseGrant } from "../actors/lease/lease.ts";
export { type PresenceView, presence } from "../actors/presence/client.ts";
export type { Life, PresenceEvent, PresentMember } from "../actors/presence/group.ts";
export { Presence } from "../actors/presence/presence.ts";
export type { Clock } from "./actor/clock.ts";
export {
  type ActivationContext,
  type ActorCaller,
  type ActorContext,
  type ActorDefinition,
  type ActorSpec,
  type ActorSystem,
  type CallOptions,
  concurrent,
  type DeactivateReason,
  type DueReminder,
  defineActor,
  type MissedPolicy,
  type PlacementPolicy,
  type Ref,
  type ReminderOptions,
  type Reminders,
  type StoredReminder,
  type TimerTime,
  type TurnMode,
} from "./actor/define.ts";
export { type AbortReason, ERROR_CODES, type ErrorCode, type Started, TroupeError } from "./actor/errors.ts";
export { type ActorId, actorId, type Epoch, type Incarnation, type NodeId } from "./actor/ids.ts";
export { Lane } from "./actor/message.ts";
export { type Config, ConfigError, type ConfigInput, loadConfig } from "./config/config.ts";
export {
  type AddOptions,
  type Backoff,
  type CancelOutcome,
  FinalJobError,
  type Job,
  type JobContext,
  type JobCounts,
  type JobDefinition,
  type JobEvent,
  type JobHandler,
  type JobId,
  type JobInfo,
  type JobOptions,
  type JobQueue,
  type JobState,
  type StopProcessing,
} from "./jobs/contract.ts";
export { type JobQueueOptions, openJobQueue } from "./jobs/open.ts";
export { defineJob, jobId } from "./jobs/rules.ts";
export { type RunningNode, startNode } from "./node.ts";
export type { DiagnosticEvent, DiagnosticEvents } from "./observe/events.ts";
export type { Logger } from "./observe/log.ts";
