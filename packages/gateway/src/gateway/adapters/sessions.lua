-- Sessions, each transition atomic. ARGV: command, key prefix, time, then what the command takes.
--
-- <prefix>:session:<id>         hash, ends with PocketBase's token
-- <prefix>:sessions:<record>    sorted set of session ids by creation, over all collections; what is not in it is over,
--                               so that ending all of a record's sessions can miss none
-- <prefix>:ban:<record>         hash of collection id, or *, to the time in ms when the ban ends; 0 is never
--
-- Times are Unix milliseconds, Valkey's own unless a time is given: gateways' clocks may differ. The arithmetic of
-- families is that of gateway/core/token_family.py, and one suite tests both.

local MAX_GRACED = 8
local command, prefix, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function number(value) return string.format('%.0f', value) end
local function session_key(id) return prefix .. ':session:' .. id end
local function index_key(record) return prefix .. ':sessions:' .. record end
local function ban_key(record) return prefix .. ':ban:' .. record end

local function owner_of(id)
  local owner = redis.call('HMGET', session_key(id), 'collection_id', 'record_id')
  return owner[1], owner[2]
end

local function finish(id, reason)
  local collection, record = owner_of(id)
  if not collection then return nil end
  redis.call('DEL', session_key(id))
  redis.call('ZREM', index_key(record), id)
  local notice = {v = 1, session_id = id, collection_id = collection, record_id = record, reason = reason}
  redis.call('PUBLISH', prefix .. ':session.revoked', cjson.encode(notice))
  return {collection, record}
end

