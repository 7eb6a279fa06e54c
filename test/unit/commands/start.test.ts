/** `runtime start` as a real process: what it prints, how it ends. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { kill } from "node:process";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startLeash } from "../../harness/leash.ts";
import { NodeProcess } from "../../harness/node_process.ts";
import { waitUntil, within } from "../../harness/wait.ts";
import { makeFolder } from "../config/files.ts";
import { runtime } from "./command_line.ts";

const ON = process.versions.deno === undefined ? "node" : "deno";
const READY =
  /^Troupe \S+ serves MCP at (http:\/\/127\.0\.0\.1:\d+)\/mcp \(node (\S+), single_node, (\d+) MCP servers?\)$/;
const folder = makeFolder();
const leash = startLeash();
const started: NodeProcess[] = [];

after(async () => {
  await Promise.all(started.map((process) => process.discard()));
  await leash.close();
  folder.remove();
});

function start(...args: string[]): NodeProcess {
  const process = new NodeProcess({ runtime: ON, args: ["start", "--port", "0", "--workers", "1", ...args] }, leash);
  started.push(process);
  return process;
}

/** By number: Deno's `ChildProcess.kill` reports the signal it sent as the way the process ended. */
function signal({ pid }: NodeProcess, name: "SIGTERM" | "SIGINT"): void {
  kill(pid, name);
}

async function urlOf(process: NodeProcess): Promise<string> {
  const line = await process.ready();
  const url = READY.exec(line)?.[1];
  assert.ok(url, line);
  return url;
}

test("it prints one line when it serves, and SIGTERM ends it with 0", async () => {
  const process = start("--node-id", "a");
  const line = await process.ready();
  assert.match(line, READY);
  assert.equal(READY.exec(line)?.[2], "a");
  assert.equal((await fetch(`${READY.exec(line)?.[1]}/ready`)).status, 200);
  signal(process, "SIGTERM");
  assert.deepEqual(await within(process.exited, 20_000, "the end"), { code: 0, signal: null });
  assert.equal(process.stdout, `${line}\n`);
});

test("a Ctrl-C that arrives twice, as npm makes it, drains and ends with 0", async () => {
  const process = start();
  await process.ready();
  signal(process, "SIGINT");
  signal(process, "SIGINT");
  assert.deepEqual(await within(process.exited, 20_000, "the end"), { code: 0, signal: null });
});

test("a second signal ends it at once, with 1", async () => {
  const module = fileURLToPath(new URL("./fixtures/hanging.ts", import.meta.url));
  const process = start("--config", folder.write("hanging.yaml", `mcpServers: { hanging: { module: ${module} } }`));
  const url = await urlOf(process);
  await callThatHangs(url);
  signal(process, "SIGTERM");
  await waitUntil(async () => !(await readyNow(url)), 5_000, "the drain to begin");
  // The drain waits for the call, so only a second signal can end it soon.
  const ended = within(process.exited, 5_000, "the end");
  let over = false;
  void ended.then(() => {
    over = true;
  });
  await waitUntil(
    () => {
      if (!over) signal(process, "SIGTERM");
      return over;
    },
    5_000,
    "the end",
    100,
  );
  assert.deepEqual(await ended, { code: 1, signal: null });
});

test("a drain through the management API ends it with 0", async () => {
  const process = start("--node-id", "b");
  const url = await urlOf(process);
  assert.equal((await runtime("drain", "b", "--url", url)).out, "node b is draining\n");
  assert.deepEqual(await within(process.exited, 20_000, "the end"), { code: 0, signal: null });
});

test("--hints adds the URLs and a request that works", async () => {
  const process = start("--hints");
  const url = await urlOf(process);
  await waitUntil(() => process.stdout.includes("curl"), 5_000, "the hints");
  const [, mcp, status, hint] = process.stdout.split("\n");
  assert.equal(mcp, `  MCP     ${url}/mcp`);
  assert.equal(status, `  status  ${url}/api/cluster/status`);
  assert.equal((await fetch(`${url}/api/cluster/status`)).status, 200);
  const [, target, body] = /curl -si (\S+) .* -d '(.*)'$/.exec(hint ?? "") ?? [];
  const response = await fetch(target ?? "", { method: "POST", headers: MCP_HEADERS, body });
  assert.equal(response.status, 200);
  assert.notEqual(response.headers.get("mcp-session-id"), null);
  await response.body?.cancel();
});

const refused: [behaviour: string, args: () => string[], sentence: () => string | RegExp][] = [
  [
    "a wrong configuration",
    () => ["--config", folder.write("wrong.yaml", "workrs: 2")],
    () => `runtime start: ${folder.path}/wrong.yaml: workrs: unknown key, did you mean "workers"?\n`,
  ],
  [
    "a wrong flag value",
    () => ["--port", "http"],
    () => 'runtime start: --port: expected a port from 0 to 65535, got "http"\n',
  ],
  [
    "a store that is not there",
    () => ["--redis", "redis://127.0.0.1:1"],
    () => /^runtime start: .*127\.0\.0\.1:1.*\n$/,
  ],
];
for (const [behaviour, args, sentence] of refused) {
  test(`${behaviour} is one sentence on standard error, and ends it with 1`, async () => {
    const process = start(...args());
    assert.deepEqual(await within(process.exited, 20_000, "the end"), { code: 1, signal: null });
    assert.equal(process.stdout, "");
    const told = process.stderr
      .split("\n")
      .filter((line) => !line.startsWith("{"))
      .join("\n");
    const expected = sentence();
    if (typeof expected === "string") assert.equal(told, expected);
    else assert.match(told, expected);
  });
}

test("a port that is taken is told with the remedy", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const process = start("--port", String(port));
  assert.deepEqual(await within(process.exited, 20_000, "the end"), { code: 1, signal: null });
  assert.match(process.stderr, new RegExp(`^runtime start: .*127\\.0\\.0\\.1:${port}.* in use`, "m"));
  server.close();
});

const MCP_HEADERS = { "content-type": "application/json", accept: "application/json, text/event-stream" };

/** Opens a session and leaves a call in it that is never answered. */
async function callThatHangs(url: string): Promise<void> {
  const post = (message: Record<string, unknown>, session: string | null): Promise<Response> =>
    fetch(`${url}/mcp`, {
      method: "POST",
      headers: session === null ? MCP_HEADERS : { ...MCP_HEADERS, "mcp-session-id": session },
      body: JSON.stringify({ jsonrpc: "2.0", ...message }),
    });
  const opened = await post(
    {
      id: 1,
      method: "initialize",
      params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } },
    },
    null,
  );
  const session = opened.headers.get("mcp-session-id");
  await opened.body?.cancel();
  await (await post({ method: "notifications/initialized" }, session)).body?.cancel();
  // It becomes an event stream after a while: then the call is running.
  const response = await post(
    { id: 2, method: "tools/call", params: { name: "hanging__wait", arguments: {} } },
    session,
  );
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  void response.body?.pipeTo(new WritableStream()).catch(() => {});
}

async function readyNow(url: string): Promise<boolean> {
  return fetch(`${url}/ready`).then(
    (response) => response.status === 200,
    () => false,
  );
}
