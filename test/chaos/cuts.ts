/**
 * The ways between the nodes of a chaos run as proxies on loopback, where network namespaces are not to be had: one in
 * front of each node's client endpoint and mesh, and one of its own to Redis and to the server that all use.
 *
 * A node that is isolated answers no connection attempt of a client (its host would not), and its other connections fall
 * silent: what is sent is held back until it is reached again, as TCP does. Of the mesh's connections those it made
 * itself lead to the others' proxies; the kernel knows whose they are (`/proc`, so Linux).
 *
 * Because a refused connection to such an address proves nothing about the node behind it, nodes are configured to take
 * it as no evidence (`mesh.direct: false`): a crash is noticed when its lease is over.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { freePort } from "../harness/ports.ts";
import { TcpProxy } from "../harness/tcp_proxy.ts";
import type { Network, NetworkOptions } from "./network.ts";

const HOST = "127.0.0.1";

interface Ways {
  clientPort: number;
  meshPort: number;
  client: TcpProxy;
  mesh: TcpProxy;
  redis: TcpProxy;
  server: TcpProxy;
}

/** Throws, with the reason, where connections cannot be told apart. */
export async function openCuts({ nodes, redisPort, serverPort, pid }: NetworkOptions): Promise<Network> {
  if (process.platform !== "linux") throw new Error("not Linux");
  const ways: Ways[] = [];
  for (let node = 0; node < nodes; node++) {
    const [clientPort, meshPort] = [await freePort(), await freePort()];
    const [client = never(), mesh = never(), redis = never(), server = never()] = await Promise.all(
      [clientPort, meshPort, redisPort, serverPort].map((port) => TcpProxy.start(port)),
    );
    ways.push({ clientPort, meshPort, client, mesh, redis, server });
  }
  const of = (node: number): Ways => ways[node] ?? never();
  return {
    kind: "proxies on loopback",
    host: HOST,
    binds: (node) => `${HOST}:${of(node).clientPort}`,
    reaches: (node) => `${HOST}:${of(node).client.port}`,
    mesh: (node) => ({
      bind_address: `${HOST}:${of(node).meshPort}`,
      advertise_address: `${HOST}:${of(node).mesh.port}`,
      direct: false,
    }),
    redis: (node) => `${HOST}:${of(node).redis.port}`,
    server: (node) => `${HOST}:${of(node).server.port}`,
    wrapper: () => undefined,
    isolate(node) {
      const { client, mesh, redis, server } = of(node);
      const isItsOwn = socketsOf(pid(node));
      client.vanish();
      for (const way of [mesh, redis, server]) way.silence();
      for (const other of ways) if (other.mesh !== mesh) other.mesh.silence(({ remotePort }) => isItsOwn(remotePort));
    },
    rejoin() {
      for (const way of ways) for (const proxy of [way.client, way.mesh, way.redis, way.server]) proxy.heal();
    },
    cutRedis: (node) => of(node).redis.silence(),
    mendRedis: (node) => of(node).redis.heal(),
    async close() {
      const all = ways.flatMap(({ client, mesh, redis, server }) => [client, mesh, redis, server]);
      await Promise.all(all.map((proxy) => proxy.close()));
    },
  };
}

/** Answers whether a loopback connection from that local port is held by process `pid`. */
function socketsOf(pid: number): (port: number | undefined) => boolean {
  return (port) => {
    const inode = inodeOf(port ?? -1);
    if (inode === undefined) return false;
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => {
      try {
        return readlinkSync(`${folder}/${fd}`) === `socket:[${inode}]`;
      } catch {
        return false;
      }
    });
  };
}

/** The socket that is bound to loopback `port` and connected. */
function inodeOf(port: number): string | undefined {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n")) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === local && fields[3] === "01") return fields[9];
  }
  return undefined;
}

function never(): never {
  throw new Error("there is no such node");
}
