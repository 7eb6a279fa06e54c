/**
 * `npm run bench:failover`: how long a client waits for its first correct answer after a fault. Three nodes of the built
 * package and a Redis, default lease; each round opens sessions owned by the victim, makes the fault, and asks at the
 * other nodes, in turn, every `ASK_EVERY_MS`, until each session answered correctly.
 *
 * | fault | what is timed, from the signal on |
 * |---|---|
 * | owner | kill -9 of the node that owns the sessions: a call to each at another node |
 * | edge | kill -9 of the node that holds the client's stream: resumed by `Last-Event-ID` elsewhere, then answered there |
 * | worker | the thread that runs the sessions ends: a call to each |
 * | frozen | SIGSTOP of the owner, so that only silence tells |
 * | drain | SIGTERM of the owner: the longest answer among calls that go on meanwhile |
 *
 * A session is lost when it is answered 404. A call in flight at the fault fails honestly when it ends with an error that
 * says whether it was started, and hangs when it does not end within 10 s. Calls refused with `started: "no"` are asked
 * again, as a client or proxy does, and that time counts.
 *
 * Options: `--faults owner,edge,worker,frozen,drain` (all), `--kills N` (200: rounds of owner, edge and worker each),
 * `--freezes N` (10), `--drains N` (10), `--minutes N` (60: no further round of a fault after it), `--sessions N` (5: per
 * round), `--runtime node|deno`, `--name X`: the JSON file is `failover-X.json`. `--join`: the rounds of that file count as
 * well, so that a long run can be made in pieces.
 *
 * For owner, worker and freeze it also says what the time is made of: when each step was first reached, by the nodes' logs,
 * the upstream's own start, and the client.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { callBody, type OpenSession, openSession, post } from "../harness/mcp_requests.ts";
import type { RuntimeName } from "../harness/node_process.ts";
import { SseConnection } from "../harness/sse_connection.ts";
import { waitUntil } from "../harness/wait.ts";
import { machine, percentile, table } from "./figures.ts";

const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const NODES = 3;
/** Between two tries of one client; several ask at once, and their asking must not be what the nodes are busy with. */
const ASK_EVERY_MS = 25;
/** Beyond this a session counts as hung. More than twice the time that silence takes. */
const GIVE_UP_MS = 20_000;
const CALL_HANGS_MS = 10_000;
const FAULTS = ["owner", "edge", "worker", "frozen", "drain"] as const;
type Fault = (typeof FAULTS)[number];

interface Round {
  /** Milliseconds to the first correct answer, one per session that answered. */
  times: number[];
  /** Sessions answered 404. */
  lost: number;
  /** Sessions that did not answer correctly in time. */
  hung: number;
  /** Calls in flight at the fault: how they ended. */
  inFlight: { answered: number; refused: number; hung: number };
  /** Calls after the first correct answer that failed all the same. */
  failedAfter: number;
  /** When each was reached, by the first session and the first node that did, milliseconds after the fault. */
  reached: Map<Milestone, number>;
}

const { values } = parseArgs({
  options: {
    faults: { type: "string", default: FAULTS.join(",") },
    kills: { type: "string", default: "200" },
    freezes: { type: "string", default: "10" },
    drains: { type: "string", default: "10" },
    minutes: { type: "string", default: "60" },
    sessions: { type: "string", default: "5" },
    runtime: { type: "string", default: "node" },
    name: { type: "string" },
    join: { type: "boolean", default: false },
  },
});
const runtime: RuntimeName = values.runtime === "deno" ? "deno" : "node";
const sessionCount = Number(values.sessions);
const roundsOf: Record<Fault, number> = {
  owner: Number(values.kills),
  edge: Number(values.kills),
  worker: Number(values.kills),
  frozen: Number(values.freezes),
  drain: Number(values.drains),
};

