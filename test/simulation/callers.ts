/**
 * Who calls the simulated actors: random calls with deadlines and cancels, each followed to its one outcome.
 */
import type { CallOptions, Ref } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { actorId } from "../../runtime/actor/ids.ts";
import type { SimulatedNode } from "../../runtime/testing/node.ts";
import type { VirtualTime } from "../../runtime/testing/virtual_time.ts";
import { bytesFor, Chain, Counter, Dedup, Durable, Recorder, Relay, Sleeper, Ticker, Vault } from "./actors.ts";
import { type Call, GRACE_MS, type History } from "./history.ts";

const KEYS = ["a", "b", "c"];

interface Plan {
  definition: Parameters<SimulatedNode["actor"]>[0];
  key: string;
  what: string;
  timeoutMs: number;
  options?: CallOptions;
  /** A success is an effect that must be there at the end. */
  effect?: boolean;
  /** Never cancelled. */
  calm?: boolean;
  make: (tag: string, options: CallOptions) => Promise<unknown>;
}

export class Callers {
  readonly #time: VirtualTime;
  readonly #history: History;
  readonly #sequences = new Map<string, number>();
  #calls = 0;
  #vaults = 0;

  constructor(time: VirtualTime, history: History) {
    this.#time = time;
    this.#history = history;
  }

  /** A random call, or a few, from one of `nodes`. */
  call(nodes: readonly SimulatedNode[]): void {
    const node = this.#one(nodes);
    if (node === undefined) return;
    const dice = this.#time.random();
    if (dice < 0.16) this.#counter(node);
    else if (dice < 0.32) this.#durable(node);
    else if (dice < 0.46) this.#dedup(node);
    else if (dice < 0.58) this.#recorder(node);
    else if (dice < 0.64) this.#relay(node);
    else if (dice < 0.8) this.#sleeper(node);
    else if (dice < 0.88) this.#chain(node);
    else if (dice < 0.95) this.#ticker(node);
    else this.#vault(node);
  }

  /** After heal and quiet time, every actor answers every node. */
  lastCalls(node: SimulatedNode): void {
    const plan = { timeoutMs: 3_000, calm: true };
    for (const key of KEYS) {
      const must: Plan[] = [
        {
          ...plan,
          definition: Counter,
          key,
          what: "add",
          effect: true,
          make: (tag, o) => node.actor(Counter, key).with(o).add(tag),
        },
        {
          ...plan,
          definition: Durable,
          key,
          what: "add",
          effect: true,
          options: { delivery: "durable" },
          make: (tag, o) => node.actor(Durable, key).with(o).add(tag),
        },
        {
          ...plan,
          definition: Chain,
          key,
          what: "forward",
          make: (tag, o) => node.actor(Chain, key).with(o).forward(tag, []),
        },
      ];
      for (const each of must) this.#lastCall(node, each, false);
    }
  }

