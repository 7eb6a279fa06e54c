/**
 * `npm run conformance`: the official suite through three replicas, a replica chosen by chance for every request.
 *
 * Options: `--direct URL` tests that endpoint instead (`--direct fixture`: the fixture on the SDK's own transport,
 * without Troupe); `--seed N`; `--rounds N` (default 3: chance routes differently each time); `--runtime node|deno`.
 * Ends with 0 if every scored scenario of both suite versions passed in every round.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startCluster } from "../harness/cluster.ts";
import { startFront } from "../harness/front.ts";
import { serveDirectly } from "./direct.ts";
import { runSuite, type SuiteResult, type SuiteVersion } from "./suite.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const VERSIONS: SuiteVersion[] = ["0.2.0-alpha.12", "0.1.16"];

interface Endpoint {
  url: string;
  what: string;
  /** Requests per node, where there are several. */
  served?: number[];
  logs(): string;
  close(): Promise<void>;
}

async function replicas(runtime: "node" | "deno", seed: number | undefined): Promise<Endpoint> {
  const front = await startFront([], seed);
  try {
    const cluster = await startCluster({
      nodes: 3,
      runtime,
      mcpServers: {
        everything: {
          module: new URL("./everything_module.ts", import.meta.url),
          isolation: "session",
          naming: "none",
        },
      },
      // The suite talks to the front, so that is what its Origin names.
      config: { gateway: { server: { allowed_origins: [front.url, `http://localhost:${front.port}`] } } },
    });
    front.setNodes(cluster.urls);
    return {
      url: `${front.url}/mcp`,
      what: `three ${runtime} nodes, seed ${front.seed}`,
      served: front.served,
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
    },
  });
  const seed = values.seed === undefined ? undefined : Number(values.seed);
  const endpoint =
    values.direct === undefined
      ? await replicas(values.runtime === "deno" ? "deno" : "node", seed)
      : await direct(values.direct);
  const rounds = values.direct === undefined ? Number(values.rounds) : 1;
  let good = true;
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const version of VERSIONS) {
        console.log(`MCP conformance ${version}, ${endpoint.what}, round ${round} of ${rounds}`);
        good = report(await runSuite(version, endpoint.url, join(RESULTS, version))) && good;
      }
    }
    if (endpoint.served !== undefined) console.log(`Requests per node: ${endpoint.served.join(", ")}`);
    if (!good) console.log(endpoint.logs().slice(-8_000));
  } finally {
    await endpoint.close();
  }
  console.log(good ? "Every scored scenario passes." : "Some scored scenarios fail.");
  return good ? 0 : 1;
}

process.exitCode = await main();
