"""PocketBase's tokens by session id, sealed, for as long as PocketBase would accept them."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.core.errors import Unauthenticated, UpstreamUnavailable
from gateway.core.sealed_session import NONCE_BYTES, SessionSeal

logger = structlog.get_logger(__name__)

PATIENCE_SECONDS = 2.0

AWAY = "Sessions are not available; please retry."


class ValkeySessions:
    """Every method raises UpstreamUnavailable when Valkey is away."""

    def __init__(self, client: Redis, seal: SessionSeal) -> None:
        self._client = client
        self._seal = seal

    async def keep(self, session_id: str, token: str, seconds: int) -> None:
        async with answering():
            await self._client.set(key_of(session_id), self._sealed(session_id, token), ex=seconds)

    async def replace(self, session_id: str, token: str, seconds: int) -> bool:
        """False when the session is gone: one that was revoked must not come back by a refresh under way."""
        async with answering():
            return bool(
                await self._client.set(key_of(session_id), self._sealed(session_id, token), ex=seconds, xx=True)
            )

    async def token_of(self, session_id: str) -> str | None:
        async with answering():
            sealed = cast(bytes | None, await self._client.get(key_of(session_id)))
        if sealed is None:
            return None
        try:
            return self._seal.open(session_id, sealed)
        except Unauthenticated:
            logger.warning("a stored session cannot be opened with this key")
            return None

    def _sealed(self, session_id: str, token: str) -> bytes:
        return self._seal.seal(session_id, token, secrets.token_bytes(NONCE_BYTES))


def key_of(session_id: str) -> str:
    return f"gateway:session:{session_id}"


@asynccontextmanager
async def answering() -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise UpstreamUnavailable(AWAY) from error
