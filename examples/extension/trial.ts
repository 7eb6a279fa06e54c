/** An actor that ends by itself: a reminder ends the trial, a timer keeps its watchers informed meanwhile. */
import { defineActor } from "../../runtime/index.ts";

export const TrialActor = defineActor({
  kind: "trial",
  state: { initial: () => ({ over: false }) },
  methods: {
    async begin(ctx, afterMs: number) {
      ctx.reminders.set("end", { afterMs, data: { because: "time is up" } });
      await ctx.commit(); // State and reminder, in one step.
    },

    /** `running` every 100 ms, then `over`. */
    async *watch(ctx) {
      let wake = (): void => {};
      const cancel = ctx.timer({ everyMs: 100 }, () => wake());
      try {
        while (!ctx.state.over) {
          yield "running";
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        yield "over";
      } finally {
        cancel();
      }
    },
  },
  onReminder(ctx, { name }) {
    if (name === "end") ctx.state.over = true; // Committed with the reminder's progress when this returns.
  },
});
