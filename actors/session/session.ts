/**
 * The session actor: the MCP server as one client of the legacy era sees it (2025-03-26, 2025-06-18, 2025-11-25).
 *
 * The gateway makes it, with a state from `openSession`, before the session's id leaves the node; calls of an unknown or
 * ended id create nothing. Whatever replica a request arrives at calls the one activation. A wrong principal gets the
 * answer of an unknown session, so that an id proves nothing (WIRE E4).
 *
 * What is stored is the protocol state (`SessionState`), the event log included. What is in flight lives with the
 * activation: after a crash its successor ends it honestly (takeover.ts), or the edge does where no event was sent yet.
 * Before a planned move calls in flight end: new requests wait for the new owner meanwhile, and what running calls need
 * (answers and cancels of the client, the streams it reads) travels in the control lane, which goes on.
 */
import { type ActorContext, concurrent, type DeactivateReason, defineActor } from "../../runtime/actor/define.ts";
import { type AbortReason, TroupeError } from "../../runtime/actor/errors.ts";
import { describeUpstream } from "../server/describe.ts";
import { openUpstream } from "../server/open.ts";
import type { EventsCall, PostAnswer, Principal, SessionDescription, SessionState } from "./contract.ts";
import { type HandedMemory, LiveSession } from "./live_session.ts";
import { endsWithItsOwner } from "./memory.ts";
import { isObject } from "./rpc.ts";
import { sessionSettings } from "./settings.ts";
import type { UpstreamAccess } from "./upstreams.ts";

/** Turns at once: more than any `maxCalls`, so that cancels and answers never wait behind requests. */
const TURNS = 1_024;

/** What an activation holds; made empty, filled by `onActivate`. */
interface SessionInstance {
  live: LiveSession | undefined;
}
type Context = ActorContext<SessionState, SessionInstance>;

/** The session actor over `access`: the real upstreams, or a test's. */
export function defineSession(access: UpstreamAccess) {
  return defineActor({
    kind: "session",
    mode: concurrent(TURNS),
    placement: "prefer-local",
    state: { initial: noState, required: true },
    instance: (): SessionInstance => ({ live: undefined }),
    onActivate(ctx): void | Promise<void> {
      if (endsWithItsOwner(ctx.state, sessionSettings(ctx.worker))) {
        ctx.worker.count("troupe_session_owner_loss_ended_total");
        // Whoever waits finds an ended session.
        return ctx.end();
      }
      // Of an owner of this or an adjacent version, which may hand over nothing.
      ctx.instance.live = new LiveSession(ctx, access, ctx.migrated as HandedMemory | undefined);
    },
    onMigrate(ctx) {
      return ctx.instance.live?.prepareToMove();
    },
    onDeactivate(ctx, reason) {
      return ctx.instance.live?.close(closeReason(reason));
    },
    readOnly: ["describe"],
    methods: {
      /** One POST of the client, see `PostCall`. Rejects with `not_found` for another principal. */
      post(
        ctx,
        principal: Principal,
        version: string | null,
        text: string,
        again?: boolean,
      ): PostAnswer | Promise<PostAnswer> {
        return live(ctx, principal).post(version, text, again === true);
      },

      /** One SSE connection; see `SessionEvent` for its first item. Rejects with `not_found`, `data.status` the HTTP status. */
      async *events(ctx, call: EventsCall) {
        const session = live(ctx, call.principal);
        yield* session.events(call, ctx.signal);
      },

      /** DELETE: ends the session for good; when it resolves, its id is unknown everywhere. */
      async terminate(ctx, principal: Principal): Promise<void> {
        await live(ctx, principal).end();
      },

      /** As `terminate`, by an operator: whoever's session it is. */
      async revoke(ctx): Promise<void> {
        ctx.worker.count("troupe_session_revoked_total");
        await ctx.instance.live?.end();
      },

      /** For the management API. */
      describe(ctx): SessionDescription {
        const { state, key, worker } = ctx;
        const session = ctx.instance.live;
        return {
          id: key,
          owner: worker.nodeId,
          era: "legacy",
          protocolVersion: state.protocolVersion,
          client: { name: text(state.clientInfo, "name"), version: text(state.clientInfo, "version") },
          upstreams: session?.upstreamStates() ?? [],
          state: state.initialized ? "operational" : "initializing",
          createdAt: state.createdAt,
          idleMs: Math.round(session?.idleMs(worker.clock.now()) ?? 0),
          calls: session?.calls ?? 0,
          streams: session?.openStreams ?? 0,
        };
      },
    },
  });
}

/** The session actor of a node. */
export const SessionActor = defineSession({ describe: describeUpstream, open: openUpstream });

function live(ctx: Context, principal: Principal): LiveSession {
  const session = ctx.instance.live;
  if (session === undefined || principal !== ctx.state.principal) {
    const data = { reason: "unknown session", status: 404 };
    throw new TroupeError("not_found", "there is no such session", { started: "no", data });
  }
  return session;
}

/** Losing ownership closes upstreams silently; everything else ends what they did for this session. */
function closeReason(reason: DeactivateReason): AbortReason | "idle" | "ended" {
  if (reason === "moved") return "drain";
  return reason === "passivate" || reason === "failed" ? "idle" : reason;
}

function noState(key: string): SessionState {
  throw new TroupeError("not_found", `session ${key} has no stored state`, { started: "no" });
}

function text(fields: Record<string, unknown>, name: string): string {
  const value = isObject(fields) ? fields[name] : undefined;
  return typeof value === "string" ? value : "";
}
