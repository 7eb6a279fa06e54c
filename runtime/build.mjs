/**
 * `npm run build`: the published package. TypeScript writes the declarations; esbuild joins the modules into few files,
 * because opening 200 of them is a third of a start. What is addressed by a URL is an entry of its own, what entries share
 * is in chunks, so that the package root, the workers and users' extensions have the same classes. Dependencies stay
 * imports.
 *
 * A module that names a file of the package by `import.meta.url` may end up in a chunk. So all chunks lie two folders below
 * the root, as those modules do in the source, and name files from there (`../../runtime/worker/entry`).
 */
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** What is started or imported by its address. The actors are those of `worker/built_in.ts`. */
const ENTRIES = [
  "runtime/main",
  "runtime/index",
  "runtime/testing/index",
  "runtime/worker/entry",
  ...["session", "server", "lease", "presence", "delivery", "cancellation"].map((name) => `actors/${name}/${name}`),
];
/** Stay imports. All but zod, whose hundred files, most of them languages, would be read at every start. */
const { dependencies, optionalDependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url)));
const EXTERNAL = Object.keys({ ...dependencies, ...optionalDependencies }).filter((name) => name !== "zod");
/** Plain JavaScript that runs as it is. */
const COPIED = ["runtime/bin.mjs", "transports/upstream/guard_main.mjs"];

process.chdir(ROOT);
rmSync("dist", { recursive: true, force: true });
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], { stdio: "inherit" });
await build({
  entryPoints: ENTRIES.map((entry) => `${entry}.ts`),
  outdir: "dist",
  outbase: ".",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  external: EXTERNAL.flatMap((name) => [name, `${name}/*`]),
  chunkNames: "runtime/chunks/[name]-[hash]",
  sourcemap: true,
  logLevel: "warning",
});
for (const file of COPIED) cpSync(file, `dist/${file}`);
