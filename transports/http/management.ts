/**
 * The node's own endpoints: health for everybody, and for operators the state of the cluster.
 *
 * Until access control is configured, management is for this machine only: the peer's address and the `Host` header must
 * be local, no page of another origin may ask, and a request that says it came through a proxy is refused, because a
 * proxy on the same machine makes strangers look local. `/health` and `/ready` answer anyone: load balancers ask them.
 */
import type { SessionDescription } from "../../actors/session/contract.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { Logger } from "../../runtime/observe/log.ts";
import type { Exchange } from "./exchange.ts";
import { statusOf } from "./failure.ts";
import { isLocalHost, isLocalOrigin, isLoopbackAddress } from "./origin.ts";
import type { HttpRoute } from "./server.ts";

export interface Readiness {
  ready: boolean;
  /** Why it is not; null when it is. */
  reason: string | null;
  /** It is, and somebody should look at this. */
  warning?: string;
}

/** `GET /api/cluster/status`. */
export interface ClusterStatus {
  /** Whether more than this node can take part: any coordinator but `single_node`. */
  enabled: boolean;
  mode: "standalone" | "cluster";
  nodeId: string;
  /** Kind of the coordinator. */
  coordinator: string;
  generation: string;
  view: string;
  stats: { nodes: number; activeNodes: number; servers: number; sessions: number };
}

export interface NodeDescription {
  id: string;
  incarnation: string;
  url: string;
  meshUrl: string;
  pid: number;
  /** `node 20.20.2`, `deno 2.9.6`. */
  runtime: string;
  state: string;
}

/** One node's part in serving an upstream. */
export interface ReplicaDescription {
  server: string;
  nodeId: string;
  state: "running" | "idle" | "failed";
  /** Processes or connections of it there. */
  connections: number;
}

export interface ActorDescription {
  id: string;
  kind: string;
  nodeId: string;
  worker: number;
}

/** Where the answers come from; the node implements it. Lists are bounded by `limit`. */
export interface Management {
  readiness(): Readiness;
  /** Prometheus text. */
  metrics(): string | Promise<string>;
  status(): Promise<ClusterStatus>;
  nodes(filter: { activeOnly: boolean }): Promise<NodeDescription[]>;
  /** Null: no such upstream. */
  replicas(server: string): Promise<ReplicaDescription[] | null>;
  sessions(filter: { limit: number }): Promise<SessionDescription[]>;
  /** Null: no such session. */
  session(id: string): Promise<SessionDescription | null>;
  /** Ends a session for good, whoever's it is. False: no such session. */
  terminate(id: string): Promise<boolean>;
  actors(filter: { kind: string | null; limit: number }): Promise<ActorDescription[]>;
  /** Asks a node to drain; resolves when it was told. False: no such node. */
  drain(nodeId: string): Promise<boolean>;
}

const API = "/api/cluster/";
/** Entries of a list, where `?limit=` does not say. */
const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 10_000;

/** The routes of `management`. */
export function managementRoutes(management: Management, log: Logger): HttpRoute[] {
  return [
    {
      name: "health",
      path: "/health",
      handle: (exchange) => {
        if (readOnly(exchange)) exchange.json(200, HEALTHY, NO_STORE);
      },
    },
    {
      name: "ready",
      path: "/ready",
      handle: (exchange) => {
        if (readOnly(exchange)) ready(exchange, management);
      },
    },
    {
      name: "metrics",
      path: "/metrics",
      handle: async (exchange) => {
        if (guarded(exchange) && readOnly(exchange)) await metrics(exchange, management);
      },
    },
    {
      name: "management",
      path: API,
      handle: async (exchange) => {
        if (guarded(exchange)) await api(exchange, management, log);
      },
    },
  ];
}

const HEALTHY = JSON.stringify({ status: "ok" });

function ready(exchange: Exchange, management: Management): void {
  const { ready, reason, warning } = management.readiness();
  exchange.json(ready ? 200 : 503, JSON.stringify({ ready, reason, warning }), NO_STORE);
}

async function metrics(exchange: Exchange, management: Management): Promise<void> {
  exchange.text(200, "text/plain; version=0.0.4; charset=utf-8", await management.metrics(), NO_STORE);
}

