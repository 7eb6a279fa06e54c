/**
 * Runs one check: spin writes a verifier for the model with its macros, the C compiler compiles it, and it visits every
 * reachable state or stops at the first broken promise. Anything else (out of memory, too deep, too slow) rejects.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Check } from "./checks.ts";

const MODEL = fileURLToPath(new URL("./ownership.pml", import.meta.url));
/** Megabytes a verifier may use. */
const MEMORY_MB = 1_024;
/** Longest path, steps. */
const DEPTH = 20_000;
/** For one program's run. */
const LIMIT_MS = 100_000;

export interface Bounds {
  memoryMb?: number;
  limitMs?: number;
  /** Of the compiler. The lower it is the sooner a short search is over: compiling with -O2 takes six times as long. */
  optimize?: "-O0" | "-O1" | "-O2";
}

export interface Verdict {
  /** What spin says is broken, in its words; `null`: nothing. */
  broken: string | null;
  states: number;
  seconds: number;
}

/** A sentence that names the packages to install; `null`: everything is there. */
export function missingTools(): string | null {
  const has = (command: string, flag: string): boolean =>
    spawnSync(command, [flag], { stdio: "ignore" }).error === undefined;
  const missing = [!has("spin", "-V") && "spin", !has("cc", "--version") && "gcc"].filter((name) => name !== false);
  return missing.length === 0 ? null : `the model checker needs the Debian packages ${missing.join(" and ")}`;
}

export async function verify({ macros, liveness }: Check, bounds: Bounds = {}): Promise<Verdict> {
  const { memoryMb = MEMORY_MB, limitMs = LIMIT_MS, optimize = "-O1" } = bounds;
  const folder = await mkdtemp(join(tmpdir(), "troupe-model-"));
  const started = performance.now();
  try {
    await run("spin", ["-a", ...macros.map((macro) => `-D${macro}`), MODEL], folder, limitMs);
    // The formula looks at variables that every step may change, so there is no order of steps to reduce.
    const search = liveness ? ["-DNOREDUCE", "-DNOFAIR"] : ["-DSAFETY"];
    await run("cc", [optimize, "-w", ...search, `-DMEMLIM=${memoryMb}`, "-o", "pan", "pan.c"], folder, limitMs);
    // -E: the model has no end states.
    const output = await run(join(folder, "pan"), [`-m${DEPTH}`, liveness ? "-a" : "-E"], folder, limitMs);
    return { ...read(output), seconds: (performance.now() - started) / 1_000 };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function read(output: string): { broken: string | null; states: number } {
  const errors = /errors: (\d+)/.exec(output)?.[1];
  const states = /(\d+(?:\.\d+)?(?:e\+\d+)?) states, stored/.exec(output)?.[1];
  const complete = !/max search depth too small|reached -DMEMLIM|out of memory|Search not completed/.test(output);
  if (errors === undefined || states === undefined || (errors === "0" && !complete)) {
    throw new Error(`the search did not complete within its bounds:\n${output}`);
  }
  const broken = errors === "0" ? null : (/^pan:\d+: (.*)$/m.exec(output)?.[1] ?? "no reason given");
  return { broken, states: Number(states) };
}

/** Resolves with what it wrote; rejects with it when it fails or takes too long. */
function run(command: string, args: readonly string[], cwd: string, limitMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        output += chunk;
      });
    }
    const timer = setTimeout(() => child.kill("SIGKILL"), limitMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      if (code === 0) resolve(output);
      else
        reject(
          new Error(
            `${command} ${args.join(" ")}: ended with ${code ?? `a signal, after at most ${limitMs} ms`}\n${output}`,
          ),
        );
    });
  });
}
