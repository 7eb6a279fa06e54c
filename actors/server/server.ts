/**
 * The actor of an upstream on a node, key `<upstream>@<node id>`: what `describe` says the upstream offers, the places
 * under `max_processes` that all workers of the node share, the shared connection, and figures for the management API.
 *
 * It has no stored state: it ends with its node, and the next one begins empty. Places and attachments are streams, so
 * they end with their holder, however that ends. Should this actor's own worker die, its shared connection dies with it;
 * connections of sessions on other workers live on and are not counted again.
 */
import { concurrent, defineActor, type WorkerServices } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { Catalogue, UpstreamConfig } from "../../transports/upstream/contract.ts";
import type { Principal } from "../session/contract.ts";
import type { Answer, ReplicaStats, SharedEvent } from "./events.ts";
import { Replica } from "./replica.ts";

interface Slot {
  replica: Replica | undefined;
}

/** The key of upstream `name` on node `nodeId`. */
export function serverKey(name: string, nodeId: string): string {
  return `${name}@${nodeId}`;
}

export const ServerActor = defineActor({
  kind: "server",
  placement: "node",
  // More than a connection takes calls in flight, so that cancels always find a place.
  mode: concurrent(8_192),
  instance: (): Slot => ({ replica: undefined }),
  onActivate(ctx) {
    const name = nameOf(ctx.key);
    const upstreams = (ctx.worker.settings.upstreams ?? []) as readonly UpstreamConfig[];
    const config = upstreams.find((upstream) => upstream.name === name);
    // Not configured: methods say so, which is a better answer than an activation that failed.
    if (config !== undefined) ctx.instance.replica = new Replica(config, ctx.epoch, ctx.worker);
  },
  async onDeactivate(ctx, reason) {
    await ctx.instance.replica?.close(
      reason === "passivate" || reason === "failed" || reason === "moved" ? "ended" : reason,
    );
  },
  methods: {
    /** What the upstream offers. Rejects with `unavailable` when it cannot be started. */
    describe(ctx): Promise<Catalogue> {
      return replicaOf(ctx).describe();
    },

    stats(ctx): ReplicaStats {
      return replicaOf(ctx).stats();
    },

    /** A place under `max_processes`: held from the first item until the consumer leaves. */
    async *permit(ctx): AsyncGenerator<true> {
      const { signal } = ctx;
      const permit = await replicaOf(ctx).acquire();
      try {
        yield true;
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      } finally {
        permit.release();
      }
    },

    /** A session's own connection failed. */
    report(ctx, detail: string): void {
      replicaOf(ctx).failed(detail);
    },

    /** Attaches a session of `principal` to the connection it shares; `attachment` is unique for ever. */
    async *attach(ctx, attachment: string, principal: Principal): AsyncGenerator<SharedEvent> {
      yield* replicaOf(ctx).attach(attachment, principal, ctx.signal);
    },

    request(
      ctx,
      attachment: string,
      method: string,
      params: Record<string, unknown> | undefined,
      related: number,
      progress: boolean,
    ): Promise<Answer> {
      return replicaOf(ctx)
        .sharedOf(attachment)
        .request(attachment, method, params, related, { progress, signal: ctx.signal });
    },

    cancel(ctx, attachment: string, related: number, reason: string | undefined): void {
      replicaOf(ctx).sharedOf(attachment).cancel(attachment, related, reason);
    },

    notify(ctx, attachment: string, method: string, params: Record<string, unknown> | undefined): void {
      replicaOf(ctx).sharedOf(attachment).notify(attachment, method, params);
    },

    /** A session's answer to event `request` with that id. */
    respond(ctx, attachment: string, id: number, answer: Answer): void {
      replicaOf(ctx).sharedOf(attachment).respond(attachment, id, answer);
    },
  },
});

type ServerContext = { instance: Slot; key: string; worker: WorkerServices };

function nameOf(key: string): string {
  return key.slice(0, key.lastIndexOf("@"));
}

function replicaOf(ctx: ServerContext): Replica {
  const { replica } = ctx.instance;
  if (replica !== undefined) return replica;
  const message = `upstream "${nameOf(ctx.key)}" is not configured on node ${ctx.worker.nodeId}`;
  throw new TroupeError("not_found", message, { started: "no" });
}
