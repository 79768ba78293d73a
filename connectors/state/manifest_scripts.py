"""The steps on a manifest that must be atomic, as Redis scripts.

One HASH per document: version, deleted, done, head, doomed, last_seen, indexed_at, doubted, flipped (ms by
the clock of Redis) and, for each chunk,
``c:<chunk id>`` -> line.
Versions are fixed-width text, so ``<`` on strings orders them.
"""

import hashlib
from typing import Final

# For scripts: the view, if it is whole on this very server as it runs now.  ``whole`` is '<replication id> <nonce>': a
# server that restarts, becomes a replica or is promoted takes another id, a flush takes the field away, and whoever
# makes the view whole again gives it another nonce.
VIEW: Final = """
local function server()
  local info = redis.call('INFO', 'replication')
  return string.find(info, 'role:master', 1, true) and string.match(info, 'master_replid:(%w+)') or ''
end
local function whole(view)
  local declared = redis.call('HGET', view, 'whole') or ''
  return string.match(declared, '^(%w+) ') == server() and declared or ''
end
"""

# Compare on exactly the expected version ('' = never indexed), in the view that it was read from ('' = any); -1 where
# that is lost.  A version never goes down, and comes twice only where it is in doubt, which the flip ends: of two
# writers with the same expectation one wins.  Where an edition (indexed_at, with ? in doubt) is given, it must still be
# that one.  Chunk lines are ARGV[11] and on; unpack() takes about 8000 values.
# The first write is one that a full server refuses: later ones in a script are let through.
FLIP: Final = f"""{VIEW}
local doc, ids = KEYS[1], KEYS[2]
local expected, version, deleted, head, doomed, seen, at, id, read, edition = unpack(ARGV, 1, 10)
local view = whole(KEYS[3])
if view == '' or (read ~= '' and read ~= view) then return -1 end
local current = redis.call('HGET', doc, 'version') or ''
if current ~= expected or version < current then return 0 end
local doubted = redis.call('HGET', doc, 'doubted') == '1'
if version == current and not doubted then return 0 end
local found = (redis.call('HGET', doc, 'indexed_at') or '0') .. (doubted and '?' or '')
if edition ~= '' and edition ~= found then return 0 end
local last = redis.call('HGET', doc, 'last_seen')
if last and cjson.decode(last)['version'] > version then seen = last end
local now = redis.call('TIME')
redis.call('HSET', doc, 'version', version)
redis.call('UNLINK', doc)
redis.call('HSET', doc, 'version', version, 'deleted', deleted, 'done', '0', 'head', head, 'doomed', doomed,
           'last_seen', seen, 'indexed_at', at, 'flipped', now[1] * 1000 + math.floor(now[2] / 1000))
for i = 11, #ARGV, 4000 do
  redis.call('HSET', doc, unpack(ARGV, i, math.min(i + 3999, #ARGV)))
end
if deleted == '1' then redis.call('ZREM', ids, id) else redis.call('ZADD', ids, 0, id) end
return 1
"""

FINISH: Final = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'done', '1', 'doomed', '[]')
return 1
"""

DOUBT: Final = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'doubted', '1')
return 1
"""

# What a version became visible with is not overwritten by a later refusal of the same version.
SEE: Final = """
local last = redis.call('HGET', KEYS[1], 'last_seen')
if last then
  last = cjson.decode(last)
  if last['version'] > ARGV[1] then return 0 end
  if last['version'] == ARGV[1] and (last['status'] == 'indexed' or last['status'] == 'deleted') then return 0 end
end
redis.call('HSET', KEYS[1], 'last_seen', ARGV[2])
return 1
"""

# KEYS[1] lists the versions that wait, oldest first, as ``version|ms,...``: a passage is stale since the oldest that
# is newer than it.  What is visible by now is dropped; of a long queue the middle is.
ACCEPT: Final = """
local current = redis.call('HGET', KEYS[2], 'version') or ''
local waiting = {}
for version, at in string.gmatch(redis.call('GET', KEYS[1]) or '', '([^|,]+)|([^|,]+)') do
  if version >= ARGV[1] then return 0 end
  if version > current then table.insert(waiting, version .. '|' .. at) end
end
while #waiting > 30 do table.remove(waiting) end
table.insert(waiting, ARGV[1] .. '|' .. ARGV[2])
redis.call('SET', KEYS[1], table.concat(waiting, ','), 'EX', ARGV[3])
return 1
"""

ADVANCE: Final = """
local before = redis.call('HGET', KEYS[1], ARGV[1])
if before and tonumber(before) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

TRUST: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

# Nearly every document has one part for ever: those take no space.
WIDEN: Final = """
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '1')
if tonumber(ARGV[2]) > before then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return before
"""


def sha(script: str) -> str:
    """Name under which Redis keeps a script that it has run once."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
