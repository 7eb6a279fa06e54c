/**
 * Turns that an activation gives itself, beside the methods of its definition. Their names start with `@`, which no
 * method's name may, so they are looked for only where a definition has no such method: calls pay nothing for them.
 */
import type { MethodShape } from "./define.ts";
import { REMIND_TURN, WAKE_TURN } from "./reminders.ts";
import { TIMER_TURN } from "./timers.ts";
import type { Turn } from "./turn.ts";

interface OwnTurn extends MethodShape {
  run(turn: Turn, argument: unknown): unknown;
}

const OWN_TURNS: Readonly<Record<string, OwnTurn>> = {
  [TIMER_TURN]: {
    stream: false,
    readOnly: false,
    run: (turn, number) => turn.activation.timers.run(number as number, turn),
  },
  [REMIND_TURN]: {
    stream: false,
    readOnly: false,
    run: (turn, name) => turn.activation.reminders.run(name as string, turn),
  },
  // Commits by itself where it must.
  [WAKE_TURN]: { stream: false, readOnly: true, run: (turn) => turn.activation.reminders.woken() },
};

export function ownTurn(name: string): OwnTurn | undefined {
  return Object.hasOwn(OWN_TURNS, name) ? OWN_TURNS[name] : undefined;
}
