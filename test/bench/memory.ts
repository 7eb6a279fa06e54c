/**
 * `npm run bench:memory`: what an idle session costs. One node of the built package with a shared module upstream;
 * sessions are opened and left alone. Heap is that of all threads after garbage collection, read through Node.js'
 * inspector; resident memory is read from `/proc`.
 *
 * Options: `--sessions N` (10000), `--calls N` (0): that many calls in each session before it is left alone.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import { startCluster } from "../harness/cluster.ts";
import { startLeash } from "../harness/leash.ts";
import { residentBytes } from "../harness/processes.ts";
import { machine } from "./figures.ts";
import { Inspector } from "./inspector.ts";
import { PeerProcess } from "./peer_process.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const CLIENT = fileURLToPath(new URL("./client.mjs", import.meta.url));
const TARGET_BYTES = 2_048;
/** Opened before the first reading, so that code and caches are not counted. */
const WARM_UP = 500;

interface Reading {
  heap: number;
  resident: number;
}

const { values } = parseArgs({
  options: { sessions: { type: "string", default: "10000" }, calls: { type: "string", default: "0" } },
});
const count = Number(values.sessions);
const calls = Number(values.calls);
const leash = startLeash();
const cluster = await startCluster({
  nodes: 1,
  runtime: "node",
  bin: await builtPackage(),
  flags: ["--inspect=127.0.0.1:0"],
  config: { mcp: { configurations: { sessions: { max_sessions: WARM_UP + count } } } },
  mcpServers: {
    echo: { module: new URL("./peers/echo_sdk_v2.mjs", import.meta.url), isolation: "shared", naming: "none" },
  },
});
const inspector = await Inspector.attach(cluster.node(0).stderr);

async function open(sessions: number): Promise<void> {
  const client = new PeerProcess(process.execPath, [CLIENT], leash, true);
  const url = `${cluster.urls[0]}/mcp`;
  await client.ask({ open: url, call: url, tool: "echo", sessions });
  if (calls > 0) await client.ask({ each: calls });
  // Idle means that its connections are gone too.
  await client.close();
}

async function read(): Promise<Reading> {
  return { heap: await inspector.heapBytes(), resident: residentBytes(cluster.node(0).pid) };
}

try {
  await open(WARM_UP);
  const before = await read();
  await open(count);
  const after = await read();
  const heap = (after.heap - before.heap) / count;
  const resident = (after.resident - before.resident) / count;
  console.log(`${machine()}, ${new Date().toISOString().slice(0, 10)}`);
  console.log(`${count} idle sessions on one node, ${calls} calls in each before`);
  console.log(
    `heap per session      ${Math.round(heap)} bytes (target ${TARGET_BYTES}: ${heap <= TARGET_BYTES ? "met" : "NOT met"})`,
  );
  console.log(`resident per session  ${Math.round(resident)} bytes`);
  console.log(
    `whole node            heap ${(after.heap / 1e6).toFixed(1)} MB, resident ${(after.resident / 1e6).toFixed(1)} MB`,
  );
  await mkdir(RESULTS, { recursive: true });
  const result = { machine: machine(), date: new Date().toISOString(), count, calls, before, after, heap, resident };
  await writeFile(`${RESULTS}memory.json`, `${JSON.stringify(result, null, 2)}\n`);
} finally {
  inspector.close();
  await cluster.close();
  await leash.close();
}
