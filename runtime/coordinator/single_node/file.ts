/**
 * The file of a single node with `dir:`: where it is, who may have it, and which version its schema has.
 *
 * - *One process.* SQLite's own lock on the file, held until the process ends however it ends; `troupe.pid` beside it is
 *   only for the sentence that names the holder.
 * - *Versions.* `user_version` is the schema's. An older file is brought up to date step by step in the transaction that
 *   opens it; a newer one is refused, since an older Troupe does not know what it would destroy.
 * - *Starts.* Each opening counts one start and forces that to the disk before it returns. Whatever must never be handed
 *   out twice carries that number, so it holds also when a power failure takes the last transactions back.
 */
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TroupeError } from "../../actor/errors.ts";
import type { Generation } from "../../actor/ids.ts";
import { type Database, openDatabase, troubleOf } from "./database.ts";
import type { Life } from "./memory.ts";

/** `normal`: safe against the death of the process; `full`: also against that of the machine, at a disk flush a write. */
export type Durability = "normal" | "full";

export interface OpenFile {
  database: Database;
  path: string;
  life: Life;
  /** Gives the file free. */
  close(): void;
}

/** Marks a SQLite file as Troupe's: "TRPE". */
const APPLICATION_ID = 0x54525045;
/** Entry n brings a file of version n to version n + 1. Entries are never changed once released, only added. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
   CREATE TABLE actors (actor TEXT PRIMARY KEY, owner TEXT, epoch TEXT NOT NULL, version INTEGER NOT NULL, state BLOB,
     ended INTEGER NOT NULL, answers TEXT NOT NULL, last_commit TEXT, expires_at INTEGER);
   CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision TEXT NOT NULL, expires_at INTEGER);
   CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence TEXT NOT NULL, expires_at INTEGER NOT NULL);`,
  "CREATE TABLE dues (actor TEXT PRIMARY KEY, due INTEGER NOT NULL);",
];

/**
 * Opens the file in `dir`, made with mode 0700 if it is not there. Rejects with `store_unavailable` and a sentence that
 * says what is wrong with the folder or the file and what to do.
 */
export async function openFile(dir: string, durability: Durability): Promise<OpenFile> {
  const path = join(dir, "troupe.sqlite");
  const pidPath = join(dir, "troupe.pid");
  let database: Database | undefined;
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    // Only when it is not there: closing a file drops every lock this process has on it.
    if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
    database = await openDatabase(path);
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; BEGIN EXCLUSIVE");
    const life = prepare(database);
    database.exec("COMMIT; PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 67108864");
    database.exec(`PRAGMA synchronous = ${durability === "full" ? "FULL" : "NORMAL"}`);
    writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o600 });
    return { database, path, life, close: closer(database, pidPath) };
  } catch (error) {
    if (database !== undefined) giveFree(database);
    throw unusable(error, dir, path, pidPath);
  }
}

/** Within a transaction: brings the schema up to date and counts the start. */
function prepare(database: Database): Life {
  const version = pragma(database, "user_version");
  const tables = database.prepare("SELECT count(*) AS count FROM sqlite_master").all()[0]?.whole("count");
  if (tables !== 0 && pragma(database, "application_id") !== APPLICATION_ID) {
    throw new Error("it was not written by Troupe; give cluster.dir a folder of its own");
  }
  if (version > MIGRATIONS.length) {
    throw new Error(
      `it was written by a newer Troupe (schema ${version}, this one knows ${MIGRATIONS.length}); use that version`,
    );
  }
  for (const migration of MIGRATIONS.slice(version)) database.exec(migration);
  database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}`);
  const fact = (name: string, first: string): string =>
    database.prepare("SELECT value FROM facts WHERE name = ?").all(name)[0]?.text("value") ?? first;
  const generation = fact("generation", `1.${randomBytes(5).toString("hex")}`) as Generation;
  const start = Number(fact("starts", "0")) + 1;
  const keep = database.prepare("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)");
  keep.run("generation", generation);
  keep.run("starts", String(start));
  return { generation, start };
}

function pragma(database: Database, name: "user_version" | "application_id"): number {
  return database.prepare(`PRAGMA ${name}`).all()[0]?.whole(name) ?? 0;
}

function closer(database: Database, pidPath: string): () => void {
  return () => {
    // While the lock is still ours, so that the next owner's note stays.
    rmSync(pidPath, { force: true });
    giveFree(database);
  };
}

/**
 * Closes the database and drops the lock at once. `libsql` alone would hold it until its statements are collected; and
 * SQLite gives an exclusive lock back only outside of WAL mode. What cannot be done here ends with the process.
 */
function giveFree(database: Database): void {
  for (const sql of ["ROLLBACK", "PRAGMA journal_mode = DELETE", "PRAGMA locking_mode = NORMAL"]) {
    try {
      database.exec(sql);
    } catch {
      // There was no transaction, or the disk is full: the file is right without it.
    }
  }
  try {
    database.prepare("SELECT count(*) FROM sqlite_master").all();
  } catch {
    // Damaged or locked by somebody else: then the lock is not ours.
  }
  database.close();
}

function unusable(error: unknown, dir: string, path: string, pidPath: string): TroupeError {
  const options = { started: "no", cause: error } as const;
  if (TroupeError.is(error)) return error;
  const said = error instanceof Error ? error.message : String(error);
  switch (troubleOf(error)) {
    case "busy":
      return new TroupeError(
        "store_unavailable",
        `cluster.dir ${dir} is in use by ${holder(pidPath)}, which holds the lock on ${path}; stop that process, or give this node a folder of its own`,
        options,
      );
    case "damaged":
      return new TroupeError(
        "store_unavailable",
        `${path} is damaged or no SQLite file (${said}); put a backup in its place, or move it away to start empty`,
        options,
      );
    default:
      return new TroupeError(
        "store_unavailable",
        `cluster.dir ${dir} cannot be used: ${said}; it must be a folder that this user may write, with room on its disk`,
        options,
      );
  }
}

function holder(pidPath: string): string {
  try {
    return `process ${Number.parseInt(readFileSync(pidPath, "utf8"), 10)}`;
  } catch {
    return "another process";
  }
}
