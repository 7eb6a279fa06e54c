/**
 * The registry of error codes: everything the product throws with a code is in it and every entry is used.
 * The compiler checks the codes of `new TroupeError(…)`; here is what it does not see.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { ERROR_CODES } from "../../../runtime/index.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const REGISTRY = "runtime/actor/errors.ts";

/** Product sources by path. */
const SOURCES = new Map(
  ["runtime", "actors", "transports"].flatMap((folder) =>
    readdirSync(`${ROOT}${folder}`, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
      .map((entry) => posix.join((entry.parentPath ?? entry.path).replaceAll("\\", "/"), entry.name))
      .map((file) => [posix.relative(ROOT.replaceAll("\\", "/"), file), readFileSync(file, "utf8")] as const),
  ),
);

test("every code that is thrown is in the registry", () => {
  let found = 0;
  for (const [file, text] of SOURCES) {
    for (const [, code = ""] of text.matchAll(/new TroupeError\(\s*"([^"]*)"/g)) {
      found++;
      assert.ok(Object.hasOwn(ERROR_CODES, code), `${file} throws "${code}", which ${REGISTRY} does not know`);
    }
  }
  assert.ok(found > 100, `only ${found} throws were found`);
});

test("no other class of error carries a code of ours", () => {
  const classes = [...SOURCES].flatMap(([file, text]) =>
    [...text.matchAll(/class (\w+) extends (?:\w*Error)\b[^{]*\{([\s\S]*?)\n\}/g)]
      .filter(([, name, body = ""]) => name !== "TroupeError" && /readonly code: (?!string|number)/.test(body))
      .map(([, name]) => `${file}: ${name}`),
  );
  assert.deepEqual(classes, []);
});

test("every code in the registry is used, and means something", () => {
  const others = [...SOURCES].filter(([file]) => file !== REGISTRY).map(([, text]) => text);
  for (const [code, meaning] of Object.entries(ERROR_CODES)) {
    assert.match(code, /^[a-z][a-z_]*$/);
    assert.ok(meaning.length > 10, `${code} has no meaning`);
    assert.ok(
      others.some((text) => text.includes(`"${code}"`)) || /CODE_OF_ABORT/.test(code),
      `nothing throws "${code}"`,
    );
  }
});
