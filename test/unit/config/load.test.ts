/** How files, variables, flags and programs come to one configuration. */
import assert from "node:assert/strict";
import { hostname } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { checkFiles, loadConfig, resolveConfig } from "../../../runtime/config/load.ts";
import type { ConfigInput } from "../../../runtime/config/schema.ts";
import { makeFolder, sentences } from "./files.ts";

const folder = makeFolder();
const other = makeFolder();
after(() => {
  folder.remove();
  other.remove();
});

test("without anything there is a complete configuration of a single node on loopback", async () => {
  const { config } = await loadConfig({}, {});
  assert.equal(config.gateway.server.bind_address, "127.0.0.1:8787");
  assert.equal(config.gateway.server.max_body_bytes, 4 * 1024 * 1024);
  assert.equal(config.cluster.kind, "single_node");
  assert.equal(config.cluster.key_prefix, "troupe:");
  assert.deepEqual(
    [config.cluster.node_lease_ttl_ms, config.cluster.node_lease_renew_ms, config.cluster.node_lease_grace_ms],
    [6_000, 2_000, 600],
  );
  assert.equal(config.mcp.configurations.response.stream_after_ms, 1_000);
  assert.deepEqual(config.mcp.configurations.sessions, {
    idle_timeout_ms: 900_000,
    max_sessions: 10_000,
    max_calls: 64,
  });
  assert.ok(config.workers >= 1);
  assert.equal(config.node.id, `${hostname()}-8787`);
});

test("an upstream gets its defaults", async () => {
  const file = folder.write("defaults.yaml", "mcpServers: { echo: { command: npx } }");
  const { config } = await checkFiles([file]);
  assert.deepEqual(config.mcpServers.echo, {
    command: "npx",
    cwd: folder.path,
    isolation: "session",
    idle_stop_ms: 300_000,
    max_processes: 256,
    start_timeout_ms: 30_000,
    naming: "prefix",
  });
});

test("later files override only what they declare, and replace lists", async () => {
  const a = folder.write(
    "a.yaml",
    "workers: 3\nnode: { id: a, labels: { zone: one, disk: fast } }\ngateway: { server: { allowed_hosts: [x, y] } }",
  );
  const b = folder.write("b.yaml", "node: { labels: { zone: two } }\ngateway: { server: { allowed_hosts: [z] } }");
  for (const config of [[`${a}:${b}`], [a, b]]) {
    const loaded = await loadConfig({ config }, {});
    assert.equal(loaded.config.workers, 3);
    const { id, labels } = loaded.config.node;
    assert.deepEqual({ id, labels }, { id: "a", labels: { zone: "two", disk: "fast" } });
    assert.deepEqual(loaded.config.gateway.server.allowed_hosts, ["z"]);
    assert.deepEqual(loaded.files, [a, b]);
  }
});

test("an empty value in a later file takes an earlier one away", async () => {
  const a = folder.write("with.yaml", "mcpServers: { echo: { command: npx }, notes: { command: npx } }");
  const b = folder.write("without.yaml", "mcpServers:\n  echo:\n");
  const { config } = await checkFiles([a, b]);
  assert.deepEqual(Object.keys(config.mcpServers), ["notes"]);
});

test("a problem names the file that declared the value, not the last one", async () => {
  const a = folder.write("first.yaml", "workers: x\nnode: { idd: a }");
  const b = folder.write("second.yaml", "node: { id: a }\nmesh: { direct: 1 }");
  assert.deepEqual(await sentences(checkFiles([a, b]), folder), [
    'first.yaml: node.idd: unknown key, did you mean "id"?',
    "second.yaml: mesh.direct: expected true or false, got 1",
    'first.yaml: workers: expected a whole number from 0 to 256, got "x"',
  ]);
});

test("a file that is not there is named", async () => {
  assert.deepEqual(await sentences(checkFiles([join(folder.path, "none.yaml")]), folder), ["none.yaml: no such file"]);
});

test("RUNTIME_CONFIG works like --config, which beats it", async () => {
  const a = folder.write("by-variable.yaml", "node: { id: by-variable }");
  const b = folder.write("by-flag.yaml", "node: { id: by-flag }");
  assert.equal((await loadConfig({}, { RUNTIME_CONFIG: a })).config.node.id, "by-variable");
  assert.equal((await loadConfig({ config: [b] }, { RUNTIME_CONFIG: a })).config.node.id, "by-flag");
});

