/**
 * The ceiling between two threads: a MessagePort that carries arrays of the tuples Troupe sends, nothing else. The calls
 * in flight travel as `batches` arrays, and each array that comes back goes out again at once.
 */
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { converse } from "./actors_conversation.mjs";
import { PAYLOAD, TARGETS } from "./actors_load.mjs";

const call = (id) => [0, id, "2", 0, `echo/near${id % TARGETS}`, "1-1", "echo", [PAYLOAD], 60_000, 1, 0, [], "", 0];
const answer = (message) => [1, message[1], message[2], message[3], null, message[7][0]];

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url));
  await converse({
    flood({ seconds, inFlight, batches }) {
      let id = 0;
      let calls = 0;
      const end = performance.now() + seconds * 1000;
      const fresh = () => Array.from({ length: inFlight / batches }, () => call(++id));
      worker.removeAllListeners("message");
      return new Promise((resolve) => {
        let left = batches;
        worker.on("message", (answers) => {
          if (performance.now() < end) {
            calls += answers.length;
            worker.postMessage(answers.map(() => call(++id)));
          } else if (--left === 0) resolve({ calls, seconds });
        });
        for (let sent = 0; sent < batches; sent++) worker.postMessage(fresh());
      });
    },
  });
} else {
  parentPort.on("message", (calls) => parentPort.postMessage(calls.map(answer)));
}
