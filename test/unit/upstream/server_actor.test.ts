import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { describeUpstream } from "../../../actors/server/describe.ts";
import { openUpstream } from "../../../actors/server/open.ts";
import { ServerActor, serverKey } from "../../../actors/server/server.ts";
import { type ActivationContext, defineActor } from "../../../runtime/actor/define.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import type { UpstreamClient, UpstreamConfig } from "../../../transports/upstream/contract.ts";
import { singleNode, type TestNode } from "../actor/kit.ts";
import { HANDSHAKE, RecordingOwner, stdioConfig, until, upstream } from "./kit.ts";

const contexts = new Map<string, ActivationContext<unknown>>();
/** Stands for a session: all it does is to own upstream clients. */
const Holder = defineActor({
  kind: "holder",
  onActivate: (ctx) => void contexts.set(ctx.key, ctx),
  methods: { hello: () => "hello" },
});

const clients: UpstreamClient[] = [];
const nodes: TestNode[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close("ended")));
  for (const node of nodes.splice(0)) {
    await node.host.stopAll("drain", 2_000);
    for (const timer of node.timers) clearTimeout(timer);
  }
  contexts.clear();
});

function startNode(...upstreams: UpstreamConfig[]): TestNode {
  const node = singleNode(Holder, ServerActor);
  (node.host.services.settings as Record<string, unknown>).upstreams = upstreams;
  nodes.push(node);
  return node;
}

async function contextOf(node: TestNode, key: string): Promise<ActivationContext<unknown>> {
  await node.actor(Holder, key).hello();
  return contexts.get(key) as ActivationContext<unknown>;
}

async function open(node: TestNode, session: string, config: UpstreamConfig, principal = "anonymous") {
  const owner = new RecordingOwner();
  const ctx = await contextOf(node, session);
  const client = openUpstream(config, { ctx, owner, principal, handshake: HANDSHAKE });
  clients.push(client);
  return { client, owner };
}

function moduleConfig(overrides: Partial<UpstreamConfig> = {}): UpstreamConfig {
  const module = new URL("./fixtures/server_v1.mjs", import.meta.url).href;
  return upstream({ kind: "module", module }, overrides);
}

const call = { related: 1, progress: false };