test("flags beat variables, variables beat files", async () => {
  const file = folder.write(
    "base.yaml",
    "gateway: { server: { bind_address: 'localhost:1000' } }\nworkers: 1\nnode: { id: file }",
  );
  const env = { RUNTIME_PORT: "2000", RUNTIME_WORKERS: "2", RUNTIME_NODE_ID: "variable" };
  const loaded = (await loadConfig({ config: [file], port: "3000", "node-id": "flag" }, env)).config;
  assert.equal(loaded.gateway.server.bind_address, "localhost:3000");
  assert.equal(loaded.workers, 2);
  assert.equal(loaded.node.id, "flag");
});

test("every setting that nodes differ in has a variable and a flag", async () => {
  const wanted = {
    host: "::1",
    port: "1001",
    "mesh-port": "1002",
    advertise: "localhost:1003",
    "node-id": "a",
    redis: "redis://localhost:1004",
    workers: "0",
  };
  const env = Object.fromEntries(
    Object.entries(wanted).map(([flag, value]) => [`RUNTIME_${flag.replace("-", "_").toUpperCase()}`, value]),
  );
  for (const { config } of [
    await loadConfig({ ...wanted, advertise: "127.0.0.1:1003" }, {}),
    await loadConfig({}, { ...env, RUNTIME_ADVERTISE: "127.0.0.1:1003" }),
  ]) {
    assert.equal(config.gateway.server.bind_address, "[::1]:1001");
    assert.equal(config.mesh.bind_address, "127.0.0.1:1002");
    assert.equal(config.mesh.advertise_address, "127.0.0.1:1003");
    assert.equal(config.node.id, "a");
    assert.equal(config.cluster.kind, "redis");
    assert.equal(config.cluster.url, "redis://localhost:1004");
    assert.equal(config.workers, 0);
  }
});

test("a wrong flag or variable is named like a wrong key", async () => {
  assert.deepEqual(await sentences(loadConfig({ port: "http" }, {})), [
    '--port: expected a port from 0 to 65535, got "http"',
  ]);
  assert.deepEqual(await sentences(loadConfig({ workers: "many", redis: "here" }, { RUNTIME_MESH_PORT: "-1" })), [
    'RUNTIME_MESH_PORT: expected a port from 0 to 65535, got "-1"',
    '--workers: expected a whole number from 0 to 256, got "many"',
    '--redis: expected a URL like redis://host:6379 or rediss://user:password@host:6379/0, got "here"',
  ]);
  assert.deepEqual(await sentences(loadConfig({ "node-id": "a b" }, {})), [
    '--node-id: expected at most 128 letters, digits, dots, - and _, first a letter or digit, got "a b"',
  ]);
});

test("variables are replaced anywhere in a value, and may stand for numbers", async () => {
  const file = folder.write(
    "variables.yaml",
    "workers: ${env.W}\nmesh: { direct: '${env.D}' }\nnode: { id: 'x-${env.A}-${env.B}', labels: { n: '${env.W}' } }",
  );
  const { config } = await checkFiles([file], { W: "2", D: "false", A: "a", B: "b" });
  assert.equal(config.workers, 2);
  assert.equal(config.mesh.direct, false);
  assert.equal(config.node.id, "x-a-b");
  assert.equal(config.node.labels.n, "2");
});

test("what a variable holds is not searched for variables", async () => {
  const file = folder.write("once.yaml", "node: { labels: { a: '${env.A}' } }");
  const { config } = await checkFiles([file], { A: "${env.B}", B: "b" });
  assert.equal(config.node.labels.a, "${env.B}");
});

test("a variable of a value that a later file replaces is not needed", async () => {
  const a = folder.write("needs.yaml", "mesh: { secret: '${env.NOWHERE}' }");
  const b = folder.write("replaces.yaml", "mesh: { secret: 0123456789abcdef }");
  assert.equal((await checkFiles([a, b], {})).config.mesh.secret, "0123456789abcdef");
});

