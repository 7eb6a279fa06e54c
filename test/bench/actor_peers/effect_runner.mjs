/**
 * A runner of Effect Cluster, put together as its documentation does it: `NodeClusterSocket.layer()` with its defaults
 * (runner and message storage in SQL, here PostgreSQL) and messages that are not `Persisted`, which are only sent over
 * the network. The calling runner is one of the cluster too; its callers are fibers.
 */
import { NodeClusterSocket } from "@effect/platform-node";
import { PgClient } from "@effect/sql-pg";
import { Effect, Layer, ManagedRuntime, Option, Schema } from "effect";
import { Entity, RunnerAddress } from "effect/cluster";
import { Rpc } from "effect/rpc";
import { converse } from "../actors_conversation.mjs";
import { PAYLOAD, TARGETS } from "../actors_load.mjs";

const Echo = Entity.make("Echo", [
  Rpc.make("echo", { payload: { text: Schema.String }, success: Schema.String }),
  Rpc.make("where", { success: Schema.Int }),
]);
const EchoLive = Echo.toLayer(
  Effect.succeed(
    Echo.of({
      echo: ({ payload }) => Effect.succeed(payload.text),
      where: () => Effect.succeed(process.pid),
    }),
  ),
);

let runtime;
let targets = [];
const run = (effect) => runtime.runPromise(effect);

/** Entities that the other runner holds. Shards are spread over the runners, so about every second one. */
const find = Effect.gen(function* () {
  const clientOf = yield* Echo.client;
  const found = [];
  for (let index = 0; found.length < TARGETS; index++) {
    if (index > TARGETS * 20) throw new Error("the other runner holds too few shards");
    const client = clientOf(`far${index}`);
    if ((yield* client.where()) !== process.pid) found.push(client);
  }
  return found;
});

const flood = (seconds, inFlight) =>
  Effect.gen(function* () {
    const end = performance.now() + seconds * 1000;
    let calls = 0;
    const caller = (client) =>
      Effect.gen(function* () {
        for (;;) {
          yield* client.echo({ text: PAYLOAD });
          if (performance.now() >= end) return;
          calls++;
        }
      });
    const callers = Array.from({ length: inFlight }, (_, index) => caller(targets[index % targets.length]));
    yield* Effect.all(callers, { concurrency: "unbounded", discard: true });
    return { calls, seconds };
  });

const sequence = (seconds) =>
  Effect.gen(function* () {
    const times = [];
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      const sent = performance.now();
      yield* targets[times.length % targets.length].echo({ text: PAYLOAD });
      times.push((performance.now() - sent) * 1000);
    }
    times.sort((a, b) => a - b);
    const at = (share) => times[Math.floor(times.length * share)];
    return { calls: times.length, seconds, p50: at(0.5), p99: at(0.99) };
  });

await converse({
  async start({ port, database }) {
    const runnerAddress = Option.some(RunnerAddress.RunnerAddress.make({ host: "127.0.0.1", port }));
    const cluster = NodeClusterSocket.layer({ shardingConfig: { runnerAddress } }).pipe(
      Layer.provide(PgClient.layer({ ...database, host: "127.0.0.1" })),
    );
    runtime = ManagedRuntime.make(EchoLive.pipe(Layer.provideMerge(cluster)));
    await runtime.context();
  },
  async find() {
    targets = await run(find);
  },
  flood: ({ seconds, inFlight }) => run(flood(seconds, inFlight)),
  sequence: ({ seconds }) => run(sequence(seconds)),
});
