/** The worker that the pool's tests start: does to itself what its control methods say. */
import { threadId } from "node:worker_threads";
import { runWorker, type WorkerControl, type WorkerEnvironment } from "../../../runtime/worker/control.ts";

export interface FixtureSettings {
  /** `init` rejects. */
  failInit?: boolean;
  /** `stop` never settles. */
  stuckStop?: boolean;
}

export interface FixtureIo {
  greet(name: string): string;
  fail(): void;
  said(what: string): void;
}

export interface FixtureControl extends WorkerControl<FixtureSettings, { parked: boolean; settings: FixtureSettings }> {
  crash(): void;
  exit(code: number): void;
  spin(): void;
  spinFor(ms: number): void;
  now(): number;
  lease(): number;
  greet(name: string): Promise<string>;
  refused(): Promise<unknown>;
  uncloneable(): unknown;
  never(): Promise<void>;
  threadId(): number;
}

function control({ clock, io, lease, data, thread }: WorkerEnvironment<FixtureIo>): FixtureControl {
  let parked = false;
  let settings: FixtureSettings = {};
  data.onmessage((message) => data.send(message));
  return {
    init(given) {
      settings = given;
      if (given.failInit) throw new Error(`worker ${thread} has no such module`);
    },
    park() {
      parked = true;
    },
    resume() {
      parked = false;
    },
    async stop(reason) {
      if (settings.stuckStop) await new Promise(() => {});
      await io.said(`stopped: ${reason}`);
    },
    stats: () => ({ parked, settings }),
    queuedBytes: () => 64 * 1_024,
    crash: () => void setTimeout(() => fault("crashed as asked"), 1),
    exit: (code) => process.exit(code),
    spin: () => spinUntil(Number.POSITIVE_INFINITY),
    spinFor: (ms) => spinUntil(performance.now() + ms),
    now: () => clock.now(),
    lease: () => lease.read(),
    greet: (name) => io.greet(name),
    refused: () => io.fail().catch((error: { code: string; started: string }) => [error.code, error.started]),
    uncloneable: () => () => 1,
    never: () => new Promise(() => {}),
    threadId: () => threadId,
  };
}

function fault(message: string): never {
  throw new Error(message);
}

function spinUntil(end: number): void {
  while (performance.now() < end);
}

await runWorker<FixtureIo>((environment) => control(environment));
