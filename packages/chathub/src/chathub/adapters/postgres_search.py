"""Search and export: what PostgreSQL has, made up to date with what it does not have yet."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from chathub.adapters.postgres import translated
from chathub.adapters.postgres_messages import columns
from chathub.core.bus_messages import Amendment, RoomMessage, Stored
from chathub.search import Found, Query, Unstored

UNSAVED = """
unnest($6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[])
    u (stream_epoch, cache_id, owner_id, username, channel, message, authored_at)
"""
AMENDED = "unnest($13::bigint[], $14::bigint[], $15::text[]) a (epoch, target, message)"
FIELDS = """
m.id, m.cache_id, m.owner_id, m.username, coalesce(c.name, m.channel) as channel,
"""
ANYWHERE = "$1::bigint[] is null"
IN_CHANNELS = "m.channel_id = any ($1::bigint[])"

# Three kinds: rows as they are, rows that were edited a moment ago, and messages that are no rows yet.
SEARCH = f"""
select id, cache_id, owner_id, username, channel, message, authored_at from (
    (select {FIELDS} m.message, m.authored_at
     from chatserver.chat_messages m left join chatserver.channels c on c.id = m.channel_id
     where {ANYWHERE}
       and ($2::text is null or m.words @@ plainto_tsquery('english', $2))
       and ($3::text is null or m.owner_id = $3)
       and not exists (select from {AMENDED} where a.epoch = m.stream_epoch and a.target = m.cache_id)
     order by m.authored_at desc, m.id desc limit $4::bigint + $5::bigint)
    union all
    (select {FIELDS} a.message, m.authored_at
     from {AMENDED} join chatserver.chat_messages m on m.stream_epoch = a.epoch and m.cache_id = a.target
     left join chatserver.channels c on c.id = m.channel_id
     where a.message is not null and {ANYWHERE}
       and ($2::text is null or to_tsvector('english', a.message) @@ plainto_tsquery('english', $2))
       and ($3::text is null or m.owner_id = $3))
    union all
    (select -u.cache_id, u.cache_id, u.owner_id, u.username, u.channel, u.message, u.authored_at
     from {UNSAVED}
     where ($2::text is null or to_tsvector('english', u.message) @@ plainto_tsquery('english', $2))
       and not exists (select from chatserver.chat_messages m
                       where m.stream_epoch = u.stream_epoch and m.cache_id = u.cache_id)
       and not exists (select from chatserver.amendments d
                       where d.target_epoch = u.stream_epoch and d.target = u.cache_id and d.message is null))
) found
order by authored_at desc, id desc limit $4 offset $5
"""  # noqa: S608 - constants
SEARCH_CHANNELS = SEARCH.replace(ANYWHERE, IN_CHANNELS)


class PostgresSearch:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def search(self, query: Query, channel_ids: Sequence[int] | None, unstored: Unstored) -> Sequence[Found]:
        """Newest first; one more than the limit where there are more."""
        sql = SEARCH if channel_ids is None else SEARCH_CHANNELS
        asked = (channel_ids, query.keyword, query.user_id, query.limit + 1, query.offset)
        unsaved = columns([row for stored in unstored.messages if (row := unsaved_row(stored))], 7)
        amended = columns([amended_row(amendment) for amendment in unstored.amendments], 3)
        async with translated():
            return [Found(**row) for row in await self._pool.fetch(sql, *asked, *unsaved, *amended)]


def unsaved_row(stored: Stored) -> tuple[Any, ...] | None:
    position, message = stored
    if not isinstance(message, RoomMessage):
        return None
    return (*position, message.owner_id, message.username, message.channel, message.message, message.authored_at)


def amended_row(amendment: Amendment) -> tuple[Any, ...]:
    return (amendment.target_epoch, amendment.target, amendment.message)
