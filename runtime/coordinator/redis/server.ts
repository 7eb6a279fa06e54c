/**
 * What `INFO` says about a Redis server, and whether it can be trusted with the coordinator's data.
 */
export interface RedisServer {
  /** `""` where a proxy hides it. */
  runId: string;
  version: string;
  role: string;
  /** Replicas connected, also those that are still being sent the data. */
  replicas: number;
  /** Those that have it and follow: only they can confirm a write. */
  onlineReplicas: number;
  /** Replicas that count for `min-replicas-to-write`; null where that is not set. */
  goodReplicas: number | null;
  evictionPolicy: string;
}

/** Reads the text of `INFO`. */
export function readServer(info: string): RedisServer {
  const values = new Map<string, string>();
  for (const line of info.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) values.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return {
    runId: values.get("run_id") ?? "",
    version: values.get("redis_version") ?? "",
    role: values.get("role") ?? "master",
    replicas: Number(values.get("connected_slaves") ?? "0"),
    onlineReplicas: [...values].filter(([name, value]) => /^slave\d+$/.test(name) && /\bstate=online\b/.test(value))
      .length,
    // Redis prints this line only while the option is in force.
    goodReplicas: values.has("min_slaves_good_slaves") ? Number(values.get("min_slaves_good_slaves")) : null,
    evictionPolicy: values.get("maxmemory_policy") ?? "noeviction",
  };
}

/** What is wrong with it and how to put it right, to follow "Redis at host:port"; `null` when it is fit. */
export function examineServer(server: RedisServer): string | null {
  const major = Number.parseInt(server.version, 10);
  if (major < 6) return `is version ${server.version}: version 6.0 or newer is needed`;
  if (server.evictionPolicy !== "noeviction") {
    return (
      `has maxmemory-policy ${server.evictionPolicy}, which may delete sessions and ownership records at any time: ` +
      'run "CONFIG SET maxmemory-policy noeviction" on it and put the same in its configuration'
    );
  }
  if (server.role !== "master") return "is a read-only replica: cluster.url must name the primary";
  if (server.goodReplicas === 0) {
    return (
      "has min-replicas-to-write set and no replica that follows it, so it refuses every write: " +
      'start a replica, or run "CONFIG SET min-replicas-to-write 0" on it and put the same in its configuration'
    );
  }
  if (server.replicas > 0 && server.goodReplicas === null) {
    return (
      "has replicas but accepts writes that none of them has, which a failover would lose: " +
      'run "CONFIG SET min-replicas-to-write 1" on it and put the same in its configuration'
    );
  }
  return null;
}
