/**
 * `runtime drain`: tells a node to move its work to the others and stop, as SIGTERM on its machine does. It takes at most
 * the node's `node.drain_ms` and a little more; this command does not wait for it.
 */
import type { Command } from "../main.ts";
import { ask, jsonText, managementHelp, readManagementFlags } from "./management.ts";

const help = `Usage: runtime drain NODE [options]

Takes the node NODE out of placement, moves its work to the others and stops it, within its node.drain_ms.
Does not wait for the end: "runtime nodes" shows NODE as draining, and then as dead.

${managementHelp}`;

export const command: Command = {
  help,
  async run(args, output) {
    const { flags, positionals } = readManagementFlags(args, {}, { min: 1, max: 1, name: "a NODE" });
    const id = positionals[0] ?? "";
    const data = await ask(flags.url, `/api/cluster/nodes/${encodeURIComponent(id)}/drain`, "POST");
    if (flags.json) output.out(jsonText(data));
    else output.out(`node ${id} is draining\n`);
    return 0;
  },
};
