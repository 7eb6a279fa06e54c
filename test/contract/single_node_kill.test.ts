/** A single node's folder under kill -9 and on a full disk, with real processes of both runtimes. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, it } from "node:test";
import { type ActorId, actorId } from "../../runtime/actor/ids.ts";
import type { Coordinator, Owner } from "../../runtime/coordinator/contract.ts";
import { openDatabase } from "../../runtime/coordinator/single_node/database.ts";
import { randomFrom, seedOf } from "../harness/seed.ts";
import { waitUntil } from "../harness/wait.ts";
import { storeFolder, writerCommand } from "./single_node_store.ts";
import { join as joinAs, operation, textOf } from "./store.ts";

const ROUNDS = 10;

const folder = storeFolder();
const notes = join(folder.dir, "..", "notes");
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill("SIGKILL");
  folder.remove();
});

/** What was acknowledged so far. */
function acknowledged() {
  const counts = new Map<string, number>();
  const seen = {
    value: 0,
    revision: "",
    fence: 0n,
    ended: [] as string[],
    epochs: [] as string[],
    lives: [] as string[],
  };
  for (const line of readFileSync(notes, "utf8").split("\n")) {
    const [what, first = "", second = ""] = line.split(" ");
    if (what === "count") counts.set(first, Number(second));
    if (what === "value") [seen.value, seen.revision] = [Number(first), second];
    if (what === "fence") seen.fence = BigInt(first);
    if (what === "ended") seen.ended.push(first);
    if (what === "epoch") seen.epochs.push(first);
    if (what === "incarnation") seen.lives.push(first);
  }
  return { counts, ...seen };
}

async function takeOver(coordinator: Coordinator, key: string): Promise<{ version: number; text: string }> {
  const incarnation = await joinAs(coordinator, "reader");
  for (let takeover: Owner | undefined; ; ) {
    const request = { actor: actorId("counter", key), incarnation, operation: `${incarnation}.${operation()}` };
    const claimed = await coordinator.directory.claim({ ...request, requireState: true, takeover });
    if (claimed.outcome === "claimed") {
      return { version: claimed.state?.version ?? 0, text: textOf(claimed.state?.bytes) };
    }
    assert.equal(claimed.outcome, "owned");
    takeover = claimed.outcome === "owned" ? claimed.owner : undefined;
  }
}

async function holdsWhatWasAcknowledged(): Promise<void> {
  const coordinator = await folder.open();
  const told = acknowledged();
  for (const [key, acked] of told.counts) {
    const { version, text } = await takeOver(coordinator, key);
    assert.ok(version >= acked, `${key}: version ${version} is there, ${acked} was acknowledged`);
    assert.equal(text, String(version));
  }
  const value = await coordinator.keyValue.get("value");
  const stored = Number(textOf(value?.value) || "0");
  assert.ok(stored >= told.value, `the value ${stored} is there, ${told.value} was acknowledged`);
  if (told.value > 0 && stored === told.value) assert.equal(value?.revision, told.revision);
  const incarnation = await joinAs(coordinator, "reader");
  for (const actor of told.ended) {
    const request = { actor: actor as ActorId, incarnation, operation: `${incarnation}.${actor}` };
    assert.equal((await coordinator.directory.claim(request)).outcome, "ended", actor);
  }
  const grant = await coordinator.leases.tryAcquire(`lease of ${incarnation}`, "reader", 1_000);
  assert.ok(BigInt(grant?.fence ?? 0) > told.fence);
  assert.equal(new Set(told.epochs).size, told.epochs.length, "an epoch was given twice");
  assert.equal(new Set(told.lives).size, told.lives.length, "an incarnation was given twice");
  await coordinator.close();
  const database = await openDatabase(join(folder.dir, "troupe.sqlite"));
  assert.equal(database.prepare("PRAGMA integrity_check").all()[0]?.text("integrity_check"), "ok");
  database.close();
}

it(`holds everything acknowledged after each of ${ROUNDS} kills at random moments`, async () => {
  const random = randomFrom(seedOf("kill -9 during writes"));
  writeFileSync(notes, "");
  for (let round = 0; round < ROUNDS; round++) {
    // The runtimes take turns: each finds the other's file.
    const [executable, args] = writerCommand(round % 2 === 0 ? "node" : "deno", folder.dir, notes);
    const child = spawn(executable, args, { stdio: ["ignore", "ignore", "pipe"] });
    children.push(child);
    let errors = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    const ended = once(child, "exit");
    // Some die while they open the file, most while they write.
    const opening = round % 5 === 4;
    const size = statSync(notes).size;
    if (!opening) await waitUntil(() => statSync(notes).size > size || errors, 30_000, "the first write", 2);
    await new Promise((resolve) => setTimeout(resolve, random() * (opening ? 600 : 150)));
    child.kill("SIGKILL");
    assert.deepEqual((await ended)[1], "SIGKILL", errors);
    await holdsWhatWasAcknowledged();
  }
  assert.ok(acknowledged().counts.size > 0 && acknowledged().ended.length > 0);
});

it("says what is wrong when the file cannot grow, refuses verbs, and keeps what was acknowledged", async () => {
  const full = storeFolder();
  try {
    const runtime = process.versions.deno === undefined ? "node" : "deno";
    const [executable, args] = writerCommand(runtime, full.dir, notes);
    const all = [...args, "fill"].map((arg) => `'${arg}'`).join(" ");
    // A limit on the size of files stands for the disk; its signal would end the process before it could say anything.
    const script = `trap '' XFSZ; ulimit -f 8192; exec '${executable}' ${all}`;
    const out = await new Promise<string>((resolve, reject) => {
      execFile("/bin/sh", ["-c", script], (error, stdout, stderr) =>
        error ? reject(`${error}${stderr}`) : resolve(stdout),
      );
    });
    const { said, health, renewed } = JSON.parse(out);
    const sentence = /troupe\.sqlite cannot be written: .+; free its disk or make it writable/;
    assert.deepEqual(
      said.map(({ code, started }: { code: string; started: string }) => [code, started]),
      [
        ["store_unavailable", "unknown"],
        ["store_unavailable", "no"],
      ],
    );
    assert.match(said[0].message, sentence);
    assert.equal(health.ok, false);
    assert.match(health.reason, sentence);
    assert.equal(renewed, "renewed", "the node's own lease does not need the disk");
    const coordinator = await full.open();
    const written = readFileSync(notes, "utf8")
      .split("\n")
      .filter((line) => line.startsWith("filler "));
    assert.ok(written.length > 0);
    for (const line of written) {
      assert.ok((await coordinator.keyValue.get(line.replace("filler ", "filler/"))) !== null, line);
    }
    await coordinator.close();
  } finally {
    full.remove();
  }
});
