/**
 * The rules of the placement directory, as scripts over one record each.
 *
 * A record is a hash: `o` owner incarnation, `e` epoch of the last owner (it outlives the owner), `v` and `s` version
 * and bytes of the state, `t` tombstone, `r` the last ownership operations with their answers, `c` the last commit with
 * its version. Ownership and commits are remembered apart, so that commits of a new owner do not push out the transfer
 * that the old one still asks about.
 *
 * Beside the records each bucket has `owners`, who owns which of them, for a walk that finds what nobody living owns. Every
 * script that changes an owner changes it too.
 */
import { defineScript } from "./script.ts";

/** Ownership operations a record remembers for replays. */
const REMEMBERED = 4;
/** A record without owner, state and tombstone is only good for replays; it goes after this. */
const FORGET_MS = 600_000;

const RING = `
-- The ring is lines of "operation answer", oldest first.
local function answered(ring, operation)
  local _, stop = string.find(ring or '', '\\n' .. operation .. ' ', 1, true)
  return stop and string.match(ring, '^[^\\n]*', stop + 1) or nil
end
local function remember(ring, operation, answer)
  ring = (ring or '') .. '\\n' .. operation .. ' ' .. answer
  local _, lines = string.gsub(ring, '\\n', '')
  return lines > ${REMEMBERED} and string.match(ring, '^\\n[^\\n]*(.*)$') or ring
end
local function next_epoch()
  return expected .. '-' .. string.format('%.0f', redis.call('INCR', epochs))
end
`;

/** Enters when the actor's earliest reminder is due, and tells who watches the bucket when its earliest changed. */
const INDEX_DUE = `
  local before = redis.call('ZRANGE', dues, 0, 0, 'WITHSCORES')[2] or ''
  if due == '' then redis.call('ZREM', dues, actor) else redis.call('ZADD', dues, due, actor) end
  local after = redis.call('ZRANGE', dues, 0, 0, 'WITHSCORES')[2] or ''
  if after ~= before then redis.call('PUBLISH', channel, bucket .. ' ' .. after) end
`;

export const claimScript = defineScript({
  name: "claim",
  keys: ["record", "epochs", "owners"],
  args: [
    "incarnation",
    "operation",
    "settled",
    "require_state",
    "create",
    "state",
    "from_incarnation",
    "from_epoch",
    "actor",
  ],
  acknowledged: true,
  lua: `${RING}
local ended, owner, epoch, version, ring = unpack(redis.call('HMGET', record, 't', 'o', 'e', 'v', 'r'))
-- Rule: a replay gets the first answer.
local first = answered(ring, operation)
if first then return {'claimed', first, version or '', version and redis.call('HGET', record, 's') or ''} end
if ended then return {'ended'} end
if create == '1' and version then return {'exists'} end
-- Rule: claim-or-get. An owner goes only by compare-and-set on both its incarnation and its epoch.
if owner and not (owner == from_incarnation and epoch == from_epoch) then return {'owned', owner, epoch} end
-- Rule: no new ownership, and no "there is none", before the living have written back what they own.
if settled ~= '1' then return {'settling'} end
-- Rule: a forged id creates nothing.
if require_state == '1' and not version then return {'absent'} end
local mine = next_epoch()
redis.call('HSET', record, 'o', incarnation, 'e', mine, 'r', remember(ring, operation, mine))
redis.call('HSET', owners, actor, incarnation .. ' ' .. mine)
-- Rule: what is owned does not expire.
redis.call('PERSIST', record)
if create == '1' then
  version = '1'
  redis.call('HSET', record, 'v', version, 's', state)
  return {'claimed', mine, version, state}
end
return {'claimed', mine, version or '', version and redis.call('HGET', record, 's') or ''}`,
});

export const lookupScript = defineScript({
  name: "lookup",
  keys: ["record"],
  args: [],
  lua: `
local owner, epoch, version, ended = unpack(redis.call('HMGET', record, 'o', 'e', 'v', 't'))
return {'record', owner or '', epoch or '', version or '', ended or ''}`,
});

