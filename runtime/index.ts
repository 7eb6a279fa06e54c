/** The package's public face: a node to run, and actors to write. */
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
  defineActor,
  type PlacementPolicy,
  type Ref,
  type TurnMode,
} from "./actor/define.ts";
export { type AbortReason, ERROR_CODES, type ErrorCode, type Started, TroupeError } from "./actor/errors.ts";
export { type ActorId, actorId, type Epoch, type Incarnation, type NodeId } from "./actor/ids.ts";
export { Lane } from "./actor/message.ts";
export { type Config, ConfigError, type ConfigInput, loadConfig } from "./config/config.ts";
export { type RunningNode, startNode } from "./node.ts";
export type { DiagnosticEvent, DiagnosticEvents } from "./observe/events.ts";
export type { Logger } from "./observe/log.ts";
