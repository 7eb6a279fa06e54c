/**
 * `npm run chaos -- --minutes 10 --seed N`: sessions of many clients over real nodes, Redis and nginx, while one fault
 * after another hits them; afterwards, and after each fault, the clients' histories are checked (checker.ts).
 *
 * Options: `--minutes N` (10), `--seed N` (a new one), `--sessions N` (500), `--nodes N` (3), `--runtime node|deno|mixed`,
 * `--lease MS` (6000), `--calls N` (60: calls per second, all sessions together), `--faults a,b` (only these kinds),
 * `--isolation auto|namespaces|cuts` (how a node is cut off, see network.ts), `--source` (the checkout's nodes, not the
 * built package's).
 *
 * Prints each fault, one line per invariant with counts, and ends with 1 at the first violation, with the seed. The seed
 * repeats the faults and what clients do; what the operating system does in between it cannot.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import type { RuntimeName } from "../harness/node_process.ts";
import { randomFrom, seedOf } from "../harness/seed.ts";
import { check, type Verdict } from "./checker.ts";
import { ChaosClient } from "./client.ts";
import type { Entry, Fault, History } from "./history.ts";
import { ISOLATIONS, type Isolation, Lab } from "./lab.ts";
import { FAULT_KINDS, schedule } from "./schedule.ts";
import { SdkClient } from "./sdk_clients.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
/** Time without faults before the first one and between two, milliseconds. */
const CALM_MS = 2_000;
/** The second that is promised on top of detection, and what the proxy and the client's own retries add. */
const SLACK_MS = 1_000 + 2_000;
/** How often the run looks whether the machine lets it run. */
const SAMPLE_MS = 50;
const MOST_SDK_CLIENTS = 36;
const UPSTREAMS = ["module", "stdio", "http"];

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string" },
    sessions: { type: "string", default: "500" },
    nodes: { type: "string", default: "3" },
    runtime: { type: "string", default: "node" },
    lease: { type: "string", default: "6000" },
    calls: { type: "string", default: "60" },
    faults: { type: "string", default: "" },
    isolation: { type: "string", default: "auto" },
    source: { type: "boolean", default: false },
  },
});

function isolation(): Isolation {
  const known = ISOLATIONS.find((one) => one === values.isolation);
  if (known === undefined) throw new Error(`--isolation: expected ${ISOLATIONS.join(", ")}, got "${values.isolation}"`);
  return known;
}

function runtimes(): RuntimeName[] {
  const { runtime } = values;
  if (runtime !== "node" && runtime !== "deno" && runtime !== "mixed") {
    throw new Error(`--runtime: expected node, deno or mixed, got "${runtime}"`);
  }
  const nodes = Array.from({ length: Number(values.nodes) }, (_, node) => node);
  return nodes.map((node) => (runtime === "mixed" ? (node % 2 === 0 ? "node" : "deno") : runtime));
}

function onlyFaults(): string[] {
  const names = (values.faults ?? "").split(",").filter((name) => name !== "");
  for (const name of names) {
    if (!FAULT_KINDS.includes(name)) throw new Error(`--faults: "${name}" is none of ${FAULT_KINDS.join(", ")}`);
  }
  return names;
}