/** What lies between a fault and an answer, in the order of the table. */
const MILESTONES = [
  "link loss seen",
  "address refused twice",
  "declared dead",
  "thread's end seen",
  "worker runs again",
  "upstream started",
  "first answer",
] as const;
type Milestone = (typeof MILESTONES)[number];
/** The log line of a node that tells of it. The others are told by the upstream and seen by the client. */
const LOGGED: readonly (readonly [message: string, milestone: Milestone])[] = [
  ["mesh: link down", "link loss seen"],
  ["mesh: a peer closed its link and now refuses connections", "address refused twice"],
  ["declared a node dead", "declared dead"],
  ["a worker ended", "thread's end seen"],
  ["a worker runs again", "worker runs again"],
];

/** When each milestone was first reached, by the nodes' logs, milliseconds after `since` on the wall clock. */
function milestonesIn(logs: string, since: number): Map<Milestone, number> {
  const reached = new Map<Milestone, number>();
  for (const line of logs.split("\n")) {
    // The oldest line kept may be a piece of one.
    if (!line.startsWith('{"time"')) continue;
    const { time, message } = JSON.parse(line) as { time: string; message: string };
    const milestone = LOGGED.find(([logged]) => logged === message)?.[1];
    const after = Date.parse(time) - since;
    if (milestone === undefined || after < 0) continue;
    reached.set(milestone, Math.min(after, reached.get(milestone) ?? Number.POSITIVE_INFINITY));
  }
  return reached;
}

/** A session, the node that owns it by `prefer-local`, and what is asked of it. */
class Caller {
  readonly session: OpenSession;
  readonly #urls: readonly string[];
  #asked = 0;

  constructor(session: OpenSession, urls: readonly string[]) {
    this.session = session;
    this.#urls = urls;
  }

