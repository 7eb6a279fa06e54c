/** Waiting for what a test expects, with a deadline and a reason, instead of sleeping. */

/** Raised when what was waited for did not come; `detail` tells the last thing seen. */
export class WaitExpired extends Error {
  constructor(what: string, ms: number, detail: string) {
    super(`waited ${ms} ms for ${what}${detail === "" ? "" : `; last seen: ${detail}`}`);
    this.name = "WaitExpired";
  }
}

/**
 * Asks `predicate` again and again until it returns something truthy, and returns that. An error it throws counts as
 * "not yet" and is told when the deadline passes.
 */
export async function waitUntil<T>(
  predicate: () => T | Promise<T>,
  deadlineMs: number,
  what: string,
  everyMs = 25,
): Promise<NonNullable<T>> {
  const end = performance.now() + deadlineMs;
  let last = "";
  for (;;) {
    try {
      const seen = await predicate();
      if (seen) return seen as NonNullable<T>;
      last = String(seen);
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    if (performance.now() >= end) throw new WaitExpired(what, deadlineMs, last);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** `promise`, or an error that says what did not come within the deadline. */
export async function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new WaitExpired(what, deadlineMs, "")), deadlineMs);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
