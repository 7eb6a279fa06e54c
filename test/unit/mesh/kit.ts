/**
 * Meshes on loopback in one process, with what happened to each written down, and a proxy that can misbehave.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { systemClock } from "../../../runtime/actor/clock.ts";
import type { ActorId, Epoch, Generation, Incarnation, NodeId } from "../../../runtime/actor/ids.ts";
import {
  type CallMessage,
  Lane,
  type Message,
  MessageType,
  type ReplyMessage,
} from "../../../runtime/actor/message.ts";
import { createLogger } from "../../../runtime/observe/log.ts";
import { Metrics } from "../../../runtime/observe/metrics.ts";
import type { LinkLoss } from "../../../runtime/placement/peers.ts";
import { Mesh } from "../../../transports/mesh/mesh.ts";
import type { MeshOptions, MeshPeer } from "../../../transports/mesh/options.ts";

export const SECRET = "a secret of this test cluster";

export interface TestNode {
  mesh: Mesh;
  incarnation: Incarnation;
  /** How others name it; `meshUrl` may be pointed at a proxy. */
  member: MeshPeer;
  port: number;
  messages: { from: Incarnation; message: Message }[];
  /** `up b`, `down b closed`, in order. */
  links: string[];
  /** Log lines, JSON. */
  log: string[];
  metrics: Metrics;
  onMessage: (from: Incarnation, message: Message) => void;
}

const running = new Set<Mesh>();

/** A listening mesh of node `name`; its incarnation is the name too, so the later in the alphabet dials. */
export async function startNode(name: string, options: Partial<MeshOptions> = {}): Promise<TestNode> {
  const incarnation = (options.self?.incarnation ?? name) as Incarnation;
  const metrics = new Metrics();
  const log: string[] = [];
  const messages: TestNode["messages"] = [];
  const links: string[] = [];
  const mesh = new Mesh({
    self: { nodeId: name as NodeId, incarnation, generation: "generation-1" as Generation },
    clusterName: "test",
    bind: { host: "127.0.0.1", port: 0 },
    secret: SECRET,
    clock: systemClock(),
    log: createLogger({ level: "debug", format: "json", write: (line) => void log.push(line) }),
    metrics,
    events: {
      message: (from, message) => node.onMessage(from, message),
      linkUp: (peer) => void links.push(`up ${peer}`),
      linkDown: (peer: Incarnation, loss: LinkLoss) => void links.push(`down ${peer} ${loss}`),
    },
    ...options,
  });
  const { port, advertised } = await mesh.listen();
  running.add(mesh);
  const node: TestNode = {
    mesh,
    incarnation,
    member: { nodeId: name as NodeId, incarnation, meshUrl: advertised },
    port,
    messages,
    links,
    log,
    metrics,
    onMessage: (from, message) => void messages.push({ from, message }),
  };
  return node;
}

/** Two nodes, `a` and `b` (which dials), linked. */
export async function startPair(
  optionsOfA: Partial<MeshOptions> = {},
  optionsOfB: Partial<MeshOptions> = optionsOfA,
): Promise<[a: TestNode, b: TestNode]> {
  const a = await startNode("a", optionsOfA);
  const b = await startNode("b", optionsOfB);
  introduce(a, b);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "a and b are linked");
  return [a, b];
}

/** Tells all nodes of each other. */
export function introduce(...nodes: TestNode[]): void {
  for (const node of nodes) node.mesh.setPeers(nodes.map(({ member }) => member));
}

/** For `afterEach`: closes every mesh and proxy that still runs. */
export async function stopAll(): Promise<void> {
  for (const proxy of proxies) proxy.close();
  proxies.clear();
  await Promise.all([...running].map((mesh) => mesh.close()));
  running.clear();
}

/** Resolves when `predicate` holds; rejects after `ms`. */
export async function until(predicate: () => boolean, what: string, ms = 5_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!predicate()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export function call(id: number, actor: string, ...args: unknown[]): CallMessage {
  return [
    MessageType.Call,
    id,
    "b" as Incarnation,
    0,
    actor as ActorId,
    "" as Epoch | "",
    "method",
    args,
    60_000,
    Lane.Normal,
    0,
    [],
    "",
    0,
  ];
}

export function reply(id: number, value: unknown): ReplyMessage {
  return [MessageType.Reply, id, "a" as Incarnation, 0, null, value];
}

/** The value of the counter whose line starts with `series`. */
export function metric(node: TestNode, series: string): number {
  const line = node.metrics
    .text()
    .split("\n")
    .find((text) => text.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}

/** A seeded random number generator (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A TCP proxy before a port. */
export interface TestProxy {
  address: string;
  connections: number;
  /** Changes or records what passes; `up` is towards the listener. */
  tap: (data: Buffer, direction: "up" | "down", connection: number) => Buffer;
  /** Milliseconds that bytes of a connection take longer. */
  delay: (direction: "up" | "down", connection: number) => number;
  /** Nothing passes any more and nothing is closed, as in a partition. */
  freeze(): void;
  /** Ends all connections. */
  cut(): void;
  close(): void;
}

const proxies = new Set<TestProxy>();

/** `at`: the port it listens on, where an earlier one must come back. */
export async function startProxy(port: number, at = 0): Promise<TestProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((inner) => {
    const number = proxy.connections++;
    const outer = connect(port, "127.0.0.1");
    for (const [from, to, direction] of [
      [inner, outer, "up"],
      [outer, inner, "down"],
    ] as const) {
      sockets.add(from);
      from.setNoDelay();
      from.on("data", (data: Buffer) => {
        const pass = () => void (to.destroyed || to.write(proxy.tap(data, direction, number)));
        const ms = proxy.delay(direction, number);
        if (ms === 0) pass();
        else setTimeout(pass, ms);
      });
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(at, "127.0.0.1", resolve));
  const proxy: TestProxy = {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: 0,
    tap: (data) => data,
    delay: () => 0,
    freeze: () => sockets.forEach((socket) => void socket.pause()),
    cut: () => sockets.forEach((socket) => void socket.destroy()),
    close: () => {
      server.close();
      proxy.cut();
    },
  };
  proxies.add(proxy);
  return proxy;
}
