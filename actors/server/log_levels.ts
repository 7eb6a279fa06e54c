/** Log levels of several sessions on one connection. */
import { LOG_LEVELS, severity } from "../session/capabilities.ts";

/** What a session gets that never set a level: what it would get without the others. */
const DEFAULT = LOG_LEVELS.indexOf("info");

/** The level that covers all of them; undefined when none is set. */
export function mostVerbose(levels: readonly (string | undefined)[]): string | undefined {
  let lowest: number | undefined;
  for (const level of levels) {
    const rank = severity(level);
    if (rank !== undefined && (lowest === undefined || rank < lowest)) lowest = rank;
  }
  return lowest === undefined ? undefined : LOG_LEVELS[lowest];
}

/** Whether a session that set `level` wants a message of `messageLevel`. Unknown message levels pass. */
export function wants(level: string | undefined, messageLevel: unknown): boolean {
  const rank = severity(messageLevel);
  return rank === undefined || rank >= (severity(level) ?? DEFAULT);
}
