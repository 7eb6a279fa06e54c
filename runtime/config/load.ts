/**
 * From files, environment and flags to one checked `Config`.
 *
 * Flags beat environment, environment beats files, later files beat earlier ones. `${env.NAME}` in a file is replaced
 * after the layers are merged, so a variable is only needed if its value is used. Relative paths of modules, folders
 * and certificates start at the file that declares them. Every problem found is reported at once, see `ConfigError`.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isBlock, Layers, type Source } from "./layers.ts";
import { ConfigError, type KeyPath, type Problem, reportIssues } from "./problem.ts";
import { leaseOf, portOf, reportBrokenRules, unavailableKind, warningsOf } from "./rules.ts";
import { type Config, type ConfigInput, configSchema } from "./schema.ts";
import { applySettings, type ConfigFlags, type Environment } from "./settings.ts";
import { defaultWorkers } from "./workers.ts";

export interface LoadedConfig {
  config: Config;
  /** Sentences about what is allowed and likely to surprise. */
  warnings: string[];
  /** The files read, in order. */
  files: string[];
}

/** Everything `runtime start` goes by. Throws `ConfigError`. */
export async function loadConfig(flags: ConfigFlags = {}, env: Environment = process.env): Promise<LoadedConfig> {
  const named = flags.config ?? (env.RUNTIME_CONFIG ? [env.RUNTIME_CONFIG] : []);
  const files = named.flatMap((list) => list.split(":")).filter((file) => file !== "");
  const layers = await readLayers(files, env);
  applySettings(layers, flags, env);
  return { ...finish(layers), files };
}

/** The same for files alone, as `runtime check` wants it. Throws `ConfigError`. */
export async function checkFiles(files: readonly string[], env: Environment = process.env): Promise<LoadedConfig> {
  return { ...finish(await readLayers(files, env)), files: [...files] };
}

/**
 * Checks what a program hands in and fills in the defaults. A `Config` passes unchanged. Relative paths start at the
 * working directory; `${env.NAME}` and environment variables play no part. Throws `ConfigError`.
 */
export function resolveConfig(input: ConfigInput): Config {
  const source: Source = { name: "configuration", folder: process.cwd(), kind: "file" };
  const layers = new Layers(source);
  layers.add(withoutUrls(input) as Record<string, unknown>, source);
  absolutePaths(layers);
  return finish(layers).config;
}

async function readLayers(files: readonly string[], env: Environment): Promise<Layers> {
  const sources = files.map((name): Source => ({ name, folder: dirname(resolve(name)), kind: "file" }));
  const layers = new Layers(sources.at(-1) ?? { name: "configuration", folder: process.cwd(), kind: "file" });
  const unreadable: Problem[] = [];
  for (const source of sources) {
    const values = await readYaml(source, unreadable);
    if (values !== undefined) layers.add(values, source);
  }
  if (unreadable.length > 0) throw new ConfigError(unreadable);
  layers.mapText((text, path) => substituted(text, path, layers, env), true);
  absolutePaths(layers);
  return layers;
}

async function readYaml(source: Source, problems: Problem[]): Promise<Record<string, unknown> | undefined> {
  let text: string;
  try {
    text = readFileSync(source.name, "utf8");
  } catch (error) {
    const code = (error as { code?: string }).code;
    const what = code === "ENOENT" ? "no such file" : code === "EISDIR" ? "is a folder, not a file" : String(error);
    problems.push({ source: source.name, key: "", what });
    return undefined;
  }
  // Loaded here, so that a start without files does not wait for it.
  const { parseDocument } = await import("yaml");
  const document = parseDocument(text, { prettyErrors: false, merge: true });
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) {
    const line = text.slice(0, error.pos[0]).split("\n").length;
    problems.push({ source: `${source.name}:${line}`, key: "", what: `not valid YAML: ${error.message}` });
    return undefined;
  }
  let values: unknown;
  try {
    values = document.toJS() ?? {};
  } catch (failure) {
    problems.push({ source: source.name, key: "", what: `not valid YAML: ${(failure as Error).message}` });
    return undefined;
  }
  if (isBlock(values)) return values;
  const got = Array.isArray(values) ? "a list" : "a single value";
  problems.push({ source: source.name, key: "", what: `expected a block of keys, got ${got}` });
  return undefined;
}

function substituted(text: string, path: KeyPath, layers: Layers, env: Environment): string {
  return text.replace(/\$\{env\.([^}]*)\}/g, (whole, name: string) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      layers.report(path, `${whole} names no environment variable; write \${env.NAME}`);
      return whole;
    }
    const value = env[name];
    if (value === undefined) layers.report(path, `the environment variable ${name} is not set`);
    return value ?? whole;
  });
}

