/**
 * Tasks of a session (MCP 2025-11-25, Tasks, experimental; WIRE K13): calls of tools that go on while nobody waits.
 *
 * A session offers them where one of its upstreams does, for that upstream's tools. Towards the client it is the receiver:
 * ids are its own, and a task is stored before the client hears of it, so that `tasks/*` answers on any replica. Towards
 * the upstream it is the requestor: as soon as there is a task, it asks for the result (`tasks/result`) and waits for it
 * in the client's place. That request is a call like any other (calls.ts), whose answer goes into the stored state instead
 * of into a stream. A task has ended for its client when that is stored: what was said to be over has its result until its
 * `ttl` is over, whatever becomes of the upstream or the node.
 *
 * ## What the upstream says meanwhile
 * Questions, progress and log messages go to the stream of whoever waits for the result, else to the GET stream, under the
 * client's name of the task. While a question waits the status is `input_required`; who then asks for the result is asked
 * there what nobody has heard.
 *
 * ## After the owner's death
 * An upstream whose memory outlives the owner (HTTP) is asked for the result again, and the task goes on: from where its
 * stream was left if it gives event ids, else anew, and then a question that was on its way at the death is lost. A process or
 * module died with the owner, and what it worked on with it: the task has failed, and says why. It is never run again,
 * because its client was told that it runs.
 * A task whose call named a cancellation scope is in it until it has ended (scoped_call.ts).
 * A session that moves on purpose waits for its tasks as for its calls, within the budget.
 *
 * ## Bounds
 * Tasks kept per session, and the text of all their results (settings): beyond them a new task is refused, and a task whose
 * result does not fit has failed. Messages and errors are cut. A task is forgotten when its `ttl` is over; one that still
 * works is cancelled. Until then its session is not ended for disuse.
 */
import { randomUUID } from "node:crypto";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { RpcError, type RpcErrorObject } from "../../transports/upstream/contract.ts";
import { type ClientCall, cancelledCall, DetachedExchange } from "./calls.ts";
import { offersTasks, TASKS_VERSION } from "./capabilities.ts";
import { offerAgain } from "./client_requests.ts";
import type { StoredTask } from "./contract.ts";
import type { SessionParts } from "./parts.ts";
import { invalidParams, methodNotFound } from "./router.ts";
import { isObject, RpcCode } from "./rpc.ts";
import { joinScope, SCOPE_META, scopeOf } from "./scoped_call.ts";
import type { EventStream } from "./streams.ts";

type Params = Record<string, unknown> | undefined;

const RELATED_TASK = "io.modelcontextprotocol/related-task";
const MIN_TTL_MS = 1_000;
/** Characters of a message that are kept, of an id of an upstream, and of the data of an error. */
const MAX_MESSAGE = 1_024;
const MAX_REMOTE_ID = 256;
const MAX_ERROR_DATA = 4_096;
/** How long the making of a task waits for the first event id of the stream that will bring its result, milliseconds. */
const CURSOR_MS = 100;
/** How long an upstream has to answer what is asked beside the result, milliseconds. */
const SIDE_MS = 10_000;
/** How long the end of a session waits for its tasks to be cancelled, milliseconds. */
const ABANDON_MS = 1_000;
/** The end of a task is stored again after this time while the store is away, milliseconds. */
const STORE_AGAIN_MS = 250;
/** An upstream that cannot be reached, but keeps its memory, is asked again after this time, milliseconds. */
const ASK_AGAIN_MS = 1_000;

/** What becomes of calls, as `FromClient` does it. */
export interface TaskWork {
  /** Settles `call` with what `answer` comes to. */
  settle(call: ClientCall, answer: Promise<unknown>): void;
  /** Ends `call` without an answer, and what works on it. */
  stop(call: ClientCall, reason: string): void;
}

/** A task that has not ended, or whose end is not stored. */
interface Running {
  readonly call: ClientCall | undefined;
  /** Calls of `tasks/result`; those that are settled do not wait any more. */
  waiters: ClientCall[];
  readonly over: Promise<void>;
  readonly finish: () => void;
}

export class SessionTasks {
  readonly #parts: SessionParts;
  readonly #work: TaskWork;
  readonly #running = new Map<string, Running>();
  /** Being made: they count towards the bound. */
  #coming = 0;
  /** Ids that are not stored yet: nobody hears of them. */
  readonly #storing = new Set<string>();

  constructor(parts: SessionParts, work: TaskWork) {
    this.#parts = parts;
    this.#work = work;
  }

