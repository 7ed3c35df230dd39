"""A server that accepts and says nothing."""

import asyncio

from common.core.errors import UpstreamUnavailable

PATIENCE_SECONDS = 8.0


async def unanswered() -> None:
    """As asyncpg asks it: also who gives up waits until the connection is given back. Raises UpstreamUnavailable."""
    asked_at = asyncio.get_running_loop().time()
    try:
        await asyncio.sleep(PATIENCE_SECONDS)
    finally:
        await asyncio.sleep(asked_at + PATIENCE_SECONDS - asyncio.get_running_loop().time())
    raise UpstreamUnavailable("PostgreSQL does not answer.")
