/** Tasks: calls of tools that go on while nobody waits, and are answered for until their time is over. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Cancellation } from "../../../actors/cancellation/cancellation.ts";
import type { SessionSettings } from "../../../actors/session/settings.ts";
import { makeRef } from "../../../runtime/actor/ref.ts";
import {
  type Connection,
  errorOf,
  FakeUpstream,
  type Json,
  LATER,
  PRINCIPAL,
  paramsOf,
  type Received,
  resultOf,
  settle,
  World,
  type WorldOptions,
} from "./kit.ts";

const RELATED = "io.modelcontextprotocol/related-task";
const CLIENT = { elicitation: {} };

/** An upstream whose tools may be called as tasks; their results come when a test gives them. */
function withTasks(name = "one"): FakeUpstream {
  const upstream = new FakeUpstream(name);
  upstream.capabilities = { tools: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } };
  let made = 0;
  return upstream
    .on("tools/call", (params) => {
      if (params?.task === undefined) return { content: [], plain: true };
      const taskId = `remote-${++made}`;
      return { task: { taskId, status: "working", ttl: paramsOf({ params: params.task }).ttl, pollInterval: 50 } };
    })
    .on("tasks/result", () => LATER)
    .on("tasks/cancel", () => ({}));
}

/** The upstream is a process. */
const STDIO: Partial<SessionSettings> = {
  upstreams: [
    {
      name: "one",
      transport: { kind: "stdio", command: "x", args: [], env: {}, cwd: "/" },
      isolation: "session",
      idleStopMs: 0,
      maxProcesses: 1,
      startTimeoutMs: 1_000,
    },
  ],
};

async function begun(options: WorldOptions = {}): Promise<World> {
  const world = new World({ capabilities: CLIENT, upstreams: [withTasks()], ...options });
  await world.initialize({ capabilities: CLIENT, ...options });
  return world;
}

/** The task of a new call. */
async function made(world: World, params: Json = {}): Promise<Json> {
  return (await world.ask("tools/call", { name: "t", task: {}, ...params })).task as Json;
}

/** The request in which the upstream is asked for the newest task's result. */
async function waiting(world: World): Promise<Received> {
  await settle();
  return world.one.last("tasks/result");
}

const taskOrLater = (params: Json | undefined): unknown =>
  params?.task === undefined ? LATER : { task: { taskId: "remote", status: "working", ttl: null } };

const get = (world: World, { taskId }: Json): Promise<Json> => world.ask("tasks/get", { taskId });
const questions = ({ messages }: Connection): Json[] =>
  messages.filter(({ method }) => method === "elicitation/create");

