/** `runtime status`: the cluster in a few lines. */
import type { Command } from "../main.ts";
import { ask, jsonText, managementHelp, readManagementFlags } from "./management.ts";
import { fields } from "./table.ts";

const help = `Usage: runtime status [options]

Shows what a node knows of its cluster.

${managementHelp}`;

export const command: Command = {
  help,
  async run(args, output) {
    const { flags } = readManagementFlags(args, {});
    const data = await ask(flags.url, "/api/cluster/status");
    if (flags.json) output.out(jsonText(data));
    else output.out(fields(flattened(data)));
    return 0;
  },
};

/** `stats: { nodes: 3 }` as `nodes: 3`. */
function flattened(data: unknown): Record<string, unknown> {
  if (typeof data !== "object" || data === null) return {};
  const { stats, ...rest } = data as Record<string, unknown>;
  return { ...rest, ...(typeof stats === "object" && stats !== null ? stats : {}) };
}
