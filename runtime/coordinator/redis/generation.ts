/**
 * The generation: how a store that lost data is told from one that did not.
 *
 * A generation is `<ordinal>.<random>`. It is made once, when the data is first written, together with the run id of the
 * primary that held it; every slot carries a copy, and every script compares it before anything else. Incarnations and
 * epochs contain it, so none is ever handed out twice, also when counters are lost.
 *
 * A new generation is made, with an ordinal above every one known, when a node that knew the old one finds
 * - no generation: the store was emptied or replaced by an empty one;
 * - one that is not newer than its own: the store was replaced, or is behind;
 * - another run id: the server was restarted or a replica took over, so acknowledged writes may be missing;
 * - a slot without its copy although all were written once: one shard lost its data.
 * From then on every verb of that process throws `store_reset`, until it has written back what it owns (`reassert`).
 *
 * **Nobody has come back yet in a new generation.** A replica may take over with data in which a node lives that has been
 * declared dead since. So the data's word counts for little until that node joins or comes back itself (`readmit`,
 * membership.ts): who knows of its death says so when it comes back, and is believed, unless that node came back before.
 *
 * **Settling.** A generation that replaced another one starts unsettled: first claims, takeovers and declarations are
 * refused until one node lease (TTL and grace) has gone by on the monotonic clock of a node that watched it, so that
 * every living node has had time to write back what it owns. Settled is for ever (per generation), so it may be cached.
 * Every slot is told before the generation settles: from then on nobody who comes back late pushes aside what stands there,
 * because its owner may be serving on the strength of it.
 * A generation made by a starting node in an empty store is settled at once, unless somebody listens for changes there:
 * then the store was emptied under a living cluster.
 *
 * Not covered: a store that silently lost writes while keeping its run id, or one whose run id a proxy hides.
 */
import { randomBytes } from "node:crypto";
import type { Clock } from "../../actor/clock.ts";
import { TroupeError } from "../../actor/errors.ts";
import type { Generation } from "../../actor/ids.ts";
import type { RedisConnection } from "./connection.ts";
import { type Keys, LAYOUT } from "./keys.ts";
import { defineScript, fields, RESET, type Script, text } from "./script.ts";

/** Rounds of making, copying and confirming a generation against others that do the same. */
const MAX_ROUNDS = 8;
const SETTLE_RETRY_MS = 500;

export const establishScript = defineScript({
  name: "establish",
  keys: ["meta", "joins"],
  args: ["known", "replace", "random", "run", "layout", "changes"],
  guarded: false,
  lua: `
local function ordinal(g) return tonumber(string.match(g, '^%d+')) or 0 end
local stored = redis.call('GET', generation)
local last, ready, settled = unpack(redis.call('HMGET', meta, 'run', 'ready', 'settled'))
if stored then
  local stored_layout = redis.call('HGET', meta, 'layout')
  if stored_layout ~= layout then return {'layout', stored_layout or ''} end
  -- Rule: a generation stands on the primary it was made on, while it is the caller's own or newer than that.
  local newer = known == '' or stored == known or ordinal(stored) > ordinal(known)
  if last == run and newer and stored ~= replace then return {'stands', stored, ready, settled} end
end
-- Rule: a generation that replaces one (also one we only heard of through a listening node) has to settle.
local fresh = not stored and known == ''
settled = '0'
if fresh and redis.call('PUBSUB', 'NUMSUB', changes)[2] == 0 then settled = '1' end
local top = math.max(stored and ordinal(stored) or 0, ordinal(known))
local made = string.format('%.0f.%s', top + 1, random)
redis.call('SET', generation, made)
redis.call('HSET', meta, 'layout', layout, 'run', run, 'ready', '0', 'settled', settled)
-- Rule: nobody has come back yet. What the data says of the living may be from before a declared death (readmit).
redis.call('DEL', joins)
redis.call('HINCRBY', meta, 'view', 1)
redis.call('PUBLISH', changes, 'generation')
return {'stands', made, '0', settled}`,
});

/** Writes a slot's copy of the generation, and that it has settled. */
export const copyScript = defineScript({
  name: "copy generation",
  keys: ["settled_here"],
  args: ["ready", "settled"],
  guarded: false,
  lua: `
local function ordinal(g) return tonumber(string.match(g, '^%d+')) or 0 end
local stored = redis.call('GET', generation)
if stored == expected then
  if settled == '1' then redis.call('SET', settled_here, expected) end
  return {'same'}
end
-- Rule: once all copies were written, a missing one means that this slot lost its data.
if not stored and ready == '1' then return {'lost'} end
if stored and ordinal(stored) > ordinal(expected) then return {'newer'} end
redis.call('SET', generation, expected)
if settled == '1' then redis.call('SET', settled_here, expected) end
return {'written'}`,
});

