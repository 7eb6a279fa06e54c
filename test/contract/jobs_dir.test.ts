/** Jobs of a single node with a folder, when the process is killed while it writes. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { KeyValue } from "../../runtime/coordinator/contract.ts";
import { openCoordinator } from "../../runtime/coordinator/open.ts";
import { openJobQueue } from "../../runtime/jobs/open.ts";
import { defineJob } from "../../runtime/jobs/rules.ts";
import { startNode } from "../../runtime/node.ts";
import { silentLogger } from "../../runtime/observe/log.ts";
import { waitUntil, within } from "../harness/wait.ts";

const PROCESS = fileURLToPath(new URL("jobs_dir_process.ts", import.meta.url));

test("after kill -9 every acknowledged job is there, and the attempt that ran is counted", async () => {
  const dir = mkdtempSync(join(tmpdir(), "troupe-jobs-"));
  const runtime = process.versions.deno === undefined ? ["--import", "tsx"] : ["run", "-A"];
  const child = spawn(process.execPath, [...runtime, PROCESS, dir], { stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk: Uint8Array) => {
    said += new TextDecoder().decode(chunk);
  });
  try {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await waitUntil(() => said.includes("running") && said.split("added").length > 200, 15_000, "jobs to be added");
    if (child.pid !== undefined) process.kill(child.pid, "SIGKILL");
    await within(ended, 5_000, "the killed process to end");
    const acknowledged = [...said.matchAll(/added (\S+)\n/g)].map(([, id = ""]) => id);
    const running = /running (\S+)\n/.exec(said)?.[1] ?? "";

    const coordinator = await openCoordinator({ kind: "single_node", dir });
    const queue = await openJobQueue({ kind: "single_node", dir }, { keyValue: coordinator.keyValue });
    assert(acknowledged.length >= 192);
    for (const id of acknowledged) assert.equal((await queue.get(id))?.state, "waiting", id);
    assert.equal((await queue.get(running))?.attempt, 1);
    await queue.close();
    await coordinator.close();
  } finally {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  }
});

test("a node's jobs are kept in its folder, and end with the node", async () => {
  const dir = mkdtempSync(join(tmpdir(), "troupe-jobs-"));
  const start = () =>
    startNode(
      { workers: 0, gateway: { server: { bind_address: "127.0.0.1:0" } }, cluster: { kind: "single_node", dir } },
      { log: silentLogger },
    );
  const job = defineJob<string, string>("greet");
  try {
    const first = await start();
    const { id } = await (await first.jobs()).add(job, "hello");
    await first.close();
    await assert.rejects(first.jobs(), /the job queue is closed/);
    const second = await start();
    const jobs = await second.jobs();
    jobs.process(job, ({ data }) => `${data}!`);
    await waitUntil(async () => (await jobs.get(id))?.result === "hello!", 10_000, "the job to run");
    await second.drain();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("what cannot be kept is said to be unknown, and kept as soon as it can be", async () => {
  const coordinator = await openCoordinator({ kind: "single_node" });
  const { keyValue } = coordinator;
  let full = true;
  const put: KeyValue["put"] = (...args) =>
    full ? Promise.reject(new TroupeError("store_unavailable", "disk full")) : keyValue.put(...args);
  const failing: KeyValue = {
    put,
    get: (key) => keyValue.get(key),
    putIfAbsent: (...args) => keyValue.putIfAbsent(...args),
    compareAndSet: (...args) => keyValue.compareAndSet(...args),
    delete: (...args) => keyValue.delete(...args),
    list: (...args) => keyValue.list(...args),
  };
  const queue = await openJobQueue({ kind: "single_node" }, { keyValue: failing });
  const job = defineJob<number, void>("full");
  await assert.rejects(queue.add(job, 1, { key: "k" }), /disk full/);
  assert.deepEqual(await keyValue.list("jobs/"), []);
  full = false;
  await waitUntil(async () => (await keyValue.list("jobs/")).length === 1, 10_000, "the job to be kept");
  assert.equal((await queue.add(job, 1, { key: "k" })).added, false);
  await queue.cancel("full/k");
  assert.deepEqual(await keyValue.list("jobs/"), []);
  await queue.close();
});

test("a handler begins only when its attempt is kept", async () => {
  const coordinator = await openCoordinator({ kind: "single_node" });
  const { keyValue } = coordinator;
  const queue = await openJobQueue({ kind: "single_node" }, { keyValue });
  const job = defineJob<number, number>("counted");
  let kept: unknown;
  queue.process(job, async ({ id }) => {
    const entry = await keyValue.get(`jobs/${id}`);
    kept = entry === null ? null : (JSON.parse(new TextDecoder().decode(entry.value)) as { attempt: number }).attempt;
    return 1;
  });
  const { id } = await queue.add(job, 1, { delayMs: 20 });
  await waitUntil(async () => (await queue.get(id))?.state === "completed", 10_000, "the job to run");
  assert.equal(kept, 1);
  await queue.close();
});

test("a folder without what keeps it is refused", async () => {
  await assert.rejects(openJobQueue({ kind: "single_node", dir: "/nowhere" }), (error) => {
    assert(TroupeError.is(error, "invalid_argument"));
    assert.match(error.message, /use its jobs\(\), or hand over its coordinator's keyValue/);
    return true;
  });
});
