/** The journal of a single node: nothing is acknowledged before it is written, and what a disk that fails does. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { Clock } from "../../runtime/actor/clock.ts";
import type { Database, Statement } from "../../runtime/coordinator/single_node/database.ts";
import { openFile } from "../../runtime/coordinator/single_node/file.ts";
import { Journal, type Rows } from "../../runtime/coordinator/single_node/journal.ts";
import { type StoreFolder, storeFolder } from "./single_node_store.ts";

describe("the journal", () => {
  let folder: StoreFolder;
  let close: () => void;
  let journal: Journal;
  let statements: string[];
  let diskFull: string | undefined;
  let retry: () => void;
  const facts = new Map<string, string>();

  const rows: Rows = {
    table: "facts",
    columns: ["name", "value"],
    valuesOf: (name) => {
      const value = facts.get(name);
      return value === undefined ? undefined : [value];
    },
    restore: () => {},
  };
  const clock: Clock = {
    now: () => 0,
    wallNow: () => 0,
    after: (_ms, callback) => {
      retry = callback;
      return () => {};
    },
  };
  /** The database with a record of its statements, which fails where `diskFull` says so. */
  const watched = (database: Database): Database => ({
    ...database,
    prepare(sql): Statement {
      const statement = database.prepare(sql);
      const word = sql.trim().split(" ")[0] ?? "";
      return {
        all: (...values) => statement.all(...values),
        run(...values) {
          if (word === diskFull) throw new Error("database or disk is full");
          statement.run(...values);
          statements.push(word);
        },
      };
    },
  });
  /** A verb, and how it ended. */
  const put = (name: string, value: string): Promise<string> => {
    const verb = async (): Promise<string> => {
      facts.set(name, value);
      journal.mark("facts", name);
      return value;
    };
    return journal.run(verb);
  };
  const read = (name: string): Promise<string | undefined> => journal.run(async () => facts.get(name));

  beforeEach(async () => {
    folder = storeFolder();
    [statements, diskFull] = [[], undefined];
    facts.clear();
    const file = await openFile(folder.dir, "normal");
    close = file.close;
    journal = new Journal(watched(file.database), file.path, clock);
    journal.keep(rows);
  });
  afterEach(() => {
    close();
    folder.remove();
  });

  it("acknowledges a verb, and whatever read it, only after the transaction", async () => {
    const order: string[] = [];
    const writing = put("a", "1").then(() => order.push(`put after ${statements.at(-1)}`));
    const reading = read("a").then((value) => order.push(`read ${value} after ${statements.at(-1)}`));
    journal.afterwards(() => order.push(`told after ${statements.at(-1)}`));
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
    assert.deepEqual([order, statements], [[], []]);
    await Promise.all([writing, reading]);
    assert.deepEqual(order.sort(), ["put after COMMIT", "read 1 after COMMIT", "told after COMMIT"]);
  });

  it("writes all verbs of a turn in one transaction, each row once as it stands", async () => {
    await Promise.all([put("a", "1"), put("b", "1"), put("a", "2"), put("c", "1")]);
    assert.deepEqual(statements, ["BEGIN", "INSERT", "INSERT", "INSERT", "COMMIT"]);
    assert.equal(journal.transactions, 1);
    await read("a");
    assert.equal(journal.transactions, 1, "a read costs nothing");
  });

  for (const where of ["BEGIN", "INSERT", "COMMIT"]) {
    it(`fails with an unknown outcome when ${where} fails, refuses verbs meanwhile, and goes on when it can`, async () => {
      await put("before", "1");
      statements = [];
      diskFull = where;
      const unknown = {
        code: "store_unavailable",
        started: "unknown",
        message: /cannot be written: database or disk is full/,
      };
      const told: string[] = [];
      const failed = [put("a", "1"), put("b", "1"), read("before")];
      journal.afterwards(() => told.push("told"));
      for (const verb of failed) await assert.rejects(verb, unknown);
      assert.match(journal.failure ?? "", /disk is full/);

      const refused = { code: "store_unavailable", started: "no", message: /disk is full/ };
      await assert.rejects(put("c", "1"), refused);
      assert.equal(facts.has("c"), false, "a refused verb does not run");
      await assert.rejects(read("a"), refused);
      retry();
      await assert.rejects(read("a"), refused);
      assert.deepEqual(told, []);

      diskFull = undefined;
      statements = [];
      retry();
      assert.equal(journal.failure, undefined);
      assert.deepEqual(statements, ["BEGIN", "INSERT", "INSERT", "COMMIT"], "what had failed is written first");
      assert.equal(await read("a"), "1");
      assert.deepEqual(told, ["told"]);
      await put("c", "1");
    });
  }

  it("says so when the last of it cannot be written at the end", async () => {
    diskFull = "COMMIT";
    const last = put("a", "1");
    assert.throws(() => journal.close(), { code: "store_unavailable", started: "unknown" });
    await assert.rejects(last, { code: "store_unavailable", started: "unknown" });
    await assert.rejects(read("a"), { code: "store_unavailable", started: "no" });
  });
});
