"""What a client missed that comes back, on whichever node: read from the log, or told that it cannot be."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from chathub.core.allowance import Allowance
from chathub.core.bus_messages import Position, Stored, Unreadable, read_message
from chathub.core.hub import Hub, Missed
from chathub.core.resume import LogBounds, Loss, loss
from chathub.deliver import Arrived
from common.core.errors import UpstreamUnavailable

BEHIND_SECONDS = 2.0
LOOK_SECONDS = 0.02
READ_AT_ONCE = 4
READ_A_MINUTE = 6
"""For each user: who has been given all that was missed stands where the node remembers the rest."""
TURN_SECONDS = 5.0
STEP = 100
"""Entries that are read before others have a turn."""


class Log(Protocol):
    async def state(self) -> LogBounds:
        """Raises UpstreamUnavailable, as `read` does."""
        ...

    def read(self, first: int, last: int) -> AsyncIterator[Arrived]: ...


class CatchUp:
    def __init__(self, log: Log, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self._turns = asyncio.Semaphore(READ_AT_ONCE)
        self._allowance = Allowance(READ_A_MINUTE)

    async def missed(self, position: Position | None, user_id: str) -> Missed | Loss:
        """Everything since the place at which the client stood, up to where this node remembers the rest.

        Raises UpstreamUnavailable.
        """
        if position is None:
            return "new"
        if self._is_remembered(position):
            return Missed(position, ())
        if why := loss(position, await self._log.state()):
            return why
        await self._come_to(position)
        if self._is_remembered(position):
            return Missed(position, ())
        async with self._turn():
            return await self._read_for(user_id, position)

    def _is_remembered(self, position: Position) -> bool:
        return self._hub.recent.since(position) is not None

    async def _come_to(self, position: Position) -> None:
        """The client may have heard on another node what this one is only about to hear."""
        try:
            async with asyncio.timeout(BEHIND_SECONDS):
                while self._hub.recent.last < position:  # noqa: ASYNC110 - the hub waits for nobody, nor tells
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise UpstreamUnavailable("This node is behind the others.") from None

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise UpstreamUnavailable("Too many ask for what they missed. Try again in a moment.") from None
        try:
            yield
        finally:
            self._turns.release()

    async def _read_for(self, user_id: str, position: Position) -> Missed | Loss:
        now = asyncio.get_running_loop().time()
        if self._allowance.wait(user_id, now):
            return "too_far"
        self._allowance.use(user_id, now)
        found = await self._read(position)
        return loss(position, await self._log.state()) or found  # the log may have forgotten some as it was read

    async def _read(self, position: Position) -> Missed | Loss:
        """The node moves on while the log is read."""
        entries: list[Stored] = []
        while position < self._hub.recent.last and not self._is_remembered(position):
            upto = self._hub.recent.last
            if upto.epoch != position.epoch:
                return "other_log"
            async for arrived in self._log.read(position.sequence + 1, upto.sequence):
                if arrived.sequence % STEP == 0:
                    await asyncio.sleep(0)
                try:
                    entries.append(Stored(Position(upto.epoch, arrived.sequence), read_message(arrived.data)))
                except Unreadable:
                    continue
            position = upto
        return Missed(position, entries)
