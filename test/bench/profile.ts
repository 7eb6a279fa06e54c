/**
 * Where the time goes: a CPU profile of the nodes while the benchmark's client calls them.
 *
 * Usage: `tsx test/bench/profile.ts [--row c|d] [--seconds 5] [--module v1|v2]`. Prints, per thread, the busiest
 * functions and packages by self time, and writes `results/*.cpuprofile` for a viewer.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startCluster } from "../harness/cluster.ts";
import { startLeash } from "../harness/leash.ts";
import { builtPackage } from "./built_package.ts";
import { table } from "./figures.ts";
import { type CpuProfile, Inspector } from "./inspector.ts";
import { PeerProcess } from "./peer_process.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const CLIENT = fileURLToPath(new URL("./client.mjs", import.meta.url));
const SHOWN = 25;

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
      print(`node ${index}, ${title}`, profile, calls);
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

/** Self time by function and by place, in microseconds per call. */
function print(title: string, profile: CpuProfile, calls: number): void {
  const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const byFunction = new Map<string, number>();
  const byPlace = new Map<string, number>();
  profile.samples.forEach((id, at) => {
    const frame = frames.get(id);
    const spent = profile.timeDeltas[at] ?? 0;
    if (frame === undefined || frame.functionName === "(idle)") return;
    const place = placeOf(frame.url, frame.functionName);
    const name = `${frame.functionName || "(anonymous)"} ${frame.url.replace(/^.*\/(node_modules|package)\//, "")}:${frame.lineNumber + 1}`;
    byFunction.set(name, (byFunction.get(name) ?? 0) + spent);
    byPlace.set(place, (byPlace.get(place) ?? 0) + spent);
  });
  const busy = [...byPlace.values()].reduce((sum, spent) => sum + spent, 0);
  const rows = (of: Map<string, number>, count: number): string[][] =>
    [...of]
      .sort((a, b) => b[1] - a[1])
      .slice(0, count)
      .map(([name, spent]) => [name, "", (spent / calls).toFixed(2), `${((100 * spent) / busy).toFixed(1)} %`]);
  console.log(`\n${title}: ${(busy / calls).toFixed(1)} µs per call over ${calls} calls\n`);
  console.log(table(["place", "", "µs/call", "share"], rows(byPlace, 15)));
  console.log(`\n${table(["function", "", "µs/call", "share"], rows(byFunction, SHOWN))}`);
}

/** A folder of Troupe, a package, Node.js itself, or the engine. */
function placeOf(url: string, functionName: string): string {
  if (url === "") return functionName.startsWith("(") ? functionName : "native";
  if (url.startsWith("node:")) return url;
  const dependency = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (dependency !== undefined) return dependency;
  return /\/dist\/(.+?)\/[^/]+$/.exec(url)?.[1] ?? url;
}
