"""Messages as they stand, wherever they are kept: in the log while that has them, else in PostgreSQL."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from chathub.core.bus_messages import Position, Stored, Unreadable, read_message
from chathub.core.recent import Recent
from chathub.deliver import Arrived
from common.core.errors import UpstreamUnavailable

ASK_SECONDS = 1.0
MOST = 20_000
"""Entries of the log that are read for one answer while they are not stored: PostgreSQL was away for long."""


class Shelf(Protocol):
    async def at(self, sequence: int) -> Stored | None:
        """Raises UpstreamUnavailable."""
        ...


class Rows(Protocol):
    async def said(self, cache_id: int) -> Stored | None:
        """Raises UpstreamUnavailable."""
        ...


class LookUp:
    def __init__(self, log: Shelf, rows: Rows, recent: Recent) -> None:
        self._log = log
        self._rows = rows
        self._recent = recent

    async def said(self, cache_id: int) -> Stored | None:
        """Both may still have what was deleted, while PostgreSQL is away."""
        found = await self._log.at(cache_id) or await self._rows.said(cache_id)
        return None if found and self._recent.is_deleted(found.position) else found


class Log(Protocol):
    """Raises UpstreamUnavailable, all of it."""

    async def stored_to(self) -> int: ...

    def read(self, first: int, last: int) -> AsyncIterator[Arrived]: ...


class Unsaved:
    def __init__(self, log: Log, recent: Recent) -> None:
        self._log = log
        self._recent = recent

    async def entries(self) -> Sequence[Stored]:
        """Whatever the log has that may not be stored yet, in order; without the log what this node remembers of it."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                stored_to = await self._log.stored_to()
                last = self._recent.last
                since = self._recent.since(Position(last.epoch, min(stored_to, last.sequence)))
                return since if since is not None else await self._read(stored_to, last)
        except (TimeoutError, UpstreamUnavailable):
            return self._recent.remembered()

    async def _read(self, stored_to: int, last: Position) -> Sequence[Stored]:
        found: deque[Stored] = deque(maxlen=MOST)
        first = max(stored_to + 1, last.sequence + 1 - MOST)
        async for arrived in self._log.read(first, last.sequence):
            try:
                found.append(Stored(Position(last.epoch, arrived.sequence), read_message(arrived.data)))
            except Unreadable:
                continue
        return list(found)
