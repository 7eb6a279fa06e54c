/**
 * One simulated node's way to the store: a request there, one step, an answer back; each may be slow or lost, and then
 * the node hears of a failure with an unknown outcome. What was sent before its process was killed still arrives.
 *
 * It also is the client's half of the generation protocol, in the order of `coordinator/redis/generation.ts`: a store
 * that carries another generation, or answers from another primary, refuses everything with `store_reset` until this
 * node has re-asserted itself; membership is open again once the node is readmitted, all else once it has written back.
 */
import { TroupeError } from "../actor/errors.ts";
import type { ActorId, Generation, Incarnation } from "../actor/ids.ts";
import type {
  Coordinator,
  Directory,
  HeldRecord,
  Member,
  Membership,
  NodeRecord,
  Reminders,
} from "../coordinator/contract.ts";
import type { SimulatedProcess } from "./process.ts";
import { ordinal, SHARDS, type SimulatedStore } from "./store.ts";
import type { VirtualTime } from "./virtual_time.ts";

export interface StoreLinkOptions {
  /** Milliseconds one way. Default 0.2 to 2. */
  latencyMs?: readonly [from: number, to: number];
  /** Part of the requests, and of the answers, that are lost. Default 0. */
  loss?: number;
  /** Part of the messages that take up to a second. Default 0. */
  slow?: number;
  /** When a node gives up waiting, milliseconds. Default 1,000. */
  timeoutMs?: number;
  /** How long a new generation takes to settle: one node lease. Default 3,300. */
  settleMs?: number;
}

type During = "never" | "readmitted" | "reasserting";
const SETTLE_RETRY_MS = 500;
const SLOW_MS = 1_000;
const RESET = Symbol("reset");

export class StoreClient implements Pick<Coordinator, "membership" | "directory" | "reminders"> {
  readonly membership: Membership;
  readonly directory: Directory;
  readonly reminders: Reminders;
  /** The store cannot be reached from here. */
  unreachable = false;
  readonly #store: SimulatedStore;
  readonly #time: VirtualTime;
  readonly #process: SimulatedProcess;
  readonly #options: Required<StoreLinkOptions>;
  #current: Generation | "" = "";
  /** The last generation that this client has written everything back to. */
  #stood: Generation | "" = "";
  #run = -1;
  #settled = false;
  #learnedAt = 0;
  #reset: { readmitted: boolean } | null = null;
  #own: { incarnation: Incarnation; record: NodeRecord; operation: string } | undefined;
  /** The dead of the last view. */
  #dead: readonly Member[] = [];
  readonly #ended = new Set<ActorId>();

  constructor(store: SimulatedStore, time: VirtualTime, process: SimulatedProcess, options: StoreLinkOptions = {}) {
    this.#store = store;
    this.#time = time;
    this.#process = process;
    this.#options = { latencyMs: [0.2, 2], loss: 0, slow: 0, timeoutMs: 1_000, settleMs: 3_300, ...options };
    this.membership = this.#makeMembership();
    this.directory = this.#makeDirectory();
    this.reminders = this.#makeReminders();
  }

  get generation(): Generation {
    return this.#current as Generation;
  }

  /** Set by faults while they last. */
  disturb(loss: number, slow: number): void {
    this.#options.loss = loss;
    this.#options.slow = slow;
  }

  /** Makes or adopts the generation; the first thing a node does. */
  async open(): Promise<void> {
    await this.#establish();
  }

  // Messages

