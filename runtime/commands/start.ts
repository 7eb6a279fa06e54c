/**
 * `runtime start`: one node in this process, until SIGTERM or SIGINT. The first signal drains it and exits 0, a second
 * one exits at once. Standard output gets one line when the node serves; the log goes to standard error.
 */
import type { ConfigFlags } from "../config/settings.ts";
import { VERSION } from "../config/version.ts";
import { defaultWorkers } from "../config/workers.ts";
import type { Command } from "../main.ts";
import type { RunningNode } from "../node.ts";
import { createLogger } from "../observe/log.ts";
import { BUILT_IN_ACTORS, WORKER_ENTRY } from "../worker/built_in.ts";
import { defaultHeapMib } from "../worker/heap.ts";
import { spawnAhead } from "../worker/spawn.ts";
import { readFlags } from "./flags.ts";

/**
 * A terminal's Ctrl-C reaches the whole process group, and `npm` sends it to its child once more. Signals closer
 * together than this are one.
 */
const SAME_SIGNAL_MS = 300;

const help = `Usage: runtime start [options]

Starts a node and serves MCP until SIGTERM or Ctrl-C, which drain it.

  --config FILE[:FILE...]   configuration; later files override only what they declare (RUNTIME_CONFIG)
  --host HOST               address to serve on, default 127.0.0.1 (RUNTIME_HOST)
  --port PORT               port to serve on, default 8787; 0 picks one (RUNTIME_PORT)
  --mesh-port PORT          port for other nodes (RUNTIME_MESH_PORT)
  --advertise HOST:PORT     where other nodes reach this one's mesh (RUNTIME_ADVERTISE)
  --node-id ID              stable name of the node (RUNTIME_NODE_ID)
  --redis URL               cluster over this Redis (RUNTIME_REDIS)
  --workers N               threads that run actors; 0 runs them on the main thread (RUNTIME_WORKERS)
  --hints                   print what to try next

Flags beat environment variables, which beat files.
`;

export const command: Command = {
  help,
  async run(args) {
    const { flags } = readFlags(args, {
      config: "texts",
      host: "text",
      port: "text",
      "mesh-port": "text",
      advertise: "text",
      "node-id": "text",
      redis: "text",
      workers: "text",
      hints: "switch",
    });
    try {
      return await serve(flags);
    } catch (error) {
      // What was started before the failure may hold the process open.
      return exit(1, `${reasons(error)}\n`);
    }
  },
};

async function serve(flags: ConfigFlags & { hints?: boolean }): Promise<never> {
  const stop = stopSignal();
  startWorkersAhead(flags);
  const { loadConfig } = await import("../config/load.ts");
  const { config, warnings } = await loadConfig(flags);
  const log = createLogger();
  for (const warning of warnings) log.warn(warning);
  const { startNode } = await import("../node.ts");
  const node = await startNode(config);
  const servers = Object.keys(config.mcpServers).length;
  process.stdout.write(
    `Troupe ${VERSION} serves MCP at ${node.mcpUrl} (node ${node.nodeId}, ${config.cluster.kind}, ${servers} MCP server${servers === 1 ? "" : "s"})\n`,
  );
  if (flags.hints) process.stdout.write(hints(node));
  // `closed` without a signal: somebody drained this node through the management API.
  await Promise.race([stop, node.closed]);
  await node.drain();
  return exit(0);
}

/** The workers of a node whose files say nothing about them; a wrong guess is thrown away. */
function startWorkersAhead({ workers }: ConfigFlags): void {
  const count = Number(workers ?? process.env.RUNTIME_WORKERS ?? defaultWorkers());
  if (!Number.isInteger(count) || count < 1 || count > 256) return;
  spawnAhead(WORKER_ENTRY, count, BUILT_IN_ACTORS, { maxOldGenerationSizeMb: defaultHeapMib(count) });
}

/** One line per reason. */
function reasons(error: unknown): string {
  const { code, address, port } = error as { code?: string; address?: string; port?: number };
  const message =
    code === "EADDRINUSE"
      ? `${address}:${port} is in use by another program; choose another port with --port`
      : error instanceof Error
        ? error.message
        : String(error);
  return message
    .split("\n")
    .map((line) => `runtime start: ${line}`)
    .join("\n");
}

/** Resolves at the first signal to stop; the second ends the process. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let first: number | undefined;
    const onSignal = (): void => {
      const now = performance.now();
      if (first === undefined) {
        first = now;
        resolve();
      } else if (now - first > SAME_SIGNAL_MS) {
        process.exit(1);
      }
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}

/** Ends the process, whatever user code in it still holds open, once what was printed has left. */
async function exit(code: number, message = ""): Promise<never> {
  await new Promise<void>((resolve) => process.stderr.write(message, () => resolve()));
  await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
  process.exit(code);
}

function hints(node: RunningNode): string {
  const initialize = JSON.stringify({
    jsonrpc: "2.0",
    id: 1,
    method: "initialize",
    params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "curl", version: "1" } },
  });
  return `  MCP     ${node.mcpUrl}
  status  ${node.statusUrl}
  try     curl -si ${node.mcpUrl} -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' -d '${initialize}'
`;
}
