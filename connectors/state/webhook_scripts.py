"""Steps on endpoints and deliveries that must not be seen half done, in Lua.

All keys of webhooks have one hash tag, so those that a script puts together itself lie on the same node of a cluster.
"""

PUT = """
local found = redis.call('HGET', KEYS[1], ARGV[1])
if (found or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if ARGV[4] ~= '' then
  local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', KEYS[2], first[2], ARGV[4]) end
end
return 1
"""

ENQUEUE = """
local delivery, due, all, ready, dropped = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, state, body, at, created, ref, most, ttl = unpack(ARGV)
if redis.call('EXISTS', delivery) == 1 then return 'known' end
if redis.call('ZCARD', due) >= tonumber(most) then
  redis.call('INCR', dropped)
  redis.call('PEXPIRE', dropped, ttl)
  return 'full'
end
redis.call('HSET', delivery, 'state', state, 'body', body)
redis.call('ZADD', due, at, id)
redis.call('ZADD', all, created, id)
for _, key in ipairs({delivery, due, all}) do redis.call('PEXPIRE', key, ttl) end
redis.call('ZADD', ready, 'LT', at, ref)
return 'new'
"""

CLAIM = """
local due, ready = KEYS[1], KEYS[2]
local now, untl, count, ref, deliveries = unpack(ARGV)
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, count)) do
  local found = redis.call('HMGET', deliveries .. id, 'state', 'body')
  if found[1] then
    redis.call('ZADD', due, untl, id)
    table.insert(taken, found[1])
    table.insert(taken, found[2])
  else
    redis.call('ZREM', due, id)
  end
end
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if first[2] then
  redis.call('ZADD', ready, math.max(tonumber(first[2]), tonumber(now)), ref)
else
  redis.call('ZREM', ready, ref)
end
return taken
"""

SETTLE = """
local delivery, due, done, all, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, untl, kind, state, next_at, now, ref, ttl, most, deliveries = unpack(ARGV)
if redis.call('EXISTS', delivery) == 0 then
  redis.call('ZREM', due, id)
  return 0
end
if kind ~= 'delivered' and tonumber(redis.call('ZSCORE', due, id) or '-1') ~= tonumber(untl) then return 0 end
redis.call('HSET', delivery, 'state', state)
if kind == 'waiting' then
  redis.call('ZADD', due, next_at, id)
  redis.call('ZADD', ready, 'LT', next_at, ref)
else
  redis.call('ZREM', due, id)
  redis.call('ZADD', done, now, id)
  for _ = 1, redis.call('ZCARD', done) - tonumber(most) do
    local old = redis.call('ZPOPMIN', done)[1]
    redis.call('ZREM', all, old)
    redis.call('DEL', deliveries .. old)
  end
end
for _, key in ipairs({delivery, due, done, all}) do redis.call('PEXPIRE', key, ttl) end
return 1
"""

AGAIN = """
local delivery, due, done, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, before, state, at, ref, ttl = unpack(ARGV)
if redis.call('HGET', delivery, 'state') ~= before then return 0 end
redis.call('HSET', delivery, 'state', state)
redis.call('ZREM', done, id)
redis.call('ZADD', due, at, id)
for _, key in ipairs({delivery, due}) do redis.call('PEXPIRE', key, ttl) end
redis.call('ZADD', ready, 'LT', at, ref)
return 1
"""
