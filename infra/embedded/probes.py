"""Asks the parts whether they are ready; anything but a clear yes is a no."""

from dataclasses import dataclass

import asyncpg
import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.embedded.graph import Probe

PATIENCE_SECONDS = 3.0


@dataclass(slots=True)
class HttpProbe:
    """Keeps its client: making one reads every certificate authority there is."""

    url: str
    any_status: bool = False
    client: httpx.AsyncClient | None = None

    async def __call__(self) -> bool:
        self.client = self.client or httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False)
        try:
            answer = await self.client.get(self.url)
        except httpx.HTTPError:
            return False
        return self.any_status or answer.status_code == 200


def valkey_answers(url: str) -> Probe:
    async def ask() -> bool:
        client = Redis.from_url(url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS)
        try:
            return bool(await client.ping())  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType]
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()

    return ask


def postgres_answers(url: str) -> Probe:
    async def ask() -> bool:
        try:
            connection = await asyncpg.connect(url, timeout=PATIENCE_SECONDS)
        except (asyncpg.PostgresError, OSError, TimeoutError):
            return False
        await connection.close()
        return True

    return ask
