"""Opens a pool of connections to Valkey, which may be absent at start and go away at any time."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis


@asynccontextmanager
async def open_valkey(url: str, *, connections: int = 50) -> AsyncGenerator[Redis]:
    """A bounded pool; a caller waits up to a second for a connection instead of opening ever more."""
    pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] - untyped keywords
        url, max_connections=connections, timeout=1, socket_timeout=5, socket_connect_timeout=2
    )
    client = Redis(connection_pool=pool)
    try:
        yield client
    finally:
        await client.aclose()
        await pool.disconnect()


async def valkey_answers(client: Redis) -> None:
    await client.ping()  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType] - sync and async share one stub
