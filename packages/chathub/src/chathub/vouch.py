"""The log, as long as it has not been set back: else what it takes would stand where something else stood before.

Who knows how far it had come: this node, which delivered it, and PostgreSQL, which is asked whenever the log may have
become another, that is after each loss of NATS, and every second besides. What it says then is used as soon as it is
there: the log is followed on while PostgreSQL is silent.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import NamedTuple, Protocol

import structlog

from chathub.ask_aside import AskingAside
from chathub.core.bus_messages import Message, Position
from chathub.core.extent import NOTHING, Extent, end_of, is_set_back, joined, reaching
from chathub.core.recent import Recent
from chathub.core.resume import LogBounds
from chathub.deliver import Arrived, Live
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

ROWS_SECONDS = 2.0
ROWS_EVERY_SECONDS = 1.0
WAY_OUT = "Run `python -m chathub renew-log`, or restore the log as it was."


class LogSetBack(UpstreamUnavailable):
    """The log ends before a place that was given out: it takes nothing until it is made anew."""

    code = "log_set_back"


class Place(NamedTuple):
    """`is_new` unless the log had the message before, under the same id."""

    sequence: int
    is_new: bool


class Log(Protocol):
    """Raises UpstreamUnavailable, all of it but `losses`."""

    @property
    def losses(self) -> int:
        """How often NATS was lost."""
        ...

    def available(self) -> None: ...

    async def append(self, message: Message) -> Place: ...

    async def ensure(self, after: int) -> LogBounds:
        """Make it, with sequences that are higher than `after`, or bring it to its settings."""
        ...

    async def state(self) -> LogBounds: ...

    def following(self) -> AbstractAsyncContextManager[Live]: ...

    def read(self, first: int, last: int) -> AsyncIterator[Arrived]: ...


class Rows(Protocol):
    """Raises UpstreamUnavailable, all of it."""

    async def extent(self) -> Extent:
        """Of what is stored."""
        ...

    async def reach(self, position: Position) -> None:
        """Remember that a log had come so far."""
        ...


class VouchedLog:
    def __init__(self, log: Log, rows: Rows, recent: Recent) -> None:
        self._log = log
        self._rows = rows
        self._recent = recent
        self._known = NOTHING
        self._stored: Extent | None = None
        self._proved_at: int | None = None
        self._fault = ""
        self._proving = asyncio.Lock()
        self._asking = AskingAside(self._learn, every_seconds=ROWS_EVERY_SECONDS)

    async def run(self) -> None:
        await self._asking.run()

    def intact(self) -> None:
        """Raises LogSetBack."""
        if self._fault:
            raise LogSetBack(self._fault)

    def available(self) -> None:
        """Raises LogSetBack, UpstreamUnavailable."""
        self._log.available()
        self.intact()

    async def append(self, message: Message) -> int:
        """The message's sequence, once the log has it for good. Raises LogSetBack, UpstreamUnavailable."""
        self.available()
        await self._prove()
        before = self._delivered()
        place = await self._log.append(message)
        if place.is_new and place.sequence <= before.last.sequence:
            self._refuse_unless_new(await self._log.state(), before)
        return place.sequence

    async def ensure(self) -> LogBounds:
        """Raises LogSetBack, UpstreamUnavailable, as `state` does."""
        losses, extent = self._log.losses, await self._extent(anew=True)
        return await self._judged(await self._log.ensure(extent.highest), extent, losses)

    async def state(self) -> LogBounds:
        """Waits for PostgreSQL only if NATS was lost since the log was last proved."""
        losses = self._log.losses
        extent = await self._extent(anew=self._proved_at != losses)
        return await self._judged(await self._log.state(), extent, losses)

    def following(self) -> AbstractAsyncContextManager[Live]:
        return self._log.following()

    def read(self, first: int, last: int) -> AsyncIterator[Arrived]:
        return self._log.read(first, last)

    async def _prove(self) -> None:
        """Over a connection that is new to this node the log may be another; who comes meanwhile waits."""
        if self._proved_at != self._log.losses:
            async with self._proving:
                if self._proved_at != self._log.losses:
                    await self.state()

    def _delivered(self) -> Extent:
        return reaching(self._known, self._recent.last)

    async def _learn(self) -> None:
        self._stored = await self._rows.extent()

    async def _extent(self, *, anew: bool) -> Extent:
        """As far as is known now, before the log is asked. PostgreSQL may be away, but not from the beginning."""
        if anew:
            with suppress(UpstreamUnavailable):
                await self._asking.anew(ROWS_SECONDS)
        if self._stored is None:
            raise UpstreamUnavailable("PostgreSQL does not say how far the log had come.")
        return joined(self._delivered(), self._stored)

    async def _judged(self, log: LogBounds, extent: Extent, losses: int) -> LogBounds:
        if is_set_back(log, extent):
            self._blame(log, extent)
            if self._stored is None or self._stored.last < extent.last:
                with suppress(UpstreamUnavailable):  # so that the nodes that were behind learn of it
                    await self._rows.reach(extent.last)
            raise LogSetBack(self._fault)
        self._known, self._proved_at, self._fault = reaching(extent, end_of(log)), losses, ""
        return log

    def _refuse_unless_new(self, log: LogBounds, before: Extent) -> None:
        """It has taken a message at a place that was given out; in a log made anew that is another place."""
        if log.epoch == before.last.epoch:
            self._known, self._proved_at = reaching(self._known, before.last), None
            self._blame(log, before)
            raise LogSetBack(self._fault)

    def _blame(self, log: LogBounds, extent: Extent) -> None:
        known = f"{extent.last.epoch}.{extent.last.sequence}"
        fault = f"The chat log was set back: it ends at {log.epoch}.{log.last}, but had come to {known}. {WAY_OUT}"
        if fault != self._fault:
            logger.error("the chat log was set back", ends=log.last, epoch=log.epoch, known=known)
        self._fault = fault
