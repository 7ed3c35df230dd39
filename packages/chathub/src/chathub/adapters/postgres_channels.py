"""Channels in PostgreSQL. Their order is kept dense: 1, 2, 3, ..."""

from collections.abc import Sequence
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chathub.adapters.postgres import translated
from chathub.core.channels import Channel
from chathub.curate import Change, NewChannel
from common.core.errors import Conflict, NotFound

Held: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

ALL = "select id, name, description, sort_order from chatserver.channels where not is_private order by sort_order, id"
CREATE = """
insert into chatserver.channels (name, description, sort_order)
select $1, $2, coalesce(max(sort_order), 0) + 1 from chatserver.channels
"""
RENUMBER = """
update chatserver.channels c set sort_order = n.place
from (select id, row_number() over (order by sort_order, id) as place from chatserver.channels) n
where n.id = c.id and n.place <> c.sort_order
"""


class PostgresChannels:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def all(self) -> Sequence[Channel]:
        async with translated():
            return [Channel(**row) for row in await self._pool.fetch(ALL)]

    async def create(self, channel: NewChannel) -> None:
        async with translated():
            try:
                await self._pool.execute(CREATE, channel.name, channel.description)
            except asyncpg.UniqueViolationError as error:
                raise Conflict("There is a channel of that name.") from error

    async def change(self, change: Change) -> None:
        """Raises NotFound for an unknown channel, Conflict for a name that is taken."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await locked(connection)
            await required(connection, change.id)
            try:
                if change.name is not None:
                    await connection.execute(
                        "update chatserver.channels set name = $2 where id = $1", change.id, change.name
                    )
            except asyncpg.UniqueViolationError as error:
                raise Conflict("There is a channel of that name.") from error
            if change.describes:
                await connection.execute(
                    "update chatserver.channels set description = $2 where id = $1", change.id, change.description
                )
            if change.moves:
                await move(connection, change.id, change.before_id)

    async def delete(self, id: int, *, purge: bool) -> None:
        """With its stored messages, if so asked. Raises NotFound."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await locked(connection)
            await required(connection, id)
            await connection.execute("delete from chatserver.channels where id = $1", id)
            if purge:
                await connection.execute("delete from chatserver.chat_messages where channel_id = $1", id)
            await connection.execute(RENUMBER)


async def locked(connection: Held) -> None:
    """Two who reorder at once would leave doubles behind."""
    await connection.execute("lock table chatserver.channels in share row exclusive mode")


async def required(connection: Held, id: int) -> int:
    place = await connection.fetchval("select sort_order from chatserver.channels where id = $1", id)
    if place is None:
        raise NotFound("There is no such channel.")
    return place


async def move(connection: Held, id: int, before_id: int | None) -> None:
    """Before another channel, or to the end."""
    if before_id is None:
        place = 1 + await connection.fetchval("select max(sort_order) from chatserver.channels")
    else:
        place = await required(connection, before_id)
        await connection.execute(
            "update chatserver.channels set sort_order = sort_order + 1 where sort_order >= $1", place
        )
    await connection.execute("update chatserver.channels set sort_order = $2 where id = $1", id, place)
    await connection.execute(RENUMBER)
