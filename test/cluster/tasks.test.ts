/**
 * Tasks (MCP 2025-11-25) on any replica, and what becomes of them when the node that owns their session is killed or
 * drained: what was said to be over has its result, what an HTTP upstream works on goes on, the rest has failed for a
 * stated reason, and nothing runs twice.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { type CallToolResult, CallToolResultSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { type OpenSession, openSession, post, type Reply } from "../harness/mcp_requests.ts";
import { randomFetch } from "../harness/random_fetch.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { seedOf } from "../harness/seed.ts";
import { waitUntil } from "../harness/wait.ts";
import { type Connectable, type HttpUpstream, startHttpUpstream } from "../unit/upstream/http_upstream.ts";

const SOON_MS = 16_000;
const OWNER = 0;
const OTHER = 1;
const THIRD = 2;
const exercise = { module: new URL("./fixtures/exercise.mjs", import.meta.url) };

interface Server extends Connectable {
  close(): Promise<void>;
}

interface Task {
  taskId: string;
  status: string;
  statusMessage?: string;
}

describe("tasks on three nodes", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;
  let remote: HttpUpstream;
  const servers: Server[] = [];
  let lastId = 0;

  const send = (node: number, server: string, session: OpenSession, method: string, params: object): Promise<Reply> => {
    const body = { jsonrpc: "2.0", id: `r${++lastId}`, method, params };
    return post(`${cluster.urls[node]}/mcp/${server}`, body, session.headers);
  };
  const request = async <T>(...args: Parameters<typeof send>): Promise<T> => {
    const { text, message } = await send(...args);
    assert.ok(message?.result !== undefined, text);
    return message.result as T;
  };
  const opened = (server: string): Promise<OpenSession> =>
    waitUntil(() => openSession(`${cluster.urls[OWNER]}/mcp/${server}`), SOON_MS, "a session");
  const job = async (node: number, server: string, session: OpenSession, name: string, ms: number): Promise<Task> =>
    (
      await request<{ task: Task }>(node, server, session, "tools/call", {
        name: "job",
        arguments: { name, ms },
        task: { ttl: 120_000 },
      })
    ).task;
  const statusOf = (node: number, server: string, session: OpenSession, { taskId }: Task): Promise<Task> =>
    request<Task>(node, server, session, "tasks/get", { taskId });
  const until = (server: string, session: OpenSession, task: Task, status: string): Promise<Task> =>
    waitUntil(
      async () => {
        const known = await statusOf(OTHER, server, session, task);
        return known.status === status ? known : undefined;
      },
      SOON_MS,
      `the task to be ${status}`,
    );
  const resultOf = async (node: number, server: string, session: OpenSession, { taskId }: Task): Promise<string> => {
    const { content } = await request<CallToolResult>(node, server, session, "tasks/result", { taskId });
    return content.map((block) => (block.type === "text" ? block.text : block.type)).join();
  };

  before(async () => {
    const { default: factory } = (await import(exercise.module.href)) as { default: () => Server };
    const made = () => {
      const server = factory();
      servers.push(server);
      return server;
    };
    remote = await startHttpUpstream("v1", { events: true, factory: made });
    cluster = await startCluster({
      nodes: 3,
      mcpServers: {
        remote: { url: remote.url },
        exercise,
        everything: {
          command: process.versions.deno === undefined ? process.execPath : "node",
          args: [fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js")), "stdio"],
        },
      },
    });
  });
  after(async () => {
    await cluster?.close();
    await remote?.close();
    for (const server of servers) await server.close();
  });

  it("are carried out for the SDK's client, with a random node for every request, questions included", async () => {
    const balance = randomFetch(cluster.urls, seedOf("tasks"));
    const client = new Client(
      { name: "troupe-test", version: "1.0.0" },
      { capabilities: { elicitation: {} }, enforceStrictCapabilities: true },
    );
    let questions = 0;
    client.setRequestHandler(ElicitRequestSchema, () => {
      questions++;
      return { action: "accept", content: { interpretation: "technical" } };
    });
    await client.connect(
      new StreamableHTTPClientTransport(new URL("http://127.0.0.1:1/mcp"), { fetch: balance.fetch }),
    );
    try {
      await client.listTools();
      const run = async (name: string, args: Record<string, unknown>) => {
        let text = "";
        for await (const message of client.experimental.tasks.callToolStream(
          { name, arguments: args },
          CallToolResultSchema,
          { task: { ttl: 60_000 }, timeout: 30_000 },
        )) {
          if (message.type === "error") throw message.error;
          else if (message.type === "result") text = JSON.stringify(message.result.content);
        }
        return text;
      };
      const [research, done] = await Promise.all([
        run("everything__simulate-research-query", { topic: "python", ambiguous: true }),
        run("exercise__job", { name: "sdk", ms: 200 }),
      ]);
      assert.match(research, /# Research Report: python \(technical\)/);
      assert.equal(questions, 1);
      assert.match(done, /sdk: run 1/);
      const { tasks } = await client.experimental.tasks.listTasks();
      assert.deepEqual(
        tasks.map(({ status }) => status),
        ["completed", "completed"],
      );
    } finally {
      await client.close();
    }
  });

  it("answer on every replica, end by a cancel on another one, and are their session's only", async () => {
    const [session, stranger] = [await opened("exercise"), await opened("exercise")];
    const task = await job(OTHER, "exercise", session, "shared", 600);
    const result = resultOf(THIRD, "exercise", session, task);
    assert.equal((await statusOf(OWNER, "exercise", session, task)).status, "working");
    assert.equal(await result, "shared: run 1");
    assert.equal(await resultOf(OTHER, "exercise", session, task), "shared: run 1");
    const long = await job(OWNER, "exercise", session, "long", 60_000);
    const waiting = send(OTHER, "exercise", session, "tasks/result", { taskId: long.taskId });
    const cancelled = await request<Task>(THIRD, "exercise", session, "tasks/cancel", { taskId: long.taskId });
    assert.equal(cancelled.status, "cancelled");
    assert.equal((await waiting).message?.error?.message, "The task was cancelled by request.");
    const { tasks } = await request<{ tasks: Task[] }>(OTHER, "exercise", session, "tasks/list", {});
    assert.deepEqual(
      tasks.map(({ taskId, status }) => [taskId, status]),
      [
        [task.taskId, "completed"],
        [long.taskId, "cancelled"],
      ],
    );
    const foreign = await send(OTHER, "exercise", stranger, "tasks/result", { taskId: task.taskId });
    assert.equal(foreign.message?.error?.code, -32602);
  });

  describe("when the owner of their session is gone", () => {
    afterEach(async () => {
      await cluster.kill(OWNER);
      await cluster.restart(OWNER);
    });

    it("go on where an HTTP upstream works on them, and nothing runs twice", async () => {
      const session = await opened("remote");
      const task = await job(OTHER, "remote", session, "goes on", 2_500);
      const waiting = resultOf(THIRD, "remote", session, task);
      await cluster.kill(OWNER);
      assert.equal((await until("remote", session, task, "completed")).taskId, task.taskId);
      assert.equal(await waiting, "goes on: run 1");
      assert.equal(await resultOf(OTHER, "remote", session, task), "goes on: run 1");
    });

    it("have the results they had, and have failed where a module of the owner worked on them", async () => {
      const session = await opened("exercise");
      const over = await job(OTHER, "exercise", session, "over", 50);
      await until("exercise", session, over, "completed");
      const working = await job(OTHER, "exercise", session, "working", 60_000);
      await cluster.kill(OWNER);
      const failed = await until("exercise", session, working, "failed");
      assert.match(failed.statusMessage ?? "", /was stopped with the node/);
      const reply = await send(THIRD, "exercise", session, "tasks/result", { taskId: working.taskId });
      assert.deepEqual(reply.message?.error?.data, { code: "unavailable", started: "yes", retryable: false });
      assert.equal(await resultOf(THIRD, "exercise", session, over), "over: run 1");
    });

    it("are waited for where it is drained", async () => {
      const session = await opened("exercise");
      const task = await job(OTHER, "exercise", session, "in time", 1_500);
      assert.equal((await cluster.stop(OWNER)).code, 0);
      assert.equal(await resultOf(THIRD, "exercise", session, task), "in time: run 1");
    });
  });
});
