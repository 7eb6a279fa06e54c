// First module of a worker that runs from TypeScript source on Node.js: a worker thread does not inherit the loader
// that its parent was started with, so it is registered here, before the real entry is imported.
import { workerData } from "node:worker_threads";
import { register } from "tsx/esm/api";

register();
await import(workerData.entry);
