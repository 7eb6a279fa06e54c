/** `runtime init`: a configuration to start from. */
import { existsSync, writeFileSync } from "node:fs";
import { nearest } from "../config/nearest.ts";
import type { Command } from "../main.ts";
import { readFlags, UsageError } from "./flags.ts";
import { TEMPLATES } from "./templates.ts";

const names = Object.keys(TEMPLATES);

const help = `Usage: runtime init --template T [--output FILE]

Writes a configuration with comments. Templates:

${Object.entries(TEMPLATES)
  .map(([name, { summary }]) => `  ${name.padEnd(26)}${summary}`)
  .join("\n")}

  --output FILE   where to; default standard output. An existing file is left alone.
`;

export const command: Command = {
  help,
  async run(args, output) {
    const { flags } = readFlags(args, { template: "text", output: "text" });
    const name = flags.template;
    if (name === undefined) throw new UsageError(`needs --template, one of ${names.join(", ")}`);
    const template = Object.hasOwn(TEMPLATES, name) ? TEMPLATES[name] : undefined;
    if (template === undefined) {
      const near = nearest(name, names);
      throw new UsageError(
        `unknown template "${name}", ${near === undefined ? `known are ${names.join(", ")}` : `did you mean "${near}"?`}`,
      );
    }
    if (flags.output === undefined) {
      output.out(template.yaml);
      return 0;
    }
    if (existsSync(flags.output)) throw new Error(`${flags.output} exists; name another file or move it away`);
    writeFileSync(flags.output, template.yaml);
    output.out(`wrote ${flags.output}; next: runtime check ${flags.output}\n`);
    return 0;
  },
};
