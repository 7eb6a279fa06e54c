/** Every kind of wrong configuration, and the exact sentence it is refused with. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { refusals } from "./files.ts";

const server = "mcpServers: { echo: { command: npx } }";

const cases: [behaviour: string, yaml: string, ...sentences: string[]][] = [
  ["an empty file is a configuration", ""],
  [
    "a mistyped key is refused with the one that was meant",
    "mcpServers: { echo: { comand: npx, command: npx } }",
    'a.yaml: mcpServers.echo.comand: unknown key, did you mean "command"?',
  ],
  [
    "a mistyped block is refused with the one that was meant",
    "mcpserver: {}",
    'a.yaml: mcpserver: unknown key, did you mean "mcpServers"?',
  ],
  [
    "a key unlike any other is refused with those that are known",
    "node: { colour: red }",
    "a.yaml: node.colour: unknown key; known here: id, labels, drain_ms",
  ],
  ["two swapped letters are one slip", "wokrers: 2", 'a.yaml: wokrers: unknown key, did you mean "workers"?'],
  [
    "a text where a number is meant is refused with both",
    "workers: four",
    'a.yaml: workers: expected a whole number from 0 to 256, got "four"',
  ],
  [
    "a fraction where a whole number is meant is refused",
    "workers: 1.5",
    "a.yaml: workers: expected a whole number from 0 to 256, got 1.5",
  ],
  [
    "a number beyond its range is refused with the bound",
    "workers: 300",
    "a.yaml: workers: expected a whole number of at most 256, got 300",
  ],
  [
    "a number below its range is refused with the bound",
    "gateway: { server: { max_body_bytes: 3 } }",
    "a.yaml: gateway.server.max_body_bytes: expected a whole number of at least 1024, got 3",
  ],
  [
    "a text where true or false is meant is refused",
    'mesh: { direct: "yes" }',
    'a.yaml: mesh.direct: expected true or false, got "yes"',
  ],
  [
    "a value where a list is meant is refused",
    "extensions: ./a.ts",
    'a.yaml: extensions: expected a list, got "./a.ts"',
  ],
  ["a value where a block is meant is refused", "node: one", 'a.yaml: node: expected a block of keys, got "one"'],
  [
    "a list where a block is meant is refused",
    "mcpServers: [a]",
    "a.yaml: mcpServers: expected a block of keys, got a list",
  ],
  [
    "a wrong item of a list is named by its place",
    "gateway: { server: { allowed_origins: [a, [b]] } }",
    "a.yaml: gateway.server.allowed_origins[1]: expected text, got a list",
  ],
  [
    "a number where text is meant says that quotes are missing",
    "node: { labels: { zone: 3 } }",
    "a.yaml: node.labels.zone: expected text, got 3; put it in quotes",
  ],
  [
    "a value that is none of the choices is refused with them",
    "mcpServers: { echo: { command: npx, isolation: thread } }",
    'a.yaml: mcpServers.echo.isolation: expected one of "session", "principal", "shared", got "thread"',
  ],
  [
    "a policy for lost owners that is none is refused with those there are",
    "mcpServers: { echo: { command: npx, on_owner_loss: restart } }",
    'a.yaml: mcpServers.echo.on_owner_loss: expected one of "reinitialize", "terminate", got "restart"',
  ],
  [
    "a policy for lost owners that is given twice is refused",
    "mcpServers: { echo: { command: npx, on_owner_loss: terminate, onOwnerLoss: terminate } }",
    "a.yaml: mcpServers.echo.onOwnerLoss: means the same as on_owner_loss, which is given too; remove one",
  ],
  [
    "an address without a port is refused",
    "gateway: { server: { bind_address: 127.0.0.1 } }",
    'a.yaml: gateway.server.bind_address: expected host:port with a port from 0 to 65535, got "127.0.0.1"',
  ],
  [
    "a port that cannot be is refused",
    "mesh: { bind_address: 127.0.0.1:70000 }",
    'a.yaml: mesh.bind_address: expected host:port with a port from 0 to 65535, got "127.0.0.1:70000"',
  ],
  [
    "a server name that cannot stand in a URL is refused",
    'mcpServers: { "my server": { command: npx } }',
    'a.yaml: mcpServers.my server: expected a server name of at most 32 letters, digits, - and single _ that starts with a letter or digit, got "my server"',
  ],
  [
    "a server name that would make prefixed names ambiguous is refused",
    "mcpServers: { a__b: { command: npx } }",
    'a.yaml: mcpServers.a__b: expected a server name of at most 32 letters, digits, - and single _ that starts with a letter or digit, got "a__b"',
  ],
  [
    "half of a TLS block is refused",
    "gateway: { server: { tls: { cert_path: ./a.yaml } } }",
    "a.yaml: gateway.server.tls.key_path: expected text, got nothing",
  ],
  [
    "a certificate that is not there is refused",
    "gateway: { server: { tls: { cert_path: ./a.yaml, key_path: no.key } } }",
    "a.yaml: gateway.server.tls.key_path: no such file: no.key",
  ],
  [
    "a module that is not there is refused",
    "mcpServers: { notes: { module: ./notes.ts } }",
    "a.yaml: mcpServers.notes.module: no such file: notes.ts",
  ],
  [
    "a folder that is not there is refused",
    "mcpServers: { echo: { command: npx, cwd: ./nowhere } }",
    "a.yaml: mcpServers.echo.cwd: no such folder: nowhere",
  ],
  [
    "an extension that is not there is refused",
    "extensions: [./counter.ts]",
    "a.yaml: extensions[0]: no such file: counter.ts",
  ],
  [
    "a server of no kind is refused",
    "mcpServers: { echo: { isolation: shared } }",
    "a.yaml: mcpServers.echo: needs one of command (a program), url (a server over HTTP) or module (a server in this process)",
  ],
  [
    "a server of two kinds is refused",
    "mcpServers: { echo: { command: npx, url: 'http://a/mcp' } }",
    "a.yaml: mcpServers.echo: has command and url; keep one of them",
  ],
  [
    "a key of another kind of server is refused",
    "mcpServers: { echo: { url: 'http://a/mcp', args: [x] } }",
    "a.yaml: mcpServers.echo.args: goes with command, and this server has url; remove it",
  ],
  [
    "a URL of another scheme is refused",
    "mcpServers: { echo: { url: 'ftp://a' } }",
    'a.yaml: mcpServers.echo.url: expected an http:// or https:// URL, got "ftp://a"',
  ],
  [
    "servers that disagree about naming are refused",
    "mcpServers: { a: { command: x, naming: none }, b: { command: y } }",
    'a.yaml: mcpServers.b.naming: is "prefix" and that of a is "none"; all servers must say the same',
  ],
  [
    "a kind that is not available yet is refused, whatever keys come with it",
    "cluster: { kind: nats, servers: ['nats://a'] }",
    'a.yaml: cluster.kind: "nats" is not available yet; use "single_node" or "redis"',
  ],
  [
    "a kind that never was is refused",
    "cluster: { kind: zookeeper }",
    'a.yaml: cluster.kind: expected one of "single_node", "redis", got "zookeeper"',
  ],
  [
    "redis without its URL is refused",
    "cluster: { kind: redis }",
    'a.yaml: cluster: kind "redis" needs url, for example redis://127.0.0.1:6379',
  ],
  [
    "braces in the key prefix are refused",
    'cluster: { kind: redis, url: "redis://a", key_prefix: "a{b}:" }',
    'a.yaml: cluster.key_prefix: expected 1 to 128 characters without spaces and braces, got "a{b}:"',
  ],
  [
    "a renewal that is too rare for its lease is refused",
    'cluster: { kind: redis, url: "redis://a", node_lease_renew_ms: 5000 }',
    "a.yaml: cluster.node_lease_renew_ms: 5000 is too long for a lease of 6000 ms, in which two renewals must fit: at most 2550",
  ],
  [
    "a grace longer than the lease is refused",
    'cluster: { kind: redis, url: "redis://a", node_lease_ttl_ms: 1000, node_lease_grace_ms: 2000 }',
    "a.yaml: cluster.node_lease_grace_ms: 2000 is longer than the lease of 1000 ms; at most that",
  ],
  [
    "a key given under both of its names is refused",
    'cluster: { kind: redis, url: "redis://a", node_lease_ttl_ms: 1000, peer_ttl_ms: 1000 }',
    "a.yaml: cluster.peer_ttl_ms: means the same as cluster.node_lease_ttl_ms, which is given too; remove one",
  ],
  [
    "a cluster whose mesh others can reach needs a secret",
    'cluster: { kind: redis, url: "redis://a" }\nmesh: { bind_address: "0.0.0.0:7000" }',
    "a.yaml: mesh: a cluster of several nodes needs mesh.secret or mesh.tls unless everything binds to loopback, and mesh.bind_address is 0.0.0.0:7000",
  ],
  [
    "so does one that advertises an outside address",
    'cluster: { kind: redis, url: "redis://a" }\nmesh: { advertise_address: "10.0.0.1:7000" }',
    "a.yaml: mesh: a cluster of several nodes needs mesh.secret or mesh.tls unless everything binds to loopback, and mesh.advertise_address is 10.0.0.1:7000",
  ],
  [
    "so does one that serves clients from outside",
    'cluster: { kind: redis, url: "redis://a" }\ngateway: { server: { bind_address: "0.0.0.0:8787" } }',
    "a.yaml: mesh: a cluster of several nodes needs mesh.secret or mesh.tls unless everything binds to loopback, and gateway.server.bind_address is 0.0.0.0:8787",
  ],
  ["a cluster on loopback needs none", 'cluster: { kind: redis, url: "redis://a" }'],
  [
    "a cluster that others can reach is fine with a secret",
    'cluster: { kind: redis, url: "redis://a" }\nmesh: { bind_address: "0.0.0.0:7000", secret: "0123456789abcdef" }',
  ],
  ["a single node needs none wherever it binds", 'gateway: { server: { bind_address: "0.0.0.0:8787" } }'],
  [
    "a block that this version does not have is refused",
    "governance: { access: {} }",
    "a.yaml: governance: not supported yet by this version; remove it",
  ],
  [
    "so is a part of a block",
    "mcp: { capabilities: { tools: [] } }",
    "a.yaml: mcp.capabilities: not supported yet by this version; remove it",
  ],
  [
    "so is a per-capability override",
    "mcp: { configurations: { sessions: { store: { kind: memory } } } }",
    "a.yaml: mcp.configurations.sessions.store: not supported yet by this version; remove it",
  ],
  [
    "broken YAML is refused with its line",
    `${server}\nnode: { id: a`,
    "a.yaml:2: not valid YAML: Flow map in block collection must be sufficiently indented and end with a }",
  ],
  [
    "a key given twice is refused with its line",
    "workers: 1\nnode: {}\nworkers: 2",
    "a.yaml:3: not valid YAML: Map keys must be unique",
  ],
  ["a file that is no block is refused", "- a", "a.yaml: expected a block of keys, got a list"],
  [
    "all problems are told at once",
    "workers: x\nnode: { idd: a }\ngovernance: {}",
    'a.yaml: node.idd: unknown key, did you mean "id"?',
    'a.yaml: workers: expected a whole number from 0 to 256, got "x"',
    "a.yaml: governance: not supported yet by this version; remove it",
  ],
  [
    "an alias bomb is refused",
    `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c]`,
    "a.yaml: not valid YAML: Excessive alias count indicates a resource exhaustion attack",
  ],
  [
    "a key that would change objects themselves is refused",
    "node: { __proto__: { id: x } }",
    "a.yaml: node.__proto__: cannot be a key; remove it",
  ],
];

for (const [behaviour, yaml, ...expected] of cases) {
  test(behaviour, async () => assert.deepEqual(await refusals(yaml), expected));
}

test("a variable that is not set is named with file and key", async () => {
  assert.deepEqual(await refusals("mesh: { secret: '${env.MESH_SECRET}' }"), [
    "a.yaml: mesh.secret: the environment variable MESH_SECRET is not set",
  ]);
});

test("a substitution without a name is refused", async () => {
  assert.deepEqual(await refusals("node: { labels: { zone: '${env.}' } }"), [
    "a.yaml: node.labels.zone: ${env.} names no environment variable; write ${env.NAME}",
  ]);
});

test("a variable that does not fit is told with what it came to", async () => {
  assert.deepEqual(await refusals("workers: ${env.WORKERS}", { WORKERS: "many" }), [
    'a.yaml: workers: expected a whole number from 0 to 256, got "many"',
  ]);
});

test("no sentence repeats a secret", async () => {
  const told = await refusals(
    `mesh: { secret: hunter2 }
cluster: { kind: redis, url: "http://user:hunter2@redis" }
mcpServers: { a: { url: "ftp://user:hunter2@a", headers: { Authorization: [hunter2] } } }`,
  );
  assert.deepEqual(told, [
    "a.yaml: mesh.secret: expected at least 16 characters, got 7 characters",
    'a.yaml: cluster.url: expected a URL like redis://host:6379 or rediss://user:password@host:6379/0, got "http://user:***@redis"',
    'a.yaml: mcpServers.a.url: expected an http:// or https:// URL, got "ftp://user:***@a"',
    "a.yaml: mcpServers.a.headers.Authorization: expected text, got a list",
  ]);
});
