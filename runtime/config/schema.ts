/**
 * The configuration, as one schema: every key, its range and its default. The YAML's key names are the property names,
 * so what a user writes, what the code reads and what an error message says are the same words.
 *
 * `load.ts` reads files into it, `rules.ts` holds the checks that look at more than one key, `problem.ts` turns a
 * refusal into a sentence. `runtime schema` prints this file as JSON Schema.
 */
// Not `{ z }`: the bundler keeps every member of that object, fifty languages among them.
import * as z from "zod";

/** Longest time a knob may name: a day. Longer is nearly always a slip of units. */
const DAY_MS = 86_400_000;

/** A whole number of milliseconds. */
function ms(min: number, max = DAY_MS) {
  return z.int().min(min).max(max);
}

function count(min: number, max: number) {
  return z.int().min(min).max(max);
}

const text = z.string().min(1);

/** Text of one shape. `expected` is what an error message says was expected. */
function shaped(pattern: RegExp, expected: string) {
  return z.string().regex(pattern, { error: expected });
}

/** `host:port` or `[v6]:port`, the port at most 65535. */
const hostPort = shaped(
  /^(\[[0-9A-Fa-f:.]+\]|[^\s:/[\]]+):(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$/,
  "host:port with a port from 0 to 65535",
);
const httpUrl = shaped(/^https?:\/\/[^\s/]+/, "an http:// or https:// URL");
/** User, password, port and database number are optional. */
const redisUrl = shaped(
  /^rediss?:\/\/(?:[^\s@/?#]*@)?(?:\[[0-9A-Fa-f:.]+\]|[^\s:@/?#[\]]+)(?::\d{1,5})?(?:\/\d{0,4})?$/,
  "a URL like redis://host:6379 or rediss://user:password@host:6379/0",
);

/** Names that end up in URLs, tool prefixes and metrics. */
const serverName = shaped(
  /^[A-Za-z0-9](?:[A-Za-z0-9-]|_(?!_)){0,31}$/,
  "a server name of at most 32 letters, digits, - and single _ that starts with a letter or digit",
);
const nodeId = shaped(
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
  "at most 128 letters, digits, dots, - and _, first a letter or digit",
);

const gateway = z.strictObject({
  server: z
    .strictObject({
      bind_address: hostPort
        .default("127.0.0.1:8787")
        .describe("host:port the client endpoint listens on; port 0 picks a free one"),
      allowed_origins: z
        .array(text)
        .default([])
        .describe("values of the Origin header that are let in beside this node's own; `*` lets all in"),
      allowed_hosts: z
        .array(text)
        .default([])
        .describe("values of the Host header that are let in beside this node's own; for proxies that pass their own"),
      tls: z
        .strictObject({ cert_path: text.describe("PEM certificate chain"), key_path: text.describe("PEM private key") })
        .optional()
        .describe("serve the client endpoint over TLS"),
      max_body_bytes: count(1_024, 1_073_741_824)
        .default(4_194_304)
        .describe("largest request body; larger ones are answered 413"),
    })
    .prefault({}),
});

const node = z.strictObject({
  id: nodeId.optional().describe("stable name of this node; default: host name and client port"),
  labels: z.record(text, z.string()).default({}).describe("free labels, shown by `runtime nodes`"),
  drain_ms: ms(0, 3_600_000)
    .default(25_000)
    .describe("longest time to move actors away and finish answers when the node is told to stop"),
});

const mesh = z.strictObject({
  bind_address: hostPort
    .default("127.0.0.1:0")
    .describe("host:port on which other nodes are expected; port 0 picks a free one"),
  advertise_address: hostPort
    .optional()
    .describe("host:port that other nodes dial; default: what `bind_address` came to"),
  secret: z
    .string()
    .min(16)
    .max(1_024)
    .optional()
    .describe("shared by all nodes; proves both ends of a link, never sent"),
  tls: z
    .strictObject({
      cert_path: text.describe("PEM certificate of this node"),
      key_path: text.describe("PEM private key"),
      ca_path: text.describe("PEM certificate authority that signed every node's certificate"),
    })
    .optional()
    .describe("mutual TLS between nodes"),
  direct: z
    .boolean()
    .default(true)
    .describe("the advertised address is the node itself, so that its refusal proves the node gone; false behind NAT"),
});

const cluster = z.strictObject({
  kind: z
    .enum(["single_node", "redis"])
    .default("single_node")
    .describe("where membership, leases, directory and durable state live; the keys of another kind are ignored"),
  dir: text
    .optional()
    .describe("kind single_node: the folder that keeps its state over restarts; default: none is kept"),
  durability: z
    .enum(["normal", "full"])
    .default("normal")
    .describe("with `dir`: what is acknowledged survives the process (normal), or the machine's power too (full)"),
  url: redisUrl.optional().describe("kind redis: the server"),
  key_prefix: shaped(/^[^\s{}\p{Cc}]{1,128}$/u, "1 to 128 characters without spaces and braces")
    .default("troupe:")
    .describe("starts every key; one per deployment"),
  operation_timeout_ms: ms(50, 60_000)
    .default(2_000)
    .describe("a store command that takes longer has an unknown outcome"),
  node_lease_ttl_ms: ms(300, 3_600_000)
    .optional()
    .describe("a node silent for this long (and the grace) is declared dead"),
  node_lease_renew_ms: ms(50, 3_600_000).optional().describe("how often a node renews; default a third of the lease"),
  node_lease_grace_ms: ms(0, 3_600_000)
    .optional()
    .describe("added by observers for slow clocks; default a tenth of the lease"),
  peer_ttl_ms: ms(300, 3_600_000).optional().describe("alias of node_lease_ttl_ms"),
  peer_refresh_interval_ms: ms(50, 3_600_000).optional().describe("alias of node_lease_renew_ms"),
  node_id: nodeId.optional().describe("alias of node.id"),
  service_name: nodeId.optional().describe("put before the default node id"),
  rebalance: z
    .boolean()
    .default(false)
    .describe("a node that is clearly busier than another moves actors there, those placed by hash or least-loaded"),
});

const ownerLoss = z.enum(["reinitialize", "terminate"]);

const upstream = z.strictObject({
  command: text.optional().describe("a stdio server: the program"),
  args: z.array(z.string()).optional().describe("with `command`: its arguments"),
  env: z.record(z.string().min(1), z.string()).optional().describe("with `command`: added to its environment"),
  cwd: text.optional().describe("with `command`: its working folder; default the configuration file's"),
  url: httpUrl.optional().describe("a server over Streamable HTTP"),
  headers: z.record(text, z.string()).optional().describe("with `url`: sent with every request"),
  module: text.optional().describe("a server in this process: a module whose default export makes an SDK server"),
  isolation: z
    .enum(["session", "principal", "shared"])
    .default("session")
    .describe("who shares a process or connection: nobody, the sessions of one caller, all sessions of a node"),
  idle_stop_ms: ms(0).default(300_000).describe("stopped after so long without use, started again on demand; 0 never"),
  max_processes: count(1, 100_000).default(256).describe("most processes or connections on one node at once"),
  start_timeout_ms: ms(100, 3_600_000).default(30_000).describe("longest wait for the handshake"),
  on_owner_loss: ownerLoss
    .optional()
    .describe(
      "what a session does when its node died and took this server's memory along: start the server again (reinitialize, the default), or end, so that the client begins anew (terminate)",
    ),
  onOwnerLoss: ownerLoss.optional().describe("alias of on_owner_loss"),
  naming: z
    .enum(["prefix", "none"])
    .default("prefix")
    .describe("whether names at /mcp are server__name; the same for all servers; /mcp/{server} has the original names"),
});

const mcp = z.strictObject({
  configurations: z
    .strictObject({
      response: z
        .strictObject({
          stream_after_ms: ms(0, 600_000)
            .default(1_000)
            .describe("an answer that takes longer is sent as an event stream"),
        })
        .prefault({}),
      sessions: z
        .strictObject({
          idle_timeout_ms: ms(0, 30 * DAY_MS)
            .default(900_000)
            .describe("a session unused for so long ends; 0 never"),
          max_sessions: count(1, 10_000_000)
            .default(10_000)
            .describe("sessions on one node; more are refused with 503"),
          max_per_principal: count(1, 10_000_000)
            .optional()
            .describe(
              "sessions that one caller may have on one node; more are refused with 429; default no such bound",
            ),
          max_calls: count(1, 10_000).default(64).describe("calls of one session at once; more are refused"),
        })
        .prefault({}),
    })
    .prefault({}),
});

const overload = z.strictObject({
  loop_delay_ms: ms(0, 60_000)
    .default(500)
    .describe("a thread whose timers are this late for most of a second takes no new work; 0: not limited"),
  heap_share: z
    .number()
    .min(0.1)
    .max(1)
    .default(0.9)
    .describe("a thread that uses more than this share of its heap takes no new work; 1: not limited"),
  worker_heap_mb: count(32, 1_048_576)
    .optional()
    .describe("heap of a worker, which is ended beyond it; default an equal part of three quarters of the memory"),
  residents: count(100, 100_000_000)
    .default(100_000)
    .describe("actors that a thread keeps active; beyond it those that were not used for long are put to sleep"),
  activations: count(1, 100_000)
    .default(512)
    .describe("actors that are placed, and on each worker started, at once; more wait in line"),
});

export const configSchema = z.strictObject({
  gateway: gateway.prefault({}),
  node: node.prefault({}),
  mesh: mesh.prefault({}),
  workers: count(0, 256)
    .optional()
    .describe("threads that run actors; default cores - 1, at least 1; 0 runs actors on the main thread"),
  spare_worker: z
    .boolean()
    .default(true)
    .describe(
      "where there is one worker: keep a thread with the same modules loaded that takes its place when it ends",
    ),
  cluster: cluster.prefault({}),
  mcpServers: z.record(serverName, upstream).default({}).describe("the MCP servers behind this node, by name"),
  mcp: mcp.prefault({}),
  overload: overload.prefault({}),
  extensions: z.array(text).default([]).describe("modules that export actors"),
});

type Parsed = z.output<typeof configSchema>;
type Given = z.input<typeof configSchema>;

/** One entry of `mcpServers`, checked. Exactly one of `command`, `url`, `module` is there. */
export type UpstreamSettings = Parsed["mcpServers"][string];

/** A checked configuration with every default filled in. Paths are absolute; modules are `file:` URLs. */
export interface Config extends Omit<Parsed, "node" | "workers" | "cluster"> {
  node: { id: string; labels: Record<string, string>; drain_ms: number };
  workers: number;
  cluster: Omit<
    Parsed["cluster"],
    | "node_lease_ttl_ms"
    | "node_lease_renew_ms"
    | "node_lease_grace_ms"
    | "peer_ttl_ms"
    | "peer_refresh_interval_ms"
    | "node_id"
    | "service_name"
  > & { node_lease_ttl_ms: number; node_lease_renew_ms: number; node_lease_grace_ms: number };
}

/** What a program hands to `startNode`: the same keys as the YAML, nearly all of them optional. */
export interface ConfigInput extends Omit<Given, "extensions" | "mcpServers"> {
  extensions?: (string | URL)[];
  mcpServers?: Record<string, Omit<NonNullable<Given["mcpServers"]>[string], "module"> & { module?: string | URL }>;
}
