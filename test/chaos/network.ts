/**
 * The ways between the nodes of a chaos run, Redis and everybody else, and what can happen to them. Two kinds:
 *
 * - `namespaces.ts`: a network namespace for each node; a cut is a link that is down, so packets vanish and nobody is
 *   told, as with a switch that failed. Needs root and `ip`.
 * - `cuts.ts`: everything on loopback, through proxies that fall silent or refuse. Needs Linux.
 *
 * A verb that did not do what it says throws: a fault that never was would make a run that proves nothing.
 */
export interface Network {
  /** For people. */
  readonly kind: string;
  /** What everything that is not a node listens on. */
  readonly host: string;
  /** `host:port` that the node binds for clients. */
  binds(node: number): string;
  /** `host:port` where clients reach it. */
  reaches(node: number): string;
  /** Its part of the `mesh` configuration. */
  mesh(node: number): { bind_address: string; advertise_address?: string; direct?: boolean };
  /** `host:port` of Redis, and the URL of another server, as that node reaches it. */
  redis(node: number): string;
  server(node: number): string;
  /** What starts a program as `node`. */
  wrapper(node: number): readonly [string, ...string[]] | undefined;
  /** Nothing comes from the node or reaches it. */
  isolate(node: number): void;
  rejoin(node: number): void;
  /** The node and Redis do not reach each other. */
  cutRedis(node: number): void;
  mendRedis(node: number): void;
  close(): Promise<void>;
}

export interface NetworkOptions {
  nodes: number;
  redisPort: number;
  /** Of the server that all nodes use, on `host`. */
  serverPort: number;
  /** The process that runs as `node` now. */
  pid(node: number): number;
}
