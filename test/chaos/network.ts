/**
 * A network for the nodes of a chaos run: each in a network namespace of its own, joined to a bridge on which everything
 * else (Redis, the proxy, the upstream) has addresses too. Needs root and `ip`; where that is not to be had, `open`
 * returns undefined, everything stays on loopback, and no node can be isolated.
 *
 * A cut is a link that is down or a rule that drops: packets vanish and nobody is told, as with a switch that failed.
 * Names hold the process id of the run; what a run that was killed left behind is removed by the next one.
 */
import { spawnSync } from "node:child_process";

const PREFIX = "tc";

export interface Network {
  /** Of everything that is not a node. */
  readonly host: string;
  /** Of Redis alone, so that it can be cut off alone. */
  readonly redis: string;
  address(node: number): string;
  /** What starts a program as `node`. */
  wrapper(node: number): [string, ...string[]];
  /** Nothing comes from the node or reaches it. */
  isolate(node: number): void;
  rejoin(node: number): void;
  /** The node and Redis do not reach each other. */
  cutRedis(node: number): void;
  mendRedis(node: number): void;
  close(): void;
}

function ip(...args: string[]): boolean {
  return spawnSync("ip", args, { stdio: "ignore" }).status === 0;
}

/** A network for `nodes` nodes, or why there is none. */
export function openNetwork(nodes: number): Network | string {
  if (process.getuid?.() !== 0) return "not root";
  removeStale();
  const bridge = `${PREFIX}${process.pid}b`;
  const namespace = (node: number): string => `${PREFIX}${process.pid}n${node}`;
  const link = (node: number): string => `${PREFIX}${process.pid}v${node}`;
  // A private subnet that is most likely nobody's; another run has another.
  const subnet = `10.${200 + (process.pid % 50)}.${(process.pid >> 6) % 250}`;
  const inside = (node: number, ...command: string[]): boolean => ip("netns", "exec", namespace(node), ...command);
  const close = (): void => {
    for (let node = 0; node < nodes; node++) ip("netns", "del", namespace(node));
    ip("link", "del", bridge);
  };
  const address = (node: number): string => `${subnet}.${node + 1}`;
  const made =
    ip("link", "add", bridge, "type", "bridge") &&
    ip("addr", "add", `${subnet}.254/24`, "dev", bridge) &&
    ip("addr", "add", `${subnet}.253/24`, "dev", bridge) &&
    ip("link", "set", bridge, "up") &&
    Array.from({ length: nodes }, (_, node) => node).every(
      (node) =>
        ip("netns", "add", namespace(node)) &&
        ip("link", "add", link(node), "type", "veth", "peer", "name", "eth0", "netns", namespace(node)) &&
        ip("link", "set", link(node), "master", bridge, "up") &&
        inside(node, "ip", "addr", "add", `${address(node)}/24`, "dev", "eth0") &&
        inside(node, "ip", "link", "set", "lo", "up") &&
        inside(node, "ip", "link", "set", "eth0", "up"),
    );
  if (!made) {
    close();
    return "network namespaces cannot be made here";
  }
  process.once("exit", close);
  const redis = `${subnet}.253`;
  const drop = (node: number, what: "-A" | "-D"): void => {
    inside(node, "iptables", what, "OUTPUT", "-d", redis, "-j", "DROP");
    inside(node, "iptables", what, "INPUT", "-s", redis, "-j", "DROP");
  };
  return {
    host: `${subnet}.254`,
    redis,
    address,
    wrapper: (node) => ["ip", "netns", "exec", namespace(node)],
    isolate: (node) => void ip("link", "set", link(node), "down"),
    rejoin: (node) => void ip("link", "set", link(node), "up"),
    cutRedis: (node) => drop(node, "-A"),
    mendRedis: (node) => drop(node, "-D"),
    close: () => {
      process.off("exit", close);
      close();
    },
  };
}

/** Namespaces and bridges of runs that are no more. */
function removeStale(): void {
  const listed = spawnSync("ip", ["netns", "list"], { encoding: "utf8" }).stdout ?? "";
  const links = spawnSync("ip", ["-o", "link", "show", "type", "bridge"], { encoding: "utf8" }).stdout ?? "";
  for (const [name, pid] of listed.matchAll(/\btc(\d+)n\d+/g)) if (!runs(Number(pid))) ip("netns", "del", name);
  for (const [name, pid] of links.matchAll(/\btc(\d+)b\b/g)) if (!runs(Number(pid))) ip("link", "del", name);
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
