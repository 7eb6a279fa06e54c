/**
 * A session's way to an upstream, chosen by the upstream's isolation.
 *
 * `session`: a process or connection of its own. `principal`: one per node for all sessions of a caller, `shared`: one per
 * node for everybody's; both are reached through the node's `ServerActor`.
 */
import type { ActivationContext } from "../../runtime/actor/define.ts";
import { createUpstreamClient } from "../../transports/upstream/client.ts";
import type {
  Handshake,
  UpstreamClient,
  UpstreamConfig,
  UpstreamOwner,
  UpstreamSession,
} from "../../transports/upstream/contract.ts";
import type { Principal } from "../session/contract.ts";
import { permitsOf } from "./permits.ts";
import { SharedUpstreamClient } from "./shared_client.ts";

export interface OpenUpstreamDeps {
  /** Of the owning actor. Use the context of `onActivate`: calls of a turn's context end with that turn. */
  ctx: ActivationContext<unknown>;
  owner: UpstreamOwner;
  /** Whose session it is. */
  principal: Principal;
  /** What the session's client said in `initialize`; a shared upstream gets Troupe's own instead. */
  handshake: Handshake;
  /** True: do not stop it although nobody calls it, because its notifications are wanted (subscriptions). */
  keepRunning?: () => boolean;
  /** The connection of a former owner of the session, to go on with. */
  resume?: UpstreamSession | undefined;
}

/** Does no I/O: the upstream starts with the first request, or with `start`. `close` it when the activation stops. */
export function openUpstream(config: UpstreamConfig, deps: OpenUpstreamDeps): UpstreamClient {
  const { ctx, owner, principal, handshake, keepRunning, resume } = deps;
  if (config.isolation !== "session") return new SharedUpstreamClient(config, { ctx, owner, principal, keepRunning });
  return createUpstreamClient(config, {
    epoch: ctx.epoch,
    owner,
    handshake,
    services: ctx.worker,
    resume,
    permits: permitsOf(ctx, config.name),
    keepRunning,
  });
}
