/** What a test file's output says about it: how many tests passed, failed and were skipped, by name. */

export interface Outcome {
  passed: number;
  failed: number;
  /** Names of skipped tests, with the reason where one is given. */
  skipped: string[];
  /** Why the file counts as failed although none of its tests did. */
  complaint?: string;
}

/** Reads the TAP that `node --test-reporter=tap` prints. `code` is the exit code, null for a killed process. */
export function readTap(output: string, code: number | null): Outcome {
  const total = (name: string): number | undefined => {
    const lines = [...output.matchAll(new RegExp(`^# ${name} (\\d+)$`, "gm"))];
    const last = lines.at(-1)?.[1];
    return last === undefined ? undefined : Number(last);
  };
  const skipped = [...output.matchAll(/^\s*(?:not )?ok \d+ - (.*?) # (?:SKIP|TODO)(.*)$/gm)].map(([, name, reason]) =>
    named(name, reason),
  );
  const passed = total("pass") ?? 0;
  const failed = (total("fail") ?? 0) + (total("cancelled") ?? 0);
  return judged({ passed, failed, skipped }, code, total("pass") !== undefined);
}

/** Reads the summary that `deno test` prints. */
export function readDeno(output: string, code: number | null): Outcome {
  const summary = [...output.matchAll(/^(?:ok|FAILED) \| (\d+) passed.*? \| (\d+) failed/gm)].at(-1);
  const skipped = [...output.matchAll(/^\s*(.*?) \.\.\. ignored/gm)].map(([, name]) => named(name, ""));
  return judged(
    { passed: Number(summary?.[1] ?? 0), failed: Number(summary?.[2] ?? 0), skipped },
    code,
    summary !== undefined,
  );
}

function judged(outcome: Outcome, code: number | null, complete: boolean): Outcome {
  if (!complete) {
    // Node.js prints nothing at all for a file without tests.
    return { ...outcome, complaint: code === 0 ? "ran no test at all" : "ended without a summary" };
  }
  if (outcome.failed === 0 && code !== 0) return { ...outcome, complaint: `ended with exit code ${code}` };
  if (outcome.passed + outcome.failed + outcome.skipped.length === 0) {
    return { ...outcome, complaint: "ran no test at all" };
  }
  return outcome;
}

function named(name: string | undefined, reason: string | undefined): string {
  const why = reason?.trim() ?? "";
  return `${name?.trim()}${why === "" ? "" : ` (${why})`}`;
}
