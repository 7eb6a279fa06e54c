/**
 * The population of a simulated cluster: one kind per promise. Every method takes the tag that names its call, tells the
 * history when it starts, and answers the tag.
 */
import { type ActivationContext, concurrent, defineActor } from "../../runtime/actor/define.ts";
import type { History, Tags } from "./history.ts";

const state = { initial: (): Tags => ({ tags: [] }) };

function historyOf(ctx: { worker: ActivationContext<unknown>["worker"] }): History {
  return ctx.worker.settings.history as History;
}

/** Commits each call, at most once. */
export const Counter = defineActor({
  kind: "counter",
  state,
  readOnly: ["read"],
  methods: {
    /** `ms`: it takes that long, and may find itself in another world when it commits. */
    async add(ctx, tag: string, ms = 0) {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag);
      if (ms > 0) await pause(ctx, ms);
      ctx.state.tags.push(tag);
      await ctx.commit();
      return tag;
    },
    read(ctx, tag: string) {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag);
      return [tag, [...ctx.state.tags]] as const;
    },
  },
});

/** Called with delivery `durable`: the runtime commits. */
export const Durable = defineActor({
  kind: "durable",
  state,
  idleMs: 1_500,
  readOnly: ["read"],
  methods: {
    async add(ctx, tag: string) {
      historyOf(ctx).startedOnce(ctx.self, ctx.epoch, tag);
      ctx.state.tags.push(tag);
      return tag;
    },
    read(ctx, tag: string) {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag);
      return [tag, [...ctx.state.tags]] as const;
    },
  },
});

/** Called with delivery `dedup`. */
export const Dedup = defineActor({
  kind: "dedup",
  methods: {
    async note(ctx, tag: string, ms: number) {
      historyOf(ctx).startedOnce(ctx.self, ctx.epoch, tag);
      await pause(ctx, ms);
      return tag;
    },
  },
});

/** Notes in which order calls start; passivated often. Some calls are large. */
export const Recorder = defineActor({
  kind: "recorder",
  idleMs: 300,
  methods: {
    note(ctx, tag: string, caller: string, sequence: number, _bytes?: Uint8Array) {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag, [caller, sequence]);
      return tag;
    },
    leave(ctx, tag: string) {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag);
      ctx.passivate();
      return tag;
    },
  },
});

/** Calls recorders from its own thread, without waiting for one call before the next. */
export const Relay = defineActor({
  kind: "relay",
  mode: concurrent(8),
  instance: () => ({ caller: "", sequences: new Map<string, number>() }),
  methods: {
    async burst(ctx, tag: string, key: string, pauses: readonly number[]) {
      const history = historyOf(ctx);
      history.started(ctx.self, ctx.epoch, tag);
      const { sequences } = ctx.instance;
      // Another activation is another caller, also under the same epoch.
      ctx.instance.caller ||= history.nameCaller(ctx.self);
      const recorder = ctx.actor(Recorder, key);
      const calls: Promise<unknown>[] = [];
      for (const [index, ms] of pauses.entries()) {
        if (ms > 0) await pause(ctx, ms);
        const sequence = (sequences.get(key) ?? 0) + 1;
        sequences.set(key, sequence);
        const call = recorder.note(`${tag}.${index}`, ctx.instance.caller, sequence, bytesFor(sequence));
        // Its outcome is asked for at the end.
        call.catch(() => {});
        calls.push(call);
      }
      for (const call of await Promise.allSettled(calls)) if (call.status === "rejected") throw call.reason;
      return tag;
    },
  },
});

/** Every fifth call of a sequence is large. */
export function bytesFor(sequence: number): Uint8Array | undefined {
  return sequence % 5 === 0 ? new Uint8Array(LARGE_BYTES) : undefined;
}

/** More than the simulated network takes for small. */
const LARGE_BYTES = 100;

/** Slow turns behind which others wait, so that cancels meet calls in every state. */
export const Sleeper = defineActor({
  kind: "sleeper",
  methods: {
    async sleep(ctx, tag: string, ms: number) {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag);
      const { signal } = ctx;
      await new Promise<void>((resolve, reject) => {
        const cancel = ctx.worker.clock.after(ms, resolve);
        signal.addEventListener("abort", () => {
          cancel();
          reject(signal.reason);
        });
      });
      return tag;
    },
  },
});

/** Calls the next of a list, and answers when that has. */
export const Chain = defineActor({
  kind: "chain",
  methods: {
    async forward(ctx, tag: string, rest: readonly string[]): Promise<string> {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag);
      const [next, ...others] = rest;
      if (next !== undefined) {
        const answer: string = await ctx.actor(Chain, next).forward(`${tag}.`, others);
        if (answer !== `${tag}.`) historyOf(ctx).violation(`${tag}. got the answer of ${answer}`);
      }
      return tag;
    },
  },
});

/** Streams beside each other. */
export const Ticker = defineActor({
  kind: "ticker",
  mode: concurrent(4),
  methods: {
    async *count(ctx, tag: string, items: number, ms: number) {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag);
      for (let item = 0; item < items; item++) {
        if (ms > 0) await pause(ctx, ms);
        if (ctx.signal.aborted) throw ctx.signal.reason;
        yield [item, bytesFor(item)] as const;
      }
    },
  },
});

/** Exists only where it was made. */
export const Vault = defineActor({
  kind: "vault",
  state: { ...state, required: true },
  methods: {
    async add(ctx, tag: string) {
      historyOf(ctx).started(ctx.self, ctx.epoch, tag);
      ctx.state.tags.push(tag);
      await ctx.commit();
      return tag;
    },
  },
});

export const POPULATION = [Counter, Durable, Dedup, Recorder, Relay, Sleeper, Chain, Ticker, Vault];

function pause(ctx: { worker: ActivationContext<unknown>["worker"] }, ms: number): Promise<void> {
  return new Promise((resolve) => void ctx.worker.clock.after(ms, resolve));
}