const UPSTREAM_PATHS = ["module", "cwd", "command"];
const TLS_PATHS = ["cert_path", "key_path", "ca_path"];

/** Makes the paths of modules, folders and certificates absolute, and reports those that lead nowhere. */
function absolutePaths(layers: Layers): void {
  layers.mapText((text, path) => {
    const last = path.at(-1);
    const folder = layers.sourceOf(path).folder;
    const inUpstream = path[0] === "mcpServers" && path.length === 3 && UPSTREAM_PATHS.includes(String(last));
    const isModule = (inUpstream && last === "module") || (path[0] === "extensions" && path.length === 2);
    const isTls = path.at(-2) === "tls" && TLS_PATHS.includes(String(last));
    if (isModule) {
      const file = text.startsWith("file:") ? fileURLToPath(text) : resolve(folder, text);
      if (!existsSync(file)) layers.report(path, `no such file: ${file}`);
      return pathToFileURL(file).href;
    }
    if (isTls) {
      const file = resolve(folder, text);
      if (!existsSync(file)) layers.report(path, `no such file: ${file}`);
      return file;
    }
    if (path.join(".") === "cluster.dir" && text !== "") return resolve(folder, text);
    if (!inUpstream) return text;
    if (last === "cwd") {
      const cwd = resolve(folder, text);
      if (!existsSync(cwd) || !statSync(cwd).isDirectory()) {
        layers.report(path, `no such folder: ${cwd}`);
      }
      return cwd;
    }
    // A bare program name is searched on PATH; one with a relative path belongs to the file that names it.
    return /^\.\.?[\\/]/.test(text) ? resolve(folder, text) : text;
  });
  defaultFolders(layers);
}

/** A stdio server without `cwd` runs in the folder of the file that names its command. */
function defaultFolders(layers: Layers): void {
  const servers = layers.values.mcpServers;
  if (!isBlock(servers)) return;
  for (const [name, server] of Object.entries(servers)) {
    if (!isBlock(server) || server.command === undefined || server.cwd !== undefined) continue;
    server.cwd = layers.sourceOf(["mcpServers", name, "command"]).folder;
  }
}

/** Schema, then rules, then defaults that depend on the machine. */
function finish(layers: Layers): { config: Config; warnings: string[] } {
  const kindProblem = unavailableKind(layers.at(["cluster", "kind"]));
  if (kindProblem !== undefined) {
    // Its block has keys of its own, of which nothing is known here.
    layers.report(["cluster", "kind"], kindProblem);
    delete layers.values.cluster;
  }
  let parsed = configSchema.safeParse(layers.values);
  if (!parsed.success) {
    const fits = parsed.error.issues.map(
      (issue) => issue.code === "invalid_type" && layers.coerce(issue.path as (string | number)[], issue.expected),
    );
    if (fits.includes(true)) parsed = configSchema.safeParse(layers.values);
  }
  if (parsed.success) reportBrokenRules(parsed.data, layers);
  else reportIssues(parsed.error.issues, layers);
  if (!parsed.success || layers.problems.length > 0) throw new ConfigError(layers.problems);
  const { cluster, node, workers, ...rest } = parsed.data;
  const { peer_ttl_ms, peer_refresh_interval_ms, node_id, service_name, ...clusterRest } = cluster;
  const config: Config = {
    ...rest,
    node: {
      ...node,
      id: node.id ?? node_id ?? defaultNodeId(service_name, portOf(rest.gateway.server.bind_address)),
    },
    workers: workers ?? defaultWorkers(),
    cluster: { ...clusterRest, ...leaseOf(cluster) },
  };
  return { config, warnings: warningsOf(config) };
}

/** Host name and port: stable over restarts, different for two nodes of one machine. Port 0 is not yet known: random. */
function defaultNodeId(service: string | undefined, port: number): string {
  const host =
    hostname()
      .replace(/[^A-Za-z0-9._-]/g, "-")
      .replace(/^[^A-Za-z0-9]+/, "")
      .slice(0, 64) || "node";
  const suffix = port === 0 ? randomBytes(4).toString("hex") : String(port);
  return `${service === undefined ? "" : `${service}-`}${host}-${suffix}`;
}

/** `URL` objects as text, the rest untouched. */
function withoutUrls(value: unknown): unknown {
  if (value instanceof URL) return value.href;
  if (Array.isArray(value)) return value.map(withoutUrls);
  if (!isBlock(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([key, inner]) => [key, withoutUrls(inner)]),
  );
}
