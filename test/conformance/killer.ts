/** Kills one node of a cluster after another, and starts each again before the next: one at a time is down. */
import type { Cluster } from "../harness/cluster.ts";

/** A kill every `seconds`, or later if the last one is not back yet. Returns what ends it and tells how many there were. */
export function killInTurn(cluster: Cluster, seconds: number): () => Promise<number> {
  let kills = 0;
  let wake = (): void => {};
  let stopped = false;
  const running = (async (): Promise<void> => {
    for (
      let next = performance.now() + seconds * 1_000;
      !stopped;
      next = Math.max(next + seconds * 1_000, performance.now())
    ) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, next - performance.now()));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      if (stopped) return;
      const node = kills++ % cluster.urls.length;
      await cluster.kill(node);
      await cluster.restart(node);
    }
  })();
  // Told to whoever ends the killing.
  running.catch(() => {});
  return async () => {
    stopped = true;
    wake();
    await running;
    return kills;
  };
}
