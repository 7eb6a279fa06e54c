/** What upstreams offer, remembered per worker, so that opening a session asks no other thread in the common case. */
import type { ActivationContext, WorkerServices } from "../../runtime/actor/define.ts";
import type { Catalogue } from "../../transports/upstream/contract.ts";
import { Remembered } from "./catalogue.ts";
import { ServerActor, serverKey } from "./server.ts";

const WORKER_TTL_MS = 60_000;
/** Bounded by the number of upstreams that sessions name, which are configured ones. */
const known = new WeakMap<WorkerServices, Map<string, Remembered<Catalogue>>>();

/**
 * What upstream `name` offers on this node. Rejects with `TroupeError`: `unavailable` when it cannot be started,
 * `not_found` when it is not configured.
 */
export function describeUpstream(ctx: ActivationContext<unknown>, name: string): Promise<Catalogue> {
  const { worker } = ctx;
  let ofWorker = known.get(worker);
  if (ofWorker === undefined) {
    ofWorker = new Map();
    known.set(worker, ofWorker);
  }
  let remembered = ofWorker.get(name);
  if (remembered === undefined) {
    // Failures are remembered by the server actor, for all workers.
    remembered = new Remembered(worker.clock, WORKER_TTL_MS, 0);
    ofWorker.set(name, remembered);
  }
  return remembered.get(() => ctx.actor(ServerActor, serverKey(name, worker.nodeId)).describe());
}
