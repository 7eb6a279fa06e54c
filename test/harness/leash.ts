/** The test's end of `leash.mjs`: processes held here end with the test, even when the test is killed. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Leash {
  hold(pid: number): void;
  /** It ended by itself; its number may be reused by somebody else. */
  release(pid: number): void;
  /** Kills what is still held. */
  close(): Promise<void>;
}

export function startLeash(): Leash {
  const runtime = process.versions.deno === undefined ? [] : ["run", "-A"];
  const child = spawn(process.execPath, [...runtime, fileURLToPath(new URL("./leash.mjs", import.meta.url))], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.stdin.on("error", () => {});
  return {
    hold: (pid) => void child.stdin.write(`+${pid}\n`),
    release: (pid) => void child.stdin.write(`-${pid}\n`),
    close: async () => {
      child.stdin.end();
      await exited;
    },
  };
}
