/** Configuration files for tests, in a folder of their own that goes when the tests end. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkFiles } from "../../../runtime/config/load.ts";
import { ConfigError } from "../../../runtime/config/problem.ts";

export interface Folder {
  readonly path: string;
  /** Writes a file and returns its path. */
  write(name: string, text: string): string;
  remove(): void;
}

export function makeFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), "troupe-config-"));
  return {
    path,
    write(name, text) {
      const file = join(path, name);
      writeFileSync(file, text);
      return file;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** The sentences that reading `yaml` as `a.yaml` is refused with; none if it is fine. */
export async function refusals(yaml: string, env: Record<string, string> = {}): Promise<string[]> {
  const folder = makeFolder();
  try {
    const file = folder.write("a.yaml", yaml);
    return await sentences(checkFiles([file], env), folder);
  } finally {
    folder.remove();
  }
}

/** The sentences of a rejected `loading`, with the folder's path taken out. */
export async function sentences(loading: Promise<unknown>, folder?: Folder): Promise<string[]> {
  try {
    await loading;
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const text = folder === undefined ? error.message : error.message.replaceAll(`${folder.path}/`, "");
    return text.split("\n");
  }
}
