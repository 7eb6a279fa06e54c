/**
 * What the tests look up about processes in `/proc`: descendants, states, CPU time. Linux only, like the faults that the
 * cluster tests make.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** One process, as `/proc/<pid>/stat` tells it. Times are in clock ticks (hundredths of a second). */
export interface ProcessStat {
  pid: number;
  parent: number;
  group: number;
  /** `R`, `S`, `T` (stopped), `Z` (ended, not yet reaped) … */
  state: string;
  /** User and system time of this process, all its threads. */
  ownTicks: number;
  /** User and system time of its ended and reaped descendants. */
  reapedTicks: number;
}

/** Ticks per second of `/proc` times: `USER_HZ`, 100 on every Linux that runs Node.js. */
export const TICKS_PER_SECOND = 100;

/** Whether this system has `/proc`. */
export const hasProc = existsSync("/proc/self/stat");

/** Undefined if there is no such process. */
export function processStat(pid: number): ProcessStat | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The name in parentheses may hold spaces and parentheses itself; the fields start after the last one.
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const at = (index: number): number => Number(fields[index - 3]);
  return {
    pid,
    state: fields[0] ?? "?",
    parent: at(4),
    group: at(5),
    ownTicks: at(14) + at(15),
    reapedTicks: at(16) + at(17),
  };
}

/** Every process that is neither ended nor gone. */
export function allProcesses(): ProcessStat[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processStat(Number(name)))
    .filter((stat): stat is ProcessStat => stat !== undefined && stat.state !== "Z");
}

/** `pid` and everything it started, as far as the chain of parents is unbroken. */
export function family(pid: number, among: ProcessStat[] = allProcesses()): ProcessStat[] {
  const children = new Map<number, ProcessStat[]>();
  for (const stat of among) {
    const siblings = children.get(stat.parent);
    if (siblings === undefined) children.set(stat.parent, [stat]);
    else siblings.push(stat);
  }
  const found = among.filter((stat) => stat.pid === pid);
  for (const stat of found) found.push(...(children.get(stat.pid) ?? []));
  return found;
}

/** Whether the process runs, or could: neither gone nor a zombie. */
export function alive(pid: number): boolean {
  const stat = processStat(pid);
  return stat !== undefined && stat.state !== "Z";
}

/** Live processes that have `name=value` in their start environment, wherever they were re-parented to. */
export function processesMarked(name: string, value: string): number[] {
  const marker = `${name}=${value}`;
  return allProcesses()
    .filter(({ pid }) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(marker);
      } catch {
        return false;
      }
    })
    .map(({ pid }) => pid);
}

/** Resident memory in bytes, 0 for a process that is gone. */
export function residentBytes(pid: number): number {
  try {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kib ?? 0) * 1024;
  } catch {
    return 0;
  }
}
