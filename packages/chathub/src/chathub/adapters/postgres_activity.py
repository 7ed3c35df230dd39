"""Who was here for how long, and how much was said where; and the nodes whose sessions these are."""

from collections.abc import Sequence

import asyncpg

from chathub.adapters.postgres import translated
from chathub.core.activity import ChannelCount, DayOfSessions
from chathub.record import SessionRecord

RECORD = """
insert into chatserver.chat_sessions (id, user_id, username, client_id, start_time, end_time, node)
select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[])
on conflict (id) do update set end_time = excluded.end_time where excluded.end_time is not null
"""
BEAT = """
insert into chatserver.nodes (id, seen_at) values ($1, clock_timestamp())
on conflict (id) do update set seen_at = excluded.seen_at
"""
END_THOSE_OF_THE_DEAD = """
with dead as (
    delete from chatserver.nodes where id <> $1 and seen_at < clock_timestamp() - make_interval(secs => $2::float8)
    returning id, seen_at
)
update chatserver.chat_sessions s set end_time = greatest(d.seen_at, s.start_time)
from dead d where s.node = d.id and s.end_time is null
"""
SESSIONS = """
select to_char(s.start_time at time zone 'UTC', 'YYYY-MM-DD') as session_date, count(*) as session_count,
       sum(greatest(coalesce(s.end_time, n.seen_at, s.start_time), s.start_time) - s.start_time)::text
           as total_duration
from chatserver.chat_sessions s left join chatserver.nodes n on s.end_time is null and n.id = s.node
where s.start_time >= now() - interval '7 days' and ($1::text is null or s.user_id = $1)
group by 1 order by 1
"""
COUNTS = """
select coalesce(c.name, m.name) as channel, sum(m.messages)::bigint as message_count
from (select channel_id, count(*) as messages, max(channel) as name
      from chatserver.chat_messages group by channel_id) m
left join chatserver.channels c on c.id = m.channel_id
group by 1 order by 2 desc, 1
"""


class PostgresActivity:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def record(self, sessions: Sequence[SessionRecord]) -> None:
        rows = [(s.id, s.user.id, s.user.username, s.client_id, s.start_time, s.end_time, s.node) for s in sessions]
        async with translated():
            await self._pool.execute(RECORD, *(list(column) for column in zip(*rows, strict=True)))

    async def beat(self, node: str) -> None:
        async with translated():
            await self._pool.execute(BEAT, node)

    async def end_those_of_the_dead(self, node: str, silent_seconds: float) -> None:
        async with translated():
            await self._pool.execute(END_THOSE_OF_THE_DEAD, node, silent_seconds)

    async def sessions(self, user_id: str | None) -> Sequence[DayOfSessions]:
        async with translated():
            return [DayOfSessions(**row) for row in await self._pool.fetch(SESSIONS, user_id)]

    async def counts(self) -> Sequence[ChannelCount]:
        async with translated():
            return [ChannelCount(**row) for row in await self._pool.fetch(COUNTS)]
