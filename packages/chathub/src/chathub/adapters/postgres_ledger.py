"""What PostgreSQL has of a stretch of the log, for the comparison with it."""

from collections.abc import Sequence

import asyncpg

from chathub.adapters.postgres import translated
from chathub.core.reconciliation import Kept, Row

STRETCH = "stream_epoch = $1 and cache_id between $2 and $3"
ROWS = f"""
select cache_id, message from chatserver.chat_messages where {STRETCH}
union all select cache_id, message from chatserver.private_messages where {STRETCH}
"""  # noqa: S608 - a constant
DEAD = f"select cache_id from chatserver.dead_letters where {STRETCH}"  # noqa: S608 - a constant
AMENDED = """
select target, message from chatserver.amendments
where target_epoch = $1 and (target between $2 and $3 or target = any ($4::bigint[]))
"""


class PostgresLedger:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def kept(self, epoch: int, first: int, last: int, targets: Sequence[int]) -> Kept:
        async with (
            translated(),
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            rows = await connection.fetch(ROWS, epoch, first, last)
            dead = await connection.fetch(DEAD, epoch, first, last)
            amended = await connection.fetch(AMENDED, epoch, first, last, targets)
            purged = await connection.fetch("select channel_id from chatserver.purged_channels")
        return Kept(
            rows=[Row(*row) for row in rows],
            dead_letters=frozenset(row[0] for row in dead),
            amended={row[0]: row[1] for row in amended},
            purged_channels=frozenset(row[0] for row in purged),
        )
