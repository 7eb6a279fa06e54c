/**
 * An actor: one account, with a balance that survives its node, and a stream of what happens to it. Every worker of
 * every node loads this module by its URL; callers import it for its types. In a project of your own, import from
 * "@troupe/runtime" instead.
 */
import { z } from "zod";
import { defineActor } from "../../runtime/index.ts";

interface Account {
  balance: number;
}

export const AccountActor = defineActor({
  kind: "account",
  // Each turn that may change the balance ends with a commit, and its answer waits for it.
  commitOnTurn: true,
  readOnly: ["balance"],
  state: { initial: (): Account => ({ balance: 0 }) },
  // What lives as long as the activation and is never stored.
  instance: () => ({ watchers: new Set<(balance: number) => void>() }),
  arguments: { deposit: z.tuple([z.number().positive()]), withdraw: z.tuple([z.number().positive()]) },
  methods: {
    deposit(ctx, amount: number) {
      ctx.state.balance += amount;
      for (const tell of ctx.instance.watchers) tell(ctx.state.balance);
      return ctx.state.balance;
    },

    withdraw(ctx, amount: number) {
      if (amount > ctx.state.balance) throw new Error(`${ctx.key} has ${ctx.state.balance}, not ${amount}`);
      ctx.state.balance -= amount;
      for (const tell of ctx.instance.watchers) tell(ctx.state.balance);
      return ctx.state.balance;
    },

    balance: (ctx) => ctx.state.balance,

    /** The balance now, and after each change, until the caller leaves its loop. A slow caller sees the newest. */
    async *watch(ctx) {
      let newest: number | undefined = ctx.state.balance;
      let wake = (): void => {};
      const tell = (balance: number): void => {
        newest = balance;
        wake();
      };
      ctx.instance.watchers.add(tell);
      ctx.signal.addEventListener("abort", () => wake());
      try {
        while (!ctx.signal.aborted) {
          if (newest !== undefined) {
            const balance = newest;
            newest = undefined;
            yield balance;
            continue;
          }
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        ctx.instance.watchers.delete(tell);
      }
    },
  },
});
