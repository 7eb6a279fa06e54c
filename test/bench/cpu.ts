/** CPU time of process trees. */
import { allProcesses, family, TICKS_PER_SECOND } from "../harness/processes.ts";

/** Microseconds of CPU that the process trees have used since they began, ended children included. */
export function cpuOf(pids: readonly number[]): number {
  const all = allProcesses();
  const ticks = pids
    .flatMap((pid) => family(pid, all))
    .reduce((sum, stat) => sum + stat.ownTicks + stat.reapedTicks, 0);
  return (ticks / TICKS_PER_SECOND) * 1_000_000;
}