  #lastCall(node: SimulatedNode, plan: Plan, retried: boolean): void {
    const name = `${plan.definition.kind}/${plan.key}`;
    this.#start(node, plan, (error) => {
      // A commit that was given up may have been done: that activation's next one conflicts with it and stops.
      if (TroupeError.is(error, "fenced") && !retried) return this.#lastCall(node, plan, true);
      if (error === null) return;
      this.#history.violation(`long after the last fault, ${name} does not answer ${node.name}: ${String(error)}`);
    });
  }

  /** Its calls have nobody to answer to. */
  died(node: SimulatedNode): void {
    for (const call of this.#history.open) if (call.node === node) this.#history.open.delete(call);
  }

  #counter(node: SimulatedNode): void {
    const key = this.#key();
    if (this.#time.chance(0.3)) return this.#read(node, Counter, key);
    const ms = this.#time.chance(0.2) ? this.#time.between(0, 2_500) : 0;
    this.#start(node, {
      definition: Counter,
      key,
      what: "add",
      timeoutMs: this.#time.between(30, 2_500),
      effect: true,
      make: (tag, options) => node.actor(Counter, key).with(options).add(tag, ms),
    });
  }

  #durable(node: SimulatedNode): void {
    const key = this.#key();
    if (this.#time.chance(0.2)) return this.#read(node, Durable, key);
    this.#start(node, {
      definition: Durable,
      key,
      what: "add",
      timeoutMs: this.#time.between(500, 5_000),
      options: { delivery: "durable" },
      effect: true,
      make: (tag, options) => node.actor(Durable, key).with(options).add(tag),
    });
  }

  #read(node: SimulatedNode, definition: typeof Counter | typeof Durable, key: string): void {
    const id = actorId(definition.kind, key);
    const before = [...this.#history.acknowledged(id)];
    this.#start(node, {
      definition,
      key,
      what: "read",
      timeoutMs: this.#time.between(100, 2_500),
      make: async (tag, options) => {
        const ref = node.actor(definition as typeof Counter, key) as Ref<typeof Counter>;
        const [own, seen] = await ref.with(options).read(tag);
        this.#history.read(id, tag, before, seen);
        return own;
      },
    });
  }

  #dedup(node: SimulatedNode): void {
    const key = this.#key();
    const ms = this.#time.chance(0.5) ? this.#time.between(0, 400) : 0;
    this.#start(node, {
      definition: Dedup,
      key,
      what: "note",
      timeoutMs: this.#time.between(300, 4_000),
      options: { delivery: "dedup" },
      make: (tag, options) => node.actor(Dedup, key).with(options).note(tag, ms),
    });
  }

  #recorder(node: SimulatedNode): void {
    const key = this.#key();
    const calls = 1 + Math.floor(this.#time.random() * 6);
    let after = 0;
    for (let index = 0; index < calls; index++) {
      this.#time.after(after, () => {
        if (!node.process.running || !node.ready) return;
        const caller = node.incarnation;
        const pair = `${caller} ${key}`;
        const sequence = (this.#sequences.get(pair) ?? 0) + 1;
        this.#sequences.set(pair, sequence);
        const leave = this.#time.chance(0.1);
        this.#start(node, {
          definition: Recorder,
          key,
          what: leave ? "leave" : "note",
          timeoutMs: this.#time.between(500, 3_000),
          make: (tag, options) => {
            const ref = node.actor(Recorder, key).with(options);
            return leave ? ref.leave(tag) : ref.note(tag, caller, sequence, bytesFor(sequence));
          },
        });
      });
      after += this.#time.chance(0.5) ? 0 : this.#time.between(0, 8);
    }
  }

  #relay(node: SimulatedNode): void {
    const [key, recorder] = [this.#key(), this.#key()];
    const calls = 1 + Math.floor(this.#time.random() * 6);
    const pauses = Array.from({ length: calls }, () => (this.#time.chance(0.5) ? 0 : this.#time.between(0, 8)));
    this.#start(node, {
      definition: Relay,
      key,
      what: "burst",
      timeoutMs: this.#time.between(500, 3_000),
      make: (tag, options) => node.actor(Relay, key).with(options).burst(tag, recorder, pauses),
    });
  }

  #sleeper(node: SimulatedNode): void {
    const key = this.#key();
    const ms = this.#time.chance(0.3) ? this.#time.between(500, 3_000) : this.#time.between(0, 200);
    this.#start(node, {
      definition: Sleeper,
      key,
      what: "sleep",
      timeoutMs: this.#time.between(20, 4_000),
      make: (tag, options) => node.actor(Sleeper, key).with(options).sleep(tag, ms),
    });
  }

  #chain(node: SimulatedNode): void {
    const keys = Array.from({ length: 1 + Math.floor(this.#time.random() * 4) }, () => this.#key());
    const [first = "a", ...rest] = keys;
    const cycle = new Set(keys).size < keys.length;
    this.#start(
      node,
      {
        definition: Chain,
        key: first,
        what: `forward ${rest.join(" ")}`,
        timeoutMs: this.#time.between(100, 3_000),
        make: (tag, options) => node.actor(Chain, first).with(options).forward(tag, rest),
      },
      (error) => {
        if (cycle && error === null)
          this.#history.violation(`a call that waits for itself (${keys.join(" ")}) was answered`);
      },
    );
  }

  #ticker(node: SimulatedNode): void {
    const key = this.#key();
    const items = Math.floor(this.#time.random() * 100);
    const ms = this.#time.chance(0.5) ? 0 : this.#time.between(0, 20);
    const leaveAt = this.#time.chance(0.3) ? Math.floor(this.#time.random() * items) : -1;
    this.#start(node, {
      definition: Ticker,
      key,
      what: "count",
      timeoutMs: this.#time.between(100, 2_000),
      make: async (tag, options) => {
        let expected = 0;
        for await (const [item] of node.actor(Ticker, key).with(options).count(tag, items, ms)) {
          if (item !== expected) this.#history.violation(`stream ${tag}: item ${item} where ${expected} was due`);
          expected++;
          if (item === leaveAt) return tag;
        }
        if (expected !== items) this.#history.violation(`stream ${tag} ended after ${expected} of ${items} items`);
        return tag;
      },
    });
  }

  #vault(node: SimulatedNode): void {
    if (this.#vaults > 0 && this.#time.chance(0.5)) {
      const made = `v${Math.floor(this.#time.random() * this.#vaults)}`;
      this.#start(node, {
        definition: Vault,
        key: made,
        what: "add",
        timeoutMs: this.#time.between(100, 2_000),
        effect: true,
        make: (tag, options) => node.actor(Vault, made).with(options).add(tag),
      });
      return;
    }
    const key = `v${this.#vaults}`;
    this.#vaults++;
    node.create(Vault, key, { tags: [] }).then(
      () => this.#history.note(`created vault/${key}`),
      (error: { code?: string; message?: string }) => {
        this.#history.note(`could not create vault/${key}: ${error.message}`);
        if (error.code === "already_exists" && !this.#history.storeLostData) {
          this.#history.violation(`vault/${key} was made once, and its maker was told that it exists already`);
        }
      },
    );
  }

  #start(node: SimulatedNode, plan: Plan, settled?: (error: unknown) => void): void {
    const { clock } = node.process;
    const timeoutMs = Math.round(plan.timeoutMs);
    const tag = `t${++this.#calls}`;
    const call: Call = {
      tag,
      actor: actorId(plan.definition.kind, plan.key),
      node,
      what: plan.what,
      due: clock.now() + timeoutMs + GRACE_MS,
      cancelled: plan.options?.delivery !== undefined,
      settled: false,
    };
    const options: CallOptions = { ...plan.options, timeoutMs };
    if (plan.calm !== true && this.#time.chance(0.2)) {
      const controller = new AbortController();
      options.signal = controller.signal;
      node.process.after(this.#time.random() ** 2 * timeoutMs, () => {
        if (call.settled) return;
        this.#history.note(`${node.name} cancels ${tag}`);
        call.cancelled = true;
        call.due = Math.min(call.due, clock.now() + GRACE_MS);
        controller.abort();
      });
    }
    this.#history.called(call);
    const over = (error: unknown, value: unknown): void => {
      // Its process is gone: nobody hears the answer.
      if (node.process.killed) return;
      this.#history.settled(call, error, value, plan.effect === true);
      settled?.(error);
    };
    plan.make(tag, options).then(
      (value) => over(null, value),
      (error: unknown) => over(error ?? new Error("rejected without a reason"), undefined),
    );
  }

  #key(): string {
    return this.#one(KEYS) ?? "a";
  }

  #one<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.#time.random() * list.length)];
  }
}
