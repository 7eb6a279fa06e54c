/**
 * A PostgreSQL server for Effect Cluster, whose documented storage is SQL: in a folder of its own, on a free loopback
 * port, with the server's default settings. It refuses to run as root, so there it runs as the user `postgres`.
 */
import { execFileSync, spawn } from "node:child_process";
import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Leash } from "../harness/leash.ts";
import { freePort } from "../harness/ports.ts";
import { waitUntil } from "../harness/wait.ts";

export interface Postgres {
  pid: number;
  /** What a client needs beside the host. */
  database: { port: number; username: string; database: string };
  close(): Promise<void>;
}

export async function startPostgres(leash: Leash): Promise<Postgres> {
  const folder = mkdtempSync(join(tmpdir(), "troupe-postgres-"));
  const user = process.getuid?.() === 0 ? identity("postgres") : undefined;
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const data = join(folder, "data");
  try {
    execFileSync("initdb", ["-D", data, "-U", "bench", "-A", "trust", "--no-sync"], { ...user, cwd: folder });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`PostgreSQL's initdb is needed on PATH: ${(error as Error).message}`);
  }
  const port = await freePort();
  const child = spawn("postgres", ["-D", data, "-p", String(port), "-k", folder, "-h", "127.0.0.1"], {
    ...user,
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("could not start postgres");
  leash.hold(pid);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-10_000);
  });
  await waitUntil(() => said.includes("ready to accept connections"), 15_000, "PostgreSQL to accept connections", 20);
  return {
    pid,
    database: { port, username: "bench", database: "postgres" },
    async close() {
      child.kill("SIGINT");
      await exited;
      leash.release(pid);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function identity(name: string): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync("id", [flag, name], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}
