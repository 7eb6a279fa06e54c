/**
 * Runs the official conformance suite as a program and reads what it found.
 *
 * The suites need a newer Node.js than the product does (they import `fs.globSync`), so they run on the Deno that npm
 * brought, unless the Node.js at hand is new enough. Their packages live in `suite/`, with their own lock file, and are
 * installed on first use.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The two versions: the one with frozen requirement lists, and the last stable one. */
export type SuiteVersion = "0.2.0-alpha.12" | "0.1.16";

export interface ScenarioResult {
  name: string;
  passed: number;
  failed: number;
  /** Whether the suite's exit code depends on it. */
  scored: boolean;
  /** What the failed checks said. */
  complaints: string[];
}

export interface SuiteResult {
  version: SuiteVersion;
  exitCode: number;
  scenarios: ScenarioResult[];
  output: string;
}

const FOLDER = fileURLToPath(new URL("./suite/", import.meta.url));
const DENO = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));
const FOLDER_OF: Record<SuiteVersion, string> = { "0.2.0-alpha.12": "conformance-0.2", "0.1.16": "conformance-0.1" };
const ARGUMENTS: Record<SuiteVersion, string[]> = {
  "0.2.0-alpha.12": ["--requirements", "2025-11-25"],
  "0.1.16": [],
};

/** Runs one version of the suite against an MCP endpoint. `results` is a folder of its own for the suite's files. */
export async function runSuite(version: SuiteVersion, url: string, results: string): Promise<SuiteResult> {
  await install();
  await rm(results, { recursive: true, force: true });
  await mkdir(results, { recursive: true });
  const program = join("node_modules", FOLDER_OF[version], "dist", "index.js");
  const { code, output } = await run([program, "server", "--url", url, ...ARGUMENTS[version], "-o", results]);
  const scenarios = parseSummary(output);
  for (const scenario of scenarios) {
    if (scenario.failed > 0) scenario.complaints = await complaintsOf(scenario.name, results);
  }
  return { version, exitCode: code, scenarios, output };
}

/** Runs one scenario alone; whether it passed. */
export async function runScenario(version: SuiteVersion, url: string, name: string, results: string): Promise<boolean> {
  const program = join("node_modules", FOLDER_OF[version], "dist", "index.js");
  const { code, output } = await run([program, "server", "--url", url, "--scenario", name, "-o", results]);
  // A scenario that was not found has proved nothing.
  return code === 0 && output.includes(name);
}

async function install(): Promise<void> {
  if (existsSync(join(FOLDER, "node_modules", "conformance-0.2"))) return;
  console.log("Installing the conformance suites (npm ci in test/conformance/suite)");
  const npm = spawn("npm", ["ci", "--ignore-scripts", "--no-fund", "--no-audit"], { cwd: FOLDER, stdio: "inherit" });
  const code = await new Promise<number | null>((resolve) => npm.once("exit", resolve));
  if (code !== 0) throw new Error("npm ci in test/conformance/suite failed");
}

function run(args: string[]): Promise<{ code: number; output: string }> {
  const modern = process.versions.deno === undefined && Number(process.versions.node.split(".")[0]) >= 22;
  const [program, before] = modern ? [process.execPath, []] : [DENO, ["run", "-A", "--node-modules-dir=manual"]];
  const child = spawn(program, [...before, ...args], { cwd: FOLDER, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

/** Reads the summary: one line per scenario, then those that are not scored. */
function parseSummary(output: string): ScenarioResult[] {
  const colour = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");
  const summary = output.replaceAll(colour, "").split("=== SUMMARY ===")[1] ?? "";
  const [scored = "", unscored = ""] = summary.split("Not scored");
  const names = new Set([...unscored.matchAll(/[✓✗] ([\w-]+) \(/g)].map((match) => match[1]));
  return [...scored.matchAll(/[✓✗] ([\w-]+): (\d+) passed, (\d+) failed/g)].map((match) => ({
    name: match[1] ?? "",
    passed: Number(match[2]),
    failed: Number(match[3]),
    scored: !names.has(match[1]),
    complaints: [],
  }));
}

async function complaintsOf(scenario: string, results: string): Promise<string[]> {
  const folders = (await readdir(results)).filter((name) => name.startsWith(`server-${scenario}-2`));
  const complaints: string[] = [];
  for (const folder of folders) {
    const checks = JSON.parse(await readFile(join(results, folder, "checks.json"), "utf8")) as {
      id: string;
      status: string;
      errorMessage?: string;
    }[];
    for (const check of checks) {
      if (check.status === "FAILURE") complaints.push(`${check.id}: ${check.errorMessage ?? "no message"}`);
    }
  }
  return complaints;
}