test("relative paths start at the file that declares them", async () => {
  folder.write("notes.mjs", "");
  other.write("counter.mjs", "");
  other.write("cert.pem", "");
  const a = folder.write(
    "paths.yaml",
    "mcpServers: { notes: { module: ./notes.mjs }, echo: { command: ./echo.sh }, sh: { command: sh, cwd: . } }",
  );
  const b = other.write(
    "paths.yaml",
    "extensions: [counter.mjs]\ncluster: { dir: ./data }\ngateway: { server: { tls: { cert_path: cert.pem, key_path: cert.pem } } }\nmcpServers: { echo: { args: [x] } }",
  );
  const { config } = await checkFiles([a, b]);
  assert.equal(config.mcpServers.notes?.module, pathToFileURL(join(folder.path, "notes.mjs")).href);
  assert.equal(config.mcpServers.echo?.command, join(folder.path, "echo.sh"));
  assert.equal(config.mcpServers.echo?.cwd, folder.path);
  assert.equal(config.mcpServers.sh?.command, "sh");
  assert.deepEqual(config.extensions, [pathToFileURL(join(other.path, "counter.mjs")).href]);
  assert.equal(config.gateway.server.tls?.cert_path, join(other.path, "cert.pem"));
  assert.equal(config.cluster.dir, join(other.path, "data"));
});

test("the aliases of other systems mean the same", async () => {
  const file = folder.write(
    "aliases.yaml",
    "cluster: { kind: redis, url: 'redis://a', peer_ttl_ms: 9000, peer_refresh_interval_ms: 1000, service_name: shop }",
  );
  const { config } = await checkFiles([file]);
  assert.equal(config.cluster.node_lease_ttl_ms, 9_000);
  assert.equal(config.cluster.node_lease_renew_ms, 1_000);
  assert.equal(config.cluster.node_lease_grace_ms, 900);
  assert.equal(config.node.id, `shop-${hostname()}-8787`);
  assert.ok(!("peer_ttl_ms" in config.cluster));
});

test("renewal and grace follow the lease unless they are given", async () => {
  const { cluster } = resolveConfig({ cluster: { kind: "redis", url: "redis://a", node_lease_ttl_ms: 1_500 } });
  assert.deepEqual([cluster.node_lease_renew_ms, cluster.node_lease_grace_ms], [500, 150]);
});

test("two nodes whose port is not known yet have different ids", () => {
  const input: ConfigInput = { gateway: { server: { bind_address: "127.0.0.1:0" } } };
  assert.notEqual(resolveConfig(input).node.id, resolveConfig(input).node.id);
});

test("a program may hand in URLs, and a checked configuration passes unchanged", () => {
  const module = pathToFileURL(folder.write("program.mjs", ""));
  const config = resolveConfig({
    mcpServers: { notes: { module }, echo: { command: "sh", args: ["-c", "true"] }, web: { url: "http://a/mcp" } },
    extensions: [module],
    node: { id: undefined, labels: { a: "${env.NOT_REPLACED}" } },
  });
  assert.equal(config.mcpServers.notes?.module, module.href);
  assert.deepEqual(config.extensions, [module.href]);
  assert.equal(config.node.labels.a, "${env.NOT_REPLACED}");
  assert.deepEqual(resolveConfig(config), config);
});

test("a program's mistake is told like a file's", async () => {
  const wrong = { workers: "2" } as unknown;
  assert.deepEqual(await sentences(Promise.resolve().then(() => resolveConfig(wrong as ConfigInput))), [
    'configuration: workers: expected a whole number from 0 to 256, got "2"',
  ]);
});

test("what is allowed and likely to surprise is warned about", async () => {
  const { warnings } = await loadConfig({ host: "0.0.0.0" }, {});
  assert.deepEqual(warnings, [
    "gateway.server.bind_address: 0.0.0.0:8787 is reachable from other machines and this version has no access control; let only trusted clients reach it",
    "mcpServers: no MCP server is configured, so sessions will have nothing to call",
  ]);
  const file = folder.write("dir.yaml", "cluster: { dir: data }\nmcpServers: { echo: { command: npx } }");
  assert.deepEqual((await loadConfig({ config: [file] }, {})).warnings, []);
  assert.deepEqual((await loadConfig({ config: [file], redis: "redis://localhost:6379" }, {})).warnings, [
    'cluster.dir: has no effect with kind "redis", which keeps the state itself; remove it',
  ]);
});
