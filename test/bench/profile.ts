/**
 * Where the time goes: a CPU profile of the nodes while the benchmark's client calls them.
 *
 * Usage: `tsx test/bench/profile.ts [--row c|d] [--seconds 5] [--module v1|v2]`. Prints, per thread, the busiest
 * functions and packages by self time, and writes `results/*.cpuprofile` for a viewer.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import { startCluster } from "../harness/cluster.ts";
import { startLeash } from "../harness/leash.ts";
import { printHotspots } from "./hotspots.ts";
import { type CpuProfile, Inspector } from "./inspector.ts";
import { PeerProcess } from "./peer_process.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const CLIENT = fileURLToPath(new URL("./client.mjs", import.meta.url));

const { values } = parseArgs({
  options: {
    row: { type: "string", default: "c" },
    seconds: { type: "string", default: "5" },
    module: { type: "string", default: "v2" },
  },
});
const nodes = values.row === "d" ? 2 : 1;
const leash = startLeash();
const cluster = await startCluster({
  nodes,
  runtime: "node",
  bin: await builtPackage(),
  flags: ["--inspect=127.0.0.1:0"],
  mcpServers: { echo: { module: new URL(`./peers/echo_sdk_${values.module}.mjs`, import.meta.url), naming: "none" } },
});
const client = new PeerProcess(process.execPath, [CLIENT], leash, true);
try {
  const seconds = Number(values.seconds);
  await client.ask({
    open: `${cluster.urls[0]}/mcp`,
    call: `${cluster.urls[nodes - 1]}/mcp`,
    tool: "echo",
    sessions: 16,
  });
  await client.ask({ seconds: 3 });
  const inspectors = await Promise.all(cluster.urls.map((_, index) => Inspector.attach(cluster.node(index).stderr)));
  // The first inspector's profile surrounds the others', so that all cover the same load.
  let calls = 0;
  const collected: Map<string, CpuProfile>[] = [];
  const load = async (): Promise<void> => {
    calls = (await client.ask<{ calls: number }>({ seconds })).calls;
  };
  const nested = inspectors.reduce<() => Promise<void>>(
    (inner, inspector) => async () => void collected.unshift(await inspector.profile(inner)),
    load,
  );
  await nested();
  await mkdir(RESULTS, { recursive: true });
  for (const [index, profiles] of collected.reverse().entries()) {
    for (const [title, profile] of profiles) {
      printHotspots(`node ${index}, ${title}`, profile, calls);
      await writeFile(
        `${RESULTS}row-${values.row}-n${index}-${title.replaceAll(/\W+/g, "_")}.cpuprofile`,
        JSON.stringify(profile),
      );
    }
  }
  for (const inspector of inspectors) inspector.close();
} finally {
  await client.close();
  await cluster.close();
  await leash.close();
}
