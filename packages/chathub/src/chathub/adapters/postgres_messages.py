"""Messages in PostgreSQL. A message's identity is its position in the log, so storing it twice is harmless."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from chathub.adapters.postgres import translated
from chathub.core.bus_messages import DirectMessage, Position, RoomMessage, Stored
from chathub.core.recent import PRIVATE, PUBLIC
from chathub.persist import DeadLetter
from chathub.search import Found, Query

STORE_PUBLIC = """
insert into chatserver.chat_messages
    (stream_epoch, cache_id, client_msg_id, owner_id, username, channel_id, channel, message, authored_at)
select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                     $8::text[], $9::timestamptz[])
on conflict do nothing
"""
STORE_PRIVATE = """
insert into chatserver.private_messages
    (stream_epoch, cache_id, client_msg_id, owner_id, username, recipient_id, recipient, message, authored_at)
select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::text[], $9::timestamptz[])
on conflict do nothing
"""
BURY = """
insert into chatserver.dead_letters (stream_epoch, cache_id, subject, payload, reason)
select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::text[])
on conflict do nothing
"""
RECENT = """
select * from chatserver.chat_messages order by stream_epoch desc, cache_id desc limit $1
"""
PRIVATE_OF = """
(select * from chatserver.private_messages where owner_id = $1 order by stream_epoch desc, cache_id desc limit $2)
union
(select * from chatserver.private_messages where recipient_id = $1 order by stream_epoch desc, cache_id desc limit $2)
order by stream_epoch desc, cache_id desc limit $2
"""
SEARCH = """
select m.id, m.owner_id, m.username, coalesce(c.name, m.channel) as channel, m.message, m.authored_at
from chatserver.chat_messages m left join chatserver.channels c on c.id = m.channel_id
where ($1::text[] is null or coalesce(c.name, m.channel) = any ($1))
  and ($2::text is null or m.words @@ plainto_tsquery('english', $2))
  and ($3::text is null or m.owner_id = $3)
order by m.authored_at desc, m.id desc
limit $4 offset $5
"""
SEARCH_CHANNELS = SEARCH.replace(
    "($1::text[] is null or coalesce(c.name, m.channel) = any ($1))",
    "m.channel_id = any (array(select id from chatserver.channels where name = any ($1::text[])))",
)


class PostgresMessages:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def store(self, messages: Sequence[Stored]) -> None:
        """All or none. Raises Unstorable or UpstreamUnavailable."""
        public = [room_row(stored.position, m) for stored in messages if isinstance(m := stored.message, RoomMessage)]
        private = [
            direct_row(stored.position, m) for stored in messages if isinstance(m := stored.message, DirectMessage)
        ]
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            if public:
                await connection.execute(STORE_PUBLIC, *columns(public))
            if private:
                await connection.execute(STORE_PRIVATE, *columns(private))

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        rows = [
            (*letter.pending.position, letter.pending.subject, letter.pending.data, letter.reason) for letter in letters
        ]
        async with translated():
            await self._pool.execute(BURY, *columns(rows))

    async def recent(self) -> Sequence[Stored]:
        async with translated():
            rows = await self._pool.fetch(RECENT, PUBLIC)
        return [room_message(row) for row in reversed(rows)]

    async def private_of(self, user_id: str) -> Sequence[Stored]:
        """A user's last whispers, sent and received."""
        async with translated():
            rows = await self._pool.fetch(PRIVATE_OF, user_id, PRIVATE)
        return [direct_message(row) for row in reversed(rows)]

    async def search(self, query: Query) -> Sequence[Found]:
        """Newest first; one more than the limit where there are more."""
        sql = SEARCH_CHANNELS if query.channels else SEARCH
        async with translated():
            rows = await self._pool.fetch(
                sql, query.channels or None, query.keyword, query.user_id, query.limit + 1, query.offset
            )
        return [Found(**row) for row in rows]


def columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def room_row(position: Position, message: RoomMessage) -> tuple[Any, ...]:
    return (
        *position,
        message.client_msg_id,
        message.owner_id,
        message.username,
        message.channel_id,
        message.channel,
        message.message,
        message.authored_at,
    )


def direct_row(position: Position, message: DirectMessage) -> tuple[Any, ...]:
    return (
        *position,
        message.client_msg_id,
        message.owner_id,
        message.username,
        message.recipient_id,
        message.recipient,
        message.message,
        message.authored_at,
    )


def room_message(row: asyncpg.Record) -> Stored:
    message = RoomMessage(
        owner_id=row["owner_id"],
        username=row["username"],
        channel_id=row["channel_id"],
        channel=row["channel"],
        message=row["message"],
        authored_at=row["authored_at"],
        client_msg_id=row["client_msg_id"],
    )
    return Stored(Position(row["stream_epoch"], row["cache_id"]), message)


def direct_message(row: asyncpg.Record) -> Stored:
    message = DirectMessage(
        owner_id=row["owner_id"],
        username=row["username"],
        recipient_id=row["recipient_id"],
        recipient=row["recipient"],
        message=row["message"],
        authored_at=row["authored_at"],
        client_msg_id=row["client_msg_id"],
    )
    return Stored(Position(row["stream_epoch"], row["cache_id"]), message)
