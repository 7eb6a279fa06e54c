/**
 * Imports point one way: commands → node → {actors, transports, worker} → placement → coordinator → actor. The folders
 * `observe` and `config` are leaves. Read from the real tree, so a new folder must be given its place here.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PRODUCT = ["runtime", "actors", "transports"];

/** Height of a folder or file: it may import what is at its own height or below. The longest prefix counts. */
const HEIGHTS: Readonly<Record<string, number>> = {
  "runtime/bin.mjs": 6,
  "runtime/build.mjs": 6,
  "runtime/main.ts": 6,
  "runtime/commands/": 6,
  "runtime/testing/": 5,
  "runtime/jobs/": 2,
  "actors/": 4,
  "transports/": 4,
  "runtime/worker/": 4,
  "runtime/placement/": 3,
  "runtime/coordinator/": 2,
  "runtime/actor/": 1,
  "runtime/observe/": 0,
  "runtime/config/": 0,
};

/** Packages that do no I/O, so that the actor model may use them. */
const PURE_PACKAGES = ["msgpackr"];

interface Import {
  specifier: string;
  /** `import type`, which leaves nothing behind at run time. */
  typeOnly: boolean;
}

/** Static, re-exporting and literal dynamic imports of a module's text. */
function importsOf(source: string): Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const statement =
    /(?:^|[;\n])\s*(?:import|export)\s+(type\s+(?=[{*\w]))?(?:[\w*{][^"';]*?\bfrom\s*)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/g;
  return [...code.matchAll(statement)].map(([, type, specifier, dynamic]) => ({
    specifier: specifier ?? dynamic ?? "",
    typeOnly: type !== undefined,
  }));
}

/** Files that lie directly in `runtime/` put the node together. */
const NODE = "runtime/*.ts";

function heightOf(home: string): number {
  return home === NODE ? 5 : (HEIGHTS[home] ?? 0);
}

function homeOf(file: string): string | undefined {
  const listed = Object.keys(HEIGHTS)
    .filter((prefix) => file === prefix || (prefix.endsWith("/") && file.startsWith(prefix)))
    .sort((a, b) => b.length - a.length)[0];
  return listed ?? (/^runtime\/[^/]+\.ts$/.test(file) ? NODE : undefined);
}

/** What is wrong with one import of `file`, or undefined. Both paths are relative to the root, with `/`. */
function complaint(file: string, { specifier, typeOnly }: Import): string | undefined {
  const home = homeOf(file);
  if (home === undefined) return `${file}: its folder has no place in HEIGHTS`;
  if (!specifier.startsWith(".")) {
    const impure = home === "runtime/actor/" && !typeOnly && !PURE_PACKAGES.includes(specifier);
    return impure ? `${file}: the actor model is pure and imports "${specifier}"` : undefined;
  }
  const target = posix.normalize(posix.join(posix.dirname(file), specifier));
  if (target.startsWith("test/") || target.startsWith("examples/")) return `${file}: the product imports ${target}`;
  const targetHome = homeOf(target);
  if (targetHome === undefined)
    return target.startsWith("runtime/") ? `${file}: ${target} has no place in HEIGHTS` : undefined;
  const leaf = heightOf(home) === 0;
  if (leaf && targetHome !== home) return `${file}: the leaf ${home} imports ${target}`;
  if (home === "runtime/actor/" && targetHome === "runtime/observe/" && !typeOnly) {
    return `${file}: the actor model imports more than types of ${target}`;
  }
  if (home === "runtime/actor/" && targetHome === "runtime/config/")
    return `${file}: the actor model imports ${target}`;
  return heightOf(targetHome) > heightOf(home) ? `${file} imports upwards: ${target}` : undefined;
}

function productFiles(): string[] {
  return PRODUCT.flatMap((folder) =>
    readdirSync(`${ROOT}${folder}`, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
      // Node.js 20 before 20.12 has only `path`, newer releases only `parentPath`.
      .map((entry) => posix.join((entry.parentPath ?? entry.path).replaceAll("\\", "/"), entry.name)),
  ).map((file) => posix.relative(ROOT.replaceAll("\\", "/"), file));
}

test("no file of the product imports upwards", () => {
  const files = productFiles();
  assert.ok(files.length > 20, `found only ${files.length} files`);
  const complaints = files.flatMap((file) =>
    importsOf(readFileSync(`${ROOT}${file}`, "utf8")).map((found) => complaint(file, found)),
  );
  assert.deepEqual(
    complaints.filter((text) => text !== undefined),
    [],
  );
});

test("every way to write an import is seen", () => {
  const source = `
import { a } from "./a.ts";
import type { B } from './b.ts';
import {
  c,
  type D,
} from "./c.ts";
import "./e.ts";
export { f } from "./f.ts";
export * from "./g.ts";
export type { H } from "./h.ts";
const later = await import("./i.ts");
import type from "./j.ts";
// import { no } from "./comment.ts";
/* import { no } from "./block.ts"; */
export const text = "from nowhere";
`;
  assert.deepEqual(importsOf(source), [
    { specifier: "./a.ts", typeOnly: false },
    { specifier: "./b.ts", typeOnly: true },
    { specifier: "./c.ts", typeOnly: false },
    { specifier: "./e.ts", typeOnly: false },
    { specifier: "./f.ts", typeOnly: false },
    { specifier: "./g.ts", typeOnly: false },
    { specifier: "./h.ts", typeOnly: true },
    { specifier: "./i.ts", typeOnly: false },
    { specifier: "./j.ts", typeOnly: false },
  ]);
});

const forbidden: [name: string, file: string, specifier: string, typeOnly?: boolean][] = [
  ["the node importing a command", "runtime/node.ts", "./commands/start.ts"],
  ["a transport importing the node", "transports/http/server.ts", "../../runtime/node.ts"],
  ["placement importing a transport", "runtime/placement/router.ts", "../../transports/mesh/mesh.ts"],
  ["the coordinator importing placement", "runtime/coordinator/redis/index.ts", "../../placement/router.ts"],
  ["the actor model importing the coordinator", "runtime/actor/host.ts", "../coordinator/contract.ts"],
  ["the same for a type only", "runtime/actor/host.ts", "../coordinator/contract.ts", true],
  ["the actor model importing the logger itself", "runtime/actor/host.ts", "../observe/log.ts"],
  ["the actor model importing a package", "runtime/actor/host.ts", "ws"],
  ["the actor model importing Node.js", "runtime/actor/host.ts", "node:fs"],
  ["a leaf importing the other leaf", "runtime/config/load.ts", "../observe/log.ts"],
  ["the product importing a test", "actors/session/session.ts", "../../test/harness/wait.ts"],
  ["a folder without a place", "runtime/misc/thing.ts", "../actor/ids.ts"],
];
for (const [name, file, specifier, typeOnly = false] of forbidden) {
  test(`${name} is refused`, () => assert.notEqual(complaint(file, { specifier, typeOnly }), undefined));
}

const allowed: [file: string, specifier: string, typeOnly?: boolean][] = [
  ["runtime/commands/start.ts", "../node.ts"],
  ["runtime/node.ts", "../actors/session/session.ts"],
  ["actors/session/session.ts", "../../transports/upstream/client.ts"],
  ["transports/http/server.ts", "../../runtime/config/config.ts"],
  ["runtime/actor/define.ts", "../observe/log.ts", true],
];
for (const [file, specifier, typeOnly = false] of allowed) {
  test(`${file} may import ${specifier}`, () => assert.equal(complaint(file, { specifier, typeOnly }), undefined));
}
