import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { afterEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../../runtime/actor/clock.ts";
import { silentLogger } from "../../../runtime/observe/log.ts";
import { GuardProcess } from "../../../transports/upstream/guard.ts";
import { signalGroup } from "../../../transports/upstream/process_group.ts";
import { isAlive, isDeno, until } from "./kit.ts";

type Parent = ChildProcessByStdio<null, Readable, null>;
const parents: Parent[] = [];
const leftovers: number[] = [];
afterEach(() => {
  for (const parent of parents.splice(0)) parent.kill("SIGKILL");
  for (const pid of leftovers.splice(0)) {
    signalGroup(pid, "SIGKILL");
    if (isAlive(pid)) process.kill(pid, "SIGKILL");
  }
});

interface Pids {
  guard: number;
  child: number;
  grandchild: number;
}

/** Starts the miniature node; `next` gives what it prints. */
function startParent(...args: string[]): { parent: Parent; next: () => Promise<Pids> } {
  const file = fileURLToPath(new URL("./fixtures/guard_parent.ts", import.meta.url));
  const runtimeArgs = isDeno ? ["run", "-A", "--no-check"] : ["--import", "tsx"];
  const parent = spawn(process.execPath, [...runtimeArgs, file, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  parents.push(parent);
  const lines = createInterface({ input: parent.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<Pids> => {
    const { value } = await lines.next();
    const pids = JSON.parse(value) as Pids;
    leftovers.push(...Object.values(pids));
    return pids;
  };
  return { parent, next };
}

describe("the process guard", () => {
  it("leaves no child and no grandchild of a node that was killed, and ends itself", async () => {
    const { parent, next } = startParent("serve");
    const { guard, child, grandchild } = await next();
    parent.kill("SIGKILL");
    await until("child and grandchild have ended", () => !isAlive(child) && !isAlive(grandchild), 2_000);
    await until("the guard has ended", () => !isAlive(guard), 3_000);
  });

  it("kills the processes of a frozen node when its fed deadline lapses", async () => {
    const { parent, next } = startParent("serve", "700");
    const { guard, child, grandchild } = await next();
    assert.ok(isAlive(child) && isAlive(grandchild));
    parent.kill("SIGSTOP");
    await until("child and grandchild have ended", () => !isAlive(child) && !isAlive(grandchild), 2_000);
    assert.ok(isAlive(guard), "it stays, for the node may come back");
    parent.kill("SIGCONT");
  });

  it("that is killed itself is replaced, and the next one protects what the first one did", async () => {
    const { parent, next } = startParent("kill the guard");
    const first = await next();
    const second = await next();
    assert.notEqual(first.guard, second.guard);
    parent.kill("SIGKILL");
    const { child, grandchild } = first;
    await until("child and grandchild have ended", () => !isAlive(child) && !isAlive(grandchild), 2_000);
  });

  it("is not ended by the signals a terminal or a supervisor sends", async () => {
    const guard = new GuardProcess({ clock: systemClock(), log: silentLogger, graceMs: 200 });
    const pid = spawn("/bin/sh", ["-c", "sleep 600"], { detached: true, stdio: "ignore" }).pid ?? 0;
    leftovers.push(pid);
    await guard.protect(pid);
    const first = guard.pid ?? 0;
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.kill(first, signal);
    // Its answer to this comes after the signals.
    await guard.protect(pid);
    assert.equal(guard.pid, first);
    assert.ok(isAlive(first) && isAlive(pid));
    await guard.close();
  });

  it("need not know of a process whose node died before registering it: the gate lets nothing through", async () => {
    const { parent, next } = startParent("unregistered");
    const { child } = await next();
    assert.ok(isAlive(child), "the gate waits");
    parent.kill("SIGKILL");
    await until("the gate has ended", () => !isAlive(child), 2_000);
  });

  it("ends what a dead worker left behind, and nothing of the other workers", async () => {
    const guard = new GuardProcess({ clock: systemClock(), log: silentLogger, graceMs: 200 });
    const sleeper = () => spawn("/bin/sh", ["-c", "sleep 600"], { detached: true, stdio: "ignore" }).pid ?? 0;
    const [one, other] = [sleeper(), sleeper()];
    leftovers.push(one, other);
    const scopes = [guard.scope(), guard.scope()] as const;
    await Promise.all([scopes[0].protect(one), scopes[1].protect(other)]);
    scopes[0].end();
    await until("the dead worker's process has ended", () => !isAlive(one));
    assert.ok(isAlive(other));
    await guard.close();
    await until("closing the guard ends the rest", () => !isAlive(other));
  });

  it("kills at once when fed nothing", async () => {
    const guard = new GuardProcess({ clock: systemClock(), log: silentLogger });
    const pid = spawn("/bin/sh", ["-c", "trap '' TERM; sleep 600"], { detached: true, stdio: "ignore" }).pid ?? 0;
    leftovers.push(pid);
    await guard.protect(pid);
    guard.feed(0);
    await until("it has ended", () => !isAlive(pid), 1_000);
    await guard.close();
  });
});
