-- One request of one key: rate_limit/gcra.rs, with Redis's own clock and in microseconds.
-- KEYS[1] the key; ARGV: interval, burst, longest wait. Answers {passes, wait or time to retry, debt}.
local interval, burst, delay_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
-- Counted from 2025, so that a double still holds thousandths of a microsecond.
local now = (time[1] - 1735689600) * 1000000 + time[2]
local paid = tonumber(redis.call('GET', KEYS[1]) or '0')
local debt = math.min(math.max(paid - now, 0), burst * interval + delay_max)
local wait = math.max(debt - (burst - 1) * interval, 0)
if wait > delay_max then
    return {0, math.ceil(wait - delay_max), math.ceil(debt)}
end
debt = debt + interval
redis.call('SET', KEYS[1], string.format('%.3f', now + debt), 'PX', math.ceil(debt / 1000) + 1)
return {1, math.ceil(wait), math.ceil(debt)}