async function main(): Promise<number> {
  if (values.seed !== undefined) process.env.TROUPE_SEED = values.seed;
  const seed = seedOf("chaos");
  const random = randomFrom(seed);
  const sessions = Number(values.sessions);
  const leaseMs = Number(values.lease);
  const only = onlyFaults();
  const bin = values.source ? undefined : await builtPackage();
  const lab = await Lab.open({ runtimes: runtimes(), bin, leaseMs, isolation: isolation() });
  const begun = performance.now();
  const now = (): number => performance.now() - begun;
  const records: Entry[] = [];
  const faults: Fault[] = [];
  const record = (entry: Entry): void => void records.push(entry);
  const options = { detectionMs: leaseMs * 1.1 + leaseMs / 3, slackMs: SLACK_MS };
  const stalls: { at: number; ms: number }[] = [];
  const sampling = setInterval(() => {
    const at = now();
    if (at - sampled > 2 * SAMPLE_MS) stalls.push({ at, ms: at - sampled - SAMPLE_MS });
    sampled = at;
  }, SAMPLE_MS);
  let sampled = now();
  let last: History | undefined;
  let logs: string[] = [];
  const checked = async (whole: boolean): Promise<Verdict[]> => {
    const routes = lab.proxy.routes();
    // What is not over yet is looked at later, also a call whose answer to a question waits at a node still.
    const over = (entry: Entry): boolean => {
      if (entry.kind === "task") return entry.endedAt !== undefined;
      if (entry.kind === "status") return entry.request === undefined || routes.has(entry.request);
      return (
        entry.kind !== "call" || (entry.end !== undefined && entry.requests.every((request) => routes.has(request)))
      );
    };
    const history: History = {
      records: whole ? records : records.filter(over),
      faults,
      executions: await lab.executions(),
      routes,
      stalls,
    };
    last = history;
    return check(history, options);
  };

  const clients = makeClients({ lab, sessions, random, now, record });
  console.log(`${lab.size} nodes, ${clients.length} clients, ${lab.network.kind}`);
  const running = clients.map((client) => client.run());
  let verdicts: Verdict[] = [];
  let during: string[] = [];
  const broken = (): boolean => verdicts.some(({ violations }) => violations.length > 0);
  try {
    await new Promise((resolve) => setTimeout(resolve, CALM_MS));
    const until = now() + Number(values.minutes) * 60_000;
    for (const planned of schedule({ random, nodes: lab.size, leaseMs, only })) {
      if (now() > until || broken()) break;
      const fault: Fault = { ...planned, from: now(), until: undefined };
      faults.push(fault);
      await planned.run(lab);
      await lab.whole();
      fault.until = now();
      console.log(
        `  ${(fault.from / 1_000).toFixed(1).padStart(6)} s  ${planned.what}, whole after ${Math.round(fault.until - fault.from)} ms`,
      );
      await new Promise((resolve) => setTimeout(resolve, CALM_MS));
      verdicts = await checked(false);
    }
    // What a later check finds in order is wrong all the same: the checks do not agree.
    during = verdicts.flatMap(({ violations }) => violations);
    for (const client of clients) client.stop();
    await Promise.all(running);
    for (let at = 0; at < clients.length; at += 32) {
      await Promise.all(clients.slice(at, at + 32).map((client) => client.lastWords()));
    }
    verdicts = await checked(true);
  } catch (error) {
    for (const client of clients) client.stop();
    for (let node = 0; node < lab.size; node++) console.log(`node ${node}:\n${lab.logs(node).slice(-6_000)}`);
    throw error;
  } finally {
    clearInterval(sampling);
    logs = Array.from({ length: lab.size }, (_, node) => lab.logs(node));
    await lab.close();
  }
  const stalledMs = stalls.reduce((sum, { ms }) => sum + ms, 0);
  console.log(`\nThe machine kept this process waiting for ${Math.round(stalledMs)} ms of ${Math.round(now())}.`);
  console.log(`${faults.length} faults in ${(now() / 60_000).toFixed(1)} minutes, seed ${seed}`);
  for (const { invariant, counts, violations } of verdicts) {
    console.log(`${violations.length === 0 ? "ok  " : "FAIL"} ${invariant}: ${counts}`);
    for (const violation of violations.slice(0, 10)) console.log(`       ${violation}`);
    if (violations.length > 10) console.log(`       and ${violations.length - 10} more`);
  }
  for (const violation of during.slice(0, 10)) console.log(`FAIL while it ran: ${violation}`);
  const failed = broken() || during.length > 0;
  if (failed && last !== undefined) {
    await mkdir(RESULTS, { recursive: true });
    const text = (_key: string, value: unknown): unknown => (value instanceof Map ? [...value] : value);
    await writeFile(`${RESULTS}history-${seed}.json`, JSON.stringify(last, text, 1));
    await Promise.all(logs.map((log, node) => writeFile(`${RESULTS}node-${seed}-${node}.log`, log)));
    console.log(`The history and the nodes' logs are in test/chaos/results; --seed ${seed} repeats the schedule.`);
  }
  return failed ? 1 : 0;
}

interface Population {
  lab: Lab;
  sessions: number;
  random: () => number;
  now: () => number;
  record: (entry: Entry) => void;
}

function makeClients({ lab, sessions, random, now, record }: Population): (ChaosClient | SdkClient)[] {
  const sdkClients = Math.min(MOST_SDK_CLIENTS, Math.floor(sessions / 10));
  const thinkMs = (sessions / Number(values.calls)) * 1_000;
  return Array.from({ length: sessions }, (_, at) => {
    const common = {
      name: `c${at}`,
      url: `${lab.proxy.url}/mcp`,
      random: randomFrom(Math.floor(random() * 2 ** 31)),
      upstreams: UPSTREAMS,
      thinkMs,
      now,
      record,
    };
    if (at < sdkClients) return new SdkClient({ ...common, sdk: at % 2 === 0 ? "v1" : "v2" });
    return new ChaosClient({
      ...common,
      version: at % 5 === 0 ? "2025-06-18" : "2025-11-25",
      listens: at % 4 === 0,
    });
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.stack : error);
  process.exitCode = 1;
}
