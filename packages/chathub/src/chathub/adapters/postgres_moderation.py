"""The moderation log in PostgreSQL. An entry is written in the transaction of the deed: neither is there alone."""

import json
from collections.abc import Sequence

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from chathub.adapters.postgres import translated
from chathub.core.moderation import UNSEALED, Deed, Entry, sealed
from chathub.look_back import Asked, Shown

logger = structlog.get_logger(__name__)

LOCK = 0x706F636B65743033
"""Of PostgreSQL's advisory locks, the one of whoever writes the next entry; always taken last."""

LAST = """
select clock_timestamp() as at, last.id, last.seal
from (select 1) one left join
     (select id, seal from chatserver.moderation_log order by id desc limit 1) last on true
"""
NOTE = """
insert into chatserver.moderation_log (id, at, actor_id, action, subject, details, seal)
values ($1, $2, $3, $4, $5, $6, $7)
"""
FIELDS = "m.id, m.at, m.actor_id, m.action, m.subject, m.details, m.seal"
PAGE = f"""
select {FIELDS}, coalesce(u.username, m.actor_id) as actor_username
from chatserver.moderation_log m left join chatserver.users u on u.id = m.actor_id
where ($1::text is null or m.actor_id = $1) and ($2::text is null or m.subject = $2)
  and ($3::text is null or m.action = $3)
order by m.id desc limit $4 offset $5
"""  # noqa: S608 - a constant
FOLLOWING = f"""
select {FIELDS} from chatserver.moderation_log m where m.id > $1 order by m.id limit $2
"""  # noqa: S608 - a constant


async def note(connection: "PoolConnectionProxy[asyncpg.Record]", *deeds: Deed) -> None:
    """In the caller's transaction, as its last step."""
    if not deeds:
        return
    await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
    last = await connection.fetchrow(LAST)
    assert last is not None  # noqa: S101 - there is always one row
    id, seal = last["id"] or 0, last["seal"] or UNSEALED
    entries: list[Entry] = []
    for deed in deeds:
        id += 1
        entries.append(sealed(seal, id, last["at"], deed))
        seal = entries[-1].seal
    await connection.executemany(NOTE, [row_of(entry) for entry in entries])
    logger.info("moderated", entry=id, seal=seal.hex(), action=deeds[-1].action)


def row_of(entry: Entry) -> tuple[object, ...]:
    deed = entry.deed
    details = json.dumps(dict(deed.details))
    return (entry.id, entry.at, deed.actor_id, deed.action, deed.subject, details, entry.seal)


def entry_of(row: asyncpg.Record) -> Entry:
    deed = Deed(row["actor_id"], row["action"], row["subject"], json.loads(row["details"]))
    return Entry(row["id"], row["at"], deed, row["seal"])


class PostgresModeration:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def page(self, asked: Asked) -> Sequence[Shown]:
        """Newest first; one more than the limit where there are more."""
        of = (asked.actor_id, asked.subject, asked.action)
        async with translated():
            rows = await self._pool.fetch(PAGE, *of, asked.limit + 1, asked.offset)
        return [Shown(entry_of(row), row["actor_username"]) for row in rows]

    async def following(self, id: int, limit: int) -> Sequence[Entry]:
        async with translated():
            return [entry_of(row) for row in await self._pool.fetch(FOLLOWING, id, limit)]

    async def note(self, deed: Deed) -> None:
        """A deed that changes nothing here."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await note(connection, deed)