  /** One echo at the next of `nodes`. */
  async echo(nodes: readonly number[]): Promise<"correct" | "lost" | "refused"> {
    const text = `echo ${++this.#asked}`;
    const node = nodes[this.#asked % nodes.length] ?? 0;
    const body = callBody(text, "echo", { text });
    const reply = await post(this.#url(node), body, this.session.headers).catch(() => undefined);
    if (reply?.status === 404) return "lost";
    const [content] = (reply?.message?.result?.content ?? []) as { text?: string }[];
    return reply?.status === 200 && reply.message?.id === text && content?.text === text ? "correct" : "refused";
  }

  /** When the instance of the server that answers now was started, by the wall clock. */
  async upstreamStartedAt(node: number): Promise<number> {
    const { message } = await this.call(node, "started", {});
    const [content] = (message?.result?.content ?? []) as { text?: string }[];
    return Number(content?.text);
  }

  stream(node: number, id: string, name: string, args: Record<string, unknown>): SseConnection {
    return new SseConnection("POST", this.#url(node), this.session.headers, callBody(id, name, args));
  }

  resume(node: number, lastEventId: string): SseConnection {
    return new SseConnection("GET", this.#url(node), { ...this.session.headers, "last-event-id": lastEventId });
  }

  call(node: number, name: string, args: Record<string, unknown>): ReturnType<typeof post> {
    return post(this.#url(node), callBody(`${name} ${++this.#asked}`, name, args), this.session.headers);
  }

  #url(node: number): string {
    return `${this.#urls[node]}/mcp`;
  }
}

const others = (node: number): number[] => Array.from({ length: NODES }, (_, at) => at).filter((at) => at !== node);

/** Asks until the session answers correctly; counts what came instead. */
async function firstAnswer(caller: Caller, nodes: readonly number[], since: number, round: Round): Promise<void> {
  for (;;) {
    const answer = await caller.echo(nodes);
    if (answer === "correct") break;
    if (answer === "lost") return void round.lost++;
    if (performance.now() - since > GIVE_UP_MS) return void round.hung++;
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
  round.times.push(performance.now() - since);
  for (let again = 0; again < 3; again++) if ((await caller.echo(nodes)) !== "correct") round.failedAfter++;
}

/** A call in flight at another node than the victim, up to the beginning of its stream. */
async function hold(caller: Caller, node: number): Promise<SseConnection> {
  const stream = caller.stream(node, "held", "hold", { name: "held" });
  await waitUntil(() => stream.lastId !== "", GIVE_UP_MS, "the stream of a held call to begin", 5);
  return stream;
}

/** How a held call ended, with its owner dead. */
async function endOfHeld(stream: SseConnection, round: Round): Promise<void> {
  await waitUntil(() => stream.response("held"), CALL_HANGS_MS, "the end of a held call", 5).catch(() => {});
  const ended = stream.response("held");
  if (ended === undefined) round.inFlight.hung++;
  else if (ended.error === undefined) round.inFlight.answered++;
  else round.inFlight.refused++;
  stream.close();
}

const emptyRound = (): Round => ({
  times: [],
  lost: 0,
  hung: 0,
  inFlight: { answered: 0, refused: 0, hung: 0 },
  failedAfter: 0,
  reached: new Map(),
});

/** Notes when this round's milestones were reached. `since` is the wall clock at the fault; `at` answers for the session. */
async function noteMilestones(
  cluster: Cluster,
  round: Round,
  since: number,
  caller: Caller,
  at: number,
): Promise<void> {
  const logs = cluster.ids.map((_, node) => cluster.logs(node)).join("\n");
  round.reached = milestonesIn(logs, since);
  round.reached.set("upstream started", (await caller.upstreamStartedAt(at)) - since);
  round.reached.set("first answer", Math.min(...round.times));
}

/** The owner is gone, by `fault`: its sessions are asked at the other nodes, and a call is in flight at one of them. */
async function ownerFault(
  cluster: Cluster,
  callers: readonly Caller[],
  victim: number,
  fault: () => void,
): Promise<Round> {
  const round = emptyRound();
  const [edge = 0] = others(victim);
  const held = await Promise.all(callers.map((caller) => hold(caller, edge)));
  const since = performance.now();
  const wall = Date.now();
  fault();
  await Promise.all([
    ...callers.map((caller) => firstAnswer(caller, others(victim), since, round)),
    ...held.map((stream) => endOfHeld(stream, round)),
  ]);
  const [caller] = callers;
  if (caller !== undefined) await noteMilestones(cluster, round, wall, caller, edge);
  return round;
}

/** The edge is gone: each client resumes its stream at a third node, where its call is then answered. */
async function edgeFault(callers: readonly Caller[], owner: number, edge: number, fault: () => void): Promise<Round> {
  const round = emptyRound();
  const [third = 0] = others(owner).filter((node) => node !== edge);
  const held = await Promise.all(callers.map((caller) => hold(caller, edge)));
  const since = performance.now();
  fault();
  const resume = async (caller: Caller, stream: SseConnection): Promise<void> => {
    await waitUntil(() => stream.ended, GIVE_UP_MS, "the connection to break", 1);
    for (;;) {
      const resumed = caller.resume(third, stream.lastId);
      await waitUntil(() => resumed.status !== 0 || resumed.ended, GIVE_UP_MS, "an answer to the resume", 1);
      if (resumed.status === 404) return void round.lost++;
      if (resumed.status === 200) {
        const released = await caller.call(third, "release", { name: "held" });
        if (released.status !== 200) round.failedAfter++;
        const came = () => resumed.response("held")?.result;
        const answer = await waitUntil(came, CALL_HANGS_MS, "the held call's response", 1).catch(() => undefined);
        if (answer === undefined) round.inFlight.hung++;
        else {
          round.inFlight.answered++;
          round.times.push(performance.now() - since);
        }
        return resumed.close();
      }
      if (performance.now() - since > GIVE_UP_MS) return void round.hung++;
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  };
  await Promise.all(held.map((stream, at) => resume(callers[at] as Caller, stream)));
  return round;
}

/** The thread ends: asked at all nodes, the owner's own among them. */
async function workerFault(cluster: Cluster, callers: readonly Caller[], victim: number): Promise<Round> {
  const round = emptyRound();
  const [first] = callers;
  const all = [victim, ...others(victim)];
  const since = performance.now();
  const wall = Date.now();
  const crash = first?.call(victim, "crash", {}).catch(() => undefined);
  await crash;
  await Promise.all(callers.map((caller) => firstAnswer(caller, all, since, round)));
  if (first !== undefined) await noteMilestones(cluster, round, wall, first, victim);
  return round;
}

/** The owner drains under calls: the longest answer of each session counts, and every call must succeed. */
async function drainFault(cluster: Cluster, callers: readonly Caller[], victim: number): Promise<Round> {
  const round = emptyRound();
  let drained = false;
  const nodes = others(victim);
  const ask = async (caller: Caller): Promise<void> => {
    let longest = 0;
    while (!drained) {
      const since = performance.now();
      const answer = await caller.echo(nodes);
      longest = Math.max(longest, performance.now() - since);
      if (answer === "lost") return void round.lost++;
      if (answer === "refused") round.failedAfter++;
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
    round.times.push(longest);
  };
  const asking = callers.map(ask);
  const { code } = await cluster.node(victim).stop(40_000);
  if (code !== 0) console.log(`  a draining node ended with ${code}`);
  drained = true;
  await Promise.all(asking);
  return round;
}

async function runFault(cluster: Cluster, fault: Fault, victim: number): Promise<Round> {
  // The sessions belong to the node that opens them. Of an edge's death the owner is another node.
  const owner = fault === "edge" ? (others(victim)[0] ?? 0) : victim;
  const callers = await Promise.all(
    Array.from({ length: sessionCount }, async () => {
      const caller = new Caller(await openSession(`${cluster.urls[owner]}/mcp`), cluster.urls);
      // Its upstream runs, and the others know where it is.
      await waitUntil(async () => (await caller.echo(others(owner))) === "correct", GIVE_UP_MS, "a session to answer");
      return caller;
    }),
  );
  const { pid } = cluster.node(victim);
  const kill = (): void => void process.kill(pid, "SIGKILL");
  const ended = async (): Promise<void> => {
    await cluster.kill(victim);
    await cluster.restart(victim);
  };
  switch (fault) {
    case "owner": {
      const round = await ownerFault(cluster, callers, victim, kill);
      await ended();
      return round;
    }
    case "edge": {
      const round = await edgeFault(callers, owner, victim, kill);
      await ended();
      return round;
    }
    case "worker": {
      const round = await workerFault(cluster, callers, victim);
      // A node that is new has no back-off: what is measured is the first crash of each.
      await ended();
      return round;
    }
    case "frozen": {
      const round = await ownerFault(cluster, callers, victim, () => cluster.freeze(victim));
      cluster.thaw(victim);
      await healthy(cluster);
      return round;
    }
    case "drain": {
      const round = await drainFault(cluster, callers, victim);
      await cluster.restart(victim);
      return round;
    }
  }
}

/** Every node ready, and every node a member in the eyes of every other. */
async function healthy(cluster: Cluster): Promise<void> {
  for (const index of cluster.urls.keys()) {
    await waitUntil(
      async () => {
        const nodes = await cluster.api<{ state: string }[]>(index, "nodes?active=true");
        return nodes.length === NODES && (await fetch(`${cluster.urls[index]}/ready`)).status === 200;
      },
      30_000,
      `node ${index} to be whole again`,
    );
  }
}

const chosen = (values.faults ?? "").split(",").map((name) => {
  const fault = FAULTS.find((known) => known === name);
  if (fault === undefined) throw new Error(`--faults: "${name}" is none of ${FAULTS.join(", ")}`);
  return fault;
});
const bin = await builtPackage();
const cluster = await startCluster({
  nodes: NODES,
  runtime,
  bin,
  mcpServers: { failover: { module: new URL("./failover_upstream.mjs", import.meta.url), naming: "none" } },
  config: { workers: 1, spare_worker: true, mcp: { configurations: { response: { stream_after_ms: 20 } } } },
});
const TARGET_MS: Partial<Record<Fault, number>> = { owner: 1_000, edge: 1_000, worker: 1_000, frozen: 8_000 };
const file = `${RESULTS}failover${values.name === undefined ? "" : `-${values.name}`}.json`;

/** What the file keeps: every round of each fault. */
interface Kept {
  runtime: RuntimeName;
  sessionCount: number;
  /** When each piece ran, and the load average of the minute at its end. */
  runs: { date: string; rounds: Partial<Record<Fault, number>>; load: number }[];
  rounds: Partial<Record<Fault, (Omit<Round, "reached"> & { reached: [Milestone, number][] })[]>>;
}

async function kept(): Promise<Kept> {
  const fresh: Kept = { runtime, sessionCount, runs: [], rounds: {} };
  if (!values.join || !existsSync(file)) return fresh;
  const before = JSON.parse(await readFile(file, "utf8")) as Kept;
  if (before.runtime === runtime && before.sessionCount === sessionCount) return before;
  throw new Error(`--join: ${file} is of other sessions or another runtime`);
}

const all = await kept();
const ran: Partial<Record<Fault, number>> = {};
try {
  for (const fault of chosen) {
    const until = performance.now() + Number(values.minutes) * 60_000;
    for (let at = 0; at < roundsOf[fault] && performance.now() < until; at++) {
      const { reached, ...round } = await runFault(cluster, fault, at % NODES);
      all.rounds[fault] = [...(all.rounds[fault] ?? []), { ...round, reached: [...reached] }];
      ran[fault] = at + 1;
      if (at % 20 === 19) console.log(`  ${fault}: ${at + 1} of ${roundsOf[fault]}`);
    }
  }
} finally {
  await cluster.close();
}
const load = loadavg()[0] ?? Number.NaN;
all.runs.push({ date: new Date().toISOString(), rounds: ran, load });

const rows: string[][] = [];
const steps: string[][] = [];
const ms = (value: number): string => (Number.isFinite(value) ? value.toFixed(0) : "–");
for (const fault of FAULTS) {
  const rounds = all.rounds[fault] ?? [];
  if (rounds.length === 0) continue;
  const times = rounds.flatMap((round) => round.times);
  const sum = (count: (round: (typeof rounds)[number]) => number): number =>
    rounds.reduce((total, round) => total + count(round), 0);
  const refused = sum(({ inFlight }) => inFlight.refused);
  const p99 = percentile(times, 0.99);
  const target = TARGET_MS[fault];
  rows.push([
    fault,
    `${rounds.length}`,
    ...[percentile(times, 0.5), p99, Math.max(...times)].map(ms),
    `${sum(({ lost }) => lost)}`,
    `${refused} of ${refused + sum(({ inFlight }) => inFlight.answered)}`,
    `${sum(({ hung, inFlight }) => hung + inFlight.hung)}`,
    `${sum(({ failedAfter }) => failedAfter)}`,
    target === undefined ? "–" : `${target} ms p99: ${p99 < target ? "met" : "NOT met"}`,
  ]);
  for (const milestone of MILESTONES) {
    const at = rounds.flatMap(({ reached }) => reached.flatMap(([name, after]) => (name === milestone ? after : [])));
    if (at.length > 0) steps.push([fault, milestone, ms(percentile(at, 0.5)), ms(percentile(at, 0.99))]);
  }
}
console.log(
  `\n${machine()}, servers on ${runtime}, ${new Date().toISOString().slice(0, 10)}, load average ${load.toFixed(1)}`,
);
console.log(`${sessionCount} sessions per round; milliseconds to the first correct answer`);
const head = ["fault", "rounds", "p50", "p99", "max", "lost", "in flight, refused", "hung", "failed after", "target"];
console.log(table(head, rows));
if (steps.length > 0) {
  console.log("\nReached after, milliseconds:");
  console.log(table(["fault", "step", "p50", "p99"], steps));
}
await mkdir(RESULTS, { recursive: true });
await writeFile(file, `${JSON.stringify({ machine: machine(), ...all }, null, 1)}\n`);