export const transferScript = defineScript({
  name: "transfer",
  keys: ["record", "epochs", "owners"],
  args: ["incarnation", "epoch", "operation", "to", "actor"],
  acknowledged: true,
  lua: `${RING}
local owner, current, ring = unpack(redis.call('HMGET', record, 'o', 'e', 'r'))
local first = answered(ring, operation)
if first then return {'transferred', first} end
-- Rule: only the owner hands over.
if owner ~= incarnation or current ~= epoch then return {'fenced'} end
local theirs = next_epoch()
redis.call('HSET', record, 'o', to, 'e', theirs, 'r', remember(ring, operation, theirs))
redis.call('HSET', owners, actor, to .. ' ' .. theirs)
return {'transferred', theirs}`,
});

export const releaseScript = defineScript({
  name: "release",
  keys: ["record", "epochs", "owners"],
  args: ["incarnation", "epoch", "operation", "actor"],
  acknowledged: true,
  lua: `${RING}
local owner, current, version, ring = unpack(redis.call('HMGET', record, 'o', 'e', 'v', 'r'))
if answered(ring, operation) then return {'done'} end
if owner ~= incarnation or current ~= epoch then return {'fenced'} end
redis.call('HDEL', record, 'o')
redis.call('HSET', record, 'r', remember(ring, operation, 'done'))
-- Bound: without state there is nothing to keep but the answer to a replay.
if version then
  redis.call('HSET', owners, actor, ' ' .. epoch)
else
  redis.call('PEXPIRE', record, ${FORGET_MS})
  redis.call('HDEL', owners, actor)
end
return {'done'}`,
});

const COMMIT = `
local owner, current, version, last = unpack(redis.call('HMGET', record, 'o', 'e', 'v', 'c'))
-- Rule: a replay gets the first answer, not a conflict with itself.
if last then
  local by, made = string.match(last, '^(%S+) (%d+)$')
  if by == operation then return {'committed', made} end
end
-- Rule: only the stored owner writes.
if owner ~= incarnation or current ~= epoch then return {'fenced'} end
version = version or '0'
-- Rule: and only on top of what it has seen.
if version ~= held then return {'conflict', version} end
local made = string.format('%.0f', tonumber(version) + 1)
redis.call('HSET', record, 'v', made, 's', state, 'c', operation .. ' ' .. made)
`;

export const commitScript = defineScript({
  name: "commit",
  keys: ["record"],
  args: ["incarnation", "epoch", "operation", "held", "state"],
  acknowledged: true,
  lua: `${COMMIT}
return {'committed', made}`,
});

/** A script of its own, so that commits of actors without reminders pay nothing for them. `due` is empty for none. */
export const commitDueScript = defineScript({
  name: "commit with reminders",
  keys: ["record", "dues"],
  args: ["incarnation", "epoch", "operation", "held", "state", "due", "actor", "bucket", "channel"],
  acknowledged: true,
  lua: `${COMMIT}${INDEX_DUE}
return {'committed', made}`,
});

export const endScript = defineScript({
  name: "end",
  keys: ["record", "dues", "owners"],
  args: ["incarnation", "epoch", "operation", "tombstone_ms", "actor"],
  acknowledged: true,
  lua: `${RING}
local owner, current, ring = unpack(redis.call('HMGET', record, 'o', 'e', 'r'))
if answered(ring, operation) then return {'done'} end
if owner ~= incarnation or current ~= epoch then return {'fenced'} end
redis.call('HDEL', record, 'o', 'v', 's', 'c')
redis.call('HSET', record, 't', '1', 'r', remember(ring, operation, 'done'))
redis.call('PEXPIRE', record, tombstone_ms)
redis.call('ZREM', dues, actor)
redis.call('HDEL', owners, actor)
return {'done'}`,
});