describe("tasks", () => {
  it("are offered where an upstream offers them, to the version that has them", async () => {
    for (const [version, upstream, offered] of [
      ["2025-11-25", withTasks(), true],
      ["2025-06-18", withTasks(), false],
      ["2025-11-25", new FakeUpstream("one"), false],
    ] as const) {
      const world = new World({ upstreams: [upstream], version });
      const { capabilities } = (await world.initialize({ version })) as { capabilities: Json };
      assert.deepEqual(
        capabilities.tasks,
        offered ? { list: {}, cancel: {}, requests: { tools: { call: {} } } } : undefined,
      );
      const listed = await world.request("tasks/list");
      if (offered) assert.deepEqual(resultOf(listed), { tasks: [] });
      else assert.equal(errorOf(listed).code, -32601);
    }
  });

  it("are ignored as a wish where the tool's upstream has none, and calls without the wish stay calls", async () => {
    const plain = new FakeUpstream("b").on("tools/call", () => ({ content: [] }));
    const world = await begun({ upstreams: [withTasks("a"), plain] });
    assert.deepEqual(await world.ask("tools/call", { name: "b__t", task: { ttl: 5_000 } }), { content: [] });
    assert.deepEqual(plain.last("tools/call").params, { name: "t" });
    assert.equal((await world.ask("tools/call", { name: "a__t" })).plain, true);
  });

  it("are stored before the client hears of them, under an id of the session's own", async () => {
    const world = await begun();
    world.failCommits = true;
    const refused = await world.request("tools/call", { name: "t", task: {} });
    assert.deepEqual(errorOf(refused).data, { code: "store_unavailable", started: "yes", retryable: false });
    assert.deepEqual(world.one.last("tasks/cancel").params, { taskId: "remote-1" }, "nobody knows of it");
    world.failCommits = false;
    const task = await made(world, { task: { ttl: 60_000 } });
    assert.match(String(task.taskId), /^[0-9a-f-]{36}$/);
    assert.deepEqual([task.status, task.ttl, task.pollInterval], ["working", 60_000, 50]);
    assert.equal(task.createdAt, new Date(world.clock.wallNow()).toISOString());
    assert.deepEqual(
      world.stored?.tasks?.map(({ id, remote }) => [id, remote]),
      [[task.taskId, "remote-2"]],
    );
    assert.deepEqual(world.one.last("tools/call").params, { name: "t", task: { ttl: 60_000 } });
  });

  it("are answered for with exactly the result of the call, once it is stored", async () => {
    const world = await begun();
    const task = await made(world);
    const result = world.request("tasks/result", { taskId: task.taskId });
    const request = await waiting(world);
    assert.deepEqual(request.params, { taskId: "remote-1" });
    world.failCommits = true;
    request.answer({ content: [{ type: "text", text: "done" }], _meta: { [RELATED]: { taskId: "remote-1" }, x: 1 } });
    await settle();
    assert.equal((await get(world, task)).status, "working", "a promise that is not stored is none");
    world.failCommits = false;
    await world.clock.advance(300);
    assert.equal((await get(world, task)).status, "completed");
    const expected = {
      content: [{ type: "text", text: "done" }],
      _meta: { [RELATED]: { taskId: task.taskId }, x: 1 },
    };
    assert.deepEqual(resultOf(await result), expected);
    assert.deepEqual(await world.ask("tasks/result", { taskId: task.taskId }), expected, "any number of times");
    assert.deepEqual((await world.ask("tasks/list")).tasks, [await get(world, task)]);
  });

  it("fail with a tool's own error, with the upstream's error and with its death, each as the call would have", async () => {
    const world = await begun({ settings: STDIO });
    const [erring, refused, crashed] = [await made(world), await made(world), await made(world)];
    const [first, second] = world.one.requests.filter(({ method }) => method === "tasks/result");
    first?.answer({ content: [], isError: true });
    second?.refuse(-32050, "no more paper", { tray: 2 });
    world.one.crash();
    await settle();
    for (const task of [erring, refused, crashed]) assert.equal((await get(world, task)).status, "failed");
    assert.equal((await world.ask("tasks/result", { taskId: erring.taskId })).isError, true);
    assert.deepEqual(errorOf(await world.request("tasks/result", { taskId: refused.taskId })), {
      code: -32050,
      message: "no more paper",
      data: { tray: 2 },
    });
    assert.equal((await get(world, refused)).statusMessage, "no more paper");
    const { data } = errorOf(await world.request("tasks/result", { taskId: crashed.taskId }));
    assert.deepEqual([data?.code, data?.retryable], ["unavailable", false]);
  });

  it("refuse what is no task, what is no wish for one, and a second page", async () => {
    const world = await begun();
    for (const [method, params] of [
      ["tasks/get", { taskId: "x" }],
      ["tasks/get", {}],
      ["tasks/result", { taskId: "remote-1" }],
      ["tasks/cancel", { taskId: 1 }],
      ["tasks/list", { cursor: "x" }],
      ["tools/call", { name: "t", task: "soon" }],
      ["tools/call", { name: "t", task: { ttl: -1 } }],
    ] as [string, Json][]) {
      assert.equal(errorOf(await world.request(method, params)).code, -32602, JSON.stringify(params));
    }
    assert.equal(world.one.count("tools/call"), 0);
  });
});

