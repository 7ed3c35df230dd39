"""Channels in PostgreSQL. Their order is kept dense: 1, 2, 3, ..."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chathub.adapters.postgres import translated
from chathub.adapters.postgres_messages import LOCK
from chathub.adapters.postgres_moderation import note
from chathub.core.channels import Channel
from chathub.core.moderation import Deed, Detail
from chathub.curate import Change, NewChannel
from common.core.errors import Conflict, NotFound
from common.core.subjects import room_in

Held: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

ALL = """
select c.id, c.name, c.description, c.sort_order, c.is_private, c.members_version,
       array(select m.user_id from chatserver.channel_members m where m.channel_id = c.id) as members
from chatserver.channels c order by c.sort_order, c.id
"""
CREATE = """
insert into chatserver.channels (name, description, is_private, sort_order)
select $1, $2, $3, coalesce(max(sort_order), 0) + 1 from chatserver.channels returning id
"""
EXISTS = """
select exists (select from chatserver.channels where id = $1)
    or exists (select from chatserver.chat_messages where channel_id = $1)
"""
FORGET_WORDINGS = """
update chatserver.amendments a set message = null from chatserver.chat_messages m
where m.channel_id = $1 and a.target_epoch = m.stream_epoch and a.target = m.cache_id and a.message is not null
"""
FORGET_LETTERS = "delete from chatserver.dead_letters where subject = $1 or starts_with(subject, $1 || '.')"
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
            return [channel_of(row) for row in await self._pool.fetch(ALL)]

    async def exists(self, id: int) -> bool:
        async with translated():
            return await self._pool.fetchval(EXISTS, id)

    async def create(self, actor_id: str, channel: NewChannel) -> None:
        given = (channel.name, channel.description, channel.is_private)
        async with translated(), named_once(), self._pool.acquire() as connection, connection.transaction():
            id = await connection.fetchval(CREATE, *given)
            details = {"name": channel.name, "private": channel.is_private}
            await note(connection, Deed(actor_id, "channel.created", str(id), details))

    async def change(self, actor_id: str, change: Change) -> None:
        """Raises NotFound for an unknown channel, Conflict for a name that is taken."""
        async with translated(), named_once(), self._pool.acquire() as connection, connection.transaction():
            await locked(connection)
            await required(connection, change.id)
            if change.name is not None:
                await connection.execute(
                    "update chatserver.channels set name = $2 where id = $1", change.id, change.name
                )
            if change.describes:
                await connection.execute(
                    "update chatserver.channels set description = $2 where id = $1", change.id, change.description
                )
            if change.moves:
                await move(connection, change.id, change.before_id)
            await note(connection, Deed(actor_id, "channel.changed", str(change.id), told(change)))

    async def delete(self, actor_id: str, id: int, *, purge: bool) -> None:
        """With its stored messages, if so asked. Raises NotFound."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await locked(connection)
            await required(connection, id)
            await connection.execute("delete from chatserver.channels where id = $1", id)
            if purge:
                await empty_for_good(connection, id)
            await connection.execute(RENUMBER)
            await note(connection, Deed(actor_id, "channel.deleted", str(id), {"purge": purge}))


@asynccontextmanager
async def named_once() -> AsyncGenerator[None]:
    """Raises Conflict for a name that is taken."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise Conflict("There is a channel of that name.") from error


def channel_of(row: asyncpg.Record) -> Channel:
    return Channel(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        sort_order=row["sort_order"],
        members=frozenset(row["members"]) if row["is_private"] else None,
        members_version=row["members_version"],
    )


def told(change: Change) -> dict[str, Detail]:
    """What was changed, for the moderation log."""
    named: dict[str, Detail] = {} if change.name is None else {"name": change.name}
    described: dict[str, Detail] = {"description": change.description} if change.describes else {}
    moved: dict[str, Detail] = {"before": change.before_id} if change.moves else {}
    return {**named, **described, **moved}


async def empty_for_good(connection: Held, id: int) -> None:
    """Also of messages that somebody is about to store: it is remembered that the channel is empty for good."""
    await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
    await connection.execute(
        "insert into chatserver.purged_channels (channel_id) values ($1) on conflict do nothing", id
    )
    await connection.execute(FORGET_WORDINGS, id)
    await connection.execute("delete from chatserver.chat_messages where channel_id = $1", id)
    await connection.execute(FORGET_LETTERS, room_in(str(id)))


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
