/** Single nodes with `dir:`, each in a folder of its own that goes when the test ends. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Coordinator } from "../../runtime/coordinator/contract.ts";
import { openCoordinator } from "../../runtime/coordinator/open.ts";
import type { Durability } from "../../runtime/coordinator/single_node/file.ts";
import type { Store } from "./store.ts";

export interface StoreFolder {
  readonly dir: string;
  open(durability?: Durability): Promise<Coordinator>;
  remove(): void;
}

export function storeFolder(): StoreFolder {
  const parent = mkdtempSync(join(tmpdir(), "troupe-dir-"));
  const dir = join(parent, "data");
  return {
    dir,
    open: (durability) => openCoordinator({ kind: "single_node", dir, durability }),
    remove: () => rmSync(parent, { recursive: true, force: true }),
  };
}

/** An empty store with one coordinator on it, as only one process can have it. */
export async function durableStore(durability: Durability): Promise<Store> {
  const folder = storeFolder();
  const coordinator = await folder.open(durability);
  return {
    connect: async () => coordinator,
    async close() {
      await coordinator.close();
      folder.remove();
    },
  };
}

const WRITER = fileURLToPath(new URL("./fixtures/durable_writer.ts", import.meta.url));
const DENO = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));

/** The process that writes to `dir` until it is killed, and notes what was acknowledged. */
export function writerCommand(
  runtime: "node" | "deno",
  dir: string,
  notes: string,
): [executable: string, args: string[]] {
  if (runtime === "deno") return [DENO, ["run", "-A", "--no-check", WRITER, dir, notes]];
  const node = process.versions.deno === undefined ? process.execPath : "node";
  return [node, ["--import", "tsx", WRITER, dir, notes]];
}
