"""No query reads a table that grows from end to end: what PostgreSQL says of each, over many rows."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any, NamedTuple

import asyncpg
import pytest

from chathub.adapters import (
    postgres_activity,
    postgres_bans,
    postgres_channels,
    postgres_ledger,
    postgres_members,
    postgres_messages,
    postgres_moderation,
    postgres_people,
    postgres_purges,
    postgres_search,
)
from tests.servers import chathub

ROWS = 60_000
GROWING = {
    *("amendments", "bans", "channel_members", "chat_messages", "chat_sessions", "dead_letters", "moderation_log"),
    *("private_messages", "users"),
}

FILL = (
    """insert into chatserver.chat_messages
       (stream_epoch, cache_id, owner_id, username, channel_id, channel, message, authored_at)
       select 1, n, 'u' || n % 1000, 'U', 1 + n % 50, 'c', 'word' || n % 5000 || ' and more', now() - n * interval '1 s'
       from generate_series(1, $1) n""",
    """insert into chatserver.private_messages
       (stream_epoch, cache_id, owner_id, username, recipient_id, recipient, message, authored_at)
       select 1, n, 'u' || n % 1000, 'U', 'u' || n % 997, 'U', 'x', now() from generate_series(1, $1) n""",
    """insert into chatserver.bans (owner_id, banished_id, pardoned)
       select 'boss', 'u' || n % 1000, n % 10 > 0 from generate_series(1, $1) n""",
    """insert into chatserver.dead_letters
       (stream_epoch, cache_id, subject, payload, reason, created_at, owner_id, about_epoch, about)
       select 1, n, 's', 'p', 'r', now() - n * interval '1 s', 'u' || n % 1000, 1, n from generate_series(1, $1) n""",
    "insert into chatserver.users (id, username) select 'u' || n, 'U' from generate_series(1, $1) n",
    """insert into chatserver.amendments (target_epoch, target, stream_epoch, cache_id, actor_id, authored_at)
       select 1, n, 1, n, 'u', now() from generate_series(1, $1) n""",
    """insert into chatserver.chat_sessions (id, user_id, username, client_id, start_time, end_time, node)
       select gen_random_uuid(), 'u' || n % 1000, 'U', 'c', at, case when n % 1000 > 0 then at end, 'node' || n % 3
       from generate_series(1, $1) n, lateral (select now() - n * interval '10 min' as at) started""",
    """insert into chatserver.moderation_log (id, at, actor_id, action, subject, details, seal)
       select n, now(), 'u' || n % 1000, 'a' || n % 500, 'u' || n % 1000, '{}', '' from generate_series(1, $1) n""",
    """insert into chatserver.channel_members (channel_id, user_id, added_by)
       select 1, 'u' || n, 'boss' from generate_series(1, $1) n""",
    "insert into chatserver.nodes (id, seen_at) select 'node' || n, now() from generate_series(1, 3) n where $1 > 0",
)
NOTHING: list[list[Any]] = [[] for _ in range(7)]
A_DELETION = [[1], [77], [None]]


class Asked(NamedTuple):
    name: str
    sql: str
    values: tuple[Any, ...]


QUERIES = (
    Asked("recent", postgres_messages.RECENT, (500,)),
    Asked("whispers", postgres_messages.PRIVATE_OF, ("u7", 500)),
    Asked("newest", postgres_search.SEARCH, (None, None, None, 51, 0, *NOTHING, *A_DELETION)),
    Asked("by author", postgres_search.SEARCH, (None, None, "u7", 51, 0, *NOTHING, *A_DELETION)),
    Asked("by word", postgres_search.SEARCH, (None, "word77", None, 51, 0, *NOTHING, *A_DELETION)),
    Asked("of a channel", postgres_search.SEARCH_CHANNELS, ([1], None, None, 51, 0, *NOTHING, *A_DELETION)),
    Asked("one message", postgres_messages.SAID, (77,)),
    Asked("one whisper", postgres_messages.WHISPERED, (77,)),
    Asked("one that was set aside", postgres_messages.BURIED, (77,)),
    Asked("set aside and deleted", postgres_messages.BURN, ([1], [77])),
    Asked("set aside", postgres_messages.UNSTORED, (51, 0)),
    Asked("amended, public", postgres_messages.APPLY.format(table="chat_messages"), ([1], [77])),
    Asked("amended, private", postgres_messages.APPLY.format(table="private_messages"), ([1], [77])),
    Asked("banned", postgres_bans.STANDING, (["u7"],)),
    Asked("bans", postgres_bans.PAGE, (51, 0)),
    Asked("pardon", postgres_bans.PARDON, ("u7", "boss")),
    Asked("rows of a stretch", postgres_ledger.ROWS, (1, 100, 200)),
    Asked("amendments of a stretch", postgres_ledger.AMENDED, (1, 100, 200, [7])),
    Asked("rows by id", postgres_messages.BY_ID, ([7, 8],)),
    Asked("a stretch of a channel", postgres_messages.STRETCH, (7, 1, 30_000, 1000)),
    Asked("deleted before", postgres_messages.DELETED, ([1], [77])),
    Asked("has messages", postgres_channels.EXISTS, (7,)),
    Asked("to be purged", postgres_purges.SAID_IN_ROOMS, ("u7", 500)),
    Asked("to be purged, private", postgres_purges.WHISPERED_BY, ("u7", 500)),
    Asked("to be purged, set aside", postgres_purges.BURIED_OF, ("u7", 500)),
    Asked("purged, set aside", postgres_purges.FORGET, ([1], [77])),
    Asked("sessions", postgres_activity.SESSIONS, (None,)),
    Asked("sessions of a user", postgres_activity.SESSIONS, ("u7",)),
    Asked("sessions of the dead", postgres_activity.END_THOSE_OF_THE_DEAD, ("node1", 10)),
    Asked("a user by name", postgres_people.NAMED, ("u77", 51, 0)),
    Asked("users", postgres_people.NAMED, (None, 51, 0)),
    Asked("members", postgres_members.OF, (1, 51, 0)),
    Asked("last entry", postgres_moderation.LAST, ()),
    Asked("entries", postgres_moderation.PAGE, (None, None, None, 51, 0)),
    Asked("entries of an actor", postgres_moderation.PAGE, ("u7", None, None, 51, 0)),
    Asked("entries on a subject", postgres_moderation.PAGE, (None, "u7", None, 51, 0)),
    Asked("entries of a kind", postgres_moderation.PAGE, (None, None, "a7", 51, 0)),
    Asked("entries in order", postgres_moderation.FOLLOWING, (500, 1000)),
)


@pytest.fixture
async def filled(empty_database_url: str) -> AsyncGenerator[asyncpg.Connection]:
    await asyncio.to_thread(chathub.migrated, empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    try:
        for statement in FILL:
            await connection.execute(statement, ROWS)
        await connection.execute("vacuum analyze")
        yield connection
    finally:
        await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def test_every_query_finds_its_rows_by_an_index(filled: asyncpg.Connection) -> None:
    read_whole: dict[str, str] = {}
    for asked in QUERIES:
        [row] = await filled.fetch(f"explain (format json) {asked.sql}", *asked.values)
        for node in nodes(json.loads(row[0])[0]["Plan"]):
            if node["Node Type"] == "Seq Scan" and node.get("Relation Name") in GROWING:
                read_whole[asked.name] = node["Relation Name"]
    assert read_whole == {}
