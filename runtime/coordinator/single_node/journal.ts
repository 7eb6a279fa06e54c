/**
 * Group commit: the memory's changes, written to the file before anybody is told of them.
 *
 * A verb takes effect in memory at once and marks the rows it changed. All rows marked in one turn of the event loop are
 * written in one transaction at its end, each once and as it stands then, and only then the verbs' promises settle. So
 * an acknowledged verb survives the process, a busy node pays for one transaction where it had hundreds of writes, and
 * as verbs that read settle with the same transaction, nobody acts on what a crash could still take back.
 *
 * A transaction that fails (the disk is full, the folder is gone) fails its verbs with `store_unavailable`, outcome
 * unknown. From then on every verb is refused, not started, and the same rows are tried again every `RETRY_MS` until
 * they are written: memory is never further ahead of the file than that one group, and nobody sees it meanwhile. A
 * replay with the same operation id is then answered with the first answer, which is true by now.
 *
 * Bounded by what callers have on their way: marked rows are names of records that memory holds anyhow.
 */
import { setImmediate } from "node:timers";
import type { Clock } from "../../actor/clock.ts";
import { TroupeError } from "../../actor/errors.ts";
import type { Database, Row, SqlValue, Statement } from "./database.ts";

/** One table of the file: how records become rows and come back. */
export interface Rows {
  readonly table: string;
  /** The first is the key. */
  readonly columns: readonly string[];
  /** The columns after the key, as they stand now. `undefined`: there is no such record any more. */
  valuesOf(key: string): SqlValue[] | undefined;
  /** Puts back a record that an earlier process wrote. */
  restore(key: string, row: Row): void;
}

interface Table {
  rows: Rows;
  upsert: Statement;
  remove: Statement;
  marked: Set<string>;
}

/** The verbs of one transaction wait for this. */
interface Group {
  written: Promise<void>;
  resolve(): void;
  reject(error: TroupeError): void;
}

const RETRY_MS = 500;
/** Rows read at once when the file is loaded. */
const PAGE = 500;

export class Journal {
  readonly #database: Database;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #tables = new Map<string, Table>();
  readonly #begin: Statement;
  readonly #commit: Statement;
  readonly #rollback: Statement;
  #announcements: (() => void)[] = [];
  #group: Group | undefined;
  #failure: string | undefined;
  #closed = false;
  #transactions = 0;

  constructor(database: Database, path: string, clock: Clock) {
    this.#database = database;
    this.#path = path;
    this.#clock = clock;
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#commit = database.prepare("COMMIT");
    this.#rollback = database.prepare("ROLLBACK");
  }

  /** Transactions since the start. */
  get transactions(): number {
    return this.#transactions;
  }

  /** Why nothing can be written now, as one sentence. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Puts back every record of the table, and keeps it from now on. Throws what the driver throws. */
  keep(rows: Rows): void {
    const [key] = rows.columns;
    const names = rows.columns.join(", ");
    const updates = rows.columns.slice(1).map((column) => `${column} = excluded.${column}`);
    const page = this.#database.prepare(
      `SELECT rowid AS place, ${names} FROM ${rows.table} WHERE rowid > ? ORDER BY rowid LIMIT ${PAGE}`,
    );
    for (let last = -1, read = PAGE; read === PAGE; ) {
      const found = page.all(last);
      for (const row of found) rows.restore(fromText(row.text(String(key))), row);
      read = found.length;
      last = found.at(-1)?.whole("place") ?? last;
    }
    this.#tables.set(rows.table, {
      rows,
      upsert: this.#database.prepare(
        `INSERT INTO ${rows.table} (${names}) VALUES (${rows.columns.map(() => "?").join(", ")})
         ON CONFLICT (${key}) DO UPDATE SET ${updates.join(", ")}`,
      ),
      remove: this.#database.prepare(`DELETE FROM ${rows.table} WHERE ${key} = ?`),
      marked: new Set(),
    });
  }

  /** The record of `key` is not what the file says: its row goes into the next transaction. */
  mark(table: string, key: string): void {
    this.#tables.get(table)?.marked.add(key);
    if (this.#group !== undefined || this.#failure !== undefined) return;
    this.#group = group();
    setImmediate(() => this.#flush());
  }

  /** Runs `announcement` once everything marked so far is in the file. */
  afterwards(announcement: () => void): void {
    if (this.#group === undefined && this.#failure === undefined) queueMicrotask(announcement);
    else this.#announcements.push(announcement);
  }

  /**
   * Runs a verb of the memory, which must take effect before it returns its promise, and settles when everything marked
   * until then is in the file. Rejects with what the verb rejects with, or with `store_unavailable`.
   */
  async run<T>(verb: () => Promise<T>): Promise<T> {
    if (this.#closed) throw unavailable("the coordinator is closed", "no");
    if (this.#failure !== undefined) throw unavailable(this.#failure, "no");
    const answer = verb();
    const written = this.#group?.written;
    const value = await answer;
    await written;
    return value;
  }

  /** Writes what is marked. Throws `store_unavailable` when that fails; later verbs are refused either way. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    if (this.#failure !== undefined) throw unavailable(this.#failure, "unknown");
  }

  #flush(): void {
    if (this.#closed || (this.#group === undefined && this.#failure === undefined)) return;
    const waiting = this.#group;
    this.#group = undefined;
    try {
      this.#write();
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      this.#failure = `${this.#path} cannot be written: ${said}; free its disk or make it writable, the node then goes on by itself`;
      waiting?.reject(unavailable(this.#failure, "unknown"));
      this.#clock.after(RETRY_MS, () => this.#flush());
      return;
    }
    this.#failure = undefined;
    waiting?.resolve();
    for (const announcement of this.#announcements.splice(0)) queueMicrotask(announcement);
  }

  #write(): void {
    this.#transactions += 1;
    this.#begin.run();
    try {
      for (const { rows, upsert, remove, marked } of this.#tables.values()) {
        for (const key of marked) {
          const values = rows.valuesOf(key);
          if (values === undefined) remove.run(toText(key));
          else upsert.run(toText(key), ...values);
        }
      }
      this.#commit.run();
    } catch (error) {
      try {
        this.#rollback.run();
      } catch {
        // SQLite has rolled back by itself already, as it does after some errors.
      }
      throw error;
    }
    for (const { marked } of this.#tables.values()) marked.clear();
  }
}

/** Any string as text that SQLite gives back as it was: without NUL (it ends a text) and lone surrogates. */
function toText(key: string): string {
  return JSON.stringify(key).slice(1, -1);
}

function fromText(text: string): string {
  return JSON.parse(`"${text}"`) as string;
}

function unavailable(sentence: string, started: "no" | "unknown"): TroupeError {
  return new TroupeError("store_unavailable", sentence, { started, retryAfterMs: RETRY_MS });
}

function group(): Group {
  let [resolve, reject]: [() => void, (error: TroupeError) => void] = [() => {}, () => {}];
  const written = new Promise<void>((resolved, rejected) => {
    resolve = resolved;
    reject = rejected;
  });
  // Its verbs are told; without any (an expiry met by a sweep) nobody needs to be.
  written.catch(() => {});
  return { written, resolve, reject };
}
