/**
 * Membership in Redis: one record and one heartbeat counter per incarnation, all in one slot.
 *
 * An incarnation is alive while it has a counter. A declaration (or the node's own `leave`) removes the counter if it
 * still has the observed value, moves the record to the dead and bumps the view, in one script: that removal is the
 * linearization point. The dead stay listed, the newest ones, as many as twice the living and at least 32; an
 * incarnation that is not listed at all has been dead for longer, because none is ever used twice.
 *
 * A declaration may be lost with the store's data, and its incarnation come back to serve what somebody took over, also
 * because the data calls it alive still. So whoever comes back after a reset also says which of the dead it knows: they are
 * dead, unless they joined or came back in this generation before (that is what has an entry in `joins`).
 */
import { TroupeError } from "../../actor/errors.ts";
import type { Incarnation } from "../../actor/ids.ts";
import type { DeclareResult, Member, Membership, MembershipView, NodeRecord, RenewResult } from "../contract.ts";
import { checkOperation } from "../operation.ts";
import type { RedisConnection } from "./connection.ts";
import type { GenerationKeeper } from "./generation.ts";
import type { Keys } from "./keys.ts";
import { defineScript, type Script, text } from "./script.ts";
import type { RedisSubscriber } from "./subscriber.ts";

const CHANGED = `
local function changed()
  local view = redis.call('HINCRBY', meta, 'view', 1)
  redis.call('PUBLISH', changes, 'view')
  return string.format('%.0f', view)
end
`;

const LIST_DEAD = `
local function list_dead(incarnation, record)
  redis.call('HSET', dead, incarnation, record)
  redis.call('RPUSH', dead_order, incarnation)
  -- Bound: the dead are listed as long as takeovers need them, not for ever.
  local most = math.max(32, 2 * redis.call('HLEN', alive))
  while redis.call('LLEN', dead_order) > most do
    redis.call('HDEL', dead, redis.call('LPOP', dead_order))
  end
end
`;

const BURY = `
local function bury()
  local record = redis.call('HGET', alive, incarnation)
  redis.call('HDEL', beats, incarnation)
  redis.call('HDEL', alive, incarnation)
  redis.call('HDEL', joins, incarnation)
  list_dead(incarnation, record)
end
`;

const joinScript = defineScript({
  name: "join",
  keys: ["meta", "alive", "beats", "joins"],
  args: ["operation", "record", "changes"],
  acknowledged: true,
  lua: `${CHANGED}
-- Rule: a replay is answered with the incarnation it got the first time. Joins are rare and nodes few: a scan will do.
local all = redis.call('HGETALL', joins)
for index = 1, #all, 2 do
  if all[index + 1] == operation then return {'joined', all[index], redis.call('HGET', meta, 'view')} end
end
-- Rule: never used before. The counter may be lost with the store, but then the generation is another one.
local incarnation = expected .. '-' .. string.format('%.0f', redis.call('HINCRBY', meta, 'incarnations', 1))
redis.call('HSET', alive, incarnation, record)
redis.call('HSET', beats, incarnation, '0')
redis.call('HSET', joins, incarnation, operation)
return {'joined', incarnation, changed()}`,
});

const readmitScript = defineScript({
  name: "readmit",
  keys: ["meta", "alive", "beats", "joins", "dead", "dead_order"],
  // Then the dead that the caller knows, incarnation and record in turn.
  args: ["incarnation", "operation", "record", "beat", "changes"],
  acknowledged: true,
  lua: `${CHANGED}${LIST_DEAD}
-- Rule: what was declared dead stays dead, also where the store forgot it; who came back before holds a lease again.
for index = 7, #ARGV, 2 do
  if redis.call('HEXISTS', joins, ARGV[index]) == 0 and redis.call('HEXISTS', dead, ARGV[index]) == 0 then
    redis.call('HDEL', beats, ARGV[index])
    redis.call('HDEL', alive, ARGV[index])
    list_dead(ARGV[index], ARGV[index + 1])
    changed()
  end
end
if redis.call('HEXISTS', dead, incarnation) == 1 then return {'dead'} end
redis.call('HSET', joins, incarnation, operation)
if redis.call('HEXISTS', beats, incarnation) == 0 then
  redis.call('HSET', beats, incarnation, beat)
  redis.call('HSET', alive, incarnation, record)
  changed()
end
return {'alive'}`,
});