/** Whether the request may see management; answers 403 when not. */
function guarded(exchange: Exchange): boolean {
  const { headers, socket } = exchange.req;
  const { origin } = headers;
  const proxied = headers.forwarded !== undefined || headers["x-forwarded-for"] !== undefined;
  const local = isLoopbackAddress(socket.remoteAddress) && isLocalHost(headers.host) && !proxied;
  if (local && (origin === undefined || isLocalOrigin(origin))) return true;
  const message = "management is served to this machine only, unless access control is configured";
  failure(exchange, 403, "forbidden", message);
  return false;
}

function readOnly(exchange: Exchange): boolean {
  return methodIs(exchange, "GET") || (exchange.req.method === "HEAD" ? true : notAllowed(exchange, "GET, HEAD"));
}

async function api(exchange: Exchange, management: Management, log: Logger): Promise<void> {
  try {
    await dispatch(exchange, management);
  } catch (error) {
    if (TroupeError.is(error)) return failure(exchange, statusOf(error.code), error.code, error.message);
    log.error("a management request failed", { path: exchange.path, error });
    failure(exchange, 500, "internal", "internal error");
  }
}

async function dispatch(exchange: Exchange, management: Management): Promise<void> {
  const parts = partsOf(exchange.path);
  const query = new URLSearchParams(exchange.query);
  const [resource, name, action] = parts;
  const found = (kind: string, data: unknown): void => {
    if (data === null) failure(exchange, 404, "not_found", `no ${kind} named ${JSON.stringify(name)}`);
    else success(exchange, 200, data);
  };

  if (parts.length === 3 && resource === "nodes" && action === "drain" && name !== undefined) {
    if (!methodIs(exchange, "POST")) return void notAllowed(exchange, "POST");
    if (await management.drain(name)) return success(exchange, 202, { id: name, state: "draining" });
    return found("node", null);
  }
  if (parts.length === 2 && resource === "sessions" && name !== undefined && exchange.req.method === "DELETE") {
    if (await management.terminate(name)) return success(exchange, 200, { id: name, state: "ended" });
    return found("session", null);
  }
  const known =
    (parts.length === 1 && ["status", "nodes", "sessions", "actors"].includes(resource ?? "")) ||
    (parts.length === 2 && resource === "sessions") ||
    (parts.length === 3 && resource === "servers" && action === "replicas");
  if (!known) return failure(exchange, 404, "not_found", `no such path: ${exchange.path.slice(0, 200)}`);
  if (!readOnly(exchange)) return;

  const limit = limitOf(query.get("limit"));
  if (limit === null) {
    return failure(exchange, 400, "invalid_argument", `limit must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  if (resource === "status") return success(exchange, 200, await management.status());
  if (resource === "nodes") {
    return success(exchange, 200, await management.nodes({ activeOnly: query.get("active") === "true" }));
  }
  if (resource === "actors") {
    return success(exchange, 200, await management.actors({ kind: query.get("kind"), limit }));
  }
  if (resource === "servers") return found("server", await management.replicas(name ?? ""));
  if (name === undefined) return success(exchange, 200, await management.sessions({ limit }));
  return found("session", await management.session(name));
}

function partsOf(path: string): string[] {
  try {
    return path.slice(API.length).replace(/\/$/, "").split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

function limitOf(text: string | null): number | null {
  if (text === null) return DEFAULT_LIMIT;
  const limit = Number(text);
  return Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT ? limit : null;
}

const NO_STORE: readonly string[] = ["cache-control", "no-store"];

function methodIs(exchange: Exchange, method: string): boolean {
  return exchange.req.method === method;
}

function notAllowed(exchange: Exchange, allow: string): false {
  const message = `${exchange.req.method} is not possible here, only ${allow}`;
  exchange.json(405, JSON.stringify({ success: false, error: { code: "method_not_allowed", message } }), [
    "allow",
    allow,
  ]);
  return false;
}

function success(exchange: Exchange, status: number, data: unknown): void {
  exchange.json(status, JSON.stringify({ success: true, data }), NO_STORE);
}

function failure(exchange: Exchange, status: number, code: string, message: string): void {
  exchange.json(status, JSON.stringify({ success: false, error: { code, message } }), NO_STORE);
}
