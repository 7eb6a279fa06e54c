/** The package as it is published, built and packed: what it starts, what it leaves unread, and what extensions get. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { builtPackage } from "../harness/built_package.ts";
import { type Leash, startLeash } from "../harness/leash.ts";
import { NodeProcess, type RuntimeName } from "../harness/node_process.ts";
import { freePort } from "../harness/ports.ts";

const runtime: RuntimeName = process.versions.deno === undefined ? "node" : "deno";

/** Imports the package by its name, as users do. */
const EXTENSION = `
import { defineActor, TroupeError } from "@troupe/runtime";
export const Sum = defineActor({
  kind: "sum",
  state: { initial: (): number => 0 },
  methods: {
    add(ctx, amount: number): number {
      if (amount < 0) throw new TroupeError("invalid_argument", "an amount is not negative");
      ctx.state += amount;
      return ctx.state;
    },
  },
});
`;
const PROGRAM = `
import { startNode, TroupeError } from "@troupe/runtime";
import { createTestCluster } from "@troupe/runtime/testing";
import { Sum } from "./sum.ts";
const extension = new URL("./sum.ts", import.meta.url);
const node = await startNode({ gateway: { server: { bind_address: "127.0.0.1:0" } }, extensions: [extension] });
const sum = node.actor(Sum, "a");
await sum.add(2);
const total = await sum.add(3);
const refused = await sum.add(-1).catch((error) => error);
await node.drain();
console.log(JSON.stringify({ total, code: refused.code, same: refused instanceof TroupeError, kit: typeof createTestCluster }));
`;

/** Says the address of every module that a thread loads. */
const LOGGER = `data:text/javascript,${encodeURIComponent(
  `import { register } from "node:module";
   register("data:text/javascript," + encodeURIComponent(
     "export function load(url, context, next) { process._rawDebug('loaded ' + url); return next(url, context); }"));`,
)}`;

describe("the built package", () => {
  let bin: string;
  let folder: string;
  let leash: Leash;

  before(async () => {
    leash = startLeash();
    bin = await builtPackage();
    folder = dirname(dirname(bin));
  });
  after(() => leash.close());

  it("holds runnable JavaScript and its types, and no source", async () => {
    const files = (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)));
    for (const wanted of ["runtime/bin.mjs", "README.md", "LICENSE", "dist/runtime/index.d.ts"]) {
      assert.ok(files.includes(wanted), `${wanted} is missing`);
    }
    assert.deepEqual(
      files.filter((file) => /\.ts$/.test(file) && !file.endsWith(".d.ts")),
      [],
    );
    assert.deepEqual(
      files.filter((file) => file.includes("test/")),
      [],
    );
  });

  it("starts a node without reading what only others need", async () => {
    // On Node.js, whose loaders say what they load.
    const node = new NodeProcess(
      {
        runtime: "node",
        bin,
        flags: ["--import", LOGGER],
        args: ["start", "--port", String(await freePort())],
      },
      leash,
    );
    await node.ready();
    assert.deepEqual(await node.stop(), { code: 0, signal: null });
    const loaded = new Set(node.stderr.match(/(?<=^loaded ).*$/gm));
    const own = [...loaded].filter((url) => url.includes("/dist/"));
    assert.ok(own.length > 5, node.stderr);
    assert.ok(own.length < 60, `opens ${own.length} files of its own:\n${own.join("\n")}`);
    const dependencies = new Set([...loaded].map((url) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1]));
    dependencies.delete(undefined);
    for (const name of ["bullmq", "ioredis", "tsx", "esbuild", "yaml", "@modelcontextprotocol/client"]) {
      assert.ok(!dependencies.has(name), `a plain start loads ${name}`);
    }
  });

  it("gives extensions and the programs that call them the same classes, on every thread", async () => {
    await writeFile(join(folder, "sum.ts"), EXTENSION);
    await writeFile(join(folder, "program.ts"), PROGRAM);
    const args = runtime === "node" ? ["--import", "tsx", "program.ts"] : ["run", "-A", "--no-check", "program.ts"];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, timeout: 60_000 });
    assert.deepEqual(JSON.parse(stdout.trim().split("\n").at(-1) ?? ""), {
      total: 5,
      code: "invalid_argument",
      same: true,
      kit: "function",
    });
  });
});