const renewScript = defineScript({
  name: "renew",
  keys: ["meta", "beats"],
  args: ["incarnation"],
  acknowledged: true,
  lua: `
if redis.call('HEXISTS', beats, incarnation) == 0 then return {'dead'} end
-- Rule: a full store must not cost the living their lease. Redis refuses a write that may need memory only as the first
-- one of a script, and this changes nothing.
redis.call('PERSIST', beats)
redis.call('HINCRBY', beats, incarnation, 1)
return {'renewed', redis.call('HGET', meta, 'view')}`,
});

const updateScript = defineScript({
  name: "update",
  keys: ["meta", "alive"],
  args: ["incarnation", "record", "changes"],
  lua: `${CHANGED}
if redis.call('HEXISTS', alive, incarnation) == 0 then return {'dead'} end
redis.call('HSET', alive, incarnation, record)
return {'updated', changed()}`,
});

const heartbeatsScript = defineScript({
  name: "heartbeats",
  keys: ["beats"],
  args: [],
  lua: `
local asked = {}
for index = 2, #ARGV do asked[index - 1] = ARGV[index] end
return {'beats', redis.call('HMGET', beats, unpack(asked))}`,
});

const declareScript = defineScript({
  name: "declare dead",
  keys: ["meta", "alive", "beats", "joins", "dead", "dead_order"],
  args: ["incarnation", "observed", "changes"],
  acknowledged: true,
  lua: `${CHANGED}${LIST_DEAD}${BURY}
local beat = redis.call('HGET', beats, incarnation)
-- Rule: exactly one caller declares; the counter is gone afterwards.
if not beat then return {'already-dead'} end
-- Rule: a renew that came first wins. An empty observation is the node itself, which leaves.
if observed ~= '' and beat ~= observed then return {'alive'} end
-- Rule: nobody is declared dead before the living have had time to come back.
if observed ~= '' and redis.call('HGET', meta, 'settled') ~= '1' then return {'settling'} end
bury()
changed()
return {'declared'}`,
});

const viewScript = defineScript({
  name: "view",
  keys: ["meta", "alive", "dead"],
  args: [],
  lua: `
return {'view', redis.call('HGET', meta, 'view'), redis.call('HGETALL', alive), redis.call('HGETALL', dead)}`,
});

export interface RedisMembershipOptions {
  keys: Keys;
  generation: GenerationKeeper;
  commands: RedisConnection;
  renewals: RedisConnection;
  subscriber: RedisSubscriber;
}

export class RedisMembership implements Membership {
  readonly #keys: Keys;
  readonly #generation: GenerationKeeper;
  readonly #commands: RedisConnection;
  readonly #renewals: RedisConnection;
  readonly #listeners = new Set<() => void>();
  readonly #subscriber: RedisSubscriber;
  /** What this process joined with, to come back with after a reset. One entry in practice. */
  readonly #own = new Map<Incarnation, { record: NodeRecord; operation: string }>();
  /** The dead of the last view; a view lists few. */
  #dead: readonly Member[] = [];

  constructor(options: RedisMembershipOptions) {
    this.#keys = options.keys;
    this.#generation = options.generation;
    this.#commands = options.commands;
    this.#renewals = options.renewals;
    this.#subscriber = options.subscriber;
  }

  /** Starts listening for changes; once, at open. */
  async listen(): Promise<void> {
    await this.#subscriber.listen(this.#keys.changes, { message: () => this.hint(), gap: () => this.hint() });
  }

