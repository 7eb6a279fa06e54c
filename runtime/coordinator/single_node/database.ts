/**
 * SQLite behind one small synchronous interface, from whichever driver the runtime has: `node:sqlite` (Deno, Node.js
 * 22.5 and newer), else the optional dependency `libsql`. Files are the same for both, so a node may change its runtime.
 */
import { TroupeError } from "../../actor/errors.ts";

export type SqlValue = string | number | Uint8Array | null;

export interface Statement {
  run(...values: SqlValue[]): void;
  all(...values: SqlValue[]): Row[];
}

export interface Database {
  /** Statements without parameters and answers. */
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

/** What a failed statement means, as far as Troupe tells its user something else. */
export type SqlTrouble = "busy" | "damaged" | "other";

/** A row as it was read, with its columns' types checked. Throws where they are not what the schema says. */
export class Row {
  readonly #columns: Readonly<Record<string, unknown>>;

  constructor(columns: Readonly<Record<string, unknown>>) {
    this.#columns = columns;
  }

  text(column: string): string {
    return this.textOrNull(column) ?? this.#wrong(column);
  }

  textOrNull(column: string): string | null {
    const value = this.#columns[column];
    return value === null || typeof value === "string" ? value : this.#wrong(column);
  }

  whole(column: string): number {
    return this.wholeOrNull(column) ?? this.#wrong(column);
  }

  wholeOrNull(column: string): number | null {
    const value = this.#columns[column];
    return value === null || Number.isSafeInteger(value) ? (value as number | null) : this.#wrong(column);
  }

  /** A copy of its own: drivers differ in what they hand out. */
  bytes(column: string): Uint8Array {
    return this.bytesOrNull(column) ?? this.#wrong(column);
  }

  bytesOrNull(column: string): Uint8Array | null {
    const value = this.#columns[column];
    if (value === null) return null;
    return value instanceof ArrayBuffer || value instanceof Uint8Array ? new Uint8Array(value) : this.#wrong(column);
  }

  #wrong(column: string): never {
    throw new Error(
      `column ${column} holds ${typeof this.#columns[column]}, which this version of Troupe never writes`,
    );
  }
}

/** What both drivers share. Rows are read by column name only: `libsql` adds one of its own. */
interface DriverStatement {
  run(...values: SqlValue[]): unknown;
  all(...values: SqlValue[]): Record<string, unknown>[];
}

interface DriverDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): DriverStatement;
  close(): unknown;
}

type Driver = new (file: string) => DriverDatabase;

/** Opens `file`, made if it is not there. Rejects with `store_unavailable` when there is no driver. */
export async function openDatabase(file: string): Promise<Database> {
  const database = new (await loadDriver())(file);
  return {
    exec: (sql) => void database.exec(sql),
    prepare: (sql) => {
      const statement = database.prepare(sql);
      return {
        run: (...values) => void statement.run(...values),
        all: (...values) => statement.all(...values).map((columns) => new Row(columns)),
      };
    },
    close: () => void database.close(),
  };
}

/** By SQLite's own texts, which never change: not every call of every driver passes its result codes on. */
const TROUBLES: readonly [text: string, trouble: SqlTrouble][] = [
  ["database is locked", "busy"],
  ["file is not a database", "damaged"],
  ["database disk image is malformed", "damaged"],
];

export function troubleOf(error: unknown): SqlTrouble {
  const said = error instanceof Error ? error.message : "";
  return TROUBLES.find(([text]) => said.includes(text))?.[1] ?? "other";
}

async function loadDriver(): Promise<Driver> {
  const builtIn = await load("node:sqlite");
  if (typeof builtIn?.DatabaseSync === "function") return builtIn.DatabaseSync as Driver;
  const package_ = await load("libsql");
  if (typeof package_?.default === "function") return package_.default as Driver;
  throw new TroupeError(
    "store_unavailable",
    "cluster.dir needs SQLite, which this runtime does not have: install the package libsql, or use Node.js 22.5 or newer or Deno 2",
    { started: "no" },
  );
}

async function load(module: string): Promise<Record<string, unknown> | undefined> {
  try {
    return (await import(module)) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
