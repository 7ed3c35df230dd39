"""What this node remembers of the public messages, written to Valkey a few times a second, for nodes that begin.

All nodes do so, and whoever comes first has done it for the others. Nothing waits for it, and losing it loses nothing.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from chathub.core.bus_messages import Position, Stored
from chathub.core.hub import Hub
from chathub.core.mirrored import CLEAR, WHOLE, Mirrored, Step, steps
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

TICK_SECONDS = 0.2
RETRY_SECONDS = 1.0


class Mirror(Protocol):
    """Each raises UpstreamUnavailable."""

    async def upto(self, epoch: int) -> int | None:
        """Up to where it is complete; None if there is nothing of that log."""
        ...

    async def append(self, after: Position, upto: int, changes: Sequence[Step]) -> None:
        """Changes nothing unless it is complete up to `after`, and no further."""
        ...

    async def begin(self, upto: Position, changes: Sequence[Step]) -> None:
        """Changes nothing if there is something of that log."""
        ...

    async def forget(self, epoch: int, channel_id: int) -> None: ...

    async def read(self, epoch: int) -> Mirrored | None: ...


class Rows(Protocol):
    async def recent(self) -> Sequence[Stored]:
        """The last messages of channels in PostgreSQL, oldest first. Raises UpstreamUnavailable."""
        ...


class MirrorRecent:
    def __init__(self, hub: Hub, mirror: Mirror) -> None:
        self._recent = hub.recent
        self._channels = hub.channels
        self._mirror = mirror
        self._written = Position(0, 0)
        self._there: set[int] = set()
        self._gone: set[int] = set()

    async def run(self) -> None:
        while True:
            try:
                await self._catch_up()
                await self._forget_channels()
                await asyncio.sleep(TICK_SECONDS)
            except UpstreamUnavailable as error:
                logger.debug("recent messages not mirrored", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _catch_up(self) -> None:
        last = self._recent.last
        if not last.epoch or last == self._written:
            return
        upto = await self._mirror.upto(last.epoch)
        if upto is None:
            await self._mirror.begin(last, self._anew())
        elif upto < last.sequence:
            await self._append(Position(last.epoch, upto), last)
        self._written = last

    async def _append(self, after: Position, last: Position) -> None:
        """Where not all that is missing there is remembered here, what is there is of no use: something may have been
        deleted since."""
        entries = self._recent.since(after)
        if entries is None:
            await self._mirror.append(after, last.sequence, self._anew())
        else:
            await self._mirror.append(after, last.sequence, self._changes(entries))

    def _anew(self) -> list[Step]:
        return [CLEAR, *self._changes(self._recent.latest()), *([WHOLE] if self._recent.is_of_one_log() else [])]

    def _changes(self, entries: Sequence[Stored]) -> list[Step]:
        return [one for one in steps(entries) if one.channel_id not in self._gone]

    async def _forget_channels(self) -> None:
        """Every node does, behind whatever it has written itself: nothing of a deleted channel is left."""
        there = {channel.id for channel in self._channels.listed}
        for channel_id in self._there - there:
            self._gone.add(channel_id)
            await self._mirror.forget(self._written.epoch, channel_id)
        self._there = there


class RecentHistory:
    """From Valkey if that has all, so that nodes that begin at once do not ask PostgreSQL; else from there."""

    def __init__(self, mirror: Mirror, rows: Rows) -> None:
        self._mirror = mirror
        self._rows = rows

    async def before(self, at: Position) -> Sequence[Stored]:
        """The last public messages before a place in the log, oldest first. Raises UpstreamUnavailable."""
        try:
            mirrored = await self._mirror.read(at.epoch)
        except UpstreamUnavailable:
            mirrored = None
        if mirrored is not None and mirrored.is_whole and mirrored.upto >= at.sequence - 1:
            return [stored for stored in mirrored.messages if stored.position < at]
        return await self._rows.recent()