  /** Tells listeners that the view may have changed. */
  hint(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  async join(record: NodeRecord, operation: string): Promise<{ incarnation: Incarnation; view: number }> {
    checkOperation(operation);
    const { generation, meta, alive, beats, joins, changes } = this.#keys;
    // Who owns nothing has nothing to write back: it goes on in the store as it is now.
    if (this.#generation.resetReason !== null && this.#own.size === 0) {
      await this.#generation.reassert(
        async () => true,
        async () => {},
      );
    }
    const answer = await this.#run(
      joinScript,
      [generation, meta, alive, beats, joins],
      [operation, JSON.stringify(record), changes],
    );
    const incarnation = text(answer[1]) as Incarnation;
    this.#own.set(incarnation, { record, operation });
    return { incarnation, view: Number(text(answer[2])) };
  }

  /** After a reset: the incarnation is alive again under its old number, unless it was declared dead. */
  async readmit(incarnation: Incarnation): Promise<"alive" | "dead"> {
    const own = this.#own.get(incarnation);
    if (own === undefined) {
      throw new TroupeError("invalid_argument", `incarnation ${incarnation} did not join through this coordinator`, {
        started: "no",
      });
    }
    const { generation, meta, alive, beats, joins, dead, deadOrder, changes } = this.#keys;
    const known = this.#dead.flatMap(({ incarnation, liveness: _, ...record }) => [
      incarnation,
      JSON.stringify(record),
    ]);
    // Any start will do but one that an observer may still remember.
    const beat = String(1_000_000 + Math.floor(Math.random() * 1_000_000_000));
    const answer = await this.#generation.run(
      this.#commands,
      readmitScript,
      [generation, meta, alive, beats, joins, dead, deadOrder],
      [incarnation, own.operation, JSON.stringify(own.record), beat, changes, ...known],
      "reasserting",
    );
    return text(answer[0]) === "dead" ? "dead" : "alive";
  }

  async renew(incarnation: Incarnation): Promise<RenewResult> {
    const { generation, meta, beats } = this.#keys;
    const answer = await this.#run(renewScript, [generation, meta, beats], [incarnation], this.#renewals);
    if (text(answer[0]) === "renewed") return { outcome: "renewed", view: Number(text(answer[1])) };
    this.#own.delete(incarnation);
    return { outcome: "declared-dead" };
  }

  async update(incarnation: Incarnation, record: NodeRecord): Promise<"updated" | "declared-dead"> {
    const { generation, meta, alive, changes } = this.#keys;
    const own = this.#own.get(incarnation);
    if (own !== undefined) own.record = record;
    const answer = await this.#run(
      updateScript,
      [generation, meta, alive],
      [incarnation, JSON.stringify(record), changes],
    );
    return text(answer[0]) === "updated" ? "updated" : "declared-dead";
  }

  async heartbeats(incarnations: readonly Incarnation[]): Promise<ReadonlyMap<Incarnation, number>> {
    const found = new Map<Incarnation, number>();
    if (incarnations.length === 0) return found;
    const { generation, beats } = this.#keys;
    const answer = await this.#run(heartbeatsScript, [generation, beats], incarnations);
    const values = Array.isArray(answer[1]) ? answer[1] : [];
    incarnations.forEach((incarnation, index) => {
      const beat = text(values[index]);
      if (beat !== "") found.set(incarnation, Number(beat));
    });
    return found;
  }

  async declareDead(incarnation: Incarnation, observedHeartbeat: number): Promise<DeclareResult> {
    const answer = await this.#bury(incarnation, String(observedHeartbeat));
    switch (answer) {
      case "declared":
      case "already-dead":
      case "alive":
        return answer;
      default:
        throw this.#generation.settlingError(`declaring ${incarnation} dead`);
    }
  }

  async leave(incarnation: Incarnation): Promise<void> {
    await this.#bury(incarnation, "");
    this.#own.delete(incarnation);
  }

  async view(): Promise<MembershipView> {
    const { generation, meta, alive, dead } = this.#keys;
    const current = this.#generation.current;
    const answer = await this.#run(viewScript, [generation, meta, alive, dead], []);
    this.#dead = decodeMembers(answer[3], "dead");
    const members = [...decodeMembers(answer[2], "alive"), ...this.#dead];
    return { generation: current, view: Number(text(answer[1])), members };
  }

  onChange(listener: () => void): () => void {
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Membership is open again as soon as this node is readmitted, while its records are still written back. */
  #run(
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    connection: RedisConnection = this.#commands,
  ): Promise<readonly unknown[]> {
    return this.#generation.run(connection, script, keys, args, "readmitted");
  }

  async #bury(incarnation: Incarnation, observed: string): Promise<string> {
    const { generation, meta, alive, beats, joins, dead, deadOrder, changes } = this.#keys;
    const answer = await this.#run(
      declareScript,
      [generation, meta, alive, beats, joins, dead, deadOrder],
      [incarnation, observed, changes],
    );
    return text(answer[0]);
  }
}

/** Flat field, value, field, value … of a hash. */
function decodeMembers(hash: unknown, liveness: Member["liveness"]): Member[] {
  const members: Member[] = [];
  const flat = Array.isArray(hash) ? hash : [];
  for (let index = 0; index + 1 < flat.length; index += 2) {
    const record = JSON.parse(text(flat[index + 1])) as NodeRecord;
    members.push({ ...record, incarnation: text(flat[index]) as Incarnation, liveness });
  }
  return members.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}
