/** The commands that ask a running node, against a stand-in for its management API. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { runtime } from "./command_line.ts";

const node = {
  id: "a",
  incarnation: "7",
  url: "http://127.0.0.1:1",
  meshUrl: "127.0.0.1:2",
  pid: 42,
  runtime: "node 20.1.0",
  state: "active",
};
const session = {
  id: "s1",
  owner: "a",
  era: "legacy",
  protocolVersion: "2025-11-25",
  client: { name: "cat", version: "1" },
  upstreams: [
    { name: "echo", running: true },
    { name: "notes", running: false },
  ],
  state: "operational",
  createdAt: 0,
  idleMs: 90_000,
  calls: 0,
  streams: 1,
};
const answers: Record<string, unknown> = {
  "GET /api/cluster/status": { enabled: true, mode: "cluster", nodeId: "a", stats: { nodes: 3, sessions: 2 } },
  "GET /api/cluster/nodes": [node, { ...node, id: "b", state: "draining" }],
  "GET /api/cluster/nodes?active=true": [node],
  "GET /api/cluster/sessions": [session],
  "GET /api/cluster/sessions/s1": session,
  "GET /api/cluster/actors": [{ id: "session/s1", kind: "session", nodeId: "a", worker: 1 }],
  "GET /api/cluster/actors?kind=lease": [],
  "DELETE /api/cluster/sessions/s1": { id: "s1", state: "ended" },
  "POST /api/cluster/nodes/a%2Fb/drain": { id: "a/b", state: "draining" },
};

const server = createServer((request, response) => {
  const key = `${request.method} ${request.url}`;
  response.setHeader("connection", "close");
  if (key.includes("/nodes/html/")) return void response.end("<html>");
  const data = answers[key];
  if (data !== undefined) return void response.end(JSON.stringify({ success: true, data }));
  response.statusCode = 404;
  response.end(JSON.stringify({ success: false, error: { code: "not_found", message: `no session named "none"` } }));
});
let url = "";
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address !== null && typeof address === "object") url = `http://127.0.0.1:${address.port}`;
});
after(() => new Promise<void>((resolve) => server.close(() => resolve())));

const printed: [args: string[], out: string][] = [
  [["status"], "enabled   true\nmode      cluster\nnodeId    a\nnodes     3\nsessions  2\n"],
  [
    ["nodes"],
    "NODE  STATE     URL                 MESH         RUNTIME      PID  INCARNATION\n" +
      "a     active    http://127.0.0.1:1  127.0.0.1:2  node 20.1.0  42   7\n" +
      "b     draining  http://127.0.0.1:1  127.0.0.1:2  node 20.1.0  42   7\n",
  ],
  [
    ["nodes", "--active"],
    "NODE  STATE   URL                 MESH         RUNTIME      PID  INCARNATION\n" +
      "a     active  http://127.0.0.1:1  127.0.0.1:2  node 20.1.0  42   7\n",
  ],
  [
    ["sessions"],
    "SESSION  OWNER  STATE        VERSION     CLIENT  UPSTREAMS   IDLE\n" +
      "s1       a      operational  2025-11-25  cat     echo,notes  2 min\n",
  ],
  [["actors"], "ACTOR       KIND     NODE  WORKER\nsession/s1  session  a     1\n"],
  [["actors", "--kind", "lease"], "no actors\n"],
  [["sessions", "s1", "--terminate"], "session s1 has ended\n"],
  [["drain", "a/b"], "node a/b is draining\n"],
];
for (const [args, out] of printed) {
  test(`runtime ${args.join(" ")} prints a table`, async () => {
    assert.deepEqual(await runtime(...args, "--url", url), { code: 0, out, err: "" });
  });
}

test("a session is shown field by field", async () => {
  const { code, out } = await runtime("sessions", "s1", "--url", url);
  assert.equal(code, 0);
  assert.match(out, /^owner +a$/m);
  assert.match(out, /^client +\{"name":"cat","version":"1"\}$/m);
});

for (const [args, path] of [
  [["status"], "status"],
  [["nodes"], "nodes"],
  [["sessions"], "sessions"],
  [["sessions", "s1"], "sessions/s1"],
  [["actors"], "actors"],
] as const) {
  test(`runtime ${args.join(" ")} --json prints the node's answer`, async () => {
    const { code, out } = await runtime(...args, "--json", "--url", url);
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(out), answers[`GET /api/cluster/${path}`]);
  });
}

test("no session is ended without its id", async () => {
  const { code, err } = await runtime("sessions", "--terminate", "--url", url);
  assert.deepEqual([code, err], [2, "runtime sessions: needs an ID; see --help\n"]);
});

test("the node's own reason is passed on", async () => {
  assert.deepEqual(await runtime("sessions", "none", "--url", url), {
    code: 1,
    out: "",
    err: 'runtime sessions: no session named "none"\n',
  });
});

test("nobody at the address is told with the remedy", async () => {
  assert.deepEqual(await runtime("status", "--url", "http://127.0.0.1:1"), {
    code: 1,
    out: "",
    err: "runtime status: no node answers at http://127.0.0.1:1; start one with `runtime start`, or name its address with --url\n",
  });
});

test("another program at the address is told apart from a node", async () => {
  assert.deepEqual(await runtime("drain", "html", "--url", url), {
    code: 1,
    out: "",
    err: `runtime drain: what answers at ${url} is no Troupe node (HTTP 200)\n`,
  });
});

test("an address that is none is refused", async () => {
  assert.deepEqual(await runtime("status", "--url", "here"), {
    code: 1,
    out: "",
    err: 'runtime status: --url: expected a URL such as http://127.0.0.1:8787, got "here"\n',
  });
});
