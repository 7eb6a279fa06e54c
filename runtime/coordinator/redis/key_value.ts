/**
 * Key-value entries and their watch, all in one slot: every change is one script that also publishes it, so changes
 * reach watchers in the order they were made.
 *
 * Values lie in one hash, keys in a sorted set that lists them in byte order, expiries in another. An expired entry is
 * absent for every verb; it is removed, and its removal published, when it is touched or when something is written.
 * One channel carries all changes with their values: this store is for small shared facts, not for bulk data.
 */
import { TroupeError } from "../../actor/errors.ts";
import type { KeyValue, KeyValueEntry, Watch, WatchEvent } from "../contract.ts";
import { checkEntry, checkKey, DEFAULT_LIST_LIMIT } from "../entry.ts";
import type { RedisConnection } from "./connection.ts";
import type { GenerationKeeper } from "./generation.ts";
import type { Keys } from "./keys.ts";
import { bytes, defineScript, text } from "./script.ts";
import type { RedisSubscriber } from "./subscriber.ts";

const ENTRIES = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function publish(kind, key, value)
  redis.call('PUBLISH', changes, kind .. #key .. ':' .. key .. value)
end
local function remove(key)
  redis.call('HDEL', values, key)
  redis.call('ZREM', index, key)
  redis.call('ZREM', expiries, key)
  publish('d', key, '')
end
-- Revision and value of a living entry; nil where there is none.
local function read(key)
  local stored = redis.call('HGET', values, key)
  if not stored then return nil end
  local expiry = redis.call('ZSCORE', expiries, key)
  if expiry and tonumber(expiry) <= now then
    remove(key)
    return nil
  end
  local cut = string.find(stored, '\\n', 1, true)
  return string.sub(stored, 1, cut - 1), string.sub(stored, cut + 1)
end
`;

const KEYS = ["values", "index", "expiries", "revisions"] as const;

const readScript = defineScript({
  name: "get",
  keys: KEYS,
  args: ["changes", "key"],
  lua: `${ENTRIES}
local revision, value = read(key)
if not revision then return {'absent'} end
return {'entry', revision, value}`,
});

const writeScript = defineScript({
  name: "put",
  keys: KEYS,
  args: ["changes", "key", "value", "mode", "revision", "ttl"],
  acknowledged: true,
  lua: `${ENTRIES}
-- Bound: a few expired entries go with each write.
for _, old in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, 16)) do remove(old) end
local current = read(key)
if mode == 'absent' and current then return {'refused'} end
if mode == 'swap' and current ~= revision then return {'refused'} end
local made = expected .. '-' .. string.format('%.0f', redis.call('INCR', revisions))
redis.call('HSET', values, key, made .. '\\n' .. value)
redis.call('ZADD', index, 0, key)
if ttl ~= '' then
  redis.call('ZADD', expiries, string.format('%.0f', now + tonumber(ttl)), key)
elseif mode ~= 'swap' then
  -- A swap keeps the entry's expiry.
  redis.call('ZREM', expiries, key)
end
publish('p', key, value)
return {'written', made}`,
});

const deleteScript = defineScript({
  name: "delete",
  keys: KEYS,
  args: ["changes", "key", "revision"],
  acknowledged: true,
  lua: `${ENTRIES}
local current = read(key)
if not current or (revision ~= '' and current ~= revision) then return {'refused'} end
remove(key)
return {'deleted'}`,
});

const listScript = defineScript({
  name: "list",
  keys: KEYS,
  args: ["changes", "prefix", "limit"],
  lua: `${ENTRIES}
