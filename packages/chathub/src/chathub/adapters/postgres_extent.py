"""Up to where each log was stored: one row for each log there has ever been."""

from collections.abc import Iterable, Sequence

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chathub.adapters.postgres import translated
from chathub.core.bus_messages import Position
from chathub.core.extent import NOTHING, Extent

LAST = "select epoch, last, max(last) over () as highest from chatserver.logs order by epoch desc limit 1"
REACH = """
insert into chatserver.logs (epoch, last) select * from unnest($1::bigint[], $2::bigint[])
on conflict (epoch) do update set last = excluded.last where logs.last < excluded.last
"""


class PostgresExtent:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def extent(self) -> Extent:
        async with translated():
            row = await self._pool.fetchrow(LAST)
        return Extent(Position(row["epoch"], row["last"]), row["highest"]) if row else NOTHING

    async def reach(self, position: Position) -> None:
        async with translated():
            await self._pool.execute(REACH, *lasts([position]))


async def reach(connection: "PoolConnectionProxy[asyncpg.Record]", positions: Sequence[Position]) -> None:
    """Last in a transaction: whoever stores waits here for whoever stored before."""
    await connection.execute(REACH, *lasts(positions))


def lasts(positions: Iterable[Position]) -> tuple[list[int], list[int]]:
    found: dict[int, int] = {}
    for epoch, sequence in positions:
        found[epoch] = max(found.get(epoch, 0), sequence)
    return list(found), list(found.values())
