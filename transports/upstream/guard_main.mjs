/**
 * The guard: a small process that outlives its node by moments, only to end what the node had started.
 *
 * It reads one JSON command per line from standard input and writes one acknowledgement per `protect`:
 *   {"protect": pid, "ack": n}   hold process group `pid`; answered with {"ack": n}
 *   {"release": pid}             the group has ended
 *   {"deadline": ms}             from now, on this process' own monotonic clock; replaces the last one; 0 has passed
 *   {"leave": ms}                the node stops in order and closes the pipe next: groups get that long after SIGTERM
 *
 * When standard input ends without a `leave` (the node is gone, however it went), every group gets SIGKILL at once: the
 * cluster may know of the death within a hundred milliseconds, and a successor starts then. After a `leave` every group
 * gets SIGTERM first. Then the guard exits. When the deadline passes with the pipe still open (the node is frozen, or cut
 * off from its cluster), every group gets SIGKILL at once; the guard stays, for the node may come back and start others.
 *
 * It leads a session of its own, and ignores the signals that a terminal or a supervisor sends to a node.
 *
 * Plain JavaScript without dependencies: it starts quickly and runs as it is, from source and from the package.
 */
import process from "node:process";

const POLL_MS = 20;
/** After SIGKILL a group that can still be signalled is out of reach, or consists of zombies. */
const KILLED_MS = 1_000;
/** Groups that ended without a `release` (their worker died first) must not be held for ever: numbers are reused. */
const PRUNE_MS = 10_000;

/** @type {Set<number>} */
const groups = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let deadline;
let unfinished = "";
/** From SIGTERM to SIGKILL; none for a node that did not say that it leaves. */
let graceMs = 0;

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGTSTP", "SIGUSR2"]) {
  try {
    process.on(signal, () => {});
  } catch {
    // Not every runtime lets every one of them be handled.
  }
}
process.stdout.on("error", () => {});

process.stdin.setEncoding("utf8");
process.stdin.on("data", (text) => {
  const lines = (unfinished + text).split("\n");
  unfinished = lines.pop() ?? "";
  for (const line of lines) if (line !== "") obey(JSON.parse(line));
});
process.stdin.on("end", nodeIsGone);
process.stdin.on("error", nodeIsGone);
setInterval(() => {
  for (const pid of groups) if (!signalGroup(pid, 0)) groups.delete(pid);
}, PRUNE_MS);

/** @param {{ protect?: number, release?: number, deadline?: number, leave?: number, ack?: number }} command */
function obey(command) {
  if (command.protect !== undefined) {
    groups.add(command.protect);
    process.stdout.write(`${JSON.stringify({ ack: command.ack })}\n`);
  } else if (command.release !== undefined) {
    groups.delete(command.release);
  } else if (command.deadline !== undefined) {
    clearTimeout(deadline);
    // Not by a timer: the next command may set another deadline.
    if (command.deadline <= 0) lapsed();
    else deadline = setTimeout(lapsed, command.deadline);
  } else if (command.leave !== undefined) {
    graceMs = command.leave;
  }
}

function lapsed() {
  for (const pid of groups) signalGroup(pid, "SIGKILL");
}

async function nodeIsGone() {
  clearTimeout(deadline);
  const remaining = new Set(groups);
  if (graceMs > 0) for (const pid of remaining) signalGroup(pid, "SIGTERM");
  if (graceMs === 0 || !(await gone(remaining, graceMs))) {
    for (const pid of remaining) signalGroup(pid, "SIGKILL");
    await gone(remaining, KILLED_MS);
  }
  process.exit(0);
}

/**
 * Whether all groups have ended, at the latest after `ms`; those that have are taken out.
 * @param {Set<number>} remaining
 * @param {number} ms
 */
async function gone(remaining, ms) {
  const until = performance.now() + ms;
  for (;;) {
    for (const pid of remaining) if (!signalGroup(pid, 0)) remaining.delete(pid);
    if (remaining.size === 0) return true;
    if (performance.now() >= until) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * False: there is no such group.
 * @param {number} pid
 * @param {NodeJS.Signals | 0} signal
 */
function signalGroup(pid, signal) {
  try {
    return process.kill(-pid, signal);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
