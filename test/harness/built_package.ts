/**
 * The package as a user installs it: built, packed and unpacked, so that what is measured is what is published. Its
 * dependencies are the checkout's.
 */
import { execFile } from "node:child_process";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Inside the checkout, so that imports find its `node_modules`; among what is not committed. */
const FOLDERS = fileURLToPath(new URL("./results/built/", import.meta.url));
/** One per process: another one's nodes may run from theirs. */
const FOLDER = join(FOLDERS, String(process.pid));

/** Builds and unpacks the package. Returns the path of its `runtime` program. */
export async function builtPackage(): Promise<string> {
  const run = promisify(execFile);
  await mkdir(FOLDERS, { recursive: true });
  for (const name of await readdir(FOLDERS)) {
    if (!runs(Number(name))) await rm(join(FOLDERS, name), { recursive: true, force: true });
  }
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER);
  await run("npm", ["run", "build"], { cwd: ROOT });
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", FOLDER], {
    cwd: ROOT,
  });
  const [packed] = Object.values(JSON.parse(stdout) as Record<string, { filename: string }>);
  if (packed === undefined) throw new Error(`npm pack named no file: ${stdout}`);
  await run("tar", ["-xzf", join(FOLDER, packed.filename), "-C", FOLDER]);
  return join(FOLDER, "package", "runtime", "bin.mjs");
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
