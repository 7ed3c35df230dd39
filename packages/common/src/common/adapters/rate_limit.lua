-- Decides a batch of asks in one call. The arithmetic, with its proofs, is that of common/core/rate_limit.py.
--
-- KEYS      one per ask
-- ARGV[1]   the rules' terms, nine doubles each
-- ARGV[2]   per ask: rule (from 1), cost, want, owner, end of the lease to settle, uses of it that were not made
-- returns   the server's clock, then per ask: outcome, remaining, retry, reset, granted; times are microseconds
--
-- A key holds its books: HEAD (version, penalised until, uses in runs, refusals, numbers of runs, of runs of refusals
-- and of leases), then these three lists. A lone use takes 35 bytes, few enough to be kept within the key's own entry.

local unpack, pack, sub, call = struct.unpack, struct.pack, string.sub, redis.call
local max, min, floor, ceil = math.max, math.min, math.floor, math.ceil

local TERMS, TERMS_BYTES = '<ddddddddd', 72
local ASK, ASK_BYTES = '<I2I4I4ddI4', 30
local ANSWER = '<BI4i8i8I4'
local HEAD, HEAD_BYTES = '<BdI4I4I2I2I2', 23
local RUN, RUN_BYTES = '<dI4', 12
local LEASE, LEASE_BYTES = '<ddI4', 20
local VERSION = 1
local EMPTY = pack(HEAD, VERSION, 0, 0, 0, 0, 0, 0)
local ALLOWED, LIMITED, PENALISED = 0, 1, 2
local MAX_LEASES = 64

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Bring back what lies in the future, where only a clock that was set back can have put it.
local function heal(raw, penalty, lease)
    local _, penalised, used, refused, runs, refusals, leases = unpack(HEAD, raw)
    local parts = { pack(HEAD, VERSION, min(penalised, now + penalty), used, refused, runs, refusals, leases) }
    local at = HEAD_BYTES + 1
    for _ = 1, runs + refusals do
        local stamp, count = unpack(RUN, raw, at)
        parts[#parts + 1] = pack(RUN, min(stamp, now), count)
        at = at + RUN_BYTES
    end
    for _ = 1, leases do
        local owner, until_, count = unpack(LEASE, raw, at)
        parts[#parts + 1] = pack(LEASE, owner, min(until_, now + lease), count)
        at = at + LEASE_BYTES
    end
    return table.concat(parts)
end

-- The runs without those that left the window: where they begin, how many, with how many uses.
local function since(raw, at, runs, total, horizon)
    while runs > 0 do
        local stamp, count = unpack(RUN, raw, at)
        if stamp > horizon then
            break
        end
        at, runs, total = at + RUN_BYTES, runs - 1, total - count
    end
    return at, runs, total
end

-- One more in the last run or in a run of its own: where the untouched runs end, what follows them, how many runs.
local function append(raw, at, runs, stamp, count, size, keeps_first)
    local stop = at + runs * RUN_BYTES
    if runs > 0 then
        local last, held = unpack(RUN, raw, stop - RUN_BYTES)
        if last >= stamp or held + count <= size then
            if not keeps_first and stamp > last then
                last = stamp
            end
            return stop - RUN_BYTES, pack(RUN, last, held + count), runs
        end
    end
    return stop, pack(RUN, stamp, count), runs + 1
end

-- Until so many uses have left the window.
local function room(raw, at, runs, needed, every)
    for _ = 1, runs do
        local stamp, count = unpack(RUN, raw, at)
        needed, at = needed - count, at + RUN_BYTES
        if needed <= 0 then
            return stamp + every - now
        end
    end
    return every
end

local function decide(key, terms, cost, want, owner, settled, unused)
    local ceiling, capacity, size, every = terms[1], terms[2], terms[3], terms[4]
    local max_uses, penalty, refused_size, budget, lease = terms[5], terms[6], terms[7], terms[8], terms[9]
    local raw = redis.pcall('GET', key)
    if type(raw) ~= 'string' or #raw < HEAD_BYTES then
        raw = EMPTY
    end
    local version, penalised, used, refused, runs, refusals, leases = unpack(HEAD, raw)
    local at = HEAD_BYTES + 1
    local refusals_at = at + runs * RUN_BYTES
    local leases_at = refusals_at + refusals * RUN_BYTES
    if version ~= VERSION or #raw ~= leases_at + leases * LEASE_BYTES - 1 then -- another's value, or of another version
        raw, penalised, used, refused, runs, refusals, leases = EMPTY, 0, 0, 0, 0, 0, 0
        refusals_at, leases_at = at, at
    end
    local changed = false

    local future = penalised > now + penalty
        or (runs > 0 and unpack(RUN, raw, refusals_at - RUN_BYTES) > now)
        or (refusals > 0 and unpack(RUN, raw, leases_at - RUN_BYTES) > now)
    for index = 0, leases - 1 do
        local _, until_ = unpack(LEASE, raw, leases_at + index * LEASE_BYTES)
        future = future or until_ > now + lease
    end
    if future then
        raw, changed = heal(raw, penalty, lease), true
        penalised = min(penalised, now + penalty)
    end

    local horizon = now - every
    local refused_raw, refused_tail = raw, ''
    at, runs, used = since(raw, at, runs, used, horizon)
    refusals_at, refusals, refused = since(raw, refusals_at, refusals, refused, horizon)
    local refusals_stop = refusals_at + refusals * RUN_BYTES
    local stop, tail = at + runs * RUN_BYTES, ''

    local held, listed, lease_text = 0, 0, ''
    for index = 0, leases - 1 do
        local item_at = leases_at + index * LEASE_BYTES
        local item_owner, until_, count = unpack(LEASE, raw, item_at)
        if until_ > horizon then
            if item_owner == owner and until_ == settled then
                local made = max(0, count - unused)
                if made > 0 then
                    stop, tail, runs = append(raw, at, runs, min(now, until_), made, size, false)
                    used = used + made
                end
                changed, settled = true, -1
            else
                held, listed = held + count, listed + 1
                lease_text = lease_text .. sub(raw, item_at, item_at + LEASE_BYTES - 1)
            end
        end
    end
    if tail ~= '' then
        raw = sub(raw, at, stop - 1) .. tail
        at, stop, tail = 1, #raw + 1, ''
    end

    local outcome, retry, granted = ALLOWED, 0, 0
    if penalised > now then
        outcome, retry = PENALISED, penalised - now
    elseif cost > 0 and used + held + cost > capacity then
        outcome = LIMITED
        if max_uses > 0 then
            changed = true
            if used + held - (capacity - ceiling) + refused + cost > max_uses then
                outcome, penalised, retry = PENALISED, now + penalty, penalty
                refused, refusals, refusals_stop = 0, 0, refusals_at
            else
                refusals_stop, refused_tail, refusals =
                    append(refused_raw, refusals_at, refusals, now, cost, refused_size, true)
                refused = refused + cost
            end
        end
        if outcome == LIMITED then
            retry = room(raw, at, runs, used + held + cost - capacity, every)
        end
    elseif cost > 0 then
        stop, tail, runs = append(raw, at, runs, now, cost, size, false)
        used, changed = used + cost, true
        if want > 0 and listed < MAX_LEASES then
            granted = max(0, min(want, floor((budget - held + 1) / 2), capacity - used - held))
            if granted > 0 then
                held, listed = held + granted, listed + 1
                lease_text = lease_text .. pack(LEASE, owner, now + lease, granted)
            end
        end
    end

    if changed then
        local text = pack(HEAD, VERSION, penalised, used, refused, runs, refusals, listed)
            .. sub(raw, at, stop - 1) .. tail
        if refusals > 0 then
            text = text .. sub(refused_raw, refusals_at, refusals_stop - 1) .. refused_tail
        end
        if listed > 0 then
            text = text .. lease_text
        end
        local lasts = terms.lasts
        if penalised > now + every + lease then
            lasts = ceil((penalised - now) / 1000)
        end
        call('SET', key, text, 'PX', lasts)
    end

    if outcome == PENALISED then
        return pack(ANSWER, PENALISED, 0, retry, retry, 0)
    end
    local reset = every
    if stop > at then
        reset = unpack(RUN, raw, at) + every - now
    end
    return pack(ANSWER, outcome, max(0, ceiling - used - held), retry, reset, granted)
end

local rules, answers = {}, { pack('<d', now) }
for index = 1, #ARGV[1] / TERMS_BYTES do
    local terms = { unpack(TERMS, ARGV[1], (index - 1) * TERMS_BYTES + 1) }
    terms.lasts = string.format('%d', ceil((terms[4] + terms[9]) / 1000))
    rules[index] = terms
end
for index, key in ipairs(KEYS) do
    local rule, cost, want, owner, settled, unused = unpack(ASK, ARGV[2], (index - 1) * ASK_BYTES + 1)
    answers[index + 1] = decide(key, rules[rule], cost, want, owner, settled, unused)
end
return table.concat(answers)
