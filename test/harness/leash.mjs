/**
 * Keeps the processes of a test from outliving it, however the test ends. Lines on standard input name processes
 * (`+pid`, `-pid`); when the input ends, because the test closed it or was killed, those still named are killed,
 * and then their process groups.
 */
const held = new Set();
let rest = "";

process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    const pid = Number(line.slice(1));
    if (line[0] === "+") held.add(pid);
    else held.delete(pid);
  }
});
process.stdin.on("end", () => {
  kill([...held]);
  if (held.size === 0) process.exit(0);
  // First the processes alone, so that what they left to clean up after them can do so; then their groups.
  setTimeout(() => {
    kill([...held].map((pid) => -pid));
    process.exit(0);
  }, 2_000);
});

function kill(targets) {
  for (const target of targets) {
    try {
      process.kill(target, "SIGKILL");
    } catch {
      // It is gone already.
    }
  }
}

// A Ctrl-C on the terminal reaches the whole group; the leash stays until its input closes.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