describe("what an upstream says in the course of a task", () => {
  it("goes to whoever waits for the result, under the client's name of it, and input is required until the answer", async () => {
    const world = await begun();
    const task = await made(world, { _meta: { progressToken: "p" } });
    const result = world.request("tasks/result", { taskId: task.taskId });
    const { related } = await waiting(world);
    const meta = { [RELATED]: { taskId: "remote-1" } };
    const asked = world.one.ask("elicitation/create", { message: "?", _meta: meta }, related);
    world.one.notify("notifications/progress", { progress: 1 }, related);
    world.one.notify("notifications/message", { level: "info", data: "x" }, related);
    const stream = world.open(await result);
    await settle();
    assert.equal((await get(world, task)).status, "input_required");
    assert.deepEqual(
      stream.messages.map(({ method }) => method),
      ["elicitation/create", "notifications/progress", "notifications/message"],
    );
    for (const message of stream.messages) {
      assert.deepEqual((paramsOf(message)._meta as Json)[RELATED], { taskId: task.taskId });
    }
    assert.equal(paramsOf(stream.messages[1]).progressToken, "p");
    await world.post({ jsonrpc: "2.0", id: questions(stream)[0]?.id, result: { action: "accept" } });
    assert.deepEqual(await asked, { action: "accept" });
    assert.equal((await get(world, task)).status, "working");
    world.one.last("tasks/result").answer({ content: [] });
    await stream.done;
    assert.equal(stream.messages.at(-1)?.method, undefined);
  });

  it("is not mistaken for what it says in the course of a plain call, nor the other way round", async () => {
    const world = await begun({ upstreams: [withTasks().on("tools/call", (params) => taskOrLater(params))] });
    const task = await made(world);
    await waiting(world);
    const answer = world.request("tools/call", { name: "plain", _meta: { progressToken: 1 } });
    await settle();
    void world.one.ask("elicitation/create", { message: "of the call" }).catch(() => {});
    const stream = world.open(await answer);
    await settle();
    assert.deepEqual(questions(stream).map(paramsOf), [{ message: "of the call" }]);
    assert.equal((await get(world, task)).status, "working");
    const { related } = world.one.last("tools/call");
    const _meta = { [RELATED]: { taskId: "remote" } };
    void world.one.ask("elicitation/create", { message: "of the task", _meta }, related).catch(() => {});
    await settle();
    assert.equal(questions(stream).length, 1);
    assert.equal((await get(world, task)).status, "input_required");
  });

  it("that is progress comes under the number of the call that made it", async () => {
    const world = await begun();
    const task = await made(world, { _meta: { progressToken: "p" } });
    const result = world.request("tasks/result", { taskId: task.taskId });
    await settle();
    assert.equal(world.one.last("tasks/result").related, world.one.last("tools/call").related);
    world.one.notify("notifications/progress", { progress: 1 }, world.one.last("tools/call").related);
    const stream = world.open(await result);
    await settle();
    assert.equal(paramsOf(stream.messages[0]).progressToken, "p");
  });

  it("is asked again of who asks for the result, when the one that was asked is gone, however long ago", async () => {
    const world = await begun();
    const task = await made(world, { task: { ttl: 60 * 60_000 } });
    const request = await waiting(world);
    const first = world.request("tasks/result", { taskId: task.taskId }, "first");
    await settle();
    world.one.ask("elicitation/create", { message: "?" }, request.related).catch(() => {});
    const lost = world.open(await first);
    await settle();
    await lost.drop();
    await world.cancel("first");
    await world.clock.advance(20 * 60_000);
    const second = world.open(await world.request("tasks/result", { taskId: task.taskId }));
    await settle();
    assert.deepEqual(
      questions(second).map(({ id }) => id),
      questions(lost).map(({ id }) => id),
    );
  });

  it("waits for somebody to ask for the result, if nobody listens", async () => {
    const world = await begun();
    const task = await made(world);
    await waiting(world);
    // As over stdio: only the task's name says what it belongs to.
    const meta = { [RELATED]: { taskId: "remote-1" } };
    const asked = world.one.ask("elicitation/create", { message: "?", _meta: meta });
    await settle();
    assert.equal((await get(world, task)).status, "input_required");
    const stream = world.open(await world.request("tasks/result", { taskId: task.taskId }));
    await settle();
    assert.equal(questions(stream).length, 1);
    await world.post({ jsonrpc: "2.0", id: questions(stream)[0]?.id, result: { action: "decline" } });
    assert.deepEqual(await asked, { action: "decline" });
  });

  it("is told to who listens when its status changes", async () => {
    const world = await begun();
    const task = await made(world);
    const listening = world.listen();
    const request = await waiting(world);
    world.one.notify("notifications/tasks/status", { taskId: "remote-1", status: "working", statusMessage: "half" });
    world.one.notify("notifications/tasks/status", { taskId: "unknown", statusMessage: "?" });
    request.answer({ content: [] });
    await settle();
    const told = listening.messages.filter(({ method }) => method === "notifications/tasks/status").map(paramsOf);
    assert.deepEqual(
      told.map(({ taskId, status, statusMessage }) => [taskId, status, statusMessage]),
      [
        [task.taskId, "working", "half"],
        [task.taskId, "completed", undefined],
      ],
    );
  });
});

