/** `runtime sessions`: who is connected, and where their session lives. */
import type { Command } from "../main.ts";
import { ask, jsonText, managementHelp, readManagementFlags, rowsOf } from "./management.ts";
import { duration, fields, table } from "./table.ts";

const help = `Usage: runtime sessions [ID] [options]

Lists the sessions, or shows one.

  --terminate  end the session ID for good; its client is answered 404 on every node
${managementHelp}`;

export const command: Command = {
  help,
  async run(args, output) {
    const { flags, positionals } = readManagementFlags(
      args,
      { terminate: "switch" },
      { min: args.includes("--terminate") ? 1 : 0, max: 1, name: "an ID" },
    );
    const [id] = positionals;
    const path = `/api/cluster/sessions${id === undefined ? "" : `/${encodeURIComponent(id)}`}`;
    const data = await ask(flags.url, path, flags.terminate ? "DELETE" : "GET");
    if (flags.json) output.out(jsonText(data));
    else if (flags.terminate) output.out(`session ${id} has ended\n`);
    else if (id !== undefined) output.out(fields(typeof data === "object" && data !== null ? { ...data } : {}));
    else output.out(list(data));
    return 0;
  },
};

function list(data: unknown): string {
  const rows = rowsOf(data).map((session) => [
    session.id,
    session.owner,
    session.state,
    session.protocolVersion,
    named(session.client),
    Array.isArray(session.upstreams) ? session.upstreams.map(named).join(",") : undefined,
    session.idleMs === undefined ? undefined : duration(session.idleMs),
  ]);
  return table(["SESSION", "OWNER", "STATE", "VERSION", "CLIENT", "UPSTREAMS", "IDLE"], rows, "no sessions");
}

function named(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return typeof value === "object" && value !== null && "name" in value ? String(value.name) : undefined;
}
