/** The actors of the benchmark, as an extension of the built package. */

import { flood, sequence, TARGETS } from "./actors_load.mjs";

// Whoever starts the benchmark's processes says where the package was built.
const { defineActor } = await import(process.env.TROUPE_BUILT);

export const Echo = defineActor({
  kind: "echo",
  methods: {
    echo: (_ctx, text) => text,
    /** Ends the worker thread it runs on, after the answer. */
    crash: () => {
      setImmediate(() => {
        throw new Error("a crash the benchmark wants");
      });
    },
  },
});

/** Calls echo actors from inside a worker. */
export const Driver = defineActor({
  kind: "driver",
  methods: {
    run: (ctx, { seconds, inFlight }) => {
      const targets = Array.from({ length: TARGETS }, (_, index) => {
        const ref = ctx.actor(Echo, `near${index}`);
        return (text) => ref.echo(text);
      });
      return inFlight === 1 ? sequence(targets, seconds) : flood(targets, seconds, inFlight);
    },
  },
});

/** Has stored state: one that was called once is known to the coordinator, resident or not. */
export const Known = defineActor({
  kind: "known",
  state: { initial: () => ({ calls: 0 }) },
  methods: {
    async create(ctx) {
      ctx.state.calls = 1;
      await ctx.commit();
      return ctx.state.calls;
    },
    read: (ctx) => ctx.state.calls,
  },
  readOnly: ["read"],
});
