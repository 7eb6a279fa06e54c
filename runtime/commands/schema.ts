/** `runtime schema`: the configuration's JSON Schema, for editors that complete and check YAML. */
import * as z from "zod";
import { configSchema } from "../config/schema.ts";
import type { Command } from "../main.ts";
import { readFlags } from "./flags.ts";

const help = `Usage: runtime schema

Prints the JSON Schema (draft 2020-12) of the configuration. An editor with a YAML language server uses it after
\`runtime schema > troupe.schema.json\` and a first line \`# yaml-language-server: $schema=troupe.schema.json\`.
`;

export const command: Command = {
  help,
  async run(args, output) {
    readFlags(args, { json: "switch" });
    output.out(`${JSON.stringify(z.toJSONSchema(configSchema, { io: "input" }), null, 2)}\n`);
    return 0;
  },
};