describe("the end of a task", () => {
  it("by cancel is told to the upstream and to who waits, and is final", async () => {
    const world = await begun();
    const task = await made(world);
    const request = await waiting(world);
    const result = world.request("tasks/result", { taskId: task.taskId });
    void world.one.ask("elicitation/create", { message: "?" }, request.related).catch(() => {});
    const stream = world.open(await result);
    const cancelled = await world.ask("tasks/cancel", { taskId: task.taskId });
    assert.deepEqual([cancelled.taskId, cancelled.status], [task.taskId, "cancelled"]);
    assert.notEqual(request.cancelled, false);
    assert.deepEqual(world.one.last("tasks/cancel").params, { taskId: "remote-1" });
    await stream.done;
    assert.deepEqual(
      stream.messages.map(({ method, error }) => method ?? (error as Json).message),
      ["elicitation/create", "notifications/cancelled", "The task was cancelled by request."],
    );
    assert.equal(errorOf(await world.request("tasks/cancel", { taskId: task.taskId })).code, -32602);
    assert.equal((await get(world, task)).status, "cancelled");
    assert.equal(world.stored?.tasks?.[0]?.status, "cancelled");
  });

  it("comes with that of the scope that its call named, long after the call was answered", async () => {
    const world = await begun();
    world.run(Cancellation, "import-7");
    const scope = makeRef(world.host.calls, Cancellation, "import-7", null);
    const _meta = { "troupe/cancellationScope": "import-7" };
    const [inside, outside] = [await made(world, { _meta }), await made(world)];
    const [first, second] = world.one.requests.filter(({ method }) => method === "tasks/result");
    await settle();
    assert.equal(await scope.cancel("enough"), true);
    await settle();
    assert.equal((await get(world, inside)).status, "cancelled");
    assert.match(String((await get(world, inside)).statusMessage), /scope was cancelled: .*enough/);
    assert.deepEqual([first?.cancelled !== false, second?.cancelled !== false], [true, false]);
    assert.equal((await get(world, outside)).status, "working");
  });

  it("is not that of a request for its result", async () => {
    const world = await begun();
    const task = await made(world);
    const request = await waiting(world);
    const result = world.request("tasks/result", { taskId: task.taskId }, "r");
    await settle();
    await world.cancel("r");
    await result;
    assert.equal(request.cancelled, false);
    assert.equal((await get(world, task)).status, "working");
  });

  it("comes with its ttl, for one that works too", async () => {
    const world = await begun({ settings: { idleTimeoutMs: 0 } });
    const [short, long] = [await made(world, { task: { ttl: 5_000 } }), await made(world)];
    assert.equal(long.ttl, 30 * 60_000);
    const [first] = world.one.requests.filter(({ method }) => method === "tasks/result");
    await world.clock.advance(60_000);
    assert.notEqual(first?.cancelled, false, "nobody has to ask for it to end");
    assert.equal(errorOf(await world.request("tasks/get", { taskId: short.taskId })).code, -32602);
    assert.deepEqual((await world.ask("tasks/list")).tasks, [await get(world, long)]);
  });

  it("is told to the upstream when its session ends", async () => {
    const world = await begun();
    await made(world);
    await made(world);
    (await waiting(world)).answer({ content: [] });
    await settle();
    await world.ref.terminate(PRINCIPAL);
    const told = world.one.requests
      .filter(({ method }) => method === "tasks/cancel")
      .map(({ params }) => params?.taskId);
    assert.deepEqual(told, ["remote-1"]);
  });

  it("does not come by its session's idleness before its time is over", async () => {
    const world = await begun({ settings: { idleTimeoutMs: 10_000 } });
    await made(world);
    const request = await waiting(world);
    await world.clock.advance(60_000);
    assert.equal(world.ended, false);
    request.answer({ content: [] });
    await world.clock.advance(60_000);
    assert.equal(world.ended, false, "its result was promised for half an hour");
    await world.clock.advance(30 * 60_000);
    assert.equal(world.ended, true);
  });
});

