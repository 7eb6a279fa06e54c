#!/usr/bin/env node
/**
 * The `runtime` command. In a checkout it runs the TypeScript beside it (through tsx on Node.js, directly on Deno), in
 * an installed package the built JavaScript, without tsx. Plain JavaScript, because it runs before either is there.
 */
import { existsSync } from "node:fs";

const isDeno = "Deno" in globalThis;
if (!isDeno && Number(process.versions.node.split(".")[0]) < 20) {
  process.stderr.write(`runtime: needs Node.js 20 or newer, this is ${process.versions.node}\n`);
  process.exit(1);
}
const candidates = ["./main.ts", "./main.js", "../dist/runtime/main.js"].map((path) => new URL(path, import.meta.url));
const entry = candidates.find((url) => existsSync(url));
if (entry === undefined) {
  process.stderr.write("runtime: this package was not built; run `npm run build`\n");
  process.exit(1);
}
if (entry.pathname.endsWith(".ts") && !isDeno) {
  const { register } = await import("tsx/esm/api");
  register();
}
const { main } = await import(entry.href);
process.exitCode = await main(process.argv.slice(2));