  /** `tools/call` by a client that wishes a task. Where the tool's upstream has none, the wish is ignored (MCP, Tasks). */
  async create(call: ClientCall, { task: wish, ...plain }: Record<string, unknown>): Promise<unknown> {
    const { ctx, settings } = this.#parts;
    const router = this.#parts.needRouter();
    const upstream = await this.#upstreamOf(plain.name);
    if (call.settled) throw cancelledCall();
    if (upstream === undefined) return router.route(call, call.method, plain);
    const ttl = this.#ttlOf(wish);
    this.#forgetExpired();
    const kept = (ctx.state.tasks?.length ?? 0) + this.#coming;
    if (kept >= settings.tasks.most) {
      ctx.worker.count("troupe_session_tasks_refused_total");
      const message = `this session has ${kept} tasks; they are kept until their ttl is over`;
      const now = ctx.worker.clock.wallNow();
      const soonest = Math.min(...(ctx.state.tasks ?? []).map((task) => task.createdAt + task.ttl - now));
      const retryAfterMs = Number.isFinite(soonest) ? Math.max(1, soonest) : STORE_AGAIN_MS;
      const data = { code: "overloaded", started: "no", retryable: true, retryAfterMs };
      throw new RpcError({ code: RpcCode.overloaded, message, data });
    }
    this.#coming++;
    try {
      const result = await router.route(call, call.method, {
        ...plain,
        task: { ...(isObject(wish) ? wish : {}), ttl },
      });
      // A server may answer at once.
      if (!isObject(result) || !isObject(result.task) || typeof result.task.taskId !== "string") return result;
      const made = result.task;
      if (result.task.taskId.length > MAX_REMOTE_ID) {
        const message = `upstream "${upstream}" named its task with more than ${MAX_REMOTE_ID} characters`;
        throw new TroupeError("protocol", message, { started: "yes" });
      }
      const now = ctx.worker.clock.wallNow();
      const task: StoredTask = {
        id: randomUUID(),
        upstream,
        remote: result.task.taskId,
        createdAt: now,
        updatedAt: now,
        ttl: typeof made.ttl === "number" ? Math.max(MIN_TTL_MS, Math.min(ttl, made.ttl)) : ttl,
        status: "working",
      };
      if (typeof made.pollInterval === "number") task.pollInterval = made.pollInterval;
      if (typeof made.statusMessage === "string") task.message = cut(made.statusMessage);
      if (call.token !== undefined) task.token = call.token;
      const scope = scopeOf(plain._meta);
      if (scope !== undefined) task.scope = scope;
      await this.#keep(task, call);
      // MCP, Tasks: every task begins so, also one that has ended meanwhile.
      return { ...result, task: { ...this.#describe(task), status: "working" } };
    } finally {
      this.#coming--;
    }
  }

  /** `tasks/list`, `tasks/get`, `tasks/result` and `tasks/cancel`. Rejects with `RpcError`. */
  async answer(call: ClientCall, params: Params): Promise<unknown> {
    const { state } = this.#parts.ctx;
    if (!(await this.#offered(call.method))) throw methodNotFound(call.method);
    this.#forgetExpired();
    switch (call.method) {
      case "tasks/list":
        if (params?.cursor !== undefined) throw invalidParams("this list has one page, so no cursor is valid");
        return {
          tasks: (state.tasks ?? []).flatMap((task) => (this.#storing.has(task.id) ? [] : this.#describe(task))),
        };
      case "tasks/get":
        return this.#describe(this.#find(params));
      case "tasks/cancel":
        return this.#cancel(this.#find(params));
      default:
        return this.#result(call, this.#find(params));
    }
  }

  /**
   * Goes on with the tasks of a former owner, or ends them. Answers the calls that go on. Call once, when the activation
   * begins, and before what ran with the former owner is forgotten (memory.ts).
   */
  takeOver(): ClientCall[] {
    const { state, worker } = this.#parts.ctx;
    const calls: ClientCall[] = [];
    for (const task of state.tasks ?? []) {
      if (task.status !== "working") continue;
      const { upstream } = task;
      const known = this.#parts.settings.upstreams.some(({ name }) => name === upstream);
      const died = state.ran?.includes(upstream) === true;
      if (known && !died) {
        worker.count("troupe_session_tasks_resumed_total");
        calls.push(this.#run(task, undefined));
        continue;
      }
      worker.count("troupe_session_tasks_lost_total");
      const why = died ? "was stopped with the node that this session had before" : "is not configured on this node";
      const message = `upstream "${upstream}" ${why}, and the task is lost with it`;
      const data = { code: "unavailable", started: "yes", retryable: false };
      this.#running.set(task.id, newRunning(undefined));
      this.#end(task, "failed", { error: { code: RpcCode.internal, message, data } });
    }
    return calls;
  }

  /** The call of the task that `params` belong to, where the upstream says so. */
  callOf(upstream: string, params: Params): ClientCall | undefined {
    const remote = relatedTask(params);
    if (remote === undefined) return undefined;
    const task = this.#parts.ctx.state.tasks?.find((known) => known.remote === remote && known.upstream === upstream);
    return task === undefined ? undefined : this.#running.get(task.id)?.call;
  }

  /** `notifications/tasks/status` of an upstream: what it says of a task that works. */
  onStatus(upstream: string, params: Params): void {
    const { tasks } = this.#parts.ctx.state;
    const task = tasks?.find((known) => known.remote === params?.taskId && known.upstream === upstream);
    if (task?.status !== "working" || typeof params?.statusMessage !== "string") return;
    task.message = cut(params.statusMessage);
    task.updatedAt = this.#parts.ctx.worker.clock.wallNow();
    this.#announce(task);
  }

  /** Brings what the next owner needs up to date; the next commit stores it. */
  refresh(): void {
    const { upstreams } = this.#parts;
    for (const task of this.#parts.ctx.state.tasks ?? []) {
      const call = this.#running.get(task.id)?.call;
      const sent = call === undefined ? undefined : upstreams?.get(task.upstream)?.sent?.(call.related);
      if (sent === undefined) continue;
      task.sent = sent.id;
      if (sent.cursor !== undefined) task.cursor = sent.cursor;
    }
  }

  /** This activation stops: nobody waits here any more. */
  close(): void {
    for (const running of this.#running.values()) running.finish();
    this.#running.clear();
  }

  /** Forgets tasks whose time is over. */
  sweep(): void {
    this.#forgetExpired();
  }

  /** The session ends: upstreams that go on without it have nothing to work for. Resolves when they know, soon. */
  async abandon(): Promise<void> {
    const working = (this.#parts.ctx.state.tasks ?? []).filter(({ status }) => status === "working");
    await Promise.all(working.map((task) => this.#cancelRemote(task, ABANDON_MS)));
  }

  /** The upstream that has tool `name`, if it offers tasks to this session. */
  async #upstreamOf(name: unknown): Promise<string | undefined> {
    const { state } = this.#parts.ctx;
    if (typeof name !== "string" || state.protocolVersion !== TASKS_VERSION) return undefined;
    const upstream = (await this.#parts.needRouter().toolOf(name))?.upstream;
    if (upstream === undefined || !state.upstreams.includes(upstream)) return undefined;
    return offersTasks(await this.#parts.needUpstreams().describe(upstream)) ? upstream : undefined;
  }

  async #offered(method: string): Promise<boolean> {
    const { state } = this.#parts.ctx;
    if (state.protocolVersion !== TASKS_VERSION) return false;
    return state.tasks !== undefined || (await this.#parts.needRouter().offered(method));
  }

  #ttlOf(wish: unknown): number {
    const { ttlMs, maxTtlMs } = this.#parts.settings.tasks;
    if (!isObject(wish)) throw invalidParams('"task" must be an object');
    if (wish.ttl === undefined || wish.ttl === null) return ttlMs;
    if (typeof wish.ttl !== "number" || !(wish.ttl > 0)) {
      throw invalidParams('"task.ttl" must be a number of milliseconds above 0');
    }
    return Math.min(maxTtlMs, Math.max(MIN_TTL_MS, wish.ttl));
  }

  /** Stores a task that the upstream has made for `call`, or has it cancelled there. */
  async #keep(task: StoredTask, call: ClientCall): Promise<void> {
    const { ctx } = this.#parts;
    ctx.state.tasks = [...(ctx.state.tasks ?? []), task];
    this.#storing.add(task.id);
    try {
      if (call.settled) throw cancelledCall();
      this.#run(task, call);
      await this.#cursorOf(task);
      await ctx.commit();
      if (call.settled) throw cancelledCall();
    } catch (error) {
      const running = this.#running.get(task.id);
      if (running?.call !== undefined) this.#work.stop(running.call, "the task was not begun");
      this.#running.delete(task.id);
      this.#forget(task);
      running?.finish();
      void this.#cancelRemote(task);
      if (call.settled) throw error;
      const message = `upstream "${task.upstream}" began a task that could not be stored; it was told to cancel it`;
      throw new TroupeError("store_unavailable", message, { started: "yes", cause: error });
    } finally {
      this.#storing.delete(task.id);
    }
    ctx.worker.count("troupe_session_tasks_total");
  }

  /**
   * Waits, for a moment, until it is known where in its stream the answer of the upstream will be: a next owner that knows
   * misses nothing of what the upstream says meanwhile. An upstream that gives no event ids costs the whole moment.
   */
  async #cursorOf(task: StoredTask): Promise<void> {
    const { state, worker } = this.#parts.ctx;
    const { clock } = worker;
    const until = clock.now() + CURSOR_MS;
    this.refresh();
    if (state.connections?.[task.upstream] === undefined) return;
    while (task.cursor === undefined && clock.now() < until) {
      await new Promise<void>((resolve) => void clock.after(CURSOR_MS / 20, resolve));
      this.refresh();
    }
  }

  #overHttp(upstream: string): boolean {
    const { upstreams } = this.#parts.settings;
    return upstreams.some(({ name, transport }) => name === upstream && transport.kind === "http");
  }

  /** Waits for the result at the upstream. `from`: the call that made it; undefined: a former owner has waited before. */
  #run(task: StoredTask, from: ClientCall | undefined): ClientCall {
    const { id, remote, token } = task;
    const calls = this.#parts.needCalls();
    const exchange = new DetachedExchange(
      id,
      () => this.#streamOf(id),
      (text) => this.#answered(task, text),
    );
    // Under its maker's number: the upstream reports progress in the course of that one.
    const call = calls.begin(exchange, `task:${id}`, "tasks/result", { taskId: remote }, token, from?.related);
    call.upstream = task.upstream;
    calls.outlive();
    const { ctx } = this.#parts;
    const cancelled = (reason: string): void => this.#stop(task, `The task's scope was cancelled: ${reason}`);
    const leave = joinScope(ctx, ctx.worker.clock, { [SCOPE_META]: task.scope }, cancelled);
    this.#running.set(id, newRunning(call, leave));
    this.#work.settle(call, this.#ask(task, call, from === undefined));
    return call;
  }

  /**
   * The result, from the upstream. An upstream over HTTP is asked until it answers, or the task's time is over; of two
   * requests for one result the upstream must know that the first has no reader, or it asks its questions there.
   */
  async #ask(task: StoredTask, call: ClientCall, again: boolean): Promise<unknown> {
    const { ctx } = this.#parts;
    const { upstream, remote } = task;
    const client = this.#parts.needUpstreams().client(upstream);
    const { related } = call;
    const over = (): boolean => call.settled || this.#parts.closed;
    if (again && task.sent !== undefined) {
      try {
        const resumed = client.resumeRequest?.({ id: task.sent, cursor: task.cursor }, { related });
        if (resumed !== undefined) return await resumed;
      } catch (error) {
        if (over() || !TroupeError.is(error, "unavailable")) throw error;
      }
    }
    for (let sent = again ? task.sent : undefined; ; ) {
      try {
        if (sent !== undefined) {
          // Only a connection that is up takes it.
          await client.start();
          client.notify("notifications/cancelled", { requestId: sent, reason: "its result is asked for again" });
          if (over()) throw cancelledCall();
        }
        const result = client.request(
          "tasks/result",
          { taskId: remote },
          { related, progress: call.token !== undefined },
        );
        this.refresh();
        return await result;
      } catch (error) {
        if (over()) throw error;
        if (error instanceof RpcError) {
          // MCP, Tasks: also what an unknown task is answered with.
          if (error.code !== RpcCode.invalidParams || (await this.#isKnown(task))) throw error;
          throw lost(upstream, "does not know the task any more");
        }
        const passing = TroupeError.is(error, "unavailable") || TroupeError.is(error, "overloaded");
        if (!passing || !this.#overHttp(upstream))
          throw lost(upstream, error instanceof Error ? error.message : String(error));
        await new Promise<void>((resolve) => void ctx.worker.clock.after(ASK_AGAIN_MS, resolve));
        if (over()) throw error;
        sent = task.sent;
      }
    }
  }

  /** Whether the upstream has the task, as far as it says. */
  async #isKnown({ upstream, remote }: StoredTask): Promise<boolean> {
    const options = { related: this.#parts.needCalls().nextRelated(), progress: false, timeoutMs: SIDE_MS };
    try {
      await this.#parts.needUpstreams().client(upstream).request("tasks/get", { taskId: remote }, options);
      return true;
    } catch (error) {
      return !(error instanceof RpcError);
    }
  }

  /** `text`: the response to the task's call. */
  #answered(task: StoredTask, text: string): void {
    const { result, error } = JSON.parse(text) as { result?: unknown; error?: RpcErrorObject };
    if (error !== undefined) return this.#end(task, "failed", { error });
    this.#end(task, isObject(result) && result.isError === true ? "failed" : "completed", { result });
  }

  /** Its outcome is known: it has ended for the client when that is stored. */
  #end(
    task: StoredTask,
    status: Exclude<StoredTask["status"], "working">,
    outcome: { result: unknown } | { error: RpcErrorObject },
  ): void {
    const { ctx, settings } = this.#parts;
    task.status = status;
    delete task.message;
    let text: string;
    if ("error" in outcome) text = this.#failed(task, outcome.error);
    else {
      text = JSON.stringify(outcome);
      const kept = (ctx.state.tasks ?? []).reduce((sum, each) => sum + (each.outcome?.length ?? 0), 0);
      if (kept + text.length > settings.tasks.bytes) {
        const message = `the result has ${text.length} characters, and a session keeps ${settings.tasks.bytes} of all its tasks`;
        const data = { code: "too_large", started: "yes", retryable: false };
        task.status = "failed";
        text = this.#failed(task, { code: RpcCode.internal, message, data });
      }
    }
    task.outcome = text;
    task.updatedAt = ctx.worker.clock.wallNow();
    this.#parts.outlive(this.#stored(task));
  }

  #failed(task: StoredTask, { code, message, data }: RpcErrorObject): string {
    task.message = cut(message);
    const error: RpcErrorObject = { code, message: task.message };
    if (data !== undefined && JSON.stringify(data).length <= MAX_ERROR_DATA) error.data = data;
    return JSON.stringify({ error });
  }

  /** Resolves when the end of `task` is stored and told to whoever waits, or this activation cannot store it. */
  async #stored(task: StoredTask): Promise<void> {
    const { ctx } = this.#parts;
    while (!this.#parts.closed) {
      try {
        await ctx.commit();
        break;
      } catch (error) {
        // Somebody else owns the session, and finds the task as it was. All else passes (journal.ts).
        if (TroupeError.is(error, "fenced") || TroupeError.is(error, "conflict")) return;
        await new Promise<void>((resolve) => void ctx.worker.clock.after(STORE_AGAIN_MS, resolve));
      }
    }
    const running = this.#running.get(task.id);
    this.#running.delete(task.id);
    running?.finish();
    if (!this.#parts.closed) this.#announce(task);
  }

  /** MCP, Tasks: exactly what the call would have been answered, under the task's name. */
  async #result(call: ClientCall, task: StoredTask): Promise<unknown> {
    const running = this.#running.get(task.id);
    if (running !== undefined) {
      running.waiters = [...running.waiters.filter(({ settled }) => !settled), call];
      if (this.#isAsking(running)) {
        const own = this.#parts.needCalls().streamOf(call);
        // What went there before is resumed there.
        offerAgain(this.#parts, own, ({ related, stream }) => related === running.call?.related && stream !== own);
      }
      await running.over;
      if (call.settled) throw cancelledCall();
    }
    const { outcome } = task;
    if (outcome === undefined) throw invalidParams("Failed to retrieve task: Task has expired");
    const { result, error } = JSON.parse(outcome) as { result?: unknown; error?: RpcErrorObject };
    if (error !== undefined) throw new RpcError(error);
    return underTask(task.id, isObject(result) ? result : {});
  }

  async #cancel(task: StoredTask): Promise<unknown> {
    const running = this.#running.get(task.id);
    // What has ended, has for the client when that is stored.
    if (task.status !== "working") await running?.over;
    if (running === undefined || task.status !== "working") {
      throw invalidParams(`Cannot cancel task: it is ${task.status} already`);
    }
    this.#stop(task, "The task was cancelled by request.");
    await running.over;
    return this.#describe(task);
  }

  #stop(task: StoredTask, message: string): void {
    const call = this.#running.get(task.id)?.call;
    if (call === undefined || task.status !== "working") return;
    this.#work.stop(call, message);
    void this.#cancelRemote(task);
    this.#end(task, "cancelled", { error: { code: RpcCode.internal, message } });
  }

  /** Has the upstream stop; whether it does is its own affair. None is started for it that died. Never rejects. */
  async #cancelRemote({ upstream, remote }: StoredTask, timeoutMs = SIDE_MS): Promise<void> {
    const client = this.#parts.closed ? undefined : this.#parts.upstreams?.get(upstream);
    const options = { related: this.#parts.needCalls().nextRelated(), progress: false, timeoutMs };
    if (client === undefined || !(client.running || this.#overHttp(upstream))) return;
    await client.request("tasks/cancel", { taskId: remote }, options).catch(() => {});
  }

  #forgetExpired(): void {
    const { ctx } = this.#parts;
    const now = ctx.worker.clock.wallNow();
    for (const task of ctx.state.tasks ?? []) {
      if (now - task.createdAt < task.ttl || this.#storing.has(task.id)) continue;
      const running = this.#running.get(task.id);
      if (running?.call !== undefined && task.status === "working") {
        this.#work.stop(running.call, "the ttl of the task is over");
        void this.#cancelRemote(task);
      }
      this.#running.delete(task.id);
      this.#forget(task);
      running?.finish();
    }
  }

  #forget(task: StoredTask): void {
    const { state } = this.#parts.ctx;
    // An empty list stays: whoever had tasks may ask for them.
    state.tasks = state.tasks?.filter((known) => known !== task) ?? [];
  }

  #find(params: Params): StoredTask {
    const id = params?.taskId;
    if (typeof id !== "string") throw invalidParams('"taskId" must be a string');
    const task = this.#parts.ctx.state.tasks?.find((known) => known.id === id);
    if (task === undefined || this.#storing.has(id)) throw invalidParams("Failed to retrieve task: Task not found");
    return task;
  }

  #describe(task: StoredTask): Record<string, unknown> {
    const { id, createdAt, updatedAt, ttl, pollInterval, message } = task;
    const running = this.#running.get(id);
    let { status }: { status: string } = task;
    // What belongs to an end that is not stored is not told.
    const told = running === undefined || status === "working" ? message : undefined;
    if (running !== undefined) status = this.#isAsking(running) ? "input_required" : "working";
    return {
      taskId: id,
      status,
      ...(told === undefined ? {} : { statusMessage: told }),
      createdAt: new Date(createdAt).toISOString(),
      lastUpdatedAt: new Date(updatedAt).toISOString(),
      ttl,
      ...(pollInterval === undefined ? {} : { pollInterval }),
    };
  }

  #isAsking({ call }: Running): boolean {
    if (call === undefined) return false;
    return this.#parts.requests?.all().some(({ related }) => related === call.related) === true;
  }

  /** Tells whoever listens; nobody may rely on it. */
  #announce(task: StoredTask): void {
    const { streams } = this.#parts;
    if (streams?.listening !== true) return;
    const params = this.#describe(task);
    const text = JSON.stringify({ jsonrpc: "2.0", method: "notifications/tasks/status", params });
    void streams.sendEphemeral(streams.standalone(), text);
  }

  /** Where the client hears of what happens in the course of a task. */
  #streamOf(id: string): EventStream {
    const waiter = this.#running.get(id)?.waiters.findLast(({ settled }) => !settled);
    return waiter === undefined ? this.#parts.needStreams().standalone() : this.#parts.needCalls().streamOf(waiter);
  }
}

/** What an upstream sends in the course of `call`, under the client's name of the task if it is one. */
export function inTask(call: ClientCall | undefined, params: Params): Params {
  return call?.exchange instanceof DetachedExchange ? underTask(call.exchange.task, params ?? {}) : params;
}

function underTask(taskId: string, fields: Record<string, unknown>): Record<string, unknown> {
  const meta = isObject(fields._meta) ? fields._meta : {};
  return { ...fields, _meta: { ...meta, [RELATED_TASK]: { taskId } } };
}

function relatedTask(params: Params): string | undefined {
  const meta = params?._meta;
  const related = isObject(meta) ? meta[RELATED_TASK] : undefined;
  return isObject(related) && typeof related.taskId === "string" ? related.taskId : undefined;
}

function newRunning(call: ClientCall | undefined, leave?: () => void): Running {
  let finish = (): void => {};
  const over = new Promise<void>((resolve) => {
    finish = () => {
      leave?.();
      resolve();
    };
  });
  return { call, waiters: [], over, finish };
}

function lost(upstream: string, why: string): TroupeError {
  return new TroupeError("unavailable", `upstream "${upstream}" ${why}`, { started: "yes" });
}

function cut(text: string): string {
  return text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE - 1)}…` : text;
}
