/** The extension example, run as its readers run it, on whichever runtime runs this test. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const RUN = fileURLToPath(new URL("../../examples/extension/run.ts", import.meta.url));

test("the example's actor answers, streams, deduplicates and refuses as its README says", async () => {
  const args = process.versions.deno === undefined ? ["--import", "tsx", RUN] : ["run", "-A", RUN];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  const lines = stdout.trim().split("\n");
  assert.equal(lines.at(-3), "balance 70", stdout);
  assert.match(lines.at(-2) ?? "", /^refused: method_failed, started yes: .*ada has 70, not 1000/);
  assert.match(lines.at(-1) ?? "", /^refused: invalid_argument, started no: /);
});