-- The ids of a record's living sessions in one collection, oldest first; those that expired leave the index.
local function sessions_of(collection, record)
  local living = {}
  for _, id in ipairs(redis.call('ZRANGE', index_key(record), 0, -1)) do
    local its = owner_of(id)
    if not its then
      redis.call('ZREM', index_key(record), id)
    elseif its == collection or collection == '*' then
      living[#living + 1] = id
    end
  end
  return living
end

local function finish_all(collection, record, keep, reason)
  local ended = {}
  for _, id in ipairs(sessions_of(collection, record)) do
    if id ~= keep and finish(id, reason) then ended[#ended + 1] = id end
  end
  return ended
end

local function is_banned(collection, record)
  for _, ends in ipairs(redis.call('HMGET', ban_key(record), '*', collection)) do
    if ends and (tonumber(ends) == 0 or now < tonumber(ends)) then return true end
  end
  return false
end

local function expire_no_earlier(key, at)
  if redis.call('PTTL', key) == -1 then
    redis.call('PEXPIREAT', key, at)
  else
    redis.call('PEXPIREAT', key, at, 'GT')
  end
end

local function read_family(id)
  local family = redis.call('HMGET', session_key(id), 'generation', 'superseded_ms', 'record_id')
  if not family[1] or not redis.call('ZSCORE', index_key(family[3]), id) then return nil end
  local times = {}
  for time in string.gmatch(family[2], '%d+') do times[#times + 1] = tonumber(time) end
  return {generation = tonumber(family[1]), times = times}
end

local function standing(family, generation, grace)
  if generation >= family.generation then return 'current' end
  local at = family.times[family.generation - generation]
  if at and now - at < grace then return 'graced' end
  return 'replayed'
end

local function succeeded(family, generation, grace)
  if generation < family.generation then return family end
  if generation > family.generation then return {generation = generation + 1, times = {now}} end
  local times = {math.max(now, family.times[1] or 0)}
  for _, time in ipairs(family.times) do
    if times[1] - time < grace then times[#times + 1] = time end
  end
  if #times > MAX_GRACED then return family end
  return {generation = generation + 1, times = times}
end

local commands = {}

-- id, collection, record, sealed, expires, device, address, most -> 1 and the ids that had to end; 0 for the banned
function commands.begin(id, collection, record, sealed, expires, device, address, most)
  if is_banned(collection, record) then return {0} end
  redis.call('ZREM', index_key(record), id)  -- were this a repetition, it would count as one more
  local older = sessions_of(collection, record)
  local ended = {1}
  for position = 1, #older + 1 - tonumber(most) do
    finish(older[position], 'too many sessions')
    ended[#ended + 1] = older[position]
  end
  redis.call('HSET', session_key(id), 'collection_id', collection, 'record_id', record, 'sealed', sealed,
    'expires_ms', expires, 'device', device, 'address', address, 'created_ms', number(now), 'used_ms', number(now),
    'generation', '1', 'superseded_ms', '')
  redis.call('PEXPIREAT', session_key(id), expires)
  redis.call('ZADD', index_key(record), now, id)
  expire_no_earlier(index_key(record), expires)
  return ended
end

-- id, generation, grace -> standing, sealed, newest generation
function commands.present(id, generation, grace)
  local family = read_family(id)
  if not family then return {'ended', '', 0} end
  local its = standing(family, tonumber(generation), tonumber(grace))
  local sealed = redis.call('HGET', session_key(id), 'sealed')
  if its == 'replayed' then
    finish(id, 'replayed')
    sealed = ''
  end
  return {its, sealed, family.generation}
end

-- id, generation, grace, sealed or nothing, expires -> the successor's generation; 0 when the session has ended
function commands.succeed(id, generation, grace, sealed, expires)
  local family = read_family(id)
  if not family then return 0 end
  local key = session_key(id)
  family = succeeded(family, tonumber(generation), tonumber(grace))
  for position, time in ipairs(family.times) do family.times[position] = number(time) end
  redis.call('HSET', key, 'generation', number(family.generation), 'superseded_ms', table.concat(family.times, ' '))
  if sealed ~= '' and tonumber(expires) >= tonumber(redis.call('HGET', key, 'expires_ms')) then
    redis.call('HSET', key, 'sealed', sealed, 'expires_ms', expires)
    redis.call('PEXPIREAT', key, expires)
    local _, record = owner_of(id)
    expire_no_earlier(index_key(record), expires)
  end
  return family.generation
end

-- id, reason, and collection and record where only their session is meant -> its collection and record
function commands.finish(id, reason, collection, record)
  if collection ~= '' then
    local its_collection, its_record = owner_of(id)
    if its_collection ~= collection or its_record ~= record then return {} end
  end
  return finish(id, reason) or {}
end

-- collection, record, id to keep, reason -> the ids that ended
function commands.finish_all(collection, record, keep, reason)
  return finish_all(collection, record, keep, reason)
end

-- collection, record -> id, device, address, created, used, expires, sealed of each, newest first
function commands.list(collection, record)
  local rows, ids = {}, sessions_of(collection, record)
  for position = #ids, 1, -1 do
    local row = redis.call('HMGET', session_key(ids[position]), 'device', 'address', 'created_ms', 'used_ms',
      'expires_ms', 'sealed')
    table.insert(row, 1, ids[position])
    rows[#rows + 1] = row
  end
  return rows
end

function commands.now() return now end

-- record, since -> id, collection, address, sealed of each that was not claimed since then
function commands.claim(record, since)
  local rows = {}
  for _, id in ipairs(sessions_of('*', record)) do
    local claimed = redis.call('HGET', session_key(id), 'claimed_ms')
    if not claimed or tonumber(claimed) < tonumber(since) then
      redis.call('HSET', session_key(id), 'claimed_ms', number(now))
      local row = redis.call('HMGET', session_key(id), 'collection_id', 'address', 'sealed')
      table.insert(row, 1, id)
      rows[#rows + 1] = row
    end
  end
  return rows
end

-- interval, then id, time and address of each use -> nothing
function commands.use(interval, ...)
  local uses = {...}
  for position = 1, #uses, 3 do
    local key = session_key(uses[position])
    local used = redis.call('HGET', key, 'used_ms')
    if used and tonumber(uses[position + 1]) - tonumber(used) >= tonumber(interval) then
      redis.call('HSET', key, 'used_ms', uses[position + 1], 'address', uses[position + 2])
    end
  end
  return 0
end

-- collection or *, record, time when it ends or 0 -> 1 and the ids of the sessions that ended by it; 0 if known before
function commands.ban(collection, record, ends)
  if redis.call('HGET', ban_key(record), collection) == ends then return {0} end
  redis.call('HSET', ban_key(record), collection, ends)
  redis.call('PERSIST', ban_key(record))
  local latest = 0
  for _, each in ipairs(redis.call('HVALS', ban_key(record))) do
    latest = (tonumber(each) == 0) and math.huge or math.max(latest, tonumber(each))
  end
  if latest < math.huge then redis.call('PEXPIREAT', ban_key(record), number(latest)) end
  local ended = finish_all(collection, record, '', 'banned')
  table.insert(ended, 1, 1)
  return ended
end

-- collection or *, record -> how many bans it lifted; * lifts every ban of the record, a collection its own and that
-- of all
function commands.pardon(collection, record)
  if collection == '*' then return redis.call('DEL', ban_key(record)) end
  return redis.call('HDEL', ban_key(record), collection, '*')
end

return commands[command](unpack(ARGV, 4))
