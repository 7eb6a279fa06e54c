/**
 * What the mesh costs: calls and replies of about 200 bytes between two processes over loopback, 512 in flight, beside a
 * bare WebSocket that packs the same tuples and batches them per tick, in the same run.
 *
 *     node --import tsx test/bench/mesh_echo.ts [seconds]       deno run -A test/bench/mesh_echo.ts [seconds]
 *
 * CPU is user and system time of both processes, per round trip (one call and its reply).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Packr } from "msgpackr";
import { WebSocket, WebSocketServer } from "ws";
import { systemClock } from "../../runtime/actor/clock.ts";
import type { ActorId, Generation, Incarnation, NodeId } from "../../runtime/actor/ids.ts";
import { Lane, type Message, MessageType } from "../../runtime/actor/message.ts";
import { silentLogger } from "../../runtime/observe/log.ts";
import { Metrics } from "../../runtime/observe/metrics.ts";
import { Mesh } from "../../transports/mesh/mesh.ts";

const IN_FLIGHT = 512;
const SYSTEMS = ["bare ws", "mesh", "mesh sealed"] as const;
type System = (typeof SYSTEMS)[number];

/** One end: sends messages to the other, and is told of those that come. */
interface End {
  send(message: Message): void;
  onMessage: (message: Message) => void;
}

const BODY = "x".repeat(100);

function call(id: number): Message {
  const actor = `session/${(id % 64).toString().padStart(16, "0")}` as ActorId;
  return [MessageType.Call, id, "2" as Incarnation, 1, actor, "", "request", [BODY], 60_000, Lane.Normal, 0, [], "", 0];
}

function answer(message: Message): Message {
  return [MessageType.Reply, message[1], message[2], message[3], null, BODY];
}

function batching(ws: WebSocket): End {
  const packr = new Packr({ moreTypes: true });
  let batch: Message[] = [];
  const end: End = {
    onMessage: () => {},
    send(message) {
      if (batch.push(message) > 1) return;
      queueMicrotask(() => {
        ws.send(packr.pack(batch));
        batch = [];
      });
    },
  };
  ws.on("message", (data: Buffer) => {
    for (const message of packr.unpack(data) as Message[]) end.onMessage(message);
  });
  return end;
}

/** The incarnations are "1", which echoes, and "2", which measures and dials. */
async function startMesh(incarnation: "1" | "2", system: System): Promise<{ end: End; mesh: Mesh; address: string }> {
  const other = (incarnation === "1" ? "2" : "1") as Incarnation;
  const end: End = {
    onMessage: () => {},
    send: (message) => {
      const key = message[0] === MessageType.Call ? message[4] : String(message[1] % 16);
      if (mesh.send(other, key, message) !== "queued") throw new Error("not queued");
    },
  };
  const mesh = new Mesh({
    self: { nodeId: incarnation as NodeId, incarnation: incarnation as Incarnation, generation: "1" as Generation },
    clusterName: "bench",
    bind: { host: "127.0.0.1", port: 0 },
    secret: "a secret of this benchmark",
    seal: system === "mesh sealed" ? "always" : "auto",
    clock: systemClock(),
    log: silentLogger,
    metrics: new Metrics(),
    events: { message: (_from, message) => end.onMessage(message), linkUp() {}, linkDown() {} },
  });
  return { end, mesh, address: (await mesh.listen()).advertised };
}

const member = (incarnation: string, meshUrl: string) => ({
  nodeId: incarnation as NodeId,
  incarnation: incarnation as Incarnation,
  meshUrl,
});

/** The child: echoes until its standard input ends, then says what CPU time it took since the mark. */
async function echo(system: System): Promise<void> {
  const attach = (end: End) => {
    end.onMessage = (message) => end.send(answer(message));
  };
  if (system === "bare ws") {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
    server.on("connection", (ws) => attach(batching(ws)));
    server.on("listening", () => console.log(JSON.stringify(server.address())));
  } else {
    const { end, mesh, address } = await startMesh("1", system);
    attach(end);
    mesh.setPeers([member("2", "127.0.0.1:1")]);
    console.log(JSON.stringify({ port: Number(address.split(":")[1]) }));
  }
  for await (const line of createInterface({ input: process.stdin })) if (line === "cpu") console.log(cpuMicros());
  process.exit(0);
}

function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function connect(system: System, port: number): Promise<End> {
  if (system === "bare ws") {
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
    await new Promise((resolve) => ws.once("open", resolve));
    return batching(ws);
  }
  const { end, mesh } = await startMesh("2", system);
  mesh.setPeers([member("1", `127.0.0.1:${port}`)]);
  while (!mesh.connected("1" as Incarnation)) await new Promise((resolve) => setTimeout(resolve, 5));
  return end;
}

async function measure(system: System, seconds: number): Promise<void> {
  const child = spawn(process.execPath, [...runtimeArguments(), process.argv[1] ?? "", "--echo", system], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async (): Promise<string> => (await lines.next()).value;
  const { port } = JSON.parse(await read());
  const end = await connect(system, port);
  let id = 0;
  let done = 0;
  end.onMessage = () => {
    done++;
    end.send(call(++id));
  };
  while (id < IN_FLIGHT) end.send(call(++id));
  await sleep(500);
  const before = { done, cpu: cpuMicros() + (await cpuOf(child, read)), at: performance.now() };
  await sleep(seconds * 1000);
  const after = { done, cpu: cpuMicros() + (await cpuOf(child, read)), at: performance.now() };
  end.onMessage = () => {};
  child.stdin?.end();
  const trips = after.done - before.done;
  const rate = trips / ((after.at - before.at) / 1000);
  console.log(
    `${system.padEnd(12)} ${Math.round(rate).toString().padStart(8)} round trips/s ${((after.cpu - before.cpu) / trips).toFixed(1).padStart(6)} us CPU each`,
  );
}

async function cpuOf(child: ChildProcess, read: () => Promise<string>): Promise<number> {
  child.stdin?.write("cpu\n");
  return Number(await read());
}

function runtimeArguments(): string[] {
  return "Deno" in globalThis ? ["run", "-A"] : process.execArgv;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (process.argv[2] === "--echo") await echo(process.argv[3] as System);
else {
  const seconds = Number(process.argv[2] ?? 2);
  for (const system of SYSTEMS) await measure(system, seconds);
  process.exit(0);
}
