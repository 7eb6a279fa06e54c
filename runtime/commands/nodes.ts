/** `runtime nodes`: the nodes of the cluster. */
import type { Command } from "../main.ts";
import { ask, jsonText, managementHelp, readManagementFlags, rowsOf } from "./management.ts";
import { table } from "./table.ts";

const help = `Usage: runtime nodes [options]

Lists the nodes of the cluster.

  --active    only those that take new work
${managementHelp}`;

export const command: Command = {
  help,
  async run(args, output) {
    const { flags } = readManagementFlags(args, { active: "switch" });
    const data = await ask(flags.url, `/api/cluster/nodes${flags.active ? "?active=true" : ""}`);
    if (flags.json) {
      output.out(jsonText(data));
      return 0;
    }
    const rows = rowsOf(data).map((node) => [
      node.id,
      node.state,
      node.url,
      node.meshUrl,
      node.runtime,
      node.pid,
      node.incarnation,
    ]);
    const headings = ["NODE", "STATE", "URL", "MESH", "RUNTIME", "PID", "INCARNATION"];
    output.out(table(headings, rows, "no nodes"));
    return 0;
  },
};
