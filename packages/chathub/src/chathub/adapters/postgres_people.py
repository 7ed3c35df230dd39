"""Who has been here, who may not be, and for how long they stayed."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from chathub.adapters.postgres import translated
from chathub.core.presence import User
from chathub.record import FinishedSession
from common.core.errors import NotFound

NOTE = """
insert into chatserver.users (id, username) values ($1, $2)
on conflict (id) do update set username = excluded.username, seen_at = now()
"""
BANNED = """
select exists (
    select from chatserver.bans
    where banished_id = $1 and not pardoned and (end_time is null or end_time > now())
)
"""
RECORD = """
insert into chatserver.chat_sessions (id, user_id, username, client_id, start_time, end_time)
select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[])
on conflict do nothing
"""
REMEMBERED = 10_000


class PostgresPeople:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._names: dict[str, str] = {}

    async def note(self, user: User) -> None:
        """Remember under which name a user is known; names come from tokens alone."""
        async with translated():
            await self._pool.execute(NOTE, user.id, user.username)
        self._remember(user.id, user.username)

    async def is_banned(self, user_id: str) -> bool:
        async with translated():
            return await self._pool.fetchval(BANNED, user_id)

    async def username_of(self, user_id: str) -> str:
        """Raises NotFound. Answers for those seen lately also while PostgreSQL is away."""
        if name := self._names.get(user_id):
            return name
        async with translated():
            name = await self._pool.fetchval("select username from chatserver.users where id = $1", user_id)
        if name is None:
            raise NotFound("There is no such user.")
        self._remember(user_id, name)
        return name

    async def record(self, sessions: Sequence[FinishedSession]) -> None:
        rows = [(s.id, s.user.id, s.user.username, s.client_id, s.start_time, s.end_time) for s in sessions]
        async with translated():
            await self._pool.execute(RECORD, *(list(column) for column in zip(*rows, strict=True)))

    def _remember(self, user_id: str, username: str) -> None:
        self._names.pop(user_id, None)
        self._names[user_id] = username
        if len(self._names) > REMEMBERED:
            del self._names[next(iter(self._names))]


async def server_id(pool: asyncpg.Pool) -> UUID:
    async with translated():
        return await pool.fetchval("select id from chatserver.server_instances order by created_at, id limit 1")
