"""Purges that are wanted, and what they have still to find, also among what could not be stored."""

from collections.abc import Sequence

import asyncpg

from chathub.adapters.postgres import translated
from chathub.adapters.postgres_messages import buried_message, columns, direct_message, room_message
from chathub.adapters.postgres_moderation import note
from chathub.core.bus_messages import Position, Stored
from chathub.core.moderation import Deed
from chathub.purge import Purge

CLAIM = """
update chatserver.purges set claimed_until = now() + interval '60 seconds'
where owner_id = (
    select owner_id from chatserver.purges where claimed_until <= now()
    order by requested_at limit 1 for update skip locked
)
returning owner_id, actor_id, extract(epoch from now() - requested_at)::float8 as age_seconds
"""
KEEP = """
update chatserver.purges set purged = purged + $2, claimed_until = now() + interval '60 seconds'
where owner_id = $1 returning owner_id
"""
FINISH = "delete from chatserver.purges where owner_id = $1 returning actor_id, purged"
SAID_IN_ROOMS = "select * from chatserver.chat_messages where owner_id = $1 limit $2"
WHISPERED_BY = "select * from chatserver.private_messages where owner_id = $1 limit $2"
BURIED_OF = "select * from chatserver.dead_letters where owner_id = $1 limit $2"
FORGET = """
delete from chatserver.dead_letters where (stream_epoch, cache_id) in (select * from unnest($1::bigint[], $2::bigint[]))
"""


class PostgresPurges:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def claim(self) -> Purge | None:
        async with translated():
            row = await self._pool.fetchrow(CLAIM)
        return Purge(**row) if row else None

    async def messages_of(self, owner_id: str, limit: int) -> Sequence[Stored]:
        async with translated():
            rooms = await self._pool.fetch(SAID_IN_ROOMS, owner_id, limit)
            whispers = await self._pool.fetch(WHISPERED_BY, owner_id, limit)
            buried = await self._pool.fetch(BURIED_OF, owner_id, limit)
        unstored = [found for row in buried if (found := buried_message(row))]
        return [*map(room_message, rooms), *map(direct_message, whispers), *unstored]

    async def remains_of(self, owner_id: str, limit: int) -> Sequence[Position]:
        async with translated():
            rows = await self._pool.fetch(BURIED_OF, owner_id, limit)
        return [Position(row["stream_epoch"], row["cache_id"]) for row in rows if buried_message(row) is None]

    async def forget(self, places: Sequence[Position]) -> None:
        async with translated():
            await self._pool.execute(FORGET, *columns(places))

    async def keep(self, owner_id: str, purged: int) -> bool:
        async with translated():
            return await self._pool.fetchval(KEEP, owner_id, purged) is not None

    async def finish(self, owner_id: str) -> None:
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            if row := await connection.fetchrow(FINISH, owner_id):
                await note(connection, Deed(row["actor_id"], "user.purged", owner_id, {"messages": row["purged"]}))
