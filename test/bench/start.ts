/**
 * `npm run bench:start`: from spawning the built package's `runtime start` to its ready line, with the embedded
 * coordinator and no upstream. Each run is a new process on a free port, ended with SIGTERM.
 *
 * Options: `--runs N` (15), `--runtime node|deno`.
 */
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import { commandLine, type RuntimeName } from "../harness/node_process.ts";
import { freePort } from "../harness/ports.ts";
import { within } from "../harness/wait.ts";
import { machine, median } from "./figures.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const TARGET_MS = 400;

/** Milliseconds from the spawn to the first line on standard output. */
async function startOnce(runtime: RuntimeName, bin: string): Promise<number> {
  const port = await freePort();
  const [executable, args] = commandLine({ runtime, bin, args: ["start", "--port", String(port)] });
  const begin = performance.now();
  const child = spawn(executable, args, { stdio: ["ignore", "pipe", "pipe"] });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  try {
    const ready = new Promise<number>((resolve, reject) => {
      child.stdout.once("data", () => resolve(performance.now() - begin));
      void exited.then((code) => reject(new Error(`it ended with ${code}: ${said}`)));
    });
    return await within(ready, 30_000, "the ready line");
  } finally {
    child.kill("SIGTERM");
    const code = await within(exited, 10_000, "the node to end after SIGTERM");
    if (code !== 0) console.error(`a node ended with ${code}: ${said}`);
  }
}

const { values } = parseArgs({
  options: { runs: { type: "string", default: "15" }, runtime: { type: "string", default: "node" } },
});
const runtime: RuntimeName = values.runtime === "deno" ? "deno" : "node";
const bin = await builtPackage();
const times: number[] = [];
for (let run = 0; run < Number(values.runs); run++) times.push(await startOnce(runtime, bin));
const middle = median(times);
console.log(`${machine()}, servers on ${runtime}, ${new Date().toISOString().slice(0, 10)}`);
console.log(
  `ready line after ${middle.toFixed(0)} ms (median of ${times.length}; ${Math.min(...times).toFixed(0)} to ${Math.max(...times).toFixed(0)})`,
);
if (runtime === "node") console.log(`target at most ${TARGET_MS} ms: ${middle <= TARGET_MS ? "met" : "NOT met"}`);
await mkdir(RESULTS, { recursive: true });
await writeFile(
  `${RESULTS}start-${runtime}.json`,
  `${JSON.stringify({ machine: machine(), date: new Date().toISOString(), times, median: middle }, null, 2)}\n`,
);
