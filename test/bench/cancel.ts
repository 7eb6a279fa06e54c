/**
 * `npm run bench:cancel`: how long a cancel takes from a third node to the upstream (cancels.ts), with three nodes of the
 * built package and a Redis, for a server over stdio, one over HTTP and a module.
 *
 * Options: `--cancels N` (200: of each kind).
 */
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import { startCluster } from "../harness/cluster.ts";
import { type Connectable, startHttpUpstream } from "../unit/upstream/http_upstream.ts";
import { CANCEL_UPSTREAM, measureCancels } from "./cancels.ts";
import { machine, percentile, table } from "./figures.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const STDIO = fileURLToPath(new URL("./cancel_stdio.mjs", import.meta.url));
const KINDS = ["module", "stdio", "http"] as const;

const { values } = parseArgs({ options: { cancels: { type: "string", default: "200" } } });
const { default: factory } = (await import(CANCEL_UPSTREAM.href)) as { default: () => Connectable };
const remote = await startHttpUpstream("v1", { factory });
const cluster = await startCluster({
  nodes: 3,
  bin: await builtPackage(),
  mcpServers: {
    module: { module: CANCEL_UPSTREAM },
    stdio: { command: process.execPath, args: [STDIO] },
    http: { url: remote.url },
  },
});
try {
  const figures: Record<string, { p50: number; p99: number; max: number }> = {};
  for (const kind of KINDS) {
    await measureCancels(cluster, kind, 10);
    const times = await measureCancels(cluster, kind, Number(values.cancels));
    figures[kind] = { p50: percentile(times, 0.5), p99: percentile(times, 0.99), max: Math.max(...times) };
  }
  console.log(`${machine()}, ${new Date().toISOString().slice(0, 10)}, ${values.cancels} cancels each`);
  const rows = Object.entries(figures).map(([kind, { p50, p99, max }]) => [
    kind,
    ...[p50, p99, max].map((ms) => ms.toFixed(1)),
  ]);
  console.log(table(["upstream", "p50 ms", "p99 ms", "max ms"], rows));
  await mkdir(RESULTS, { recursive: true });
  const found = { machine: machine(), date: new Date().toISOString(), figures };
  await writeFile(`${RESULTS}cancel.json`, `${JSON.stringify(found, null, 2)}\n`);
} finally {
  await cluster.close();
  await remote.close();
}
