/**
 * The walk over all records, bucket by bucket: one script a part, which looks at the bucket's `owners` alone and answers
 * only what nobody living owns, so that a healthy store answers next to nothing.
 */
import type { ActorId, Epoch, Incarnation } from "../../actor/ids.ts";
import type { Orphan, Orphans } from "../contract.ts";
import type { RedisConnection } from "./connection.ts";
import { orphansScript } from "./directory_scripts.ts";
import type { GenerationKeeper } from "./generation.ts";
import { BUCKETS, type Keys } from "./keys.ts";
import { text } from "./script.ts";

/** Records looked at in one part, about. */
const COUNT = "500";

export class RedisOrphans implements Orphans {
  readonly #keys: Keys;
  readonly #generation: GenerationKeeper;
  readonly #commands: RedisConnection;

  constructor(keys: Keys, generation: GenerationKeeper, commands: RedisConnection) {
    this.#keys = keys;
    this.#generation = generation;
    this.#commands = commands;
  }

  /** The cursor is `<bucket>:<cursor of HSCAN>`. */
  async page({ alive, cursor }: { alive: readonly Incarnation[]; cursor: string }) {
    const [index = "0", within = "0"] = cursor === "" ? [] : cursor.split(":");
    const bucket = Number(index);
    const { generation: copy, owners } = this.#keys.bucket(bucket);
    const [, next, found] = await this.#generation.run(
      this.#commands,
      orphansScript,
      [copy, owners],
      [within, COUNT, ...alive],
    );
    return { orphans: readOrphans(found), cursor: cursorAfter(bucket, text(next)) };
  }
}

function cursorAfter(bucket: number, within: string): string {
  if (within !== "0") return `${bucket}:${within}`;
  return bucket + 1 < BUCKETS ? `${bucket + 1}:0` : "";
}

/** Actor, entry, actor, entry … */
function readOrphans(found: unknown): Orphan[] {
  const flat = Array.isArray(found) ? found : [];
  const orphans: Orphan[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [incarnation = "", epoch = ""] = text(flat[at + 1]).split(" ");
    const owner = incarnation === "" ? null : { incarnation: incarnation as Incarnation, epoch: epoch as Epoch };
    orphans.push({ actor: text(flat[at]) as ActorId, owner, epoch: epoch as Epoch });
  }
  return orphans;
}
