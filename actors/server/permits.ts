/** Places under an upstream's `max_processes`, counted by the node's server actor for all its workers. */
import type { ActivationContext } from "../../runtime/actor/define.ts";
import type { Permits } from "../../transports/upstream/client.ts";
import { ServerActor, serverKey } from "./server.ts";

/** `ctx` must live as long as the connections, see `openUpstream`. */
export function permitsOf(ctx: ActivationContext<unknown>, name: string): Permits {
  const server = ctx.actor(ServerActor, serverKey(name, ctx.worker.nodeId));
  return {
    async acquire() {
      const place = server.permit()[Symbol.asyncIterator]();
      await place.next();
      return { release: () => void place.return?.() };
    },
    failed(detail) {
      server.report(detail).catch((error) => {
        ctx.worker.log.debug("an upstream's failure was not counted", { upstream: name, error });
      });
    },
  };
}
