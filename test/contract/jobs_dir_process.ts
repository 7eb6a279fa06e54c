/** A process that adds jobs as fast as it can, says which were acknowledged, and runs one; for a test that kills it. */
import { openCoordinator } from "../../runtime/coordinator/open.ts";
import { openJobQueue } from "../../runtime/jobs/open.ts";
import { defineJob } from "../../runtime/jobs/rules.ts";

const [dir = ""] = process.argv.slice(2);
process.stdin.on("end", () => process.exit(1)).resume();

const { keyValue } = await openCoordinator({ kind: "single_node", dir });
const queue = await openJobQueue({ kind: "single_node", dir }, { keyValue });
const job = defineJob<number, void>("crash");
queue.process(job, async ({ id }) => {
  process.stdout.write(`running ${id}\n`);
  await new Promise(() => setInterval(() => {}, 60_000));
});
for (let n = 0; ; n += 8) {
  const some = Array.from({ length: 8 }, (_, index) => queue.add(job, n + index, { key: `k${n + index}` }));
  const ids = (await Promise.all(some)).map(({ id }) => `added ${id}\n`);
  process.stdout.write(ids.join(""));
}
