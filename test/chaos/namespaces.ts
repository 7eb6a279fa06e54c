/**
 * A network namespace for each node of a chaos run. Two bridges join them: one to each other and to everything else
 * (the proxy, the upstream), and one to Redis alone, so that it can be cut off alone. A cut is a link that is down.
 *
 * Names hold the process id of the run; what a run that was killed left behind is removed by the next one.
 */
import { spawnSync } from "node:child_process";
import { alive } from "../harness/processes.ts";
import type { Network, NetworkOptions } from "./network.ts";

const PREFIX = "tc";
/** Half a subnet has room for so many besides its own host. */
const MOST_NODES = 100;

/** Throws, with the reason, where namespaces cannot be made. */
export function openNamespaces({ nodes, redisPort, serverPort }: NetworkOptions): Network {
  if (process.getuid?.() !== 0) throw new Error("not root");
  if (nodes > MOST_NODES) throw new Error(`more than ${MOST_NODES} nodes`);
  removeStale();
  const name = (what: string): string => `${PREFIX}${process.pid}${what}`;
  const [bridge, redisBridge] = [name("b"), name("r")];
  const [link, redisLink] = [(node: number) => name(`v${node}`), (node: number) => name(`w${node}`)];
  const namespace = (node: number): string => name(`n${node}`);
  // A private subnet that is most likely nobody's; another run has another. Its lower half is everybody's, the upper Redis'.
  const subnet = `10.${200 + (process.pid % 50)}.${(process.pid >> 6) % 250}`;
  const [host, redis] = [`${subnet}.126`, `${subnet}.254`];
  const address = (node: number): string => `${subnet}.${node + 1}`;
  const inside = (node: number, ...args: string[]): void => ip("-n", namespace(node), ...args);
  const removeAll = (): void => {
    for (let node = 0; node < nodes; node++) tried("netns", "del", namespace(node));
    for (const made of [bridge, redisBridge]) tried("link", "del", made);
  };
  try {
    for (const [made, own] of [
      [bridge, host],
      [redisBridge, redis],
    ] as const) {
      ip("link", "add", made, "type", "bridge");
      ip("addr", "add", `${own}/25`, "dev", made);
      ip("link", "set", made, "up");
    }
    for (let node = 0; node < nodes; node++) {
      ip("netns", "add", namespace(node));
      inside(node, "link", "set", "lo", "up");
      for (const [outer, inner, to, at] of [
        [link(node), "eth0", bridge, address(node)],
        [redisLink(node), "eth1", redisBridge, `${subnet}.${128 + node + 1}`],
      ] as const) {
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", namespace(node));
        ip("link", "set", outer, "master", to, "up");
        inside(node, "addr", "add", `${at}/25`, "dev", inner);
        inside(node, "link", "set", inner, "up");
      }
    }
  } catch (error) {
    removeAll();
    throw error;
  }
  process.once("exit", removeAll);
  return {
    kind: "a network namespace each",
    host,
    binds: (node) => `${address(node)}:8787`,
    reaches: (node) => `${address(node)}:8787`,
    mesh: (node) => ({ bind_address: `${address(node)}:0` }),
    redis: () => `${redis}:${redisPort}`,
    server: () => `${host}:${serverPort}`,
    wrapper: (node) => ["ip", "netns", "exec", namespace(node)],
    isolate: (node) => {
      for (const outer of [link(node), redisLink(node)]) ip("link", "set", outer, "down");
    },
    rejoin: (node) => {
      for (const outer of [link(node), redisLink(node)]) ip("link", "set", outer, "up");
    },
    cutRedis: (node) => ip("link", "set", redisLink(node), "down"),
    mendRedis: (node) => ip("link", "set", redisLink(node), "up"),
    async close() {
      process.off("exit", removeAll);
      removeAll();
    },
  };
}

/** Throws what `ip` says where it fails. */
function ip(...args: string[]): void {
  const { status, stderr, error } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${(error?.message ?? stderr).trim()}`);
}

function tried(...args: string[]): void {
  spawnSync("ip", args, { stdio: "ignore" });
}

/** Namespaces and bridges of runs that are no more. */
function removeStale(): void {
  const listed = spawnSync("ip", ["netns", "list"], { encoding: "utf8" }).stdout ?? "";
  const links = spawnSync("ip", ["-o", "link", "show", "type", "bridge"], { encoding: "utf8" }).stdout ?? "";
  for (const [name, pid] of listed.matchAll(/\btc(\d+)n\d+/g)) if (!alive(Number(pid))) tried("netns", "del", name);
  for (const [name, pid] of links.matchAll(/\btc(\d+)[br]\b/g)) if (!alive(Number(pid))) tried("link", "del", name);
}
