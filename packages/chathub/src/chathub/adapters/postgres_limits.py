"""The limit on messages, one row for the whole installation."""

import asyncpg

from chathub.adapters.postgres import translated
from chathub.adapters.postgres_moderation import note
from chathub.core.moderation import Deed
from chathub.limit import LimitChange, MessageLimit
from common.core.errors import NotFound, UpstreamUnavailable

FIELDS = "id, owner_id, message_limit, window_seconds"
READ = f"select {FIELDS} from chatserver.rate_limiter where owner_id = 'default'"  # noqa: S608 - a constant
CHANGE = f"""
update chatserver.rate_limiter set message_limit = $2, window_seconds = $3
where id = $1 and owner_id = 'default' returning {FIELDS}
"""  # noqa: S608 - a constant


class PostgresLimits:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def read(self) -> MessageLimit:
        async with translated():
            row = await self._pool.fetchrow(READ)
        if row is None:
            raise UpstreamUnavailable("PostgreSQL knows no limit.")
        return MessageLimit(**row)

    async def change(self, actor_id: str, change: LimitChange) -> MessageLimit:
        """Raises NotFound."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(CHANGE, change.id, change.message_limit, change.window_seconds)
            if row is None:
                raise NotFound("There is no such limit.")
            details = {"message_limit": change.message_limit, "window_seconds": change.window_seconds}
            await note(connection, Deed(actor_id, "limit.changed", str(change.id), details))
        return MessageLimit(**row)
