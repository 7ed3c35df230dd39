"""A log that was set back, made anew: its sequences go on behind all that were given out, under a new epoch."""

from typing import Protocol

from chathub.core.extent import Extent, is_set_back
from chathub.core.resume import LogBounds
from common.core.errors import Conflict


class Log(Protocol):
    """Raises UpstreamUnavailable, all of it."""

    async def state(self) -> LogBounds: ...

    async def stored_to(self) -> int: ...

    async def delete(self) -> None: ...


class Rows(Protocol):
    async def extent(self) -> Extent: ...


class Renewing:
    def __init__(self, log: Log, rows: Rows) -> None:
        self._log = log
        self._rows = rows

    async def run(self) -> LogBounds:
        """What the log was that is gone now; the next node to look makes another.

        Raises Conflict where nothing is wrong with it, or PostgreSQL has not all that it holds; UpstreamUnavailable.
        """
        extent, log = await self._rows.extent(), await self._log.state()
        if not is_set_back(log, extent):
            raise Conflict("The log was not set back: it is left as it is.")
        if await self._log.stored_to() < log.last:
            raise Conflict("Not all that the log holds is stored: try again once a node has run for a while.")
        await self._log.delete()
        return log
