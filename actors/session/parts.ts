/**
 * What a live session consists of. Each part is made when first needed, because most sessions are idle most of the time
 * and there are many of them.
 */
import type { ActivationContext } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { UpstreamOwner } from "../../transports/upstream/contract.ts";
import { ClientCalls } from "./calls.ts";
import { type ClientRequest, ClientRequests } from "./client_requests.ts";
import type { SessionState } from "./contract.ts";
import { storedCalls, storedConnections, storedQuestions } from "./handover.ts";
import { Router } from "./router.ts";
import { type SessionSettings, sessionSettings } from "./settings.ts";
import { Streams } from "./streams.ts";
import type { SessionTasks } from "./tasks.ts";
import { SessionUpstreams, type UpstreamAccess } from "./upstreams.ts";

/** Since this version a stream begins with a priming event, and its connection may be closed before it ends. */
export const PRIMING_VERSION = "2025-11-25";

export class SessionParts {
  /** Lives as long as the activation. */
  readonly ctx: ActivationContext<SessionState>;
  readonly settings: SessionSettings;
  /** True once this activation stops: nothing begins any more. */
  closed = false;
  /** The parts, where they were needed already. */
  calls: ClientCalls | undefined;
  requests: ClientRequests | undefined;
  streams: Streams | undefined;
  upstreams: SessionUpstreams | undefined;
  router: Router | undefined;
  tasks: SessionTasks | undefined;
  /** URIs whose subscription is under way: an update may overtake the upstream's answer. */
  subscribing: Set<string> | undefined;
  /** The client is being told of lost memory. */
  tellingLoss = false;
  readonly #access: UpstreamAccess;
  readonly #Owner: new (
    parts: SessionParts,
  ) => UpstreamOwner;

  /** `Owner` takes what upstreams send. */
  constructor(
    ctx: ActivationContext<SessionState>,
    access: UpstreamAccess,
    Owner: new (parts: SessionParts) => UpstreamOwner,
  ) {
    this.ctx = ctx;
    this.settings = sessionSettings(ctx.worker);
    this.#access = access;
    this.#Owner = Owner;
  }

  needCalls(): ClientCalls {
    this.calls ??= new ClientCalls(this);
    return this.calls;
  }

  outlive(over: Promise<void>): void {
    this.ctx.waitUntil(over);
  }

  needRequests(): ClientRequests {
    this.requests ??= new ClientRequests(this.ctx.epoch);
    return this.requests;
  }

  needStreams(): Streams {
    if (this.streams === undefined) {
      const { worker, state, epoch } = this.ctx;
      this.streams = new Streams({
        mark: markOf(epoch),
        priming: state.protocolVersion === PRIMING_VERSION,
        bounds: this.settings.eventLog,
        clock: worker.clock,
        count: (name, by) => worker.count(name, by),
        stored: state.log,
        wanted: (data) => this.requests?.isQuestion(data) === true,
        write: () => {
          this.refreshLog();
          return this.ctx.commit();
        },
        onWriteFailed: (error) => worker.log.warn("events could not be stored", { session: this.ctx.key, error }),
      });
    }
    return this.streams;
  }

  /** Brings the log in the state up to date; the next commit stores it. */
  refreshLog(): void {
    const { state } = this.ctx;
    const log = this.streams?.snapshot();
    this.tasks?.refresh();
    if (log === undefined) delete state.log;
    else {
      state.log = { ...log, asked: storedQuestions(this) };
      const calls = storedCalls(this);
      if (calls.length > 0) state.log.calls = calls;
    }
    if (state.connections !== undefined) state.connections = storedConnections(this, state.connections);
  }

  needUpstreams(): SessionUpstreams {
    this.upstreams ??= new SessionUpstreams(this.#access, this.ctx, new this.#Owner(this));
    return this.upstreams;
  }

  needRouter(): Router {
    this.router ??= new Router(this.needUpstreams(), this.ctx.state.prefixed, () => this.needCalls().nextRelated());
    return this.router;
  }

  /**
   * Registers a request of an upstream to the client; the promise settles with the answer. `wanted` says until when the
   * upstream wants it.
   */
  ask(
    request: Omit<ClientRequest, "resolve" | "reject" | "signal" | "onAbort">,
    wanted: (answer: Promise<unknown>) => AbortSignal,
  ): Promise<unknown> {
    const { promise, resolve, reject } = withResolvers();
    const asked: ClientRequest = {
      ...request,
      resolve,
      reject,
      signal: wanted(promise),
      onAbort: () => this.withdraw(asked, "the server no longer wants the answer"),
    };
    this.needRequests().add(asked);
    if (asked.signal.aborted) asked.onAbort();
    return promise;
  }

  /** Nobody wants the client's answer to `request` any more: the upstream's promise rejects, the client is told. */
  withdraw(request: ClientRequest, reason: string): void {
    if (this.requests?.remove(request) !== true) return;
    request.reject(withdrawn(reason));
    if (this.closed) return;
    const streams = this.needStreams();
    const params = { requestId: request.id, reason };
    const text = JSON.stringify({ jsonrpc: "2.0", method: "notifications/cancelled", params });
    void streams.sendEphemeral(request.stream.ended ? streams.standalone() : request.stream, text);
  }
}

function withResolvers() {
  let resolve = (_result: unknown): void => {};
  let reject = (_error: Error): void => {};
  const promise = new Promise<unknown>((onResult, onError) => {
    resolve = onResult;
    reject = onError;
  });
  return { promise, resolve, reject };
}

export function withdrawn(reason: string): TroupeError {
  return new TroupeError("cancelled", `the request to the client was withdrawn: ${reason}`, { started: "yes" });
}

/** Seven characters that differ between two activations of a session (FNV-1a of the epoch, base 36). */
function markOf(epoch: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < epoch.length; at++) hash = Math.imul(hash ^ epoch.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(36).padStart(7, "0");
}
