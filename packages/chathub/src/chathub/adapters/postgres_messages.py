"""Messages in PostgreSQL. A message's identity is its position in the log, so storing it twice is harmless."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chathub.adapters.postgres import translated
from chathub.adapters.postgres_extent import reach
from chathub.adapters.postgres_moderation import note
from chathub.core.bus_messages import (
    Amendment,
    DirectMessage,
    Position,
    RoomMessage,
    Stored,
    amends,
    is_of_purge,
    prevailing,
    read_traces,
    said_at,
)
from chathub.core.moderation import Deed
from chathub.core.recent import PRIVATE, PUBLIC
from chathub.persist import DeadLetter, Unstored

LOCK = 0x706F636B65743032
"""Of PostgreSQL's advisory locks, the one between storing messages (shared) and amending them (alone)."""

STORE_PUBLIC = """
insert into chatserver.chat_messages
    (stream_epoch, cache_id, client_msg_id, owner_id, username, channel_id, channel, message, authored_at,
     members_version)
select m.stream_epoch, m.cache_id, m.client_msg_id, m.owner_id, m.username, m.channel_id, m.channel,
       coalesce(a.message, m.message), m.authored_at, m.members_version
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
            $8::text[], $9::timestamptz[], $10::bigint[])
     m (stream_epoch, cache_id, client_msg_id, owner_id, username, channel_id, channel, message, authored_at,
        members_version)
left join chatserver.amendments a on a.target_epoch = m.stream_epoch and a.target = m.cache_id
where (a.target is null or a.message is not null)
  and not exists (select from chatserver.purged_channels p where p.channel_id = m.channel_id)
on conflict (stream_epoch, cache_id) do nothing
"""
STORE_PRIVATE = """
insert into chatserver.private_messages
    (stream_epoch, cache_id, client_msg_id, owner_id, username, recipient_id, recipient, message, authored_at)
select m.stream_epoch, m.cache_id, m.client_msg_id, m.owner_id, m.username, m.recipient_id, m.recipient,
       coalesce(a.message, m.message), m.authored_at
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::timestamptz[])
     m (stream_epoch, cache_id, client_msg_id, owner_id, username, recipient_id, recipient, message, authored_at)
left join chatserver.amendments a on a.target_epoch = m.stream_epoch and a.target = m.cache_id
where a.target is null or a.message is not null
on conflict (stream_epoch, cache_id) do nothing
"""
AMEND = """
insert into chatserver.amendments (target_epoch, target, stream_epoch, cache_id, actor_id, message, authored_at)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[])
on conflict (target_epoch, target) do update
set stream_epoch = excluded.stream_epoch, cache_id = excluded.cache_id, actor_id = excluded.actor_id,
    message = excluded.message, authored_at = excluded.authored_at
where amendments.message is not null
  and (excluded.message is null
       or (excluded.stream_epoch, excluded.cache_id) > (amendments.stream_epoch, amendments.cache_id))
"""
APPLY = """
with wanted as (
    select a.target_epoch, a.target, a.message from chatserver.amendments a
    join unnest($1::bigint[], $2::bigint[]) t (epoch, target) on a.target_epoch = t.epoch and a.target = t.target
), gone as (
    delete from chatserver.{table} m using wanted w
    where m.stream_epoch = w.target_epoch and m.cache_id = w.target and w.message is null
)
update chatserver.{table} m set message = w.message from wanted w
where m.stream_epoch = w.target_epoch and m.cache_id = w.target and w.message is not null
"""
BY_ID = "select * from chatserver.chat_messages where id = any ($1::bigint[])"
STRETCH = """
select * from chatserver.chat_messages
where channel_id = $1 and (stream_epoch, cache_id) > ($2, $3) order by stream_epoch, cache_id limit $4
"""
DELETED = """
select target_epoch, target from chatserver.amendments
where (target_epoch, target) in (select * from unnest($1::bigint[], $2::bigint[])) and message is null
"""
SAID = """
select * from chatserver.chat_messages where cache_id = $1 order by stream_epoch desc limit 1
"""
WHISPERED = """
select * from chatserver.private_messages where cache_id = $1 order by stream_epoch desc limit 1
"""
BURIED = """
select * from chatserver.dead_letters where cache_id = $1 order by stream_epoch desc limit 1
"""
BURY = """
insert into chatserver.dead_letters
    (stream_epoch, cache_id, subject, payload, reason, owner_id, about_epoch, about)
select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bigint[],
                     $8::bigint[])
     l (stream_epoch, cache_id, subject, payload, reason, owner_id, about_epoch, about)
where not exists (select from chatserver.amendments a
                  where a.target_epoch = l.about_epoch and a.target = l.about and a.message is null)
on conflict do nothing
"""
BURN = """
delete from chatserver.dead_letters d
using unnest($1::bigint[], $2::bigint[]) t (epoch, target), chatserver.amendments a
where d.about_epoch = t.epoch and d.about = t.target
  and a.target_epoch = t.epoch and a.target = t.target and a.message is null
"""
UNSTORED = """
select cache_id, subject, payload, reason, created_at from chatserver.dead_letters
order by created_at desc, cache_id desc limit $1 offset $2
"""
RECENT = """
(select * from chatserver.chat_messages where members_version is null
 order by stream_epoch desc, cache_id desc limit $1)
union all
(select * from chatserver.chat_messages where members_version is not null
 order by stream_epoch desc, cache_id desc limit $1)
order by stream_epoch desc, cache_id desc
"""
PRIVATE_OF = """
(select * from chatserver.private_messages where owner_id = $1 order by stream_epoch desc, cache_id desc limit $2)
union
(select * from chatserver.private_messages where recipient_id = $1 order by stream_epoch desc, cache_id desc limit $2)
order by stream_epoch desc, cache_id desc limit $2
"""


