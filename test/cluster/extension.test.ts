/** The extension examples, run as their readers run them, on whichever runtime runs this test. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The lines that an example prints. */
async function run(name: string): Promise<string[]> {
  const file = fileURLToPath(new URL(`../../examples/extension/${name}.ts`, import.meta.url));
  const args = process.versions.deno === undefined ? ["--import", "tsx", file] : ["run", "-A", file];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  return stdout.trim().split("\n");
}

test("the example's actor answers, streams, deduplicates and refuses as its README says", async () => {
  const lines = await run("run");
  assert.equal(lines.at(-3), "balance 70", lines.join("\n"));
  assert.match(lines.at(-2) ?? "", /^refused: method_failed, started yes: .*ada has 70, not 1000/);
  assert.match(lines.at(-1) ?? "", /^refused: invalid_argument, started no: /);
});

test("the tour shows timers, reminders, leases, leadership, presence, topics, scopes and jobs", async () => {
  const lines = await run("tour");
  assert.ok(lines.filter((line) => line === "trial: running").length >= 2, lines.join("\n"));
  assert.deepEqual(
    lines.filter((line) => line !== "trial: running"),
    [
      "trial: over",
      "lease: held true, a second one has to wait",
      "leader: fence above 0 true",
      "presence: ada",
      "topic: hello",
      "scope: true",
      "job: sent to ada@example.com in attempt 2",
    ],
  );
});

test("the simulated example keeps its balance over a killed, a frozen and a cut-off node, the same in every run", async () => {
  const lines = await run("simulated");
  assert.deepEqual(lines.slice(0, 3), ["killed: 100", "frozen: 100", "healed: 100"]);
  assert.deepEqual(await run("simulated"), lines);
});
