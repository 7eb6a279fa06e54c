/**
 * Signals to process groups. A group is named by its leader's process id, which the kernel does not reuse while any
 * member lives.
 */
import { readdir, readFile } from "node:fs/promises";

/** Sends `signal` to every process of group `pid`. False: there is none. */
export function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch (error) {
    // EPERM: the members changed their user; the group exists, but is out of reach.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/**
 * Whether a process of group `pid` still runs. In containers without an init process orphans stay as zombies for ever
 * and can be signalled as if they lived, so where there is a /proc, they are told apart there.
 */
export async function groupRuns(pid: number): Promise<boolean> {
  if (!signalGroup(pid, 0)) return false;
  if (process.platform !== "linux") return true;
  const names = await readdir("/proc").catch(() => []);
  if (names.length === 0) return true;
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "latin1").catch(() => "");
    // "pid (command) state ppid pgrp …"; the command may contain anything, so the fields count from its last parenthesis.
    const [state, , pgrp] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (Number(pgrp) === pid && state !== "Z" && state !== "X") return true;
  }
  return false;
}