limit = tonumber(limit)
local found = {'entries'}
local from = prefix == '' and '-' or '[' .. prefix
-- Bytes of UTF-8 stay below 0xff.
local to = prefix == '' and '+' or '(' .. prefix .. '\\255'
local count = 0
-- Expired entries are passed over, so one page may not be enough.
while count < limit do
  local page = redis.call('ZRANGEBYLEX', index, from, to, 'LIMIT', 0, limit - count)
  if #page == 0 then break end
  for _, key in ipairs(page) do
    local revision, value = read(key)
    if revision then
      count = count + 1
      table.insert(found, key)
      table.insert(found, revision)
      table.insert(found, value)
    end
  end
  from = '(' .. page[#page]
end
return found`,
});

export interface RedisKeyValueOptions {
  keys: Keys;
  generation: GenerationKeeper;
  commands: RedisConnection;
  subscriber: RedisSubscriber;
}

export class RedisKeyValue implements KeyValue, Watch {
  readonly #options: RedisKeyValueOptions;
  readonly #keys: readonly string[];

  constructor(options: RedisKeyValueOptions) {
    this.#options = options;
    const { generation, values, index, expiries, revisions } = options.keys.keyValue;
    this.#keys = [generation, values, index, expiries, revisions];
  }

  async get(key: string): Promise<KeyValueEntry | null> {
    checkKey(key);
    const answer = await this.#run(readScript, [key]);
    if (text(answer[0]) !== "entry") return null;
    return { key, revision: text(answer[1]), value: bytes(answer[2]) };
  }

  async put(key: string, value: Uint8Array, options: { ttlMs?: number } = {}): Promise<{ revision: string }> {
    const written = await this.#write(key, value, "any", "", options.ttlMs);
    if (written === null) throw new TroupeError("store_unavailable", `put of ${key} was refused`, { started: "no" });
    return written;
  }

  async putIfAbsent(
    key: string,
    value: Uint8Array,
    options: { ttlMs?: number } = {},
  ): Promise<{ revision: string } | null> {
    return await this.#write(key, value, "absent", "", options.ttlMs);
  }

  async compareAndSet(key: string, revision: string, value: Uint8Array): Promise<{ revision: string } | null> {
    return await this.#write(key, value, "swap", revision, undefined);
  }

  async delete(key: string, revision?: string): Promise<boolean> {
    checkKey(key);
    return text((await this.#run(deleteScript, [key, revision ?? ""]))[0]) === "deleted";
  }

  async list(prefix: string, limit: number = DEFAULT_LIST_LIMIT): Promise<KeyValueEntry[]> {
    const answer = await this.#run(listScript, [prefix, String(Math.max(0, Math.floor(limit)))]);
    const entries: KeyValueEntry[] = [];
    for (let at = 1; at + 2 < answer.length; at += 3) {
      entries.push({ key: text(answer[at]), revision: text(answer[at + 1]), value: bytes(answer[at + 2]) });
    }
    return entries;
  }

  async watch(prefix: string, listener: (event: WatchEvent) => void): Promise<() => Promise<void>> {
    return await this.#options.subscriber.listen(this.#options.keys.keyValue.changes, {
      message(payload) {
        const event = decodeChange(payload);
        if (event.key.startsWith(prefix)) listener(event);
      },
      gap: () => listener({ type: "gap" }),
    });
  }

  async #write(
    key: string,
    value: Uint8Array,
    mode: "any" | "absent" | "swap",
    revision: string,
    ttlMs: number | undefined,
  ): Promise<{ revision: string } | null> {
    checkEntry(key, value);
    const ttl = ttlMs === undefined ? "" : String(Math.max(1, Math.ceil(ttlMs)));
    const answer = await this.#run(writeScript, [key, value, mode, revision, ttl]);
    return text(answer[0]) === "written" ? { revision: text(answer[1]) } : null;
  }

  #run(script: typeof readScript, args: readonly (string | Uint8Array)[]): Promise<readonly unknown[]> {
    const { generation, commands, keys } = this.#options;
    return generation.run(commands, script, this.#keys, [keys.keyValue.changes, ...args]);
  }
}

/** `p` or `d`, the key's length in bytes, a colon, the key, the value. */
function decodeChange(
  payload: Uint8Array,
): { type: "put"; key: string; value: Uint8Array } | { type: "delete"; key: string } {
  const colon = payload.indexOf(0x3a);
  const decoder = new TextDecoder();
  const length = Number(decoder.decode(payload.subarray(1, colon)));
  const end = colon + 1 + length;
  const key = decoder.decode(payload.subarray(colon + 1, end));
  return payload[0] === 0x70 ? { type: "put", key, value: payload.slice(end) } : { type: "delete", key };
}
