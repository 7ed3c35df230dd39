"""The log and PostgreSQL, compared stretch by stretch so that neither has to fit into memory."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from chathub.core.bus_messages import Amendment, Position, Stored, Unreadable, read_message
from chathub.core.reconciliation import Entry, Findings, Kept, Unread, added, compare
from chathub.core.resume import LogBounds
from chathub.deliver import Arrived

STRETCH = 10_000


class Log(Protocol):
    async def state(self) -> LogBounds: ...

    async def stored_to(self) -> int: ...

    def read(self, first: int, last: int) -> AsyncIterator[Arrived]: ...


class Ledger(Protocol):
    async def kept(self, epoch: int, first: int, last: int, targets: Sequence[int]) -> Kept:
        """`targets` are what the stretch amends, wherever it lies. Raises UpstreamUnavailable."""
        ...


class Reconciling:
    def __init__(self, log: Log, ledger: Ledger) -> None:
        self._log = log
        self._ledger = ledger

    async def run(self) -> Findings:
        """Of what the log holds at this moment. Raises UpstreamUnavailable."""
        stored_to = await self._log.stored_to()
        bounds = await self._log.state()
        found = Findings()
        for first in range(bounds.first, bounds.last + 1, STRETCH):
            last = min(first + STRETCH - 1, bounds.last)
            entries = [entry async for entry in self._entries(bounds.epoch, first, last)]
            kept = await self._ledger.kept(bounds.epoch, first, last, targets_of(entries))
            found = added(found, compare(entries, kept, stored_to=stored_to))
        return found

    async def _entries(self, epoch: int, first: int, last: int) -> AsyncIterator[Entry]:
        async for arrived in self._log.read(first, last):
            position = Position(epoch, arrived.sequence)
            try:
                yield Stored(position, read_message(arrived.data))
            except Unreadable:
                yield Unread(position)


def targets_of(entries: Sequence[Entry]) -> list[int]:
    return [
        entry.message.target for entry in entries if isinstance(entry, Stored) and isinstance(entry.message, Amendment)
    ]
