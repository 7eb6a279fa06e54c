/**
 * The due index in Redis: one sorted set per directory bucket, in the bucket's slot, so that a commit writes state and
 * index in one script. Whoever's commit changed the earliest of a bucket says so on a channel; a watcher that was cut off
 * is told that it may have missed something.
 */
import type { ActorId } from "../../actor/ids.ts";
import type { DueBatch, Reminders } from "../contract.ts";
import type { RedisConnection } from "./connection.ts";
import { takeDueScript } from "./directory_scripts.ts";
import type { GenerationKeeper } from "./generation.ts";
import { BUCKETS, type Keys } from "./keys.ts";
import { text } from "./script.ts";
import type { RedisSubscriber } from "./subscriber.ts";

export interface RedisRemindersOptions {
  keys: Keys;
  generation: GenerationKeeper;
  commands: RedisConnection;
  subscriber: RedisSubscriber;
}

export class RedisReminders implements Reminders {
  readonly shards = BUCKETS;
  readonly #options: RedisRemindersOptions;
  readonly #listeners = new Set<(shard: number | null, dueMs: number | null) => void>();

  constructor(options: RedisRemindersOptions) {
    this.#options = options;
  }

  /** Starts listening for changes; once, at open. */
  async listen(): Promise<void> {
    const { keys, subscriber } = this.#options;
    await subscriber.listen(keys.dueChanges, {
      message: (payload) => {
        const [bucket = "", due = ""] = new TextDecoder().decode(payload).split(" ");
        this.#tell(Number(bucket), readDue(due));
      },
      gap: () => this.#tell(null, null),
    });
  }

  async take(request: { shard: number; nowMs: number; holdUntilMs: number; limit: number }): Promise<DueBatch> {
    const { keys, generation, commands } = this.#options;
    const { generation: copy, dues } = keys.bucket(request.shard);
    const args = [request.nowMs.toFixed(0), request.holdUntilMs.toFixed(0), String(request.limit)];
    const [, next, due] = await generation.run(commands, takeDueScript, [copy, dues], args);
    const actors = Array.isArray(due) ? due : [];
    return { due: actors.map((actor) => text(actor) as ActorId), nextMs: readDue(text(next)) };
  }

  onEarliest(listener: (shard: number | null, dueMs: number | null) => void): () => void {
    const entry: typeof listener = (shard, dueMs) => listener(shard, dueMs);
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  #tell(shard: number | null, dueMs: number | null): void {
    for (const listener of [...this.#listeners]) listener(shard, dueMs);
  }
}

function readDue(due: string): number | null {
  return due === "" ? null : Number(due);
}