/** All copies are written, and the generation is still the one they carry. */
export const confirmScript = defineScript({
  name: "confirm generation",
  keys: ["meta"],
  args: [],
  lua: `
redis.call('HSET', meta, 'ready', '1')
return {'confirmed', redis.call('HGET', meta, 'settled')}`,
});

/** `close` = 1: a node lease has gone by. Answers whether the generation is settled. */
export const settleScript = defineScript({
  name: "settle",
  keys: ["meta"],
  args: ["close"],
  lua: `
if close == '1' then redis.call('HSET', meta, 'settled', '1') end
return {'settled', redis.call('HGET', meta, 'settled')}`,
});

export interface GenerationOptions {
  keys: Keys;
  clock: Clock;
  settleMs: number;
  commands(): RedisConnection;
}

export class GenerationKeeper {
  readonly #options: GenerationOptions;
  #current = "";
  /** The last generation that this process has written everything back to. */
  #stood = "";
  #run = "";
  #settled = false;
  #learnedAt = 0;
  /** Set while the store is not the one we knew, or what this process owns is not all written back. */
  #reset: Reset | null = null;
  #lastRound: Promise<void> = Promise.resolve();
  #stopTimer: () => void = () => {};

  constructor(options: GenerationOptions) {
    this.#options = options;
  }

  get current(): Generation {
    return this.#current as Generation;
  }

  get resetReason(): string | null {
    return this.#reset?.reason ?? null;
  }

  /** `"1"` where first claims are allowed as far as this process knows: scripts take it as an argument. */
  get settledFlag(): "0" | "1" {
    return this.#settled ? "1" : "0";
  }

