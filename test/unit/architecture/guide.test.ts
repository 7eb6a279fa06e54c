/** The guide for extension authors names what there is: every error code, and tests that exist. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { ERROR_CODES } from "../../../runtime/index.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const GUIDE = readFileSync(`${ROOT}examples/extension/README.md`, "utf8");

test("every error code is listed", () => {
  assert.deepEqual(
    Object.keys(ERROR_CODES).filter((code) => !GUIDE.includes(`\`${code}\``)),
    [],
  );
});

test("every test and source that it names exists", () => {
  const named = [...GUIDE.matchAll(/`((?:test|runtime|actors|examples)\/[\w./*-]+)`/g)].map(([, path = ""]) => path);
  assert.ok(named.length > 20, `only ${named.length} were found`);
  assert.deepEqual(
    named.filter((path) => !existsSync(`${ROOT}${path.replace(/\*.*$/, "")}`) && !path.includes("*")),
    [],
  );
});

test("every row of what is promised and what is not names a test", () => {
  const rows = GUIDE.slice(GUIDE.indexOf("## What is promised"))
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (promise|not promised) /.test(line));
  assert.ok(rows.length > 15);
  assert.deepEqual(
    rows.filter((row) => !/`test\/[^`]+`/.test(row)),
    [],
  );
});
