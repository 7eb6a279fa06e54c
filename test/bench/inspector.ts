/**
 * Looks into a Node.js process through its inspector (`--inspect`), all its threads: heap after garbage collection, and
 * CPU profiles. Needs nothing of the program that is looked at.
 */
import { WebSocket } from "ws";

type Params = Record<string, unknown>;

/** One thread of the process: the main one, or a worker. */
export interface Thread {
  title: string;
  send<T>(method: string, params?: Params): Promise<T>;
}

export interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<string, Waiting>();
  readonly #workers = new Map<string, Thread>();
  #next = 1;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data) => this.#received("", JSON.parse(String(data)) as Params));
  }

  /** `output`: what the process wrote to standard error; it names the address there. */
  static async attach(output: string): Promise<Inspector> {
    const address = /ws:\/\/[^\s]+/.exec(output)?.[0];
    if (address === undefined) throw new Error("the process does not say where its inspector listens");
    const socket = new WebSocket(address, { perMessageDeflate: false, maxPayload: 512 * 1024 * 1024 });
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    const inspector = new Inspector(socket);
    await inspector.#send("", "NodeWorker.enable", { waitForDebuggerOnStart: false });
    return inspector;
  }

  threads(): Thread[] {
    return [{ title: "main", send: (method, params) => this.#send("", method, params) }, ...this.#workers.values()];
  }

  /** Bytes of JavaScript heap in use over all threads, after garbage collection. */
  async heapBytes(): Promise<number> {
    return (await this.heapsByThread()).reduce((sum, bytes) => sum + bytes, 0);
  }

  /** The same, thread by thread; the main one first. */
  async heapsByThread(): Promise<number[]> {
    const heaps: number[] = [];
    for (const thread of this.threads()) {
      await thread.send("HeapProfiler.collectGarbage");
      await thread.send("HeapProfiler.collectGarbage");
      heaps.push((await thread.send<{ usedSize: number }>("Runtime.getHeapUsage")).usedSize);
    }
    return heaps;
  }

  /** Profiles all threads while `work` runs. Sampling every 200 µs. */
  async profile(work: () => Promise<unknown>): Promise<Map<string, CpuProfile>> {
    for (const thread of this.threads()) {
      await thread.send("Profiler.enable");
      await thread.send("Profiler.setSamplingInterval", { interval: 200 });
      await thread.send("Profiler.start");
    }
    await work();
    const profiles = new Map<string, CpuProfile>();
    for (const thread of this.threads()) {
      profiles.set(thread.title, (await thread.send<{ profile: CpuProfile }>("Profiler.stop")).profile);
    }
    return profiles;
  }

  close(): void {
    this.#socket.close();
  }

  /** `session`: of a worker, or `""` for the main thread. Workers are spoken to through it. */
  #send<T>(session: string, method: string, params: Params = {}): Promise<T> {
    const id = this.#next++;
    const message = { id, method, params };
    const answer = new Promise<T>((resolve, reject) => {
      this.#waiting.set(`${session}/${id}`, { resolve: (value) => resolve(value as T), reject });
    });
    const outer =
      session === ""
        ? message
        : {
            id: this.#next++,
            method: "NodeWorker.sendMessageToWorker",
            params: { sessionId: session, message: JSON.stringify(message) },
          };
    this.#socket.send(JSON.stringify(outer));
    return answer;
  }

  #received(session: string, message: Params): void {
    const params = (message.params ?? {}) as Params;
    switch (message.method) {
      case "NodeWorker.attachedToWorker": {
        const id = String(params.sessionId);
        const title = String((params.workerInfo as Params).title);
        this.#workers.set(id, {
          title: `${title} ${this.#workers.size + 1}`,
          send: (method, more) => this.#send(id, method, more),
        });
        return;
      }
      case "NodeWorker.detachedFromWorker":
        this.#workers.delete(String(params.sessionId));
        return;
      case "NodeWorker.receivedMessageFromWorker":
        this.#received(String(params.sessionId), JSON.parse(String(params.message)) as Params);
        return;
    }
    const key = `${session}/${String(message.id)}`;
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    const error = message.error as { message: string } | undefined;
    if (error === undefined) waiting?.resolve(message.result);
    else waiting?.reject(new Error(error.message));
  }
}
