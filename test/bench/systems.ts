/**
 * The systems that `npm run bench:mcp` compares, one per row: how each is started, where its sessions are opened and
 * called, and which processes it consists of.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ConfigInput } from "../../runtime/config/config.ts";
import { startCluster } from "../harness/cluster.ts";
import type { Leash } from "../harness/leash.ts";
import type { RuntimeName } from "../harness/node_process.ts";
import { freePort } from "../harness/ports.ts";
import { PeerProcess } from "./peer_process.ts";

export interface RunningSystem {
  /** Where sessions are opened, and where their calls go. */
  open: string;
  call: string;
  tool: string;
  /** Roots of the process trees that belong to it. */
  pids: number[];
  close(): Promise<void>;
}

export interface System {
  /** As in the issue: `a-json`, `c`, … */
  row: string;
  what: string;
  start(): Promise<RunningSystem>;
}

export interface Setting {
  /** What the servers run on; the client always runs on Node.js. */
  runtime: RuntimeName;
  leash: Leash;
  /** The built `runtime` program. */
  bin: string;
}

const PEERS = fileURLToPath(new URL("./peers/", import.meta.url));
const DENO = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));

export function systems(setting: Setting): System[] {
  const [executable, before] =
    setting.runtime === "deno" ? [DENO, ["run", "-A", "--node-modules-dir=manual"]] : [process.execPath, []];
  const stdio: [string, ...string[]] = [executable, ...before, join(PEERS, "stdio.mjs")];

  const peer = (row: string, what: string, args: (port: number) => string[]): System => ({
    row,
    what,
    start: async () => {
      const port = await freePort();
      const process = new PeerProcess(executable, [...before, ...args(port)], setting.leash);
      await process.listening(port);
      const url = `http://127.0.0.1:${port}/mcp`;
      return { open: url, call: url, tool: "echo", pids: [process.pid], close: () => process.close() };
    },
  });
  const own =
    (file: string, ...more: string[]) =>
    (port: number) => [join(PEERS, file), String(port), ...more];
  const bin = (name: string) => join(PEERS, "node_modules", name);

  const troupe = (row: string, what: string, nodes: 1 | 2, upstream: Upstream): System => ({
    row,
    what,
    start: async () => {
      const cluster = await startCluster({
        nodes,
        runtime: setting.runtime,
        bin: setting.bin,
        mcpServers: { echo: { naming: "none", ...upstream } },
        config: { mcp: { configurations: { sessions: { max_calls: 1_000 } } } },
      });
      const pids = cluster.urls.map((_, index) => cluster.node(index).pid);
      const redisPid = /^process_id:(\d+)/m.exec((await cluster.redis?.info("server")) ?? "")?.[1];
      if (redisPid !== undefined) pids.push(Number(redisPid));
      return {
        open: `${cluster.urls[0]}/mcp`,
        call: `${cluster.urls[nodes - 1]}/mcp`,
        tool: "echo",
        pids,
        close: () => cluster.close(),
      };
    },
  });
  const moduleV1: Upstream = { module: new URL("./peers/echo_sdk_v1.mjs", import.meta.url) };
  const moduleV2: Upstream = { module: new URL("./peers/echo_sdk_v2.mjs", import.meta.url) };
  const overStdio: Upstream = { command: stdio[0], args: stdio.slice(1) };

  return [
    peer("h", "floor: node:http and JSON", own("floor.mjs")),
    peer("a-json", "SDK v1 direct, JSON answers", own("sdk_v1.mjs", "json")),
    peer("a-sse", "SDK v1 direct, SSE answers", own("sdk_v1.mjs", "sse")),
    peer("b", "tmcp direct", own("tmcp.mjs")),
    troupe("c", "Troupe, one node, module (SDK v2)", 1, moduleV2),
    troupe("c-v1", "Troupe, one node, module (SDK v1)", 1, moduleV1),
    troupe("d", "Troupe, wrong node, module (SDK v2)", 2, moduleV2),
    troupe("d-v1", "Troupe, wrong node, module (SDK v1)", 2, moduleV1),
    // mcp-proxy has one child for all sessions, supergateway one per session: each has its counterpart.
    troupe("e", "Troupe, one node, stdio shared", 1, { ...overStdio, isolation: "shared" }),
    troupe("e-session", "Troupe, one node, stdio per session", 1, overStdio),
    troupe("f", "Troupe, wrong node, stdio shared", 2, { ...overStdio, isolation: "shared" }),
    troupe("f-session", "Troupe, wrong node, stdio per session", 2, overStdio),
    peer("g-mcp-proxy", "mcp-proxy, stdio", (port) => [
      bin("mcp-proxy/dist/bin/mcp-proxy.mjs"),
      "--port",
      String(port),
      "--host",
      "127.0.0.1",
      "--server",
      "stream",
      "--",
      ...stdio,
    ]),
    peer("g-supergateway", "supergateway --stateful, stdio", (port) => [
      bin("supergateway/dist/index.js"),
      "--stdio",
      stdio.join(" "),
      "--outputTransport",
      "streamableHttp",
      "--stateful",
      "--port",
      String(port),
      "--logLevel",
      "none",
    ]),
  ];
}

type Upstream = NonNullable<ConfigInput["mcpServers"]>[string];

/** Says what to do if the peers are not there. */
export function requirePeers(): void {
  if (existsSync(join(PEERS, "node_modules", "tmcp"))) return;
  throw new Error("the peers are not installed; run: npm ci --ignore-scripts --prefix test/bench/peers");
}