describe("the bounds of tasks", () => {
  const tasks = { most: 2, ttlMs: 10_000, maxTtlMs: 20_000, bytes: 300 };

  it("refuse one more, and keep a ttl within theirs", async () => {
    const world = await begun({ settings: { tasks } });
    const [first, second] = [await made(world, { task: { ttl: 1 } }), await made(world, { task: { ttl: 1e9 } })];
    assert.deepEqual([first.ttl, second.ttl], [1_000, 20_000]);
    const refused = errorOf(await world.request("tools/call", { name: "t", task: {} }));
    const data = { code: "overloaded", started: "no", retryable: true, retryAfterMs: 1_000 };
    assert.deepEqual([refused.code, refused.data], [-32000, data]);
    assert.equal(world.one.count("tools/call"), 2, "the upstream is not bothered");
    await world.clock.advance(1_000);
    await made(world);
  });

  it("fail one whose result does not fit, and say so", async () => {
    const world = await begun({ settings: { tasks } });
    const task = await made(world);
    (await waiting(world)).answer({ content: [{ type: "text", text: "x".repeat(400) }] });
    await settle();
    const { status, statusMessage } = await get(world, task);
    assert.equal(status, "failed");
    assert.match(String(statusMessage), /keeps 300 of all its tasks/);
    const { data } = errorOf(await world.request("tasks/result", { taskId: task.taskId }));
    assert.deepEqual(data, { code: "too_large", started: "yes", retryable: false });
    // What is no result is not refused: an end must be what it was.
    const cancelled = await made(world);
    assert.equal((await world.ask("tasks/cancel", { taskId: cancelled.taskId })).status, "cancelled");
  });

  it("cut what an upstream says, and take no endless name from it", async () => {
    const upstream = withTasks();
    const world = await begun({ upstreams: [upstream] });
    const task = await made(world);
    upstream.notify("notifications/tasks/status", { taskId: "remote-1", statusMessage: "x".repeat(5_000) });
    assert.equal(String((await get(world, task)).statusMessage).length, 1_024);
    (await waiting(world)).refuse(-32050, "y".repeat(5_000), "z".repeat(10_000));
    await settle();
    const error = errorOf(await world.request("tasks/result", { taskId: task.taskId }));
    assert.deepEqual([error.code, error.message.length, error.data], [-32050, 1_024, undefined]);
    upstream.on("tools/call", () => ({ task: { taskId: "r".repeat(300), status: "working", ttl: null } }));
    const refused = errorOf(await world.request("tools/call", { name: "t", task: {} }));
    assert.deepEqual([refused.data?.code, refused.data?.started], ["protocol", "yes"]);
  });

  it("are not those of calls: a full session answers still", async () => {
    const world = await begun({ settings: { maxCalls: 2 } });
    const all = [await made(world), await made(world), await made(world)];
    assert.equal((await get(world, all[2] ?? {})).status, "working");
    await world.cancel(`task:${all[0]?.taskId}`);
    assert.equal(
      (await get(world, all[0] ?? {})).status,
      "working",
      "an id of the session's own is none of the client's",
    );
  });
});