class PostgresMessages:
    def __init__(self, pool: asyncpg.Pool, *, recent: int = PUBLIC) -> None:
        """`recent` is how many public messages count as such."""
        self._pool = pool
        self._recent = recent

    async def store(self, messages: Sequence[Stored]) -> None:
        """All or none. Raises Unstorable or UpstreamUnavailable."""
        public = [room_row(stored.position, m) for stored in messages if isinstance(m := stored.message, RoomMessage)]
        private = [
            direct_row(stored.position, m) for stored in messages if isinstance(m := stored.message, DirectMessage)
        ]
        amending = amendment_rows(messages)
        lock = "pg_advisory_xact_lock" if amending else "pg_advisory_xact_lock_shared"
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute(f"select {lock}($1)", LOCK)
            if public:
                await connection.execute(STORE_PUBLIC, *columns(public))
            if private:
                await connection.execute(STORE_PRIVATE, *columns(private))
            if amending:
                deeds = await moderated(connection, messages)
                await connection.execute(AMEND, *columns(amending))
                for table in ("chat_messages", "private_messages"):
                    await connection.execute(APPLY.format(table=table), *columns(amending)[:2])
                await connection.execute(BURN, *columns(amending)[:2])
                await note(connection, *deeds)
            await reach(connection, [stored.position for stored in messages])

    async def said(self, cache_id: int) -> Stored | None:
        async with translated():
            if row := await self._pool.fetchrow(SAID, cache_id):
                return room_message(row)
            if row := await self._pool.fetchrow(WHISPERED, cache_id):
                return direct_message(row)
            row = await self._pool.fetchrow(BURIED, cache_id)
            return buried_message(row) if row else None

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Those that speak of a deleted message are dropped."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute("select pg_advisory_xact_lock_shared($1)", LOCK)
            await connection.execute(BURY, *columns([letter_row(letter) for letter in letters]))
            await reach(connection, [letter.pending.position for letter in letters])

    async def unstored(self, limit: int, offset: int) -> Sequence[Unstored]:
        async with translated():
            rows = await self._pool.fetch(UNSTORED, limit, offset)
        return [Unstored(**{**row, "payload": row["payload"].decode("utf-8", "replace")}) for row in rows]

    async def recent(self) -> Sequence[Stored]:
        async with translated():
            rows = await self._pool.fetch(RECENT, self._recent)
        return [room_message(row) for row in reversed(rows)]

    async def private_of(self, user_id: str) -> Sequence[Stored]:
        """A user's last whispers, sent and received."""
        async with translated():
            rows = await self._pool.fetch(PRIVATE_OF, user_id, PRIVATE)
        return [direct_message(row) for row in reversed(rows)]

    async def room_messages(self, ids: Sequence[int]) -> Sequence[Stored]:
        async with translated():
            return [room_message(row) for row in await self._pool.fetch(BY_ID, list(ids))]

    async def stretch(self, channel_id: int, after: Position, limit: int) -> Sequence[Stored]:
        """Of one channel, in the order of the log."""
        async with translated():
            return [room_message(row) for row in await self._pool.fetch(STRETCH, channel_id, *after, limit)]


async def moderated(connection: "PoolConnectionProxy[asyncpg.Record]", messages: Sequence[Stored]) -> list[Deed]:
    """Deletions of what others said, each once, however often it is handed out to be stored."""
    found = {
        amends(message): message
        for _, message in messages
        if isinstance(message, Amendment) and message.message is None and message.actor_id != message.owner_id
    }
    if not found:
        return []
    known = {Position(*row) for row in await connection.fetch(DELETED, *columns(list(found)))}
    return [
        Deed(amendment.actor_id, "message.deleted", str(target.sequence), {"owner": amendment.owner_id})
        for target, amendment in found.items()
        if target not in known and not is_of_purge(amendment)
    ]


def amendment_rows(messages: Sequence[Stored]) -> list[tuple[Any, ...]]:
    """One for each target: PostgreSQL takes no two changes of one row in one statement."""
    last: dict[Position, tuple[Position, Amendment]] = {}
    for position, message in messages:
        if isinstance(message, Amendment):
            target = amends(message)
            earlier = last.get(target)
            if earlier is None or prevailing(earlier[1], message) is message:
                last[target] = (position, message)
    return [
        (*target, *position, amendment.actor_id, amendment.message, amendment.authored_at)
        for target, (position, amendment) in last.items()
    ]


def columns(rows: Sequence[tuple[Any, ...]], width: int = 0) -> list[list[Any]]:
    """`width` is how many columns there are of no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


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
        message.members_version,
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


def letter_row(letter: DeadLetter) -> tuple[Any, ...]:
    pending, traces = letter.pending, read_traces(letter.pending.data)
    about = traces.about(pending.position)
    return (*pending.position, pending.subject, pending.data, letter.reason, traces.owner_id, *about)


def room_message(row: asyncpg.Record) -> Stored:
    message = RoomMessage(
        owner_id=row["owner_id"],
        username=row["username"],
        channel_id=row["channel_id"],
        channel=row["channel"],
        message=row["message"],
        authored_at=row["authored_at"],
        client_msg_id=row["client_msg_id"],
        members_version=row["members_version"],
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


def buried_message(row: asyncpg.Record) -> Stored | None:
    """None for what is no message."""
    return said_at(Position(row["stream_epoch"], row["cache_id"]), row["subject"], row["payload"])
