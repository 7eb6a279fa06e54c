/**
 * From the HTTP edge to session actors, wherever they live.
 *
 * Opening a session is one step before anything else happens: owner and state are stored, then the session answers the
 * `initialize` itself, then its id leaves the node. If that answer is an error the session is ended again and the client
 * never sees an id. When storing has an unknown outcome the client gets 503 and no id; what may have been stored is
 * nobody's, and is ended as soon as the store answers again (`runtime/placement/directory.ts`).
 */
import type { EventsCall, PostAnswer, PostCall, Principal, SessionEvent } from "../../actors/session/contract.ts";
import { openSession } from "../../actors/session/open.ts";
import { SessionActor } from "../../actors/session/session.ts";
import type { Clock } from "../../runtime/actor/clock.ts";
import type { ActorSystem, CallOptions } from "../../runtime/actor/define.ts";
import { Lane } from "../../runtime/actor/message.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import type { RpcId } from "../upstream/contract.ts";
import type { SessionCaps } from "./session_caps.ts";
import { newSessionId } from "./session_id.ts";

/** What an endpoint shows. */
export interface Scope {
  /** Upstream names, in order. */
  upstreams: readonly string[];
  /** Whether names carry the upstream's prefix. */
  prefixed: boolean;
}

export interface OpenRequest extends PostCall {
  scope: Scope;
  /** `text`, parsed: an `initialize` request. */
  message: unknown;
}

/** The sessions of the cluster, as the edge sees them. Failures are `TroupeError`s. */
export interface SessionGateway {
  /** Starts a session. Without a `sessionId` there is none, and `answer` says why. */
  open(request: OpenRequest): Promise<{ sessionId: string | null; answer: PostAnswer }>;
  /** A body for a session; `urgent`: it asks for nothing, calls under way may wait for it. A client that goes away does not cancel it: in the legacy era a disconnect means nothing. */
  post(sessionId: string, call: PostCall, urgent?: boolean): Promise<PostAnswer>;
  /** Events of one stream. The iterator's `return` ends it at once, also while a `next` waits. */
  events(sessionId: string, call: EventsCall): AsyncIterable<SessionEvent>;
  /** Ends a session for good. */
  terminate(sessionId: string, principal: Principal): Promise<void>;
}

/** Not held up while a session waits for its calls to end, because it is about to move. */
const URGENT: CallOptions = { lane: Lane.Control };
type Caps = Pick<SessionCaps, "refusal" | "opened">;
const UNBOUNDED: Caps = { refusal: () => null, opened() {} };

export class ActorSessionGateway implements SessionGateway {
  readonly #system: ActorSystem;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #caps: Caps;
  readonly #session: typeof SessionActor;

  /** `session` is the definition that the workers run; tests bring one over their own upstreams. */
  constructor(
    system: ActorSystem,
    clock: Clock,
    log: Logger,
    session: typeof SessionActor = SessionActor,
    caps: Caps = UNBOUNDED,
  ) {
    this.#caps = caps;
    this.#system = system;
    this.#clock = clock;
    this.#log = log;
    this.#session = session;
  }

  async open(request: OpenRequest): Promise<{ sessionId: string | null; answer: PostAnswer }> {
    const { principal, version, text, scope, message } = request;
    const opening = openSession(message, { principal, ...scope, now: this.#clock.wallNow() });
    if (opening.kind === "refused") return { sessionId: null, answer: opening };
    const full = this.#caps.refusal(principal, idOf(message));
    if (full instanceof Error) throw full;
    if (full !== null) return { sessionId: null, answer: full };

    const sessionId = newSessionId();
    await this.#system.create(this.#session, sessionId, opening.state);
    this.#caps.opened(principal, sessionId);
    try {
      const answer = await this.post(sessionId, { principal, version, text });
      if (!isError(answer)) return { sessionId, answer };
      this.#abandon(sessionId, principal);
      return { sessionId: null, answer };
    } catch (error) {
      this.#abandon(sessionId, principal);
      throw error;
    }
  }

  post(sessionId: string, { principal, version, text, again }: PostCall, urgent = false): Promise<PostAnswer> {
    const actor = this.#system.actor(this.#session, sessionId);
    const session = urgent ? actor.with(URGENT) : actor;
    return again === true ? session.post(principal, version, text, again) : session.post(principal, version, text);
  }

  events(sessionId: string, call: EventsCall): AsyncIterable<SessionEvent> {
    return this.#system.actor(this.#session, sessionId).with(URGENT).events(call);
  }

  terminate(sessionId: string, principal: Principal): Promise<void> {
    return this.#system.actor(this.#session, sessionId).terminate(principal);
  }

  /** Ends a session that no client knows of. If that fails its idle time ends it. */
  #abandon(sessionId: string, principal: Principal): void {
    this.terminate(sessionId, principal).catch((error: unknown) => {
      this.#log.debug("a session that failed to open will end when idle", { error });
    });
  }
}

/** Of a message that `openSession` has accepted. */
function idOf(message: unknown): RpcId | null {
  const { id } = message as { id?: unknown };
  return typeof id === "string" || typeof id === "number" ? id : null;
}

/** Whether an `initialize` was answered with an error. */
function isError(answer: PostAnswer): boolean {
  // An answer to one request is one object, and its members have a fixed order only where we wrote it.
  if (typeof answer === "string") return Object.hasOwn(JSON.parse(answer) as object, "error");
  return answer.kind === "refused";
}
