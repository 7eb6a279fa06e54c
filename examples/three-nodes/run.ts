/**
 * Three nodes, one Redis, and a plain round-robin proxy in front (nginx, or HAProxy where there is no nginx). A client
 * opens one session and prints, for each of its requests, which node answered and which node owns the session.
 *
 *   npm run example:three-nodes             run it once
 *   npm run example:three-nodes -- --keep   leave everything running until Ctrl-C, to try it with a client of yours
 *
 * Exit code 0 if every request succeeded and all three nodes answered some.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { accepts, findProgram, freePort, Programs } from "./processes.ts";

/** As in nginx.conf and haproxy.cfg; replaced there when one is taken. */
const PORTS = { proxy: 9080, a: 9081, b: 9082, c: 9083, redis: 9084 };
const NODES = ["a", "b", "c"] as const;
const HERE = fileURLToPath(new URL("./", import.meta.url));
const RUNTIME = fileURLToPath(new URL("../../runtime/bin.mjs", import.meta.url));

interface Proxy {
  name: string;
  program: string;
  args(folder: string): string[];
  config: string;
}

function findProxy(): Proxy | undefined {
  const nginx = findProgram("nginx");
  if (nginx !== undefined) {
    const args = (folder: string) => ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr"];
    return { name: "nginx", program: nginx, args, config: "nginx.conf" };
  }
  const haproxy = findProgram("haproxy");
  if (haproxy === undefined) return undefined;
  return {
    name: "HAProxy",
    program: haproxy,
    args: (folder) => ["-f", join(folder, "haproxy.cfg")],
    config: "haproxy.cfg",
  };
}

async function main(): Promise<number> {
  const redis = findProgram("redis-server");
  const proxy = findProxy();
  if (redis === undefined || proxy === undefined) {
    const missing = [redis ? "" : "redis-server", proxy ? "" : "nginx"].filter(Boolean).join(" and ");
    console.error(`${missing} not found; on Debian or Ubuntu: sudo apt-get install redis-server nginx`);
    return 1;
  }
  const folder = mkdtempSync(join(tmpdir(), "three-nodes-"));
  const programs = new Programs();
  const interrupted = new Promise<void>((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
  const story = async (): Promise<number> => {
    const ports = await choosePorts();
    await startAll(programs, folder, redis, proxy, ports);
    const good = await converse(ports);
    if (process.argv.includes("--keep")) {
      console.log(`\nServing at http://127.0.0.1:${ports.proxy}/mcp until Ctrl-C.`);
      await interrupted;
    }
    return good ? 0 : 1;
  };
  try {
    return await Promise.race([story(), interrupted.then(() => (process.argv.includes("--keep") ? 0 : 1))]);
  } finally {
    await programs.stopAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Ports = Record<keyof typeof PORTS, number>;

async function choosePorts(): Promise<Ports> {
  const ports = { ...PORTS };
  for (const name of Object.keys(PORTS) as (keyof typeof PORTS)[]) ports[name] = await freePort(PORTS[name]);
  return ports;
}

async function startAll(programs: Programs, folder: string, redis: string, proxy: Proxy, ports: Ports): Promise<void> {
  const redisArgs = ["--port", String(ports.redis), "--bind", "127.0.0.1", "--save", "", "--dir", folder];
  await programs.start("redis-server", redis, redisArgs, { ready: () => accepts(ports.redis) });
  console.log(`redis-server on port ${ports.redis}`);

  const env = { REDIS_URL: `redis://127.0.0.1:${ports.redis}`, MESH_SECRET: randomBytes(24).toString("base64") };
  await Promise.all(
    NODES.map(async (id) => {
      const flags = ["--config", join(HERE, "runtime.yaml"), "--port", String(ports[id]), "--node-id", id];
      const runtimeArgs = process.versions.deno === undefined ? [] : ["run", "-A"];
      await programs.start(`node ${id}`, process.execPath, [...runtimeArgs, RUNTIME, "start", ...flags], {
        env,
        ready: (output) => output.includes(" serves MCP at "),
      });
      console.log(`node ${id} on port ${ports[id]}`);
    }),
  );

  // A proxy that runs as another user must be able to read its own folder.
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, proxy.config), withPorts(readFileSync(join(HERE, proxy.config), "utf8"), ports));
  await programs.start(proxy.name, proxy.program, proxy.args(folder), { ready: () => healthy(ports.proxy) });
  console.log(`${proxy.name} on port ${ports.proxy}, round robin\n`);
}

function withPorts(config: string, ports: Ports): string {
  return config.replace(/\b908\d\b/g, (written) => {
    const name = (Object.keys(PORTS) as (keyof typeof PORTS)[]).find((key) => String(PORTS[key]) === written);
    return name === undefined ? written : String(ports[name]);
  });
}

async function healthy(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/health`).then(
    (response) => response.ok,
    () => false,
  );
}

/** One session through the proxy. True if all went well and every node had a part in it. */
async function converse(ports: Ports): Promise<boolean> {
  const answeredBy = new Set<string>();
  let failures = 0;
  let owner = "";
  /** A fetch that tells which node answered; otherwise as any client's. */
  const telling: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const node = response.headers.get("troupe-node") ?? "?";
    const session = response.headers.get("mcp-session-id") ?? new Headers(init?.headers).get("mcp-session-id");
    if (owner === "" && session !== null) owner = await ownerOf(session, ports);
    // A server without a stream for its own messages answers GET with 405, which is no failure.
    if (!response.ok && response.status !== 405) failures++;
    answeredBy.add(node);
    console.log(
      `${what(init).padEnd(28)} ${String(response.status).padEnd(6)} answered by ${node}   session owned by ${owner}`,
    );
    return response;
  };

  const client = new Client({ name: "three-nodes", version: "1.0.0" });
  const transport = new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${ports.proxy}/mcp`), {
    fetch: telling,
  });
  await client.connect(transport);
  const { tools } = await client.listTools();
  await client.callTool({ name: "notes__add", arguments: { title: "first", text: "written through one node" } });
  await client.callTool({ name: "notes__add", arguments: { title: "second", text: "written through another" } });
  const found = await client.callTool({ name: "notes__search", arguments: {} });
  await client.callTool({ name: "everything__echo", arguments: { message: "hello" } });
  await client.listResources();
  await client.readResource({ uri: "note://1" });
  await transport.terminateSession();
  await client.close();

  const nodes = [...answeredBy].sort();
  const kept = JSON.stringify(found.content).includes("2. second");
  console.log(
    `\n${tools.length} tools; one session, answered by nodes ${nodes.join(", ")}; ${failures} failed requests`,
  );
  if (!kept) console.log("but a note was lost");
  return failures === 0 && kept && NODES.every((node) => answeredBy.has(node));
}

/** What a request asks for: the JSON-RPC method of a POST, or the HTTP method. */
function what(init: RequestInit | undefined): string {
  const body = typeof init?.body === "string" ? (JSON.parse(init.body) as { method?: string }) : {};
  return body.method ?? (init?.method === "GET" ? "GET (event stream)" : (init?.method ?? "GET"));
}

/** Management is asked directly at a node: through the proxy it is refused. */
async function ownerOf(session: string, ports: Ports): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${ports.a}/api/cluster/sessions/${encodeURIComponent(session)}`);
  const body = (await response.json()) as { data?: { owner?: string } };
  return body.data?.owner ?? "?";
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
