"""Tickets in Valkey, each taken at most once whoever asks."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.core.errors import UpstreamUnavailable

PREFIX = "chathub:ticket:"


class ValkeyTickets:
    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey

    async def put(self, name: str, value: bytes, seconds: int) -> None:
        try:
            await self._valkey.set(PREFIX + name, value, ex=seconds)
        except (RedisError, OSError, TimeoutError) as error:
            raise UpstreamUnavailable("Valkey does not answer.") from error

    async def take(self, name: str) -> bytes | None:
        try:
            found = await self._valkey.getdel(PREFIX + name)
        except (RedisError, OSError, TimeoutError) as error:
            raise UpstreamUnavailable("Valkey does not answer.") from error
        return found.encode() if isinstance(found, str) else found
