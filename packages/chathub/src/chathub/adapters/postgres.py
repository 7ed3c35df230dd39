"""asyncpg's errors become ours, in one place."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

from chathub.persist import Unstorable
from common.core.errors import UpstreamUnavailable

PATIENCE_SECONDS = 8


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    """Raises Unstorable for a value that PostgreSQL refuses, UpstreamUnavailable for whatever may pass by itself."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, UnicodeError) as error:
        raise Unstorable(f"{type(error).__name__}: {error}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise UpstreamUnavailable(f"PostgreSQL does not answer: {type(error).__name__}.") from error


async def migrated(pool: asyncpg.Pool) -> None:
    """Health probe: raises unless PostgreSQL answers and bears our tables."""
    async with translated():
        await pool.fetchval("select version_num from chatserver.alembic_version")
