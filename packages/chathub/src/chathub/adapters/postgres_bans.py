"""Bans in PostgreSQL; one ends by itself, by its time, or by a pardon."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from chathub.adapters.postgres import translated
from chathub.adapters.postgres_moderation import note
from chathub.core.ban import Ban, BanRecord, StandingBan
from chathub.core.moderation import Deed
from common.core.errors import NotFound

BAN = """
insert into chatserver.bans (owner_id, banished_id, reason, end_time)
values ($1, $2, $3, now() + make_interval(hours => $4::int))
returning id
"""
PARDON = """
update chatserver.bans set pardoned = true, pardoned_by = $2, pardoned_at = now()
where not pardoned and banished_id = $1 and (end_time is null or end_time > now())
returning id
"""
PURGE = """
insert into chatserver.purges (owner_id, actor_id) values ($1, $2)
on conflict (owner_id) do update set actor_id = excluded.actor_id, requested_at = now()
"""
RECORDS = """
select b.id, b.owner_id, b.banished_id, coalesce(u.username, b.banished_id) as banished_username, b.reason,
       b.start_time, b.end_time, b.pardoned, b.pardoned_by
from chatserver.bans b left join chatserver.users u on u.id = b.banished_id
"""
PAGE = f"{RECORDS} order by b.id desc limit $1 offset $2"
ONE = f"{RECORDS} where b.id = $1"
STANDING = """
select distinct banished_id from chatserver.bans
where banished_id = any ($1::text[]) and not pardoned and (end_time is null or end_time > now())
"""
TO_TELL = "insert into chatserver.untold (user_id) values ($1) on conflict (user_id) do update set requested_at = now()"
UNTOLD = "select user_id from chatserver.untold order by requested_at limit 1 for update skip locked"
LONGEST = """
select end_time, reason from chatserver.bans
where banished_id = $1 and not pardoned and (end_time is null or end_time > now())
order by end_time desc nulls first limit 1
"""


class PostgresBans:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def ban(self, ban: Ban) -> BanRecord:
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            made = await connection.fetchrow(BAN, ban.actor_id, ban.banished_id, ban.reason, ban.hours)
            assert made is not None  # noqa: S101 - `returning` always does
            if ban.purge:
                await connection.execute(PURGE, ban.banished_id, ban.actor_id)
            await connection.execute(TO_TELL, ban.banished_id)
            row = await connection.fetchrow(ONE, made["id"])
            assert row is not None  # noqa: S101 - it was just made
            await note(connection, banned(made["id"], ban))
            return BanRecord(**row)

    async def pardon(self, ban_id: int, actor_id: str) -> None:
        """All that stand of whom that one concerns, and what is left of a purge. Raises NotFound."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            user_id = await connection.fetchval("select banished_id from chatserver.bans where id = $1", ban_id)
            if user_id is None:
                raise NotFound("There is no such ban.")
            ended = sorted(row[0] for row in await connection.fetch(PARDON, user_id, actor_id))
            await connection.execute("delete from chatserver.purges where owner_id = $1", user_id)
            await connection.execute(TO_TELL, user_id)
            if ended:
                bans = ",".join(str(id) for id in ended)
                await note(connection, Deed(actor_id, "user.pardoned", user_id, {"bans": bans}))

    @asynccontextmanager
    async def untold(self) -> AsyncGenerator[tuple[str, StandingBan | None] | None]:
        """Somebody of whom the others have to be told, and what holds for him now; told if the block raises nothing."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            user_id = await connection.fetchval(UNTOLD)
            if user_id is None:
                yield None
                return
            row = await connection.fetchrow(LONGEST, user_id)
            yield user_id, StandingBan(**row) if row else None
            await connection.execute("delete from chatserver.untold where user_id = $1", user_id)

    async def records(self, limit: int, offset: int) -> Sequence[BanRecord]:
        async with translated():
            return [BanRecord(**row) for row in await self._pool.fetch(PAGE, limit, offset)]

    async def standing(self, user_ids: Sequence[str]) -> Sequence[str]:
        async with translated():
            return [row[0] for row in await self._pool.fetch(STANDING, list(user_ids))]


def banned(id: int, ban: Ban) -> Deed:
    details = {"ban": id, "hours": ban.hours, "reason": ban.reason, "purge": ban.purge}
    return Deed(ban.actor_id, "user.banned", ban.banished_id, details)
