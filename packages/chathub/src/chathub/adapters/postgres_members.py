"""Who is in which private channel."""

from collections.abc import Sequence

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chathub.adapters.postgres import translated
from chathub.adapters.postgres_channels import locked
from chathub.adapters.postgres_moderation import note
from chathub.core.moderation import Deed
from chathub.curate import MAX_MEMBERS, MemberOf
from common.core.errors import Conflict, NotFound

IS_PRIVATE = "select is_private from chatserver.channels where id = $1"
COUNTED = "select count(*) from chatserver.channel_members where channel_id = $1"
ADD = """
insert into chatserver.channel_members (channel_id, user_id, added_by) values ($1, $2, $3)
on conflict do nothing returning user_id
"""
REMOVE = "delete from chatserver.channel_members where channel_id = $1 and user_id = $2 returning user_id"
NEXT_VERSION = "update chatserver.channels set members_version = members_version + 1 where id = $1"
OF = """
select m.user_id as id, coalesce(u.username, m.user_id) as username
from chatserver.channel_members m left join chatserver.users u on u.id = m.user_id
where m.channel_id = $1 order by m.user_id limit $2 offset $3
"""


class PostgresMembers:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, actor_id: str, channel_id: int, user_id: str) -> None:
        """Harmless to repeat."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await held(connection, channel_id)
            if await connection.fetchval(COUNTED, channel_id) >= MAX_MEMBERS:
                raise Conflict(f"A channel has at most {MAX_MEMBERS} members.")
            if await connection.fetchval(ADD, channel_id, user_id, actor_id):
                await connection.execute(NEXT_VERSION, channel_id)
                await note(connection, Deed(actor_id, "member.added", str(channel_id), {"user": user_id}))

    async def remove(self, actor_id: str, channel_id: int, user_id: str) -> None:
        """Raises NotFound for one who is no member."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await held(connection, channel_id)
            if not await connection.fetchval(REMOVE, channel_id, user_id):
                raise NotFound("There is no such member.")
            await connection.execute(NEXT_VERSION, channel_id)
            await note(connection, Deed(actor_id, "member.removed", str(channel_id), {"user": user_id}))

    async def of(self, channel_id: int, limit: int, offset: int) -> Sequence[MemberOf]:
        async with translated():
            if not await self._pool.fetchval(IS_PRIVATE, channel_id):
                raise NotFound("There is no such private channel.")
            return [MemberOf(**row) for row in await self._pool.fetch(OF, channel_id, limit, offset)]


async def held(connection: "PoolConnectionProxy[asyncpg.Record]", channel_id: int) -> None:
    """Nobody else changes it meanwhile. Raises NotFound for a channel that is not private."""
    await locked(connection)
    if not await connection.fetchval(IS_PRIVATE, channel_id):
        raise NotFound("There is no such private channel.")
