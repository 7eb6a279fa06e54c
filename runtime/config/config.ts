/** The configuration: what a user may write, how it is read, and how a wrong one is told. */

export { checkFiles, type LoadedConfig, loadConfig, resolveConfig } from "./load.ts";
export { ConfigError, type Problem } from "./problem.ts";
export type { Config, ConfigInput, UpstreamSettings } from "./schema.ts";
export type { ConfigFlags } from "./settings.ts";
