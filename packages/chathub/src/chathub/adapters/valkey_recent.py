"""The latest messages in Valkey: a sorted set for each channel, scored by place in the log.

A member is its place and the message, so that two of one wording are two. Each change is one script: a node that dies
between two commands leaves nothing half done.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chathub.core.bus_messages import Position
from chathub.core.mirrored import Mirrored, Step, read_back
from common.core.errors import UpstreamUnavailable

PREFIX = "chathub:recent:"
KEPT_SECONDS = 7 * 86_400
"""After the last message at most, and at least half as long; a log that was made anew leaves nothing behind for longer.
All of it is renewed together, so that no quiet channel goes while the rest still counts as whole."""

# KEYS: up to where it is complete, the channels' ids, whether it is whole. ARGV: the prefix of the channels' keys, how
# many to keep of each, for how long, from where ('' to begin), up to where; then kind, channel, sequence and text of
# each change.
CHANGE = """
local before = redis.call('GET', KEYS[1])
if (ARGV[4] == '' and before) or (ARGV[4] ~= '' and before ~= ARGV[4]) then return 0 end
local touched = {}
for i = 6, #ARGV, 4 do
  local kind, channel, sequence, text = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = ARGV[1] .. channel
  if kind == 'clear' then
    for _, other in ipairs(redis.call('SMEMBERS', KEYS[2])) do redis.call('DEL', ARGV[1] .. other) end
    redis.call('DEL', KEYS[2], KEYS[3])
  elseif kind == 'whole' then
    redis.call('SET', KEYS[3], '1')
  elseif kind == 'edit' then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, sequence, sequence)) do
      local message = cjson.decode(string.sub(member, string.find(member, ':', 1, true) + 1))
      message.message = text
      redis.call('ZREM', key, member)
      redis.call('ZADD', key, sequence, sequence .. ':' .. cjson.encode(message))
    end
  else
    redis.call('ZREMRANGEBYSCORE', key, sequence, sequence)
    if kind == 'add' then redis.call('ZADD', key, sequence, sequence .. ':' .. text) end
  end
  if kind ~= 'clear' and kind ~= 'whole' then touched[channel] = true end
end
for channel in pairs(touched) do
  redis.call('ZREMRANGEBYRANK', ARGV[1] .. channel, 0, -1 - tonumber(ARGV[2]))
  redis.call('EXPIRE', ARGV[1] .. channel, ARGV[3])
  redis.call('SADD', KEYS[2], channel)
end
redis.call('SET', KEYS[1], ARGV[5], 'KEEPTTL')
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[3]) / 2 then
  for _, channel in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    redis.call('EXPIRE', ARGV[1] .. channel, ARGV[3])
  end
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[3]) end
end
return 1
"""


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise UpstreamUnavailable("Valkey does not answer.") from error


class ValkeyRecent:
    def __init__(self, valkey: Redis, *, messages: int) -> None:
        self._valkey = valkey
        self._messages = messages

    async def upto(self, epoch: int) -> int | None:
        async with translated():
            found = await self._valkey.get(upto_key(epoch))
        return None if found is None else int(found)

    async def append(self, after: Position, upto: int, changes: Sequence[Step]) -> None:
        await self._change(after.epoch, str(after.sequence), upto, changes)

    async def begin(self, upto: Position, changes: Sequence[Step]) -> None:
        await self._change(upto.epoch, "", upto.sequence, changes)

    async def forget(self, epoch: int, channel_id: int) -> None:
        """A channel was emptied."""
        async with translated():
            await self._valkey.delete(channel_prefix(epoch) + str(channel_id))

    async def read(self, epoch: int) -> Mirrored | None:
        """How far it is complete is read first: what is written meanwhile is only more."""
        upto = await self.upto(epoch)
        if upto is None:
            return None
        async with translated():
            channels = cast(set[bytes], await self._valkey.smembers(channels_key(epoch)))  # pyright: ignore[reportGeneralTypeIssues]
            pipe = self._valkey.pipeline(transaction=False)
            for channel in sorted(channels):
                pipe.zrange(channel_prefix(epoch) + channel.decode(), 0, -1)
            pipe.exists(whole_key(epoch))
            *found, whole = await pipe.execute()
        return Mirrored(
            upto, bool(whole), read_back(epoch, [parted(member) for members in found for member in members])
        )

    async def _change(self, epoch: int, after: str, upto: int, changes: Sequence[Step]) -> None:
        given: list[Any] = [part for change in changes for part in change]
        async with translated():
            await self._valkey.eval(  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType]
                CHANGE,
                3,
                *(upto_key(epoch), channels_key(epoch), whole_key(epoch)),
                *(channel_prefix(epoch), self._messages, KEPT_SECONDS, after, upto),
                *given,
            )


def parted(member: bytes) -> tuple[int, bytes]:
    sequence, _, message = member.partition(b":")
    return int(sequence), message


def upto_key(epoch: int) -> str:
    return f"{PREFIX}{epoch}"


def channels_key(epoch: int) -> str:
    return f"{PREFIX}{epoch}:channels"


def whole_key(epoch: int) -> str:
    return f"{PREFIX}{epoch}:whole"


def channel_prefix(epoch: int) -> str:
    return f"{PREFIX}{epoch}:of:"
