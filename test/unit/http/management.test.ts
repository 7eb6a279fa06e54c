/** The node's own endpoints: their shapes, and who may ask. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SessionDescription } from "../../../actors/session/contract.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import type { Management, Readiness } from "../../../transports/http/management.ts";
import { request, startEdge } from "./kit.ts";

const SESSION: SessionDescription = {
  id: "s1",
  owner: "a",
  era: "legacy",
  protocolVersion: "2025-11-25",
  client: { name: "c", version: "1" },
  upstreams: [{ name: "files", running: true }],
  state: "operational",
  createdAt: 1,
  idleMs: 2,
  calls: 0,
  streams: 1,
};
const STATUS = {
  enabled: true,
  mode: "cluster" as const,
  nodeId: "a",
  coordinator: "redis",
  generation: "g",
  view: "7",
  stats: { nodes: 2, activeNodes: 1, servers: 1, sessions: 1 },
};
const node = (id: string, state: string) => ({
  id,
  incarnation: "1",
  url: "http://127.0.0.1:1",
  meshUrl: "ws://127.0.0.1:2",
  pid: 5,
  runtime: "node 20",
  state,
});

class FakeManagement implements Management {
  ready: Readiness = { ready: true, reason: null };
  drained: string[] = [];
  asked: unknown[] = [];
  readiness() {
    return this.ready;
  }
  metrics() {
    return "# HELP x y\nx 1\n";
  }
  async status() {
    return STATUS;
  }
  async nodes({ activeOnly }: { activeOnly: boolean }) {
    return [node("a", "active"), ...(activeOnly ? [] : [node("b", "draining")])];
  }
  async replicas(server: string) {
    return server === "fi les" ? [{ server, nodeId: "a", state: "running" as const, connections: 2 }] : null;
  }
  terminated: string[] = [];
  async terminate(id: string) {
    this.terminated.push(id);
    return id === SESSION.id;
  }
  async sessions(filter: unknown) {
    this.asked.push(filter);
    return [SESSION];
  }
  async session(id: string) {
    if (id === "lost") throw new TroupeError("unavailable", "its node was lost");
    return id === "s1" ? SESSION : null;
  }
  async actors(filter: { kind: string | null; limit: number }) {
    this.asked.push(filter);
    return [{ id: "session/s1", kind: "session", nodeId: "a", worker: 1 }];
  }
  async drain(nodeId: string) {
    this.drained.push(nodeId);
    return nodeId === "b";
  }
}

test("status, nodes, replicas, sessions and actors have their shapes", async (t) => {
  const management = new FakeManagement();
  const edge = await startEdge(t, { management });
  const data = async (path: string): Promise<unknown> => {
    const answer = await request(edge, "GET", `/api/cluster/${path}`);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers["content-type"], "application/json");
    assert.equal(answer.headers["cache-control"], "no-store");
    const body = JSON.parse(answer.text) as { success: boolean; data: unknown };
    assert.deepEqual(Object.keys(body), ["success", "data"]);
    assert.equal(body.success, true);
    return body.data;
  };
  assert.deepEqual(await data("status"), STATUS);
  assert.deepEqual(await data("nodes"), [node("a", "active"), node("b", "draining")]);
  assert.deepEqual(await data("nodes?active=true"), [node("a", "active")]);
  assert.deepEqual(await data("servers/fi%20les/replicas"), [
    { server: "fi les", nodeId: "a", state: "running", connections: 2 },
  ]);
  assert.deepEqual(await data("sessions"), [SESSION]);
  assert.deepEqual(await data("sessions/s1"), SESSION);
  await data("actors?kind=session&limit=5");
  assert.deepEqual(management.asked, [{ limit: 1_000 }, { kind: "session", limit: 5 }]);
});

test("what is unknown, wrong or broken is told in the same shape", async (t) => {
  const edge = await startEdge(t, { management: new FakeManagement() });
  const cases = [
    ["GET", "sessions/nope", 404, "not_found"],
    ["GET", "servers/nope/replicas", 404, "not_found"],
    ["GET", "servers/nope", 404, "not_found"],
    ["GET", "nope", 404, "not_found"],
    ["GET", "%E0%A4%A", 404, "not_found"],
    ["GET", "actors?limit=0", 400, "invalid_argument"],
    ["GET", "actors?limit=x", 400, "invalid_argument"],
    ["POST", "status", 405, "method_not_allowed"],
    ["GET", "nodes/b/drain", 405, "method_not_allowed"],
    ["GET", "sessions/lost", 503, "unavailable"],
    ["POST", "nodes/nope/drain", 404, "not_found"],
  ] as const;
  for (const [method, path, status, code] of cases) {
    const answer = await request(edge, method, `/api/cluster/${path}`);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    const body = JSON.parse(answer.text) as { success: boolean; error: { code: string; message: string } };
    assert.deepEqual([body.success, body.error.code, typeof body.error.message], [false, code, "string"]);
  }
});

test("a session is ended for good, and one that is not there is told so", async (t) => {
  const management = new FakeManagement();
  const edge = await startEdge(t, { management });
  const answer = await request(edge, "DELETE", "/api/cluster/sessions/s1");
  assert.equal(answer.status, 200);
  assert.deepEqual(JSON.parse(answer.text), { success: true, data: { id: "s1", state: "ended" } });
  assert.equal((await request(edge, "DELETE", "/api/cluster/sessions/nope")).status, 404);
  assert.equal((await request(edge, "DELETE", "/api/cluster/sessions")).status, 405);
  assert.deepEqual(management.terminated, ["s1", "nope"]);
});

test("a node is told to drain", async (t) => {
  const management = new FakeManagement();
  const edge = await startEdge(t, { management });
  const answer = await request(edge, "POST", "/api/cluster/nodes/b/drain");
  assert.equal(answer.status, 202);
  assert.deepEqual(JSON.parse(answer.text), { success: true, data: { id: "b", state: "draining" } });
  assert.deepEqual(management.drained, ["b"]);
});

test("health is for everybody; readiness says why not", async (t) => {
  const management = new FakeManagement();
  const edge = await startEdge(t, { management });
  const stranger = { host: "10.1.2.3:8787", "x-forwarded-for": "203.0.113.9" };
  assert.equal((await request(edge, "GET", "/health", stranger)).status, 200);
  const ready = await request(edge, "GET", "/ready", stranger);
  assert.deepEqual([ready.status, JSON.parse(ready.text)], [200, { ready: true, reason: null }]);
  management.ready = { ready: false, reason: "the store cannot be reached" };
  const not = await request(edge, "GET", "/ready", stranger);
  assert.deepEqual([not.status, JSON.parse(not.text)], [503, { ready: false, reason: "the store cannot be reached" }]);
  management.ready = { ready: true, reason: null, warning: "the store may forget" };
  const warned = await request(edge, "GET", "/ready", stranger);
  assert.deepEqual([warned.status, JSON.parse(warned.text)], [200, management.ready]);
  const head = await request(edge, "HEAD", "/health");
  assert.deepEqual([head.status, head.text], [200, ""]);
  assert.equal((await request(edge, "POST", "/health")).status, 405);
});

test("management and metrics are for this machine only", async (t) => {
  const management = new FakeManagement();
  const edge = await startEdge(t, { management });
  const metrics = await request(edge, "GET", "/metrics");
  assert.deepEqual([metrics.status, metrics.text], [200, "# HELP x y\nx 1\n"]);
  assert.match(String(metrics.headers["content-type"]), /^text\/plain; version=0\.0\.4/);
  const strangers = [
    { host: "node.example.com" },
    { "x-forwarded-for": "203.0.113.9" },
    { forwarded: "for=203.0.113.9" },
    { origin: "https://evil.example.com" },
    { origin: "null" },
  ];
  for (const headers of strangers) {
    for (const [method, path] of [
      ["GET", "/metrics"],
      ["GET", "/api/cluster/status"],
      ["POST", "/api/cluster/nodes/b/drain"],
      ["DELETE", "/api/cluster/sessions/s1"],
    ] as const) {
      const answer = await request(edge, method, path, headers);
      assert.equal(answer.status, 403, `${path} ${JSON.stringify(headers)}`);
      assert.equal(JSON.parse(answer.text).error.code, "forbidden");
    }
  }
  assert.deepEqual(management.drained, []);
  assert.equal((await request(edge, "GET", "/api/cluster/status", { origin: "http://localhost:3000" })).status, 200);
});
