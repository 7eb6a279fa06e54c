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

/** Notes in which order calls start; passivated often. */
export const Recorder = defineActor({
  kind: "recorder",
  idleMs: 300,
  methods: {
    note(ctx, tag: string, caller: string, sequence: number) {
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
        yield item;
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

export const POPULATION = [Counter, Durable, Dedup, Recorder, Sleeper, Chain, Ticker, Vault];

function pause(ctx: { worker: ActivationContext<unknown>["worker"] }, ms: number): Promise<void> {
  return new Promise((resolve) => void ctx.worker.clock.after(ms, resolve));
}