/** What is due, each entry put off until `hold`, so that no second caller is given it. */
export const takeDueScript = defineScript({
  name: "take due reminders",
  keys: ["dues"],
  args: ["now", "hold", "limit"],
  lua: `
local due = redis.call('ZRANGEBYSCORE', dues, '-inf', now, 'LIMIT', 0, limit)
for index = 1, #due do redis.call('ZADD', dues, hold, due[index]) end
return {'taken', redis.call('ZRANGE', dues, 0, 0, 'WITHSCORES')[2] or '', due}`,
});

const NEWER = `
-- Whether epoch a was handed out after b: by counter within a generation, by the generation's ordinal otherwise.
local function newer(a, b)
  local ga, na = string.match(a, '^(.*)%-(%d+)$')
  local gb, nb = string.match(b, '^(.*)%-(%d+)$')
  if not na or not nb then return false end
  if ga == gb then return tonumber(na) > tonumber(nb) end
  return (tonumber(string.match(ga, '^%d+')) or 0) > (tonumber(string.match(gb, '^%d+')) or 0)
end
`;

/** After a reset: an owner writes back its record. */
export const restoreScript = defineScript({
  name: "restore",
  keys: ["record", "dues", "settled_here", "owners"],
  args: ["incarnation", "epoch", "version", "state", "due", "actor", "bucket", "channel"],
  acknowledged: true,
  lua: `${NEWER}
local ended, owner, current, stored = unpack(redis.call('HMGET', record, 't', 'o', 'e', 'v'))
-- Rule: what stands and is as new stays; an ended actor does not come back.
if ended then return {'lost'} end
-- Rule: once the generation has settled, what stands is confirmed, and not even a newer epoch pushes it aside.
if current and current ~= epoch and redis.call('GET', settled_here) == expected then return {'lost'} end
if current and not newer(epoch, current) and not (current == epoch and (owner or incarnation) == incarnation) then
  return {'lost'}
end
redis.call('HSET', record, 'o', incarnation, 'e', epoch)
redis.call('HSET', owners, actor, incarnation .. ' ' .. epoch)
redis.call('PERSIST', record)
-- Rule: state never goes back within one activation; the store may have a commit whose answer was lost.
if version ~= '' and (current ~= epoch or not stored or tonumber(version) > tonumber(stored)) then
  redis.call('HSET', record, 'v', version, 's', state)
  redis.call('HDEL', record, 'c')
end
if due ~= '' then${INDEX_DUE}end
return {'kept'}`,
});

/** After a reset: an actor that was ended shortly before, by the owner with that epoch, stays ended. */
export const entombScript = defineScript({
  name: "entomb",
  keys: ["record", "dues", "settled_here", "owners"],
  args: ["epoch", "tombstone_ms", "actor"],
  acknowledged: true,
  lua: `${NEWER}
local ended, current = unpack(redis.call('HMGET', record, 't', 'e'))
-- Rule: what stands from before the end is what the store forgot to end. Whoever made the actor anew since keeps it.
if ended or (current and newer(current, epoch)) then return {'stands'} end
if current and current ~= epoch and redis.call('GET', settled_here) == expected then return {'stands'} end
redis.call('HDEL', record, 'o', 'v', 's', 'c')
redis.call('HSET', record, 'e', epoch, 't', '1')
redis.call('PEXPIRE', record, tombstone_ms)
redis.call('ZREM', dues, actor)
redis.call('HDEL', owners, actor)
return {'done'}`,
});

/** A part of the walk over a bucket's records: those whose owner is none of the living, as actor and entry in turn. */
export const orphansScript = defineScript({
  name: "orphans",
  keys: ["owners"],
  args: ["cursor", "count"],
  lua: `
local alive = {}
for index = 4, #ARGV do alive[ARGV[index]] = true end
local page = redis.call('HSCAN', owners, cursor, 'COUNT', count)
local found = {}
for index = 1, #page[2], 2 do
  local entry = page[2][index + 1]
  if not alive[string.match(entry, '^[^ ]*')] then
    table.insert(found, page[2][index])
    table.insert(found, entry)
  end
end
return {'orphans', page[1], found}`,
});
