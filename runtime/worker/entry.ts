/**
 * The module each worker thread runs: a host of actors, the modules that define them, and their way to the I/O thread.
 */
import type { ProcessGuard, WorkerServices } from "../actor/define.ts";
import { type HeldState, Host, type HostIo } from "../actor/host.ts";
import type { ActorId, Epoch, Incarnation, NodeId } from "../actor/ids.ts";
import type { DiagnosticEvent } from "../observe/events.ts";
import { createLogger, type LogFields, type LogLevel } from "../observe/log.ts";
import { runWorker, type WorkerControl } from "./control.ts";
import { type KindReport, kindsOf, loadDefinitions } from "./definitions.ts";
import { importModule } from "./spawn.ts";

/** What a worker is given at each start. */
export interface WorkerSettings {
  nodeId: NodeId;
  incarnation: Incarnation;
  /** Counts the lives of all workers of this node; keeps call ids apart from those of the thread before. */
  life: number;
  /** Modules whose exports are the actor definitions, as file URLs. */
  modules: readonly string[];
  /** Modules that actors will import, as file URLs: imported before the worker runs, so that no call waits for it. */
  preload: readonly string[];
  /** Activations that run `onActivate` at once. */
  maxStarts: number;
  maxResidents: number;
  /** What actors find in `ctx.worker.settings`. */
  settings: Readonly<Record<string, unknown>>;
}

/** What a worker calls on the I/O thread. */
export interface WorkerIo {
  /** Before the worker is ready: the kinds its modules define. Rejects when another worker said otherwise. */
  kinds(kinds: readonly KindReport[]): void;
  commit(...args: Parameters<HostIo["commit"]>): ReturnType<HostIo["commit"]>;
  end(actor: ActorId, epoch: Epoch): Promise<"done" | "fenced">;
  protect(pid: number): Promise<void>;
  unprotect(pid: number): void;
  /** What was counted since the last time. */
  counts(counts: Readonly<Record<string, number>>): void;
  /** Diagnostic events; sent only while somebody listens. */
  events(events: readonly DiagnosticEvent[]): void;
  log(level: LogLevel, message: string, fields: LogFields): void;
}

/** What the I/O thread reads of a worker. */
export interface WorkerStats {
  residents: number;
  heapUsed: number;
}

/** What the I/O thread calls in a worker, beside what every pool calls. */
export interface WorkerThread extends WorkerControl<WorkerSettings, WorkerStats> {
  /** What the actors here hold, to write it back after a store reset. */
  held(): HeldState[];
  /** Whether anybody listens to diagnostic events. */
  listening(heard: boolean): void;
}

/** How often a worker hands its counters over, milliseconds. */
const COUNTS_MS = 1_000;
/** Events of one tick; further ones are dropped. */
const MAX_EVENTS = 1_024;
/** Ids that one life of a worker may use. */
const CALL_IDS_PER_LIFE = 2 ** 32;
/** Longest wait for the imports of `preload`, milliseconds; what takes longer goes on meanwhile. */
const PRELOAD_MS = 3_000;
/** Longest time running turns get when the worker stops, milliseconds. */
const STOP_MS = 4_000;

/**
 * A session that comes from a dead node must not wait for an import, nor the calls of others behind it. What fails is
 * reported by whoever needs it.
 */
async function importAll(urls: readonly string[]): Promise<void> {
  const imported = Promise.all(urls.map((url) => importModule(new URL(url)).catch(() => {})));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const longest = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, PRELOAD_MS);
  });
  await Promise.race([imported, longest]);
  clearTimeout(timer);
}

await runWorker<WorkerIo>(({ thread, clock, data, io, lease }): WorkerThread => {
  let host: Host | undefined;
  let counts: Record<string, number> = {};
  const events = { heard: false, batch: [] as DiagnosticEvent[], emit: (event: DiagnosticEvent) => emit(event) };
  const emit = (event: DiagnosticEvent): void => {
    if (!events.heard || events.batch.length >= MAX_EVENTS) return;
    if (events.batch.push(event) > 1) return;
    setImmediate(() => void io.events(events.batch.splice(0)).catch(() => {}));
  };
  const log = createLogger({
    format: "json",
    write: (line) => {
      const {
        level,
        message,
        time: _,
        ...fields
      } = JSON.parse(line) as { level: LogLevel; message: string; time: string };
      void io.log(level, message, { ...fields, thread }).catch(() => {});
    },
  });
  const processGuard: ProcessGuard = {
    protect: (pid) => io.protect(pid),
    release: (pid) => void io.unprotect(pid).catch(() => {}),
  };
  return {
    async init({ nodeId, incarnation, life, modules, preload, maxStarts, maxResidents, settings }) {
      const definitions = await loadDefinitions(modules);
      await importAll(preload);
      await io.kinds(kindsOf(definitions));
      const services: WorkerServices = {
        nodeId,
        incarnation,
        clock,
        log,
        settings,
        processGuard,
        events,
        count(name, by = 1) {
          counts[name] = (counts[name] ?? 0) + by;
        },
      };
      const started = new Host({
        incarnation,
        thread,
        clock,
        definitions,
        services,
        io,
        send: (message) => data.send(message),
        leaseDeadline: () => lease.read(),
        maxStarts,
        maxResidents,
        firstCallId: life * CALL_IDS_PER_LIFE,
        development: process.env.NODE_ENV === "development",
      });
      host = started;
      data.onmessage((message) => started.deliver(message));
      setInterval(() => {
        if (Object.keys(counts).length === 0) return;
        const handed = counts;
        counts = {};
        void io.counts(handed).catch(() => {});
      }, COUNTS_MS).unref();
    },
    park() {},
    resume() {},
    async stop(reason) {
      await host?.stopAll(reason, STOP_MS);
    },
    listening(heard) {
      events.heard = heard;
    },
    held: () => host?.held() ?? [],
    queuedBytes: () => host?.queued.bytes ?? 0,
    stats: () => ({ residents: host?.residents ?? 0, heapUsed: process.memoryUsage().heapUsed }),
  };
});