describe("tasks whose session's owner died", () => {
  it("have their results still, and those of an upstream with a memory of its own go on", async () => {
    const upstream = withTasks();
    upstream.resumable = true;
    const world = await begun({ upstreams: [upstream] });
    const over = await made(world);
    (await waiting(world)).answer({ content: [{ type: "text", text: "kept" }] });
    await settle();
    const going = await made(world);
    const lost = await waiting(world);
    upstream.ask("elicitation/create", { message: "?" }, lost.related).catch(() => {});
    await settle();
    await world.move("fenced");
    assert.deepEqual((await world.ask("tasks/result", { taskId: over.taskId })).content, [
      { type: "text", text: "kept" },
    ]);
    assert.equal((await get(world, going)).status, "input_required", "its question waits too");
    const stream = world.open(await world.request("tasks/result", { taskId: going.taskId }));
    await settle();
    await world.post({ jsonrpc: "2.0", id: questions(stream)[0]?.id, result: { action: "accept" } });
    await settle();
    assert.deepEqual([...upstream.laterAnswers.values()], [{ action: "accept" }]);
    assert.equal((await get(world, going)).status, "working");
    assert.equal(await waiting(world), lost, "the answer is fetched from where its stream was left");
    lost.answer({ content: [] });
    await stream.done;
    assert.equal((await get(world, going)).status, "completed");
    assert.equal(upstream.count("tools/call"), 2, "nothing runs twice");
  });

  it("ask an upstream that cannot be reached until it can, once at a time, and tell it of a request nobody reads", async () => {
    const upstream = withTasks();
    upstream.resumable = true;
    const world = await begun({ upstreams: [upstream] });
    const task = await made(world);
    const lost = await waiting(world);
    upstream.crash();
    await world.clock.advance(1_000);
    assert.equal((await get(world, task)).status, "working");
    const again = await waiting(world);
    assert.notEqual(again, lost);
    const told = upstream.notified.filter(({ method }) => method === "notifications/cancelled");
    assert.deepEqual(
      told.map(({ params }) => params?.requestId),
      [lost.id],
    );
    again.answer({ content: [] });
    await settle();
    assert.equal((await get(world, task)).status, "completed");
  });

  it("have failed where an upstream that remembers its client has forgotten the task", async () => {
    const upstream = withTasks();
    upstream.resumable = true;
    const world = await begun({ upstreams: [upstream] });
    const task = await made(world);
    for (const requests of upstream.remembers.values()) requests.clear();
    for (const method of ["tasks/result", "tasks/get"]) {
      upstream.on(method, (_params, request) => {
        request.refuse(-32602, "Task not found");
        return LATER;
      });
    }
    await world.move("fenced");
    await settle();
    const { status, statusMessage } = await get(world, task);
    assert.deepEqual([status, statusMessage], ["failed", 'upstream "one" does not know the task any more']);
  });

  it("have failed, stored and for a stated reason, where the upstream died with it, and are not run again", async () => {
    const world = await begun({ settings: STDIO });
    const task = await made(world);
    await world.move("fenced");
    await settle();
    const { status, statusMessage } = await get(world, task);
    assert.equal(status, "failed");
    assert.match(String(statusMessage), /was stopped with the node/);
    const { data } = errorOf(await world.request("tasks/result", { taskId: task.taskId }));
    assert.deepEqual(data, { code: "unavailable", started: "yes", retryable: false });
    assert.equal(world.stored?.tasks?.[0]?.status, "failed");
    assert.deepEqual([world.one.count("tools/call"), world.one.count("tasks/result")], [1, 1]);
  });

  it("are waited for by a session that moves on purpose", async () => {
    const world = await begun();
    const task = await made(world);
    const request = await waiting(world);
    const moved = world.migrate();
    await settle();
    request.answer({ content: [{ type: "text", text: "in time" }] });
    await moved;
    await settle();
    assert.deepEqual((await world.ask("tasks/result", { taskId: task.taskId })).content, [
      { type: "text", text: "in time" },
    ]);
  });
});
