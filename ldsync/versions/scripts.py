"""What Redis runs for the shared version store: each script is one step that nothing can split.

Keys. Everything of one LaunchDarkly environment has one hash tag, so that in a cluster it lives in
one slot: a script may then compare the state of the store and the marks in the same step, and no
mark can be lost on a node that the state does not speak for. The first number is the version of the
format: a program that keeps something else uses other keys.

    ldsync:1:{project/environment}:state      hash: generation, server, warm, since, seen, and for
                                              each partition noted since when its history is
    ldsync:1:{project/environment}:SEGMENT:a  hash: member -> stamp, "" -> since when it is the
    ldsync:1:{project/environment}:SEGMENT:b  young one, in seconds of the clock of Redis

The two hashes of a segment are generations, as in `ldsync.versions.memory`: when the young one is
as old as the retention it becomes the old one, and what was only in the old one is forgotten. A
mark is thus remembered for at least the retention and at most about twice as long, in a fraction of
the memory that keys of their own would take. Nobody need clean up: hashes expire.

Stamps are compared by their bytes. Lua's own comparison of texts follows the locale of the server,
and in many of them `a` comes before `Z`, which would put versions in another order.

Each script is called with the keys of the state and, but for LOOK and WARM, of the two hashes.
"""

from __future__ import annotations

from typing import Final

FORMAT: Final = 1

_STATE = """
-- Empty where it may not be asked for.
local function info(section, name)
  local said = redis.pcall('INFO', section)
  return type(said) == 'string' and string.match(said, name .. ':([%w-]+)') or ''
end
local function server() return info('server', 'run_id') end
local state = redis.call('HMGET', KEYS[1], 'generation', 'server', 'warm')
"""

LOOK: Final = (
    _STATE
    + """
-- ARGV: a new generation.
-- Answers the generation, 1 if it is warm, for how many seconds marks have been kept, how Redis
-- makes room when its memory is full, and how often it has.
local here, now = server(), tonumber(redis.call('TIME')[1])
local policy, evicted = info('memory', 'maxmemory_policy'), info('stats', 'evicted_keys')
if not state[1] or state[2] ~= here then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'server', here, 'warm', '0', 'since', now)
  return {ARGV[1], 0, 0, policy, evicted}
end
redis.call('HSET', KEYS[1], 'seen', now)
local kept = now - tonumber(redis.call('HGET', KEYS[1], 'since'))
return {state[1], tonumber(state[3]), kept, policy, evicted}
"""
)
"""Learn the state of the store; begin a new generation, which is cold, if marks may be lost.

They may be where there is no state (Redis is new, or was emptied), and where the server is not the
one of the state: it was started again or it is another node, and what it took last is perhaps gone.
It writes something each time: a Redis that takes no writes must not be mistaken for one that is up.
"""

WARM: Final = (
    _STATE
    + """
-- ARGV: the generation; how many seconds back history was noted, below 0 if there was none; how
-- many partitions that was; their names; the names of all that must be noted.
-- Answers how many are missing: 0 if it is warm now, -1 if it is no longer the present one.
if state[1] ~= ARGV[1] or state[2] ~= server() then return -1 end
local reach, count, missing = tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local reached = reach < 0 and 0 or tonumber(redis.call('TIME')[1]) - reach
for i = 4, 3 + count do redis.call('HSET', KEYS[1], 'noted:' .. ARGV[i], reached) end
for i = 4 + count, #ARGV do
  local other = tonumber(redis.call('HGET', KEYS[1], 'noted:' .. ARGV[i]) or nil)
  if other then reached = math.max(reached, other) else missing = missing + 1 end
end
if missing > 0 then return missing end
local since = tonumber(redis.call('HGET', KEYS[1], 'since'))
if reached > 0 then since = math.min(reached, since) end
redis.call('HSET', KEYS[1], 'warm', '1', 'since', since)
return 0
"""
)
"""Take note that the history of some partitions was noted; a generation is warm when all is (R7).

What replicas have noted each of their own partitions adds up, for as long as the generation lasts.
"""

_MARKS = (
    _STATE
    + """
-- ARGV: the generation, 1 if it must be warm, the retention in seconds, JSON of member -> stamp.
if state[1] ~= ARGV[1] or state[2] ~= server() then return {'lost'} end
if ARGV[2] == '1' and state[3] ~= '1' then return {'cold'} end

local CHUNK = 1000  -- of what one call may have as arguments
local retention = tonumber(ARGV[3])
local changes = cjson.decode(ARGV[4])
local members = {}
for member in pairs(changes) do members[#members + 1] = member end

local now = tonumber(redis.call('TIME')[1])
local young, old = KEYS[2], KEYS[3]
local since = tonumber(redis.call('HGET', young, '') or nil)
local other = tonumber(redis.call('HGET', old, '') or nil)
if other and (not since or other > since) then young, old, since = old, young, other end
if not since or now - since >= retention then
  young, old = old, young
  redis.call('UNLINK', young)
  redis.call('HSET', young, '', now)
end

local known = {}
for _, hash in ipairs({old, young}) do
  for first = 1, #members, CHUNK do
    local last = math.min(first + CHUNK - 1, #members)
    local found = redis.call('HMGET', hash, unpack(members, first, last))
    for i = first, last do known[i] = found[i - first + 1] or known[i] end
  end
end

-- Below 0 if the version of one stamp is before that of another; the signs behind are left out.
-- What both begin with is passed over in pieces: a call for each byte would take most of the time.
local byte, sub = string.byte, string.sub
local function compare(one, another)
  local i, last = 1, math.min(#one, #another) - 1
  while i <= last and sub(one, i, i + 7) == sub(another, i, i + 7) do i = i + 8 end
  for j = i, math.min(i + 7, last) do
    local x, y = byte(one, j), byte(another, j)
    if x ~= y then return x - y end
  end
  return #one - #another
end

local marks, answer = {}, {'ok'}
local function mark(member, stamp)
  marks[#marks + 1] = member
  marks[#marks + 1] = stamp
end
local function tell(member, stamp)
  answer[#answer + 1] = member
  answer[#answer + 1] = stamp
end
"""
)

_END = """
for first = 1, #marks, CHUNK do
  redis.call('HSET', young, unpack(marks, first, math.min(first + CHUNK - 1, #marks)))
end
redis.call('EXPIRE', young, 2 * retention)
return answer
"""

MERGE: Final = (
    _MARKS
    + """
for i, member in ipairs(members) do
  local stamp, newest = changes[member], known[i]
  if newest and compare(newest, stamp) > 0 then
    tell(member, newest)
    mark(member, newest)
  elseif newest ~= stamp then
    mark(member, stamp)
  end
end
"""
    + _END
)
"""Mark changes unless something newer is marked, and answer what is (R6). Ties go to the later.

What is newer is marked again, so that it stays as long as what it was compared with.
"""

KNOWN: Final = (
    _MARKS
    + """
for i, member in ipairs(members) do
  if known[i] then tell(member, known[i]) end
end
return answer
"""
)
"""Answer what is marked of members; the stamps that are given count for nothing."""

CONFIRM: Final = (
    _MARKS
    + """
for i, member in ipairs(members) do
  local stamp, newest = changes[member], known[i]
  if newest ~= stamp then
    if newest and compare(newest, stamp) >= 0 then
      tell(member, newest)
    else
      tell(member, stamp)
      mark(member, stamp)
    end
  end
end
"""
    + _END
)
"""Compare what was written with the marks, and answer what has to be written again (R7).

That is what was marked by others since, and what is not marked any more, though it should be:
others may have written something older meanwhile. It is marked again first.
"""
