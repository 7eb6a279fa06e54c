/**
 * `npm test`: every test file on Node.js and on Deno, each in a process of its own with a time limit.
 *
 *   npm test                          everything
 *   npm test -- unit                  files whose path contains `unit`
 *   npm test -- mesh http             … `mesh` or `http`
 *   npm test -- --runtime deno unit   on one runtime
 *
 * A file's output is shown when it fails. The last lines list what was skipped and the totals: `N passed, N failed`.
 * Exit code 1 if a test failed, a file ran no test or overran, or, with CI=true, if a test was skipped.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ensureServers } from "./servers.ts";
import { type Outcome, readDeno, readTap } from "./verdict.ts";

type Runtime = "node" | "deno";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const BIN = join(ROOT, "node_modules", ".bin");
/** Folders whose tests start servers, use every core, and so run one file at a time. */
const ALONE = ["test/cluster/"];
/** Folders that need nothing but this package. */
const SELF_CONTAINED = ["test/unit/", "test/simulation/", "test/model/"];
/** Folders whose tests check the same thing on every runtime, with a program of their own; they run on the first one. */
const ONCE = ["test/model/"];
/** Folders whose tests start servers, or search long for what must be found. */
const LONG = [...ALONE, "test/model/", "test/simulation/"];
const LIMIT_MS = 3 * 60_000;
const LONG_LIMIT_MS = 10 * 60_000;
/** Output kept per file, characters; the oldest goes first. */
const OUTPUT_KEPT = 400_000;

function testFiles(patterns: readonly string[]): string[] {
  return readdirSync(join(ROOT, "test"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".test.ts"))
    .map((entry) => relative(ROOT, join(entry.parentPath ?? entry.path, entry.name)).replaceAll("\\", "/"))
    .filter((file) => !file.includes("node_modules/"))
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern.replace(/^\.\//, ""))))
    .sort();
}

interface Run {
  file: string;
  runtime: Runtime;
  outcome: Outcome;
  seconds: number;
}

/** Process groups of the files that run now; they end with this process. */
const groups = new Set<number>();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    for (const group of groups) killGroup(group);
    process.exit(1);
  });
}

/** Runs one file in its own process group and reads its verdict. */
async function runFile(file: string, runtime: Runtime): Promise<Run> {
  const [command, args] =
    runtime === "node"
      ? [nodeExecutable(), ["--import", "tsx", "--test-reporter=tap", file]]
      : [join(BIN, "deno"), ["test", "-A", "--no-check", file]];
  const limitMs = LONG.some((folder) => file.startsWith(folder)) ? LONG_LIMIT_MS : LIMIT_MS;
  const started = performance.now();
  const child = spawn(command, args, {
    cwd: ROOT,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      PATH: `${BIN}${delimiter}${process.env.PATH}`,
      NO_COLOR: "1",
      FORCE_COLOR: undefined,
      DENO_NO_UPDATE_CHECK: "1",
    },
  });
  if (child.pid !== undefined) groups.add(child.pid);
  let output = "";
  const keep = (chunk: string): void => {
    output = (output + chunk).slice(-OUTPUT_KEPT);
  };
  child.stdout.setEncoding("utf8").on("data", keep);
  child.stderr.setEncoding("utf8").on("data", keep);
  let overran = false;
  const timer = setTimeout(() => {
    overran = true;
    killGroup(child.pid);
  }, limitMs);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  clearTimeout(timer);
  killGroup(child.pid);
  groups.delete(child.pid ?? 0);
  const outcome = (runtime === "node" ? readTap : readDeno)(output, code);
  if (overran) outcome.complaint = `took longer than ${limitMs / 1_000} s`;
  if (outcome.complaint !== undefined && outcome.failed === 0) outcome.failed = 1;
  const run = { file, runtime, outcome, seconds: (performance.now() - started) / 1_000 };
  show(run, output);
  return run;
}

/** Under Deno, `process.execPath` is Deno's. */
function nodeExecutable(): string {
  return process.versions.deno === undefined ? process.execPath : "node";
}

/** What a test left behind in its group, such as a server it did not end. */
function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing is left.
  }
}

function show({ file, runtime, outcome, seconds }: Run, output: string): void {
  const { passed, failed, skipped, complaint } = outcome;
  const counts = [
    `${passed} passed`,
    failed > 0 && `${failed} failed`,
    skipped.length > 0 && `${skipped.length} skipped`,
  ];
  const verdict = failed > 0 ? "✗" : "✓";
  console.log(`${verdict} ${runtime} ${file}: ${counts.filter(Boolean).join(", ")} (${seconds.toFixed(1)} s)`);
  if (failed === 0) return;
  console.log(output.replace(/^/gm, "    "));
  if (complaint !== undefined) console.log(`    ${file}: ${complaint}`);
}

/** Runs `files`, at most `width` at once. */
async function runAll(files: readonly string[], runtime: Runtime, width: number): Promise<Run[]> {
  const runs: Run[] = [];
  const waiting = [...files];
  const lane = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift())
      runs.push(await runFile(file, runtime));
  };
  await Promise.all(Array.from({ length: width }, lane));
  return runs;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ options: { runtime: { type: "string" } }, allowPositionals: true });
  if (values.runtime !== undefined && values.runtime !== "node" && values.runtime !== "deno") {
    console.error(`--runtime: expected node or deno, got "${values.runtime}"`);
    return 2;
  }
  const runtimes: Runtime[] = values.runtime === undefined ? ["node", "deno"] : [values.runtime];
  const files = testFiles(positionals);
  if (files.length === 0) {
    console.error(`no test file matches ${positionals.join(", ")}`);
    return 2;
  }
  const needServers = files.some((file) => !SELF_CONTAINED.some((folder) => file.startsWith(folder)));
  if (needServers && !ensureServers(["redis-server"])) return 1;
  // Its tests skip themselves where it is missing.
  if (files.some((file) => file.startsWith("test/model/"))) ensureServers(["spin"]);

  const alone = files.filter((file) => ALONE.some((folder) => file.startsWith(folder)));
  const together = files.filter((file) => !alone.includes(file));
  const runs: Run[] = [];
  for (const runtime of runtimes) {
    const once = (file: string): boolean => ONCE.some((folder) => file.startsWith(folder));
    const here = together.filter((file) => runtime === runtimes[0] || !once(file));
    const count = here.length + alone.length;
    console.log(`\n${runtime}: ${count} test file${count === 1 ? "" : "s"}`);
    runs.push(...(await runAll(here, runtime, Math.min(2, availableParallelism()))));
    runs.push(...(await runAll(alone, runtime, 1)));
  }
  return report(runs);
}

function report(runs: readonly Run[]): number {
  const sum = (count: (run: Run) => number): number => runs.reduce((total, run) => total + count(run), 0);
  const passed = sum(({ outcome }) => outcome.passed);
  const failed = sum(({ outcome }) => outcome.failed);
  const skipped = runs.flatMap(({ file, runtime, outcome }) =>
    outcome.skipped.map((name) => `${runtime} ${file}: ${name}`),
  );
  console.log();
  for (const { file, runtime, outcome } of runs) if (outcome.failed > 0) console.log(`failed: ${runtime} ${file}`);
  for (const name of skipped) console.log(`skipped: ${name}`);
  console.log(`${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""}`);
  return failed > 0 || (skipped.length > 0 && process.env.CI === "true") ? 1 : 0;
}

process.exitCode = await main();
