"""The steps that make Redis a view of ``index-events``, as Redis scripts.

One HASH: ``whole``, see :data:`connectors.state.manifest_scripts.VIEW`; ``<partition>`` -> offset of the first event
that is not applied; ``closed`` -> ms since 1970 by the clock of Redis, until when a reset is under way.
"""

from typing import Final

from connectors.state.manifest_scripts import VIEW

_OPEN: Final = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local function closed(view) return tonumber(redis.call('HGET', view, 'closed') or '0') > now end
"""

# 1 applied, 0 known, -1 something before it is missing.  Every flip has its own indexed_at, so of two manifests of one
# version it tells which is which.  Watermarks are the writers' own affair while the view is whole.
APPLY: Final = f"""{VIEW}{_OPEN}
local view, doc, ids, overtaken, marks, refused = unpack(KEYS)
local partition, since, offset, after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local version, deleted, head, seen, seen_version, at, id, path = unpack(ARGV, 5, 12)
local place, seen_offset, refusal_ttl = ARGV[13], ARGV[14], tonumber(ARGV[15])
local stored = tonumber(redis.call('HGET', view, partition) or '0')
if closed(view) or stored < since then return -1 end
if stored > offset then return 0 end
redis.call('HSET', view, partition, after)
local settled = whole(view) ~= ''
if not settled then
  local before = tonumber(redis.call('HGET', marks, place) or '-1')
  if before < tonumber(seen_offset) then redis.call('HSET', marks, place, seen_offset) end
end
if refusal_ttl > 0 then redis.call('SET', refused, seen, 'EX', refusal_ttl) end
local current, done, flipped = unpack(redis.call('HMGET', doc, 'version', 'done', 'indexed_at'))
-- Doubt lets a version be flipped to again: of its manifests the one that was made last counts.
local again = not settled and version == current and tonumber(at) > tonumber(flipped or '0')
local last = redis.call('HGET', doc, 'last_seen')
if last then
  local known = cjson.decode(last)
  local shown = known['status'] == 'indexed' or known['status'] == 'deleted'
  if known['version'] > seen_version or (known['version'] == seen_version and shown and not again) then seen = last end
end
if version > (current or '') or again then
  redis.call('UNLINK', doc)
  redis.call('HSET', doc, 'version', version, 'deleted', deleted, 'done', '1', 'head', head, 'doomed', '[]',
             'last_seen', seen, 'indexed_at', at, 'flipped', now)
  if settled then redis.call('HSET', doc, 'doubted', '1') end
  for i = 16, #ARGV, 4000 do
    redis.call('HSET', doc, unpack(ARGV, i, math.min(i + 3999, #ARGV)))
  end
  if deleted == '1' then redis.call('ZREM', ids, id) else redis.call('ZADD', ids, 0, id) end
  redis.call('HDEL', overtaken, path)
  return 1
end
if seen ~= last then redis.call('HSET', doc, 'last_seen', seen) end
if current and done == '1' and (version < current or at ~= flipped) then
  redis.call('HSET', overtaken, path, partition)
else
  redis.call('HDEL', overtaken, path)
end
return 1
"""

# ARGV[3] and on: partition, offset.  Who was declared whole already stays what it is, so that flips under way hold.
DECLARE: Final = f"""{VIEW}{_OPEN}
if server() ~= ARGV[1] or closed(KEYS[1]) then return 0 end
for i = 3, #ARGV, 2 do
  if tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0') < tonumber(ARGV[i + 1]) then return 0 end
end
if whole(KEYS[1]) == '' then redis.call('HSET', KEYS[1], 'whole', ARGV[1] .. ' ' .. ARGV[2]) end
return 1
"""

# Everything before it is forgotten in one step; whoever dies before the end leaves a view that is built from the start.
CLOSE: Final = f"""{_OPEN}
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'closed', now + tonumber(ARGV[1]))
return 1
"""