  /** Takes note of the run id that a connection found. Before the first generation is known it is only kept. */
  seen(run: string): void {
    if (this.#current !== "" && run !== this.#run) this.#markReset("the Redis server was restarted or replaced");
    this.#run = run;
  }

  close(): void {
    this.#stopTimer();
  }

  /** Makes or adopts the generation. A reset is not over with it: see `reassert`. */
  establish(): Promise<void> {
    const next = this.#lastRound.catch(() => {}).then(() => this.#establish());
    this.#lastRound = next;
    return next;
  }

  /**
   * Ends a reset in its order. Membership verbs are let through once `readmit` is done: before, a renewal would find no
   * counter and read that as a declared death. All others wait for `restore`: before, a commit would find no owner and
   * read that as fenced. If any of it fails, all verbs throw `store_reset` again, so that it is done again.
   */
  async reassert<T>(readmit: () => Promise<boolean>, restore: (outcome: Readmission) => Promise<T>): Promise<T> {
    const reset = this.#reset;
    try {
      await this.establish();
      const readmitted = await readmit();
      if (reset !== null && this.#reset === reset) reset.readmitted = true;
      const missed = ordinalOf(this.#current) > ordinalOf(this.#stood) + 1;
      const result = await restore({ readmitted, missed });
      if (this.#reset === reset) {
        this.#reset = null;
        this.#stood = this.#current;
      }
      return result;
    } catch (error) {
      this.#markReset(this.#reset?.reason ?? reset?.reason ?? "what this node owns could not be written back");
      throw error;
    }
  }

  /**
   * Runs a guarded script with the current generation. Throws `store_reset` when the store carries another, and during
   * a reset unless the script is one that `during` lets through.
   */
  async run(
    connection: RedisConnection,
    script: Script,
    keys: readonly string[],
    args: readonly (string | Uint8Array)[],
    during: "never" | "readmitted" | "reasserting" = "never",
  ): Promise<readonly unknown[]> {
    const reset = this.#reset;
    if (reset !== null && during !== "reasserting" && !(during === "readmitted" && reset.readmitted)) {
      throw storeReset(script.name, reset.reason);
    }
    const expected = this.#current;
    const answer = fields(await connection.run(script, keys, [expected, ...args]));
    if (text(answer[0]) !== RESET) return answer;
    if (expected !== this.#current) {
      throw new TroupeError("store_unavailable", `${script.name}: the store's generation changed, try again`, {
        started: "no",
      });
    }
    this.#markReset("the store was emptied or replaced");
    throw storeReset(script.name, "the store was emptied or replaced");
  }

  /** Asks the store whether its generation has settled meanwhile. */
  async refreshSettled(): Promise<boolean> {
    if (!this.#settled) await this.#settle("0");
    return this.#settled;
  }

  /** The error for a verb that an unsettled generation refuses. */
  settlingError(what: string): TroupeError {
    const left = Math.max(50, Math.ceil(this.#learnedAt + this.#options.settleMs - this.#options.clock.now()));
    return new TroupeError(
      "unavailable",
      `${what} is refused: the store was reset and its nodes are writing back what they own`,
      { started: "no", retryAfterMs: left },
    );
  }

  async #establish(): Promise<void> {
    const { keys, clock, settleMs } = this.#options;
    const connection = this.#options.commands();
    let replace = "";
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const run = this.#run;
      const answer = fields(
        await connection.run(
          establishScript,
          [keys.generation, keys.meta, keys.joins],
          ["", this.#current, replace, randomBytes(5).toString("hex"), run, LAYOUT, keys.changes],
        ),
      );
      if (text(answer[0]) === "layout") throw unknownLayout(text(answer[1]));
      const candidate = text(answer[1]);
      const copies = await this.#tellSlots(candidate, text(answer[2]), text(answer[3]));
      if (copies.includes("lost")) {
        replace = candidate;
        continue;
      }
      if (copies.includes("newer")) continue;
      const confirmed = fields(await connection.run(confirmScript, [keys.generation, keys.meta], [candidate]));
      if (text(confirmed[0]) === RESET || run !== this.#run) continue;
      if (candidate !== this.#current) this.#learnedAt = clock.now();
      if (this.#current === "") this.#stood = candidate;
      this.#current = candidate;
      this.#settled = text(confirmed[1]) === "1";
      this.#stopTimer();
      if (!this.#settled) this.#closeAfter(Math.max(0, this.#learnedAt + settleMs - clock.now()));
      return;
    }
    throw new TroupeError("store_unavailable", `the store's generation still changed after ${MAX_ROUNDS} tries`, {
      started: "no",
    });
  }

  #closeAfter(ms: number): void {
    this.#stopTimer = this.#options.clock.after(ms, () => {
      this.#settle("1").catch((error: unknown) => {
        // In a store of another generation there is nothing left to settle.
        if (!TroupeError.is(error, "store_reset")) this.#closeAfter(SETTLE_RETRY_MS);
      });
    });
  }

  async #settle(close: "0" | "1"): Promise<void> {
    const { keys } = this.#options;
    const asked = this.#current;
    if (close === "1") await this.#tellSlots(asked, "0", "1");
    const answer = await this.run(
      this.#options.commands(),
      settleScript,
      [keys.generation, keys.meta],
      [close],
      "reasserting",
    );
    if (asked === this.#current && text(answer[1]) === "1") {
      this.#settled = true;
      this.#stopTimer();
    }
  }

  async #tellSlots(generation: string, ready: string, settled: string): Promise<string[]> {
    const { keys } = this.#options;
    const connection = this.#options.commands();
    const tell = async (copy: string): Promise<string> => {
      const answer = await connection.run(copyScript, [copy, keys.settledBeside(copy)], [generation, ready, settled]);
      return text(fields(answer)[0]);
    };
    // One alone first, so that a server without the script is sent its text once, not for every slot.
    const [first = "", ...others] = keys.copies;
    return [await tell(first), ...(await Promise.all(others.map(tell)))];
  }

  /** Always a new object: whoever was about to end the one before must not end this one. */
  #markReset(reason: string): void {
    this.#reset = { reason, readmitted: false };
  }
}

/** What a process that comes back after a reset finds. */
export interface Readmission {
  /** It was not declared dead. */
  readmitted: boolean;
  /** A whole generation passed that it was not part of. */
  missed: boolean;
}

interface Reset {
  reason: string;
  readmitted: boolean;
}

function ordinalOf(generation: string): number {
  return Number.parseInt(generation, 10) || 0;
}

function storeReset(what: string, reason: string): TroupeError {
  return new TroupeError("store_reset", `${what} is refused: ${reason}, and this node has not re-asserted itself yet`, {
    started: "no",
  });
}

function unknownLayout(layout: string): TroupeError {
  return new TroupeError(
    "store_unavailable",
    `the keys in Redis have layout "${layout}" and this version knows layout "${LAYOUT}": use another cluster.key_prefix`,
    { started: "no" },
  );
}
