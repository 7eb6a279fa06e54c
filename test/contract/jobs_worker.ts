/** A process that takes one job and never finishes it; for tests that kill it. Ends with its parent. */

import { openJobQueue } from "../../runtime/jobs/open.ts";
import { defineJob } from "../../runtime/jobs/rules.ts";

const [url = "", prefix = "", name = "", lockMs = ""] = process.argv.slice(2);
process.stdin.on("end", () => process.exit(1)).resume();

const queue = await openJobQueue({ kind: "redis", url, key_prefix: prefix }, { lockMs: Number(lockMs) });
queue.process(defineJob<unknown, void>(name), async () => {
  process.stdout.write("running\n");
  await new Promise(() => setInterval(() => {}, 60_000));
});
