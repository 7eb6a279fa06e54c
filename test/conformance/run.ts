/**
 * `npm run conformance`: the official suite through three replicas, a replica chosen by chance for every request.
 *
 * Options: `--kill-every S`: meanwhile one node after another is killed with SIGKILL and started again, each S seconds;
 * a scenario that fails is then run once more, because a call in flight at a node ends with it, and reported as such.
 * `--direct URL` tests that endpoint instead (`--direct fixture`: the fixture on the SDK's own transport,
 * without Troupe); `--seed N`; `--rounds N` (default 3: chance routes differently each time); `--runtime node|deno`.
 * Ends with 0 if every scored scenario of both suite versions passed in every round.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import { startCluster } from "../harness/cluster.ts";
import { startFront } from "../harness/front.ts";
import { serveDirectly } from "./direct.ts";
import { killInTurn } from "./killer.ts";
import { runScenario, runSuite, type SuiteResult, type SuiteVersion } from "./suite.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const VERSIONS: SuiteVersion[] = ["0.2.0-alpha.12", "0.1.16"];

interface Endpoint {
  url: string;
  what: string;
  /** Requests per node, where there are several. */
  served?: number[];
  /** Kills and restarts its nodes in turn; returns what ends that, and tells how often. */
  killEvery?(seconds: number): () => Promise<number>;
  logs(): string;
  close(): Promise<void>;
}

async function replicas(runtime: "node" | "deno", seed: number | undefined, bin?: string): Promise<Endpoint> {
  const front = await startFront([], seed);
  try {
    const cluster = await startCluster({
      nodes: 3,
      runtime,
      bin,
      mcpServers: {
        everything: {
          module: new URL("./everything_module.ts", import.meta.url),
          isolation: "session",
          naming: "none",
        },
      },
      // The suite talks to the front, so that is what its Origin names.
      config: {
        gateway: { server: { allowed_origins: [front.url, `http://localhost:${front.port}`] } },
        // The suite does not come back when it is told to: a machine that is busy otherwise must not fail it.
        overload: { loop_delay_ms: 0 },
      },
    });
    front.setNodes(cluster.urls);
    return {
      url: `${front.url}/mcp`,
      what: `three ${runtime} nodes, seed ${front.seed}`,
      served: front.served,
      killEvery: (seconds) => killInTurn(cluster, seconds),
      logs: () => cluster.urls.map((_, index) => cluster.logs(index)).join("\n"),
      close: async () => {
        await front.close();
        await cluster.close();
      },
    };
  } catch (error) {
    await front.close();
    throw error;
  }
}

async function direct(url: string): Promise<Endpoint> {
  if (url !== "fixture") return { url, what: url, logs: () => "", close: async () => {} };
  const server = await serveDirectly();
  return { url: server.url, what: "the fixture, without Troupe", logs: () => "", close: () => server.close() };
}

/** A call in flight at a node that is killed ends with it, and its scenario fails: each such scenario has one more try. */
async function runAgain(result: SuiteResult, url: string, results: string): Promise<void> {
  for (const scenario of result.scenarios) {
    if (scenario.failed === 0 || !scenario.scored) continue;
    if (!(await runScenario(result.version, url, scenario.name, join(results, "again")))) continue;
    console.log(`  passed when run again: ${scenario.name}: ${scenario.complaints.join("; ")}`);
    scenario.failed = 0;
  }
  if (result.scenarios.every(({ failed, scored }) => failed === 0 || !scored)) result.exitCode = 0;
}

function report(result: SuiteResult): boolean {
  for (const { name, passed, failed, scored, complaints } of result.scenarios) {
    const verdict = failed > 0 ? (scored ? "FAIL" : "fail, not scored") : "pass";
    console.log(`  ${verdict.padEnd(4)} ${name} (${passed} passed, ${failed} failed)`);
    for (const complaint of complaints) console.log(`         ${complaint}`);
  }
  const scored = result.scenarios.filter((scenario) => scenario.scored);
  const good = scored.filter((scenario) => scenario.failed === 0);
  console.log(`  suite ${result.version}: ${good.length} of ${scored.length} scored scenarios pass\n`);
  if (scored.length === 0) console.log(result.output.slice(-4_000));
  // A suite that ran nothing has proved nothing, whatever it exits with.
  return result.exitCode === 0 && scored.length > 0 && good.length === scored.length;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      direct: { type: "string" },
      seed: { type: "string" },
      rounds: { type: "string", default: "3" },
      runtime: { type: "string", default: "node" },
      "kill-every": { type: "string" },
    },
  });
  const seed = values.seed === undefined ? undefined : Number(values.seed);
  const killEvery = values["kill-every"] === undefined ? undefined : Number(values["kill-every"]);
  // A built node is back sooner than one that compiles as it loads.
  const bin = killEvery === undefined ? undefined : await builtPackage();
  const endpoint =
    values.direct === undefined
      ? await replicas(values.runtime === "deno" ? "deno" : "node", seed, bin)
      : await direct(values.direct);
  const rounds = values.direct === undefined ? Number(values.rounds) : 1;
  let good = true;
  const stopKilling = killEvery === undefined ? undefined : endpoint.killEvery?.(killEvery);
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const version of VERSIONS) {
        console.log(`MCP conformance ${version}, ${endpoint.what}, round ${round} of ${rounds}`);
        const results = join(RESULTS, version);
        const result = await runSuite(version, endpoint.url, results);
        if (stopKilling !== undefined) await runAgain(result, endpoint.url, results);
        good = report(result) && good;
      }
    }
    if (stopKilling !== undefined) console.log(`Nodes killed: ${await stopKilling()}`);
    if (endpoint.served !== undefined) console.log(`Requests per node: ${endpoint.served.join(", ")}`);
    if (!good) console.log(endpoint.logs().slice(-8_000));
  } finally {
    await endpoint.close();
  }
  console.log(good ? "Every scored scenario passes." : "Some scored scenarios fail.");
  return good ? 0 : 1;
}

process.exitCode = await main();