  /** Sends a step to the store. Rejects with `store_unavailable`: it may have been done, or not. */
  #send<T>(step: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const process = this.#process;
      if (process.killed) return;
      let over = false;
      const fail = (): void => {
        if (over) return;
        over = true;
        reject(new TroupeError("store_unavailable", "the store did not answer", { started: "unknown" }));
      };
      const cancel = process.after(this.#options.timeoutMs, fail);
      if (this.#time.chance(this.#options.loss)) return;
      this.#time.after(this.#delay(), () => {
        if (this.#store.down || this.unreachable) return void process.after(this.#delay(), fail);
        const answer = step();
        if (this.#time.chance(this.#options.loss)) return;
        process.after(this.#delay(), () => {
          if (over) return;
          over = true;
          cancel();
          resolve(answer);
        });
      });
    });
  }

  #delay(): number {
    if (this.#options.slow > 0 && this.#time.chance(this.#options.slow)) return this.#time.between(0, SLOW_MS);
    return this.#time.between(...this.#options.latencyMs);
  }

  /** A step that only counts in the generation this node knows. */
  async #guarded<T>(step: () => T, during: During = "never"): Promise<T> {
    const reset = this.#reset;
    if (reset !== null && during !== "reasserting" && !(during === "readmitted" && reset.readmitted)) {
      throw storeReset();
    }
    const expected = this.#current;
    const run = this.#run;
    const answer = await this.#send<T | typeof RESET>(() => {
      if (run !== this.#store.run || expected !== this.#store.generation) return RESET;
      return step();
    });
    if (answer !== RESET) return answer;
    if (expected !== this.#current || run !== this.#run) {
      throw new TroupeError("store_unavailable", "the store's generation changed, try again", { started: "no" });
    }
    this.#reset = { readmitted: false };
    throw storeReset();
  }

  async #establish(): Promise<void> {
    const { generation, settled, run } = await this.#send(() => {
      const { watchers } = this.#store;
      const watched = [...watchers].some((other) => other !== this.#process && !other.killed);
      watchers.add(this.#process);
      return { ...this.#store.establish(this.#current, watched), run: this.#store.run };
    });
    const { clock } = this.#process;
    if (generation !== this.#current) this.#learnedAt = clock.now();
    if (this.#current === "") this.#stood = generation;
    this.#current = generation;
    this.#run = run;
    this.#settled = settled;
    if (!settled) this.#settleAfter(Math.max(0, this.#learnedAt + this.#options.settleMs - clock.now()), generation);
  }

  #settleAfter(ms: number, generation: Generation): void {
    this.#process.clock.after(ms, () => {
      if (this.#settled || this.#current !== generation) return;
      this.#guarded(() => this.#store.settle(), "reasserting").then(
        () => {
          if (this.#current === generation) this.#settled = true;
        },
        (error: unknown) => {
          if (!TroupeError.is(error, "store_reset")) this.#settleAfter(SETTLE_RETRY_MS, generation);
        },
      );
    });
  }

  // Verbs

  #makeMembership(): Membership {
    const store = this.#store;
    return {
      join: async (record, operation) => {
        if (this.#reset !== null && this.#own === undefined) await this.#reassert(undefined, []);
        const joined = await this.#guarded(() => store.join(record, operation), "readmitted");
        this.#own = { incarnation: joined.incarnation, record, operation };
        return joined;
      },
      renew: async (incarnation) => {
        const view = await this.#guarded(() => store.renew(incarnation), "readmitted");
        if (view !== undefined) return { outcome: "renewed", view };
        if (this.#own?.incarnation === incarnation) this.#own = undefined;
        return { outcome: "declared-dead" };
      },
      update: (incarnation, record) => {
        if (this.#own?.incarnation === incarnation) this.#own.record = record;
        return this.#guarded(() => store.update(incarnation, record), "readmitted");
      },
      heartbeats: (incarnations) => this.#guarded(() => store.heartbeats(incarnations), "readmitted"),
      declareDead: async (incarnation, observed) => {
        const answer = await this.#guarded(() => store.declareDead(incarnation, observed), "readmitted");
        if (answer === "settling") throw settling(`declaring ${incarnation} dead`);
        return answer;
      },
      leave: (incarnation) => this.#guarded(() => store.leave(incarnation), "readmitted"),
      view: async () => {
        const view = await this.#guarded(() => store.readView(), "readmitted");
        this.#dead = view.members.filter(({ liveness }) => liveness === "dead");
        return view;
      },
      onChange: (listener) =>
        store.onChange(() => {
          // Only a hint: some of them get lost.
          if (this.#time.chance(0.3) || this.unreachable || store.down) return;
          this.#process.after(this.#delay(), listener);
        }),
    };
  }

  #makeDirectory(): Directory {
    const store = this.#store;
    return {
      claim: async (request) => {
        const answer = await this.#guarded(() => store.claim(request));
        if (answer.outcome === "settling") throw settling(`claiming ${request.actor}`);
        return answer;
      },
      lookup: (actor) => this.#guarded(() => store.lookup(actor)),
      transfer: ({ actor, from, to, operation }) => this.#guarded(() => store.transfer(actor, from, to, operation)),
      release: ({ actor, owner, operation }) => this.#guarded(() => store.release(actor, owner, operation)),
      commit: ({ actor, owner, expectedVersion, bytes, operation, dueMs }) =>
        this.#guarded(() => store.commit(actor, owner, expectedVersion, bytes, operation, dueMs)),
      end: async ({ actor, owner, operation }) => {
        const result = await this.#guarded(() => store.end(actor, owner, operation));
        if (result === "done") this.#ended.add(actor);
        return result;
      },
      reassert: (incarnation, records, leaseHeld) => this.#reassert(incarnation, records, leaseHeld),
    };
  }

  #makeReminders(): Reminders {
    const store = this.#store;
    return {
      shards: SHARDS,
      take: ({ shard, nowMs, holdUntilMs, limit }) => this.#guarded(() => store.take(shard, nowMs, holdUntilMs, limit)),
      onEarliest: (listener) =>
        store.onEarliest((shard, dueMs) => {
          if (this.unreachable || store.down) return;
          this.#process.after(this.#delay(), () => listener(shard, dueMs));
        }),
    };
  }

  async #reassert(
    incarnation: Incarnation | undefined,
    records: readonly HeldRecord[],
    leaseHeld: () => boolean = () => false,
  ): Promise<{ lost: ActorId[]; settled: boolean }> {
    const reset = this.#reset;
    try {
      await this.#establish();
      const settled = await this.#guarded(() => this.#store.settled, "reasserting");
      const missed = ordinal(this.#current) > ordinal(this.#stood) + 1;
      const lost = await this.#writeBack(incarnation, records, reset, () => !missed || leaseHeld());
      if (this.#reset === reset) {
        this.#reset = null;
        this.#stood = this.#current;
      }
      return { lost, settled };
    } catch (error) {
      this.#reset = { readmitted: false };
      throw error;
    }
  }

  async #writeBack(
    incarnation: Incarnation | undefined,
    records: readonly HeldRecord[],
    reset: { readmitted: boolean } | null,
    proven: () => boolean,
  ): Promise<ActorId[]> {
    if (incarnation === undefined) return [];
    const own = this.#own;
    const readmitted =
      own?.incarnation === incarnation &&
      (await this.#guarded(() => {
        const heartbeat = 1_000_000 + Math.floor(this.#time.random() * 1_000_000);
        return this.#store.readmit(incarnation, own.record, own.operation, heartbeat, this.#dead);
      }, "reasserting")) === "alive";
    if (reset !== null && this.#reset === reset) reset.readmitted = true;
    if (!readmitted || !proven()) return records.map(({ actor }) => actor);
    const lost: ActorId[] = [];
    await Promise.all(
      records.map(async (record) => {
        const answer = await this.#guarded(() => this.#store.restore(incarnation, record), "reasserting");
        if (answer === "lost") lost.push(record.actor);
      }),
    );
    await Promise.all([...this.#ended].map((actor) => this.#guarded(() => this.#store.entomb(actor), "reasserting")));
    return lost;
  }
}

function storeReset(): TroupeError {
  return new TroupeError("store_reset", "the store was reset, and this node has not re-asserted itself yet", {
    started: "no",
  });
}

function settling(what: string): TroupeError {
  return new TroupeError("unavailable", `${what} is refused: nodes are writing back what they own`, {
    started: "no",
    retryAfterMs: 100,
  });
}
