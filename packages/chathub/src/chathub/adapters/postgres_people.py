"""Who has been here, and under which name."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from chathub.adapters.postgres import translated
from chathub.core.presence import User
from chathub.find_people import Known
from common.core.errors import NotFound

NOTE = """
insert into chatserver.users (id, username) values ($1, $2)
on conflict (id) do update set username = excluded.username, seen_at = now()
"""
NAMED = """
select u.id, u.username,
       exists (select from chatserver.bans b where b.banished_id = u.id and not b.pardoned
               and (b.end_time is null or b.end_time > now())) as is_banned
from chatserver.users u where ($1::text is null or lower(u.username) = lower($1))
order by lower(u.username), u.id limit $2 offset $3
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

    async def named(self, username: str | None, limit: int, offset: int) -> Sequence[Known]:
        async with translated():
            return [Known(**row) for row in await self._pool.fetch(NAMED, username, limit, offset)]

    def _remember(self, user_id: str, username: str) -> None:
        self._names.pop(user_id, None)
        self._names[user_id] = username
        if len(self._names) > REMEMBERED:
            del self._names[next(iter(self._names))]


async def server_id(pool: asyncpg.Pool) -> UUID:
    async with translated():
        return await pool.fetchval("select id from chatserver.server_instances order by created_at, id limit 1")
