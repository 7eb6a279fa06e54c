/** `runtime actors`: the live actors of a node. */
import type { Command } from "../main.ts";
import { ask, managementHelp, printJson, readManagementFlags, rowsOf } from "./management.ts";
import { table } from "./table.ts";

const help = `Usage: runtime actors [options]

Lists the live actors.

  --kind K    only actors of this kind, for example session
${managementHelp}`;

export const command: Command = {
  help,
  async run(args) {
    const { flags } = readManagementFlags(args, { kind: "text" });
    const query = flags.kind === undefined ? "" : `?kind=${encodeURIComponent(flags.kind)}`;
    const data = await ask(flags.url, `/api/cluster/actors${query}`);
    if (flags.json) {
      printJson(data);
      return 0;
    }
    const rows = rowsOf(data);
    const headings = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    process.stdout.write(
      table(
        headings.map((heading) => heading.toUpperCase()),
        rows.map((row) => headings.map((heading) => row[heading])),
        "no actors",
      ),
    );
    return 0;
  },
};
