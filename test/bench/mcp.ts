/**
 * `npm run bench:mcp`: what a `tools/call` costs, for Troupe and its peers, in one run with one client.
 *
 * Every system is started once and warmed up. Then rounds follow, each giving every system one window with 16 sessions
 * in flight, in an order that rotates, so that what else happens on the machine meets them alike. CPU time is that of
 * all processes of the system and their descendants (for Troupe on two nodes: Redis too), divided by the calls of the
 * window. The table shows medians over the rounds.
 *
 * Options: `--rounds N` (5), `--seconds S` (3) per window, `--warmup S` (4), `--rows a-json,c,…`,
 * `--runtime node|deno` for the servers, `--sessions N` (16).
 */
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import { startLeash } from "../harness/leash.ts";
import type { RuntimeName } from "../harness/node_process.ts";
import { family } from "../harness/processes.ts";
import { cpuOf } from "./cpu.ts";
import { machine, median, ratio, table } from "./figures.ts";
import { PeerProcess } from "./peer_process.ts";
import { type RunningSystem, requirePeers, type System, systems } from "./systems.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const CLIENT = fileURLToPath(new URL("./client.mjs", import.meta.url));

/** What the client saw in one window, and what the system spent. */
interface Window {
  calls: number;
  seconds: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** Microseconds of CPU per call. */
  cpu: number;
}

interface Row {
  row: string;
  what: string;
  windows: Window[];
  /** Processes of the system at the end. */
  processes: number;
  error?: string;
}

/** The targets: a row, at most this times another row. `a` is the better of its two kinds of answers. */
const TARGETS: { row: string; times: number; of: string }[] = [
  { row: "c", times: 0.3, of: "a" },
  { row: "d", times: 0.45, of: "a" },
  { row: "e", times: 0.45, of: "g-mcp-proxy" },
  { row: "e-session", times: 0.45, of: "g-mcp-proxy" },
  { row: "f", times: 0.65, of: "g-mcp-proxy" },
  { row: "f-session", times: 0.65, of: "g-mcp-proxy" },
];

class Contender {
  readonly row: Row;
  readonly #running: RunningSystem;
  readonly #client: PeerProcess;

  private constructor(system: System, running: RunningSystem, client: PeerProcess) {
    this.row = { row: system.row, what: system.what, windows: [], processes: 0 };
    this.#running = running;
    this.#client = client;
  }

  static async start(system: System, sessions: number, leash: ReturnType<typeof startLeash>): Promise<Contender> {
    const running = await system.start();
    const client = new PeerProcess(process.execPath, [CLIENT], leash, true);
    try {
      const { open, call, tool } = running;
      await client.ask({ open, call, tool, sessions });
      return new Contender(system, running, client);
    } catch (error) {
      await client.close();
      await running.close();
      throw error;
    }
  }

  async warmUp(seconds: number): Promise<void> {
    await this.#client.ask({ seconds });
  }

  async measure(seconds: number): Promise<void> {
    const before = cpuOf(this.#running.pids);
    const seen = await this.#client.ask<Omit<Window, "cpu">>({ seconds });
    const used = cpuOf(this.#running.pids) - before;
    this.row.windows.push({ ...seen, cpu: used / seen.calls });
    this.row.processes = this.#running.pids.flatMap((pid) => family(pid)).length;
  }

  async close(): Promise<void> {
    await this.#client.close();
    await this.#running.close();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "3" },
      warmup: { type: "string", default: "4" },
      sessions: { type: "string", default: "16" },
      rows: { type: "string" },
      runtime: { type: "string", default: "node" },
    },
  });
  requirePeers();
  const runtime: RuntimeName = values.runtime === "deno" ? "deno" : "node";
  const chosen = values.rows?.split(",");
  const wanted = (row: string) => chosen === undefined || chosen.includes(row);
  const leash = startLeash();
  const needsTroupe = ["c", "c-v1", "d", "d-v1", "e", "e-session", "f", "f-session"].some(wanted);
  const bin = needsTroupe ? await builtPackage() : "";
  const contenders: Contender[] = [];
  const rows: Row[] = [];
  try {
    for (const system of systems({ runtime, leash, bin }).filter(({ row }) => wanted(row))) {
      try {
        const contender = await Contender.start(system, Number(values.sessions), leash);
        await contender.warmUp(Number(values.warmup));
        contenders.push(contender);
        rows.push(contender.row);
      } catch (error) {
        // A peer that does not run here (on Deno, say) is a row that says so, not the end of the run.
        rows.push({ row: system.row, what: system.what, windows: [], processes: 0, error: (error as Error).message });
        console.error(`row ${system.row} does not run: ${(error as Error).message}`);
      }
    }
    for (let round = 0; round < Number(values.rounds); round++) {
      for (let turn = 0; turn < contenders.length; turn++) {
        const contender = contenders[(turn + round) % contenders.length];
        await contender?.measure(Number(values.seconds));
      }
      console.error(`round ${round + 1} of ${values.rounds} done`);
    }
  } finally {
    for (const contender of contenders) await contender.close();
    await leash.close();
  }
  await report(rows, runtime, values);
}

async function report(rows: Row[], runtime: RuntimeName, options: Record<string, string | undefined>): Promise<void> {
  const cpu = (row: string): number | undefined => {
    if (row === "a")
      return [cpu("a-json"), cpu("a-sse")].filter((value) => value !== undefined).sort((x, y) => x - y)[0];
    const windows = rows.find((candidate) => candidate.row === row)?.windows ?? [];
    return windows.length === 0 ? undefined : median(windows.map((window) => window.cpu));
  };
  const of = (row: Row, pick: (window: Window) => number, digits: number): string =>
    row.windows.length === 0 ? "–" : median(row.windows.map(pick)).toFixed(digits);

  console.log(
    `\n${machine()}, servers on ${runtime}, ${options.sessions} sessions in flight, ${new Date().toISOString().slice(0, 10)}\n`,
  );
  console.log(
    table(
      ["row", "system", "CPU µs/call", "calls/s", "p50 ms", "p99 ms", "× (a)", "× mcp-proxy", "processes"],
      rows.map((row) => [
        row.row,
        row.what,
        of(row, (window) => window.cpu, 1),
        of(row, (window) => window.calls / window.seconds, 0),
        of(row, (window) => window.p50, 2),
        of(row, (window) => window.p99, 2),
        ratio(cpu(row.row), cpu("a")),
        ratio(cpu(row.row), cpu("g-mcp-proxy")),
        row.error === undefined ? String(row.processes) : "does not run",
      ]),
    ),
  );
  const targets = TARGETS.map((target) => {
    const [own, other] = [cpu(target.row), cpu(target.of)];
    const reached = own === undefined || other === undefined ? undefined : own / other;
    return { ...target, reached, met: reached === undefined ? undefined : reached <= target.times };
  });
  for (const { row, times, of: other, reached, met } of targets) {
    if (reached === undefined) continue;
    console.log(
      `(${row}) is ${reached.toFixed(2)} × (${other}), target at most ${times.toFixed(2)}: ${met ? "met" : "NOT met"}`,
    );
  }
  await mkdir(RESULTS, { recursive: true });
  const file = `${RESULTS}mcp-${runtime}.json`;
  const summary = rows.map((row) => ({ ...row, cpu: cpu(row.row) }));
  await writeFile(
    file,
    `${JSON.stringify({ machine: machine(), date: new Date().toISOString(), runtime, options, rows: summary, targets }, null, 2)}\n`,
  );
  console.log(`\nWritten to ${file}`);
}

await main();
