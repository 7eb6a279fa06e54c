/** The command line as a whole: which command, which flags, which exit code. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { VERSION } from "../../../runtime/config/version.ts";
import { runtime } from "./command_line.ts";

const COMMANDS = ["start", "check", "init", "schema", "status", "nodes", "sessions", "actors", "drain"];

test("--version prints the version of the package", async () => {
  const manifest = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
  const deno = JSON.parse(readFileSync(new URL("../../../deno.json", import.meta.url), "utf8"));
  assert.deepEqual(await runtime("--version"), { code: 0, out: `${manifest.version}\n`, err: "" });
  assert.equal(VERSION, manifest.version);
  assert.equal(deno.version, manifest.version);
});

test("--help names every command", async () => {
  const { code, out } = await runtime("--help");
  assert.equal(code, 0);
  for (const name of COMMANDS) assert.match(out, new RegExp(`^  ${name} `, "m"));
});

test("nothing at all is wrong usage and prints the help", async () => {
  const { code, out, err } = await runtime();
  assert.equal(code, 2);
  assert.equal(out, "");
  assert.match(err, /^Usage: runtime <command>/);
});

for (const name of COMMANDS) {
  test(`${name} --help says how it is used`, async () => {
    const { code, out } = await runtime(name, "--help");
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^Usage: runtime ${name}`));
  });

  test(`${name} refuses a flag it does not know`, async () => {
    const { code, err } = await runtime(name, "--frobnicate");
    assert.equal(code, 2);
    assert.equal(err, `runtime ${name}: unknown flag --frobnicate; see --help\n`);
  });
}

const wrong: [behaviour: string, args: string[], sentence: string][] = [
  ["a mistyped command", ["strat"], 'runtime: unknown command "strat", did you mean "start"?'],
  ["a command unlike any", ["frobnicate"], 'runtime: unknown command "frobnicate", see `runtime --help`'],
  ["a name that every object has", ["constructor"], 'runtime: unknown command "constructor", see `runtime --help`'],
  ["a mistyped flag", ["start", "--prot", "1"], "runtime start: unknown flag --prot, did you mean --port?"],
  ["a flag without its value", ["start", "--port"], "runtime start: --port needs a value"],
  ["a flag whose value is a flag", ["start", "--port", "--host", "x"], "runtime start: --port needs a value"],
  ["a value for a flag that takes none", ["nodes", "--json=yes"], "runtime nodes: --json takes no value"],
  ["an argument too many", ["start", "a.yaml"], 'runtime start: unexpected argument "a.yaml"; see --help'],
  ["an argument too few", ["drain"], "runtime drain: needs a NODE; see --help"],
];
for (const [behaviour, args, sentence] of wrong) {
  test(`${behaviour} is wrong usage`, async () => {
    assert.deepEqual(await runtime(...args), { code: 2, out: "", err: `${sentence}\n` });
  });
}
