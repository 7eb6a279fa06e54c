/**
 * The command line: finds the command, loads only that one, and turns what it throws into one line and an exit code:
 * 0 fine, 1 failed, 2 wrong usage.
 */
import { UsageError } from "./commands/flags.ts";
import { nearest } from "./config/nearest.ts";
import { VERSION } from "./config/version.ts";

/** Where a command prints. */
export interface Output {
  /** What was asked for. */
  out(text: string): void;
  /** What went wrong. */
  err(text: string): void;
}

/** What every file in `commands/` exports. */
export interface Command {
  /** Text for `--help`. */
  readonly help: string;
  /** Resolves to the exit code. `UsageError` becomes 2, any other error 1. */
  run(args: readonly string[], output: Output): Promise<number>;
}

const TERMINAL: Output = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

const COMMANDS: Readonly<Record<string, { summary: string; load(): Promise<{ command: Command }> }>> = {
  start: { summary: "start a node", load: () => import("./commands/start.ts") },
  check: { summary: "check configuration files", load: () => import("./commands/check.ts") },
  init: { summary: "write a configuration from a template", load: () => import("./commands/init.ts") },
  schema: { summary: "print the configuration's JSON Schema", load: () => import("./commands/schema.ts") },
  status: { summary: "show the cluster in a few lines", load: () => import("./commands/status.ts") },
  nodes: { summary: "list the nodes", load: () => import("./commands/nodes.ts") },
  sessions: { summary: "list the sessions, or show one", load: () => import("./commands/sessions.ts") },
  actors: { summary: "list the actors of a node", load: () => import("./commands/actors.ts") },
  drain: { summary: "move work off a node and stop it", load: () => import("./commands/drain.ts") },
};

function help(): string {
  const rows = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`);
  return `Usage: runtime <command> [options]

${rows.join("\n")}

  runtime <command> --help   what a command takes
  runtime --version          ${VERSION}
`;
}

/** Runs one command line, without the program's own name. Resolves to the exit code. */
export async function main(args: readonly string[], output: Output = TERMINAL): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    output.err(help());
    return 2;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    output.out(help());
    return 0;
  }
  if (name === "--version" || name === "-v") {
    output.out(`${VERSION}\n`);
    return 0;
  }
  const found = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (found === undefined) {
    const near = nearest(name, Object.keys(COMMANDS));
    const hint = near === undefined ? "see `runtime --help`" : `did you mean "${near}"?`;
    output.err(`runtime: unknown command "${name}", ${hint}\n`);
    return 2;
  }
  const { command } = await found.load();
  if (rest.includes("--help") || rest.includes("-h")) {
    output.out(command.help);
    return 0;
  }
  try {
    return await command.run(rest, output);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    for (const line of message.split("\n")) output.err(`runtime ${name}: ${line}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}
