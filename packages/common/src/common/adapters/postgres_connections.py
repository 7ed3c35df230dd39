"""Opens a pool of connections to PostgreSQL, which may be absent at start and go away at any time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

GOODBYE_SECONDS = 2


@asynccontextmanager
async def open_postgres(url: str, *, connections: int = 10) -> AsyncGenerator[asyncpg.Pool]:
    """A pool that connects on first use, so that PostgreSQL may come later."""
    async with asyncpg.create_pool(url, min_size=0, max_size=connections, command_timeout=10) as pool:
        try:
            yield pool
        finally:
            await say_goodbye(pool)


async def say_goodbye(pool: asyncpg.Pool) -> None:
    """A server that does not answer must not keep us from ending."""
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def postgres_answers(pool: asyncpg.Pool) -> None:
    await pool.fetchval("select 1")
