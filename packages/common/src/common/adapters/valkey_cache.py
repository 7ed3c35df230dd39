"""The shared tier of a cache in Valkey.

An entry is a hash: its stamp, its bytes and its tags. A stamp is the epochs of all its tags, and which server process
gave them out: after a restart from an old snapshot, or a failover that lost writes, every entry is dead, for a bump
may be among what was lost. An epoch is a random text under a key of its own; a bump deletes that key, and whoever
reads next makes a new one. Epochs that expire or are evicted therefore end what bore them.

Keys: `cache:{<name>}:entry:<key>`, `…:epoch:<tag>`, `…:lease:<key>`; a long key or tag by its SHA-256 as `…:entry#…`.
The braces keep the keys of one cache on one node of a cluster.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.cache.ports import Fetched, Lease
from common.core.epochs import EVERYTHING, Tags
from common.core.errors import UpstreamUnavailable

MAX_PLAIN_BYTES = 256
EPOCH_MS = 24 * 3600 * 1000
"""How long an epoch is remembered at least after its last entry was stored."""

_STAMP = """
local function stamp_of(make)
  local server = redis.call('INFO', 'server', 'replication')
  local stamp = string.match(server, 'run_id:(%x+)') .. string.match(server, 'master_replid:(%x+)')
  for i = 3, #KEYS do
    local epoch = redis.pcall('GET', KEYS[i])
    if type(epoch) ~= 'string' then
      epoch = make and make .. i or ''
      if make then redis.call('SET', KEYS[i], epoch, 'PX', ARGV[1]) end
    end
    stamp = stamp .. ' ' .. epoch
  end
  return stamp
end
local function give_back(token)
  if token ~= '' and redis.pcall('GET', KEYS[2]) == token then redis.call('DEL', KEYS[2]) end
end
"""

FETCH = (
    _STAMP
    + """
local stamp = stamp_of(ARGV[2])
local entry = redis.pcall('HMGET', KEYS[1], 'stamp', 'stale_ms')
local packed, left = false, 0
if not entry.err and entry[1] == stamp then
  packed = redis.call('HGET', KEYS[1], 'packed')
  left = redis.call('PTTL', KEYS[1])
end
local may_load = 1
if ARGV[3] ~= '' and not (packed and left > tonumber(entry[2] or 0)) then
  local taken = redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4])
  may_load = (taken or redis.pcall('GET', KEYS[2]) == ARGV[3]) and 1 or 0
end
return {stamp, packed, left, may_load}
"""
)

STORE = (
    _STAMP
    + """
local holds = stamp_of(nil) == ARGV[2]
if holds then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'stamp', ARGV[2], 'packed', ARGV[3], 'stale_ms', ARGV[5], 'tags', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  for i = 3, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end
give_back(ARGV[7])
return holds and 1 or 0
"""
)

GIVE_BACK = _STAMP + "give_back(ARGV[1])"


class ValkeyCache:
    """The entries and epochs of one cache; the client should return bytes. Every call ends within `timeout_seconds`."""

    def __init__(self, client: Redis, name: str, *, timeout_seconds: float = 0.5) -> None:
        self._client = client
        self._prefix = f"cache:{{{name}}}:"
        self._timeout_seconds = timeout_seconds
        self._run = secrets.token_hex(8)
        self._made = 0
        self._fetch: Any = client.register_script(FETCH)
        self._store: Any = client.register_script(STORE)
        self._give_back: Any = client.register_script(GIVE_BACK)

    async def fetch(self, key: str, tags: Tags, lease: Lease | None) -> Fetched:
        self._made += 1
        fresh = f"{self._run}.{self._made}."
        token, milliseconds = lease or ("", 0)
        async with self._bounded():
            found = await self._fetch(keys=self._keys(key, tags), args=[EPOCH_MS, fresh, token, milliseconds])
        stamp, packed, left_ms, may_load = cast(tuple[bytes, bytes | None, int, int], found)
        return Fetched(stamp, packed, left_ms, bool(may_load))

    async def store(
        self, key: str, tags: Tags, packed: bytes, stamp: bytes, *, life_ms: int, stale_ms: int, lease: Lease | None
    ) -> bool:
        kept_ms = max(EPOCH_MS, life_ms)
        args = [kept_ms, stamp, packed, life_ms, stale_ms, msgspec.json.encode(tags), lease.token if lease else ""]
        async with self._bounded():
            return bool(await self._store(keys=self._keys(key, tags), args=args))

    async def give_back(self, key: str, lease: Lease) -> None:
        async with self._bounded():
            await self._give_back(keys=self._keys(key, ()), args=[lease.token])

    async def bump(self, tags: Tags) -> None:
        epochs = [self._key("epoch", tag) for tag in tags]
        async with self._bounded():
            await cast(Any, self._client.delete(*epochs) if epochs else self._client.ping())

    async def tags_of(self, key: str) -> Tags | None:
        async with self._bounded():
            found = await cast(Any, self._client.hget(self._key("entry", key), "tags"))
        try:
            return None if found is None else msgspec.json.decode(found, type=Tags)
        except msgspec.MsgspecError:
            return None

    def _keys(self, key: str, tags: Tags) -> Sequence[str]:
        epochs = [self._key("epoch", tag) for tag in (EVERYTHING, *tags)]
        return [self._key("entry", key), self._key("lease", key), *epochs]

    def _key(self, kind: str, text: str) -> str:
        if len(text) * 4 <= MAX_PLAIN_BYTES or len(text.encode()) <= MAX_PLAIN_BYTES:
            return f"{self._prefix}{kind}:{text}"
        return f"{self._prefix}{kind}#{hashlib.sha256(text.encode()).hexdigest()}"

    @asynccontextmanager
    async def _bounded(self) -> AsyncGenerator[None]:
        """Raises UpstreamUnavailable for whatever the client raises, and when it takes too long."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except (RedisError, OSError) as error:
            raise UpstreamUnavailable(f"Valkey does not serve the cache: {type(error).__name__}.") from error