describe("the server actor", () => {
  it("describes an upstream without keeping it running", async () => {
    const node = startNode(moduleConfig());
    const server = node.actor(ServerActor, serverKey("fixture", "n1"));
    const catalogue = await server.describe();
    assert.equal(catalogue.name, "fixture");
    assert.equal(catalogue.serverInfo.name, "v1");
    assert.ok("tools" in catalogue.capabilities);
    await until("the probe has ended", async () => !(await server.stats()).running);
  });

  it("asks a broken upstream once for many sessions, and says what is wrong", async () => {
    const node = startNode(stdioConfig("crash"));
    const ctx = await contextOf(node, "s");
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => describeUpstream(ctx, "fixture")));
    for (const outcome of outcomes) {
      assert.ok(outcome.status === "rejected" && TroupeError.is(outcome.reason, "unavailable"));
      assert.match(outcome.reason.message, /exit code 3/);
    }
    await describeUpstream(ctx, "fixture").catch(() => {});
    const stats = await node.actor(ServerActor, serverKey("fixture", "n1")).stats();
    assert.equal(stats.restarts, 1);
    assert.match(stats.lastError ?? "", /exit code 3/);
  });

  it("names an upstream that is not configured", async () => {
    const node = startNode(moduleConfig());
    const ctx = await contextOf(node, "s");
    await assert.rejects(describeUpstream(ctx, "nobody"), /upstream "nobody" is not configured on node n1/);
  });

  it("holds a node to max_processes, and gives places back", async () => {
    const config = moduleConfig({ maxProcesses: 2 });
    const node = startNode(config);
    const [one, two, three] = await Promise.all(["a", "b", "c"].map((session) => open(node, session, config)));
    await one?.client.start();
    await two?.client.start();
    await assert.rejects(three?.client.request("tools/list", {}, call) as Promise<unknown>, (error) => {
      assert.ok(TroupeError.is(error, "overloaded"));
      assert.match(error.message, /2 connections on this node.*max_processes/);
      return true;
    });
    const server = node.actor(ServerActor, serverKey("fixture", "n1"));
    assert.deepEqual(
      { ...(await server.stats()), lastError: null },
      { node: "n1", running: true, processes: 2, sessions: 2, restarts: 0, lastError: null },
    );
    await one?.client.close("ended");
    await until("the place is free", async () => (await server.stats()).processes === 1);
    await three?.client.start();
  });

  it("carries a shared upstream: calls, questions and answers", async () => {
    const config = moduleConfig({ isolation: "shared" });
    const node = startNode(config);
    const [a, b] = await Promise.all(["a", "b"].map((session) => open(node, session, config)));
    assert.ok(a !== undefined && b !== undefined);
    for (const { owner, name } of [
      { ...a, name: "a" },
      { ...b, name: "b" },
    ]) {
      owner.answer = async (_method, params) => ({ action: "accept", content: { from: name, said: params?.message } });
    }
    const ask = (client: UpstreamClient, text: string) =>
      client.request("tools/call", { name: "ask", arguments: { text } }, { related: 1, progress: true });
    const [forA, forB] = await Promise.all([ask(a.client, "one"), ask(b.client, "two")]);
    assert.match(JSON.stringify(forA), /one/);
    assert.match(JSON.stringify(forA), /\\"from\\":\\"a\\"/);
    assert.match(JSON.stringify(forB), /\\"from\\":\\"b\\"/);
    assert.deepEqual([a.owner.requests.length, b.owner.requests.length], [1, 1]);
    const stats = await node.actor(ServerActor, serverKey("fixture", "n1")).stats();
    assert.deepEqual([stats.processes, stats.sessions], [1, 2]);
    await a.client.close("ended");
    assert.deepEqual(a.owner.closed[0]?.reason, "closed");
    assert.match(JSON.stringify(await ask(b.client, "three")), /three/);
  });

  it("passes a shared upstream's errors on as they are, and its cancellation to the work", async () => {
    const config = moduleConfig({ isolation: "shared" });
    const node = startNode(config);
    const { client } = await open(node, "a", config);
    await assert.rejects(client.request("no/such/method", {}, call), { name: "RpcError", code: -32601 });
    const seen = globalThis as { abortedCalls?: number };
    const before = seen.abortedCalls ?? 0;
    const waiting = client.request("tools/call", { name: "wait", arguments: {} }, { related: 2, progress: false });
    waiting.catch(() => {});
    await client.request("tools/list", {}, { related: 3, progress: false });
    client.cancel(2, "enough");
    await assert.rejects(waiting, { code: "cancelled" });
    await until("the handler was aborted", () => (seen.abortedCalls ?? 0) > before);
  });

  it("cancels what a session had running that ends, and not of one that goes on at another owner", async () => {
    const config = moduleConfig({ isolation: "shared" });
    const node = startNode(config);
    const seen = globalThis as { abortedCalls?: number };
    const before = seen.abortedCalls ?? 0;
    const other = (await open(node, "other", config)).client;
    await other.start();
    for (const reason of ["drain", "fenced", "ended"] as const) {
      const { client } = await open(node, reason, config);
      client.request("tools/call", { name: "wait", arguments: {} }, { related: 1, progress: false }).catch(() => {});
      // It has arrived: what is asked after it is answered.
      await client.request("tools/list", {}, { related: 2, progress: false });
      await client.close(reason);
      const server = node.actor(ServerActor, serverKey("fixture", "n1"));
      await until("the session is detached", async () => (await server.stats()).sessions === 1);
      await other.request("tools/list", {}, { related: 1, progress: false });
      if (reason === "ended") await until("the handler was aborted", () => (seen.abortedCalls ?? 0) === before + 1);
      else assert.equal(seen.abortedCalls ?? 0, before, reason);
    }
  });

  it("tells sessions when the shared upstream crashes, and starts it again for the next call", async () => {
    const config = stdioConfig("good", { isolation: "shared" });
    const node = startNode(config);
    const { client, owner } = await open(node, "a", config);
    await assert.rejects(client.request("exit", {}, call), { code: "unavailable" });
    await until("the session is told", () => owner.closed.length === 1);
    assert.match(owner.closed[0]?.detail ?? "", /exit code 5/);
    await until("it answers again", () =>
      client.request("echo", { a: 1 }, { related: 2, progress: false }).then(
        () => true,
        () => false,
      ),
    );
    assert.equal(owner.starts, 2);
  });

  it("gives each principal a connection of its own, which all of its sessions share", async () => {
    const config = stdioConfig("good", { isolation: "principal", maxProcesses: 2 });
    const node = startNode(config);
    const opened: Awaited<ReturnType<typeof open>>[] = [];
    for (const [session, principal] of [
      ["a", "ann"],
      ["b", "ann"],
      ["c", "bob"],
    ] as const) {
      opened.push(await open(node, session, config, principal));
    }
    const [a, b, c] = opened.map(({ client }) => client);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    const pidOf = async (client: UpstreamClient, related: number) =>
      JSON.stringify(await client.request("pid", {}, { related, progress: false }));
    const pids = await Promise.all([a, b, c].map((client) => pidOf(client, 1)));
    assert.equal(pids[0], pids[1]);
    assert.notEqual(pids[0], pids[2]);
    const server = node.actor(ServerActor, serverKey("fixture", "n1"));
    assert.deepEqual(await server.stats().then(({ processes, sessions }) => [processes, sessions]), [2, 3]);

    // A third principal is over the cap; the two that run are not touched by that, nor by the other's crash.
    const { client: d } = await open(node, "d", config, "cid");
    await assert.rejects(pidOf(d, 1), { code: "overloaded" });
    await assert.rejects(c.request("exit", {}, { related: 2, progress: false }), { code: "unavailable" });
    await until("only bob's sessions were told", () => opened[2]?.owner.closed.length === 1);
    assert.equal(opened[0]?.owner.closed.length, 0);
    assert.equal(await pidOf(b, 2), pids[0]);
    await until("the place is free", async () => (await server.stats()).processes === 1);
  });

  it("keeps the connection of a principal while one of its sessions is left", async () => {
    const config = stdioConfig("good", { isolation: "principal" });
    const node = startNode(config);
    const { client: a } = await open(node, "a", config, "ann");
    const { client: b } = await open(node, "b", config, "ann");
    const pid = await a.request("pid", {}, call);
    await b.start();
    await a.close("ended");
    assert.deepEqual(await b.request("pid", {}, call), pid);
    const server = node.actor(ServerActor, serverKey("fixture", "n1"));
    await assert.rejects(server.request("nobody#1", "pid", {}, 1, false), { code: "unavailable" });
  });
});
