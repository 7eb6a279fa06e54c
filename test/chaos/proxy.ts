/**
 * The proxy of a chaos run: nginx with the configuration that `examples/three-nodes` tells users to copy, and a log that
 * says which nodes each request was given to. Whether a client waited for a node that was frozen, or for one that should
 * have answered, only the proxy knows.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Leash } from "../harness/leash.ts";
import { freePort } from "../harness/ports.ts";
import { waitUntil } from "../harness/wait.ts";

const EXAMPLE = fileURLToPath(new URL("../../examples/three-nodes/nginx.conf", import.meta.url));

export interface RoutingProxy {
  url: string;
  /** The nodes each request was given to, in order, by the request's `x-chaos` header. Those that have ended. */
  routes(): Map<string, number[]>;
  close(): Promise<void>;
}

/** `nodes` are `host:port`. */
export async function startProxy(folder: string, nodes: readonly string[], leash: Leash): Promise<RoutingProxy> {
  const home = join(folder, "nginx");
  mkdirSync(home);
  // nginx's workers run as another user.
  chmodSync(folder, 0o755);
  chmodSync(home, 0o777);
  const port = await freePort();
  const log = join(home, "routes.log");
  writeFileSync(join(home, "nginx.conf"), configuration(readFileSync(EXAMPLE, "utf8"), nodes, port, log));
  const child = spawn("nginx", ["-p", home, "-c", join(home, "nginx.conf"), "-e", "stderr"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` },
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-4_000);
  });
  const exited = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      said += error.message;
      resolve();
    });
    child.once("exit", () => resolve());
  });
  if (child.pid !== undefined) leash.hold(child.pid);
  await waitUntil(() => accepts(port), 10_000, `nginx to listen; it said: ${said}`);
  return {
    url: `http://127.0.0.1:${port}`,
    routes: () => readRoutes(readFileSync(log, "utf8"), nodes),
    close: () => stop(child, exited, leash),
  };
}

async function stop(child: ChildProcess, exited: Promise<void>, leash: Leash): Promise<void> {
  if (child.pid !== undefined) {
    process.kill(child.pid, "SIGTERM");
    await exited;
    leash.release(child.pid);
  }
}

/** The example's, with these nodes, room for many clients, and the log. */
function configuration(example: string, nodes: readonly string[], port: number, log: string): string {
  const servers = nodes.map((node) => `        server ${node} max_fails=1 fail_timeout=2s;`).join("\n");
  return example
    .replace(/( *server 127\.0\.0\.1:908\d .*\n)+/, `${servers}\n`)
    .replace("listen 127.0.0.1:9080;", `listen 127.0.0.1:${port} backlog=4096;`)
    .replace("worker_connections 1024;", "worker_connections 16384;")
    .replace("worker_processes 1;", "worker_processes 1;\nworker_rlimit_nofile 65536;")
    .replace(
      "access_log off;",
      `log_format routes '$http_x_chaos $status $upstream_addr';
    access_log ${log} routes;
    # The clients here keep their connections for the whole run.
    keepalive_requests 1000000;
    keepalive_timeout 1h;
    # A host that vanished answers no connection attempt; then another node is asked.
    proxy_connect_timeout 1s;`,
    );
}

/** Lines such as `c1/7 200 10.0.0.1:8787, 10.0.0.2:8787`. */
export function readRoutes(log: string, nodes: readonly string[]): Map<string, number[]> {
  const routes = new Map<string, number[]>();
  for (const line of log.split("\n")) {
    const [request, , ...upstreams] = line.split(" ");
    if (request === undefined || request === "" || request === "-") continue;
    routes.set(
      request,
      upstreams.map((address) => nodes.indexOf(address.replace(",", ""))).filter((node) => node >= 0),
    );
  }
  return routes;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
