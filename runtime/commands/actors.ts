/** `runtime actors`: the live actors of a node. */
import type { Command } from "../main.ts";
import { ask, jsonText, managementHelp, readManagementFlags, rowsOf } from "./management.ts";
import { table } from "./table.ts";

const help = `Usage: runtime actors [options]

Lists the live actors.

  --kind K    only actors of this kind, for example session
${managementHelp}`;

export const command: Command = {
  help,
  async run(args, output) {
    const { flags } = readManagementFlags(args, { kind: "text" });
    const query = flags.kind === undefined ? "" : `?kind=${encodeURIComponent(flags.kind)}`;
    const data = await ask(flags.url, `/api/cluster/actors${query}`);
    if (flags.json) {
      output.out(jsonText(data));
      return 0;
    }
    const rows = rowsOf(data).map((actor) => [actor.id, actor.kind, actor.nodeId, actor.worker]);
    output.out(table(["ACTOR", "KIND", "NODE", "WORKER"], rows, "no actors"));
    return 0;
  },
};
