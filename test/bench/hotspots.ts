/** What a CPU profile says, for people: the busiest places and functions by self time. */
import { table } from "./figures.ts";
import type { CpuProfile } from "./inspector.ts";

const SHOWN = 25;

/** Self time by function and by place, in microseconds per call. */
export function printHotspots(title: string, profile: CpuProfile, calls: number): void {
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
