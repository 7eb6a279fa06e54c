/** A single node with `dir:`: what its clients were told survives the process, however it ends. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { ask, callBody, type OpenSession, openSession, post } from "../harness/mcp_requests.ts";
import { SseConnection } from "../harness/sse_connection.ts";

const exercise = { module: new URL("./fixtures/exercise.mjs", import.meta.url).href };

describe("a single node with dir", () => {
  let cluster: Cluster;
  let url: string;
  before(async () => {
    // Relative to the configuration file, whose folder goes with the cluster.
    const config = {
      cluster: { kind: "single_node", dir: "data" },
      mcp: { configurations: { response: { stream_after_ms: 50 } } },
    } as const;
    cluster = await startCluster({ nodes: 1, config, mcpServers: { exercise } });
    url = `${cluster.urls[0]}/mcp/exercise`;
  });
  after(() => cluster.close());

  const answers = async ({ headers }: OpenSession, said: string): Promise<void> => {
    const reply = await post(url, callBody(1, "echo", { text: said }), headers);
    assert.equal(reply.status, 200, `${reply.text}\n${cluster.logs(0)}`);
    assert.deepEqual(reply.message?.result?.content, [{ type: "text", text: said }]);
  };
  /** Up to its priming event. */
  const begun = (stream: SseConnection): Promise<unknown> =>
    cluster.waitUntil(
      () => {
        assert.ok(!stream.ended && (stream.status === 0 || stream.status === 200), `${stream.status}, ${stream.ended}`);
        return stream.lastId !== "";
      },
      30_000,
      "the stream to begin",
    );
  const isGone = async ({ headers }: OpenSession): Promise<void> => {
    const reply = await post(url, callBody(2, "echo", { text: "?" }), headers);
    assert.equal(reply.status, 404, reply.text);
  };

  it("answers a session after kill -9 without a new initialize, and one that was DELETEd stays 404", async () => {
    const [kept, ended] = [await openSession(url), await openSession(url)];
    await answers(kept, "before");
    assert.ok((await ask("DELETE", url, ended.headers)).status < 300);
    await isGone(ended);
    await cluster.kill(0);
    await cluster.restart(0);
    await answers(kept, "after the kill");
    await isGone(ended);
    assert.deepEqual(await cluster.stop(0), { code: 0, signal: null }, cluster.logs(0));
    await cluster.restart(0);
    await answers(kept, "after the stop");
    await isGone(ended);
    assert.ok((await ask("DELETE", url, kept.headers)).status < 300);
    await cluster.kill(0);
    await cluster.restart(0);
    await isGone(kept);
  });

  it("delivers a response that nobody read by Last-Event-ID, after kill -9, and the stream's end", async () => {
    const session = await openSession(url);
    const stream = new SseConnection("POST", url, session.headers, callBody("lost", "wait", { name: "w", ms: 500 }));
    await begun(stream);
    const id = stream.lastId;
    stream.close();
    await cluster.waitUntil(
      async () => (await cluster.api<{ calls: number }>(0, `sessions/${session.id}`)).calls === 0,
      10_000,
      "the call to end",
    );
    // What was stored before this acknowledgement is stored for good.
    const level = { jsonrpc: "2.0", id: "level", method: "logging/setLevel", params: { level: "debug" } };
    assert.equal((await post(url, level, session.headers)).status, 200);
    await cluster.kill(0);
    await cluster.restart(0);
    const resumed = new SseConnection("GET", url, { ...session.headers, "last-event-id": id });
    await cluster.waitUntil(() => resumed.response("lost"), 20_000, "the finished response");
    assert.deepEqual(resumed.response("lost")?.result?.content, [{ type: "text", text: "waited" }]);
    await cluster.waitUntil(() => resumed.ended, 10_000, "the end of the stream");
    assert.equal(resumed.messages.length, 1);
    // And again, from the same place: an event keeps its id.
    const again = new SseConnection("GET", url, { ...session.headers, "last-event-id": id });
    await cluster.waitUntil(() => again.response("lost"), 10_000, "the same response");
    assert.equal(again.lastId, resumed.lastId);
  });

  it("ends a call that ran at the kill with an honest error on its stream", async () => {
    const session = await openSession(url);
    const stream = new SseConnection("POST", url, session.headers, callBody("cut", "wait", { name: "x", ms: 60_000 }));
    await begun(stream);
    await cluster.kill(0);
    await cluster.restart(0);
    const resumed = new SseConnection("GET", url, { ...session.headers, "last-event-id": stream.lastId });
    await cluster.waitUntil(() => resumed.response("cut"), 20_000, "the end of the call");
    const { error } = resumed.response("cut") ?? {};
    assert.deepEqual(error?.data, { code: "unavailable", started: "unknown", retryable: false });
  });

  it("has a task's result after kill -9, and says of one that worked that it has failed, and why", async () => {
    const session = await openSession(url);
    const request = async <T>(method: string, params: object): Promise<T> => {
      const { text, message } = await post(url, { jsonrpc: "2.0", id: method, method, params }, session.headers);
      assert.ok(message?.result !== undefined, text);
      return message.result as T;
    };
    const job = async (name: string, ms: number) => {
      const params = { name: "job", arguments: { name, ms }, task: {} };
      return (await request<{ task: { taskId: string } }>("tools/call", params)).task;
    };
    const [over, working] = [await job("over", 50), await job("working", 60_000)];
    const result = await request("tasks/result", { taskId: over.taskId });
    await cluster.kill(0);
    await cluster.restart(0);
    assert.deepEqual(await request("tasks/result", { taskId: over.taskId }), result);
    const list = async () =>
      (await request<{ tasks: { status: string; statusMessage?: string }[] }>("tasks/list", {})).tasks;
    // It has failed for its client when that is stored.
    const tasks = await cluster.waitUntil(
      async () => {
        const known = await list();
        return known.some(({ status }) => status === "working") ? undefined : known;
      },
      10_000,
      "the end of the task to be stored",
    );
    assert.deepEqual(
      tasks.map(({ status }) => status),
      ["completed", "failed"],
    );
    assert.match(tasks[1]?.statusMessage ?? "", /was stopped with the node/);
    const reply = await post(
      url,
      { jsonrpc: "2.0", id: 1, method: "tasks/result", params: { taskId: working.taskId } },
      session.headers,
    );
    assert.equal(reply.message?.error?.code, -32603, reply.text);
  });

  it("keeps every session that was acknowledged before a kill in the middle of opening them", async () => {
    const opened: OpenSession[] = [];
    const opening = Array.from({ length: 4 }, async () => {
      for (;;) opened.push(await openSession(url));
    });
    const allEnded = Promise.allSettled(opening);
    await cluster.waitUntil(() => opened.length >= 10, 30_000, "ten sessions");
    await cluster.kill(0);
    await allEnded;
    await cluster.restart(0);
    for (const session of opened) await answers(session, session.id);
  });
});
