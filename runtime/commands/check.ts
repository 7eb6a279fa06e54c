/** `runtime check`: would a node start with these files? Every problem at once, one sentence each. */
import { checkFiles } from "../config/load.ts";
import { ConfigError, sentence } from "../config/problem.ts";
import type { Config } from "../config/schema.ts";
import type { Command, Output } from "../main.ts";
import { readFlags } from "./flags.ts";

const help = `Usage: runtime check FILE... [--json]

Checks each configuration as a start would, with its environment variables. FILE may be several files that are
layered, as for \`runtime start --config\`: base.yaml:production.yaml.

  --json   print the findings as JSON

Exit code 0 if all are valid, 1 if not.
`;

interface Finding {
  file: string;
  valid: boolean;
  problems: string[];
  warnings: string[];
  summary: string;
}

export const command: Command = {
  help,
  async run(args, output) {
    const { flags, positionals } = readFlags(args, { json: "switch" }, { min: 1, max: 1_000, name: "a FILE" });
    const findings: Finding[] = [];
    for (const file of positionals) findings.push(await check(file));
    if (flags.json) output.out(`${JSON.stringify(findings, null, 2)}\n`);
    else for (const finding of findings) print(finding, output);
    return findings.every((finding) => finding.valid) ? 0 : 1;
  },
};

async function check(file: string): Promise<Finding> {
  try {
    const { config, warnings } = await checkFiles(file.split(":").filter((part) => part !== ""));
    return { file, valid: true, problems: [], warnings, summary: summary(config) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { file, valid: false, problems: error.problems.map(sentence), warnings: [], summary: "" };
  }
}

function summary(config: Config): string {
  const servers = Object.keys(config.mcpServers).length;
  const parts = [`${servers} MCP server${servers === 1 ? "" : "s"}`, `cluster: ${config.cluster.kind}`];
  if (config.gateway.server.tls !== undefined) parts.push("tls");
  return parts.join(", ");
}

function print(finding: Finding, output: Output): void {
  if (finding.valid) output.out(`✓ ${finding.file}: valid (${finding.summary})\n`);
  for (const warning of finding.warnings) output.out(`  warning: ${warning}\n`);
  for (const problem of finding.problems) output.err(`✗ ${problem}\n`);
}
