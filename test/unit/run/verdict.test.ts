/** The test command reads outcomes from what the runtimes print: real files, run for real. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Outcome, readDeno, readTap } from "../../verdict.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const folder = mkdtempSync(join(ROOT, "test/unit/run/tmp-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** What both runtimes' output of a test file comes to. */
function outcomes(name: string, source: string): Record<"node" | "deno", Outcome> {
  const file = join(folder, `${name}.ts`);
  writeFileSync(file, `import assert from "node:assert/strict";\nimport { test } from "node:test";\n${source}\n`);
  const env = { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, NODE_TEST_CONTEXT: undefined };
  const run = (command: string, args: string[]) => {
    const { stdout, stderr, status } = spawnSync(command, [...args, file], { cwd: ROOT, env, encoding: "utf8" });
    return { output: stdout + stderr, status };
  };
  const node = run(process.versions.deno === undefined ? process.execPath : "node", [
    "--import",
    "tsx",
    "--test-reporter=tap",
  ]);
  const deno = run(join(ROOT, "node_modules/.bin/deno"), ["test", "-A", "--no-check"]);
  return { node: readTap(node.output, node.status), deno: readDeno(deno.output, deno.status) };
}

test("passed and failed tests are counted", () => {
  const { node, deno } = outcomes(
    "counted",
    'test("a", () => {}); test("b", () => {}); test("c", () => assert.equal(1, 2));',
  );
  assert.deepEqual(node, { passed: 2, failed: 1, skipped: [] });
  assert.deepEqual(deno, { passed: 2, failed: 1, skipped: [] });
});

test("skipped tests are named, with the reason where the runtime tells it", () => {
  const { node, deno } = outcomes("skipped", 'test("a", () => {}); test("b c", { skip: "no server" }, () => {});');
  assert.deepEqual(node, { passed: 1, failed: 0, skipped: ["b c (no server)"] });
  assert.deepEqual(deno, { passed: 1, failed: 0, skipped: ["b c"] });
});

test("a file without tests is a complaint", () => {
  const { node, deno } = outcomes("empty", "void test; void assert;");
  assert.equal(node.complaint, "ran no test at all");
  assert.equal(deno.complaint, "ran no test at all");
});

test("a file that cannot be loaded is a failure", () => {
  const { node, deno } = outcomes("broken", 'throw new Error("no"); void test; void assert;');
  for (const { failed, complaint } of [node, deno]) assert.ok(failed > 0 || complaint !== undefined);
});

test("a process that ends before its summary is a complaint", () => {
  assert.equal(readTap("TAP version 13\nok 1 - a\n", null).complaint, "ended without a summary");
  assert.equal(readDeno("running 1 test from ./a.ts\n", null).complaint, "ended without a summary");
});

test("a process that fails although its tests passed is a complaint", () => {
  const tap = "ok 1 - a\n# pass 1\n# fail 0\n# cancelled 0\n";
  assert.equal(readTap(tap, 7).complaint, "ended with exit code 7");
});
