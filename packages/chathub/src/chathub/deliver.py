"""The log to everybody connected here: gaps found, holes filled, order kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from chathub.core.bus_messages import Position, Stored, Unreadable, read_message
from chathub.core.hub import Hub
from chathub.core.recent import TAIL
from chathub.core.room_feed import Duplicate, Gap, RoomFeed
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

SILENCE_SECONDS = 1.0
CHECK_SECONDS = 2.0
RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class LogState:
    """`first` and `last` are sequences; `last` is `first - 1` while the log is empty."""

    epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Arrived:
    sequence: int
    data: bytes


class Live(Protocol):
    async def next(self, seconds: float) -> Arrived | None:
        """The next message heard, or None after a silence. Messages may be missing or come twice."""
        ...


class Log(Protocol):
    @property
    def connections(self) -> int:
        """Grows whenever the connection to the log is made anew."""
        ...

    async def ensure(self) -> LogState:
        """Make the log, or bring it to its settings. Raises UpstreamUnavailable, as all of these do."""
        ...

    async def state(self) -> LogState:
        """Raises LogReplaced when there is none."""
        ...

    def following(self) -> AbstractAsyncContextManager[Live]: ...

    def read(self, first: int, last: int) -> AsyncIterator[Arrived]:
        """What is still there of a stretch of the log, in order."""
        ...


class History(Protocol):
    async def recent(self) -> Sequence[Stored]:
        """The last public messages in PostgreSQL, oldest first. Raises UpstreamUnavailable."""
        ...


class LogReplaced(UpstreamUnavailable):
    """The log that was followed is not there any more; there may be a new one."""


class Delivery:
    def __init__(self, log: Log, history: History, hub: Hub) -> None:
        self._log = log
        self._history = history
        self._hub = hub
        self._feed = RoomFeed(0)
        self._epoch: int | None = None
        self._caught_up = False
        self._connections = 0
        self._checked_at = 0.0

    def caught_up(self) -> bool:
        """Whether the history is complete, so that somebody may enter."""
        return self._caught_up

    async def run(self) -> None:
        told = ""
        while True:
            try:
                await self._follow()
            except UpstreamUnavailable as error:
                if str(error) != told:
                    logger.warning("log not followed", error=str(error))
                told = str(error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        connections = self._log.connections
        async with self._log.following() as live:  # before the past is read, so that nothing falls between
            await self._catch_up(await self._log.ensure())
            self._checked(connections)
            logger.info("following the log", position=self._feed.position)
            while True:
                await self._step(live)

    async def _catch_up(self, state: LogState) -> None:
        if state.epoch != self._epoch:
            await self._begin(state)
        await self._read_until(state.last)
        self._caught_up = True

    async def _begin(self, state: LogState) -> None:
        first = state.first if self._epoch is not None else max(state.first, state.last + 1 - TAIL)
        persisted = await self._history.recent() if self._epoch is None else ()
        self._feed = RoomFeed(first - 1)
        self._hub.recent.begin(persisted, Position(state.epoch, first))
        self._epoch = state.epoch

    async def _step(self, live: Live) -> None:
        arrived = await live.next(SILENCE_SECONDS)
        if arrived is not None:
            await self._accept(arrived)
        if self._check_is_due():
            await self._check()

    async def _accept(self, arrived: Arrived) -> None:
        match self._feed.accept(arrived.sequence):
            case Duplicate():
                return
            case Gap(_, last):
                await self._read_until(last)
                await self._accept(arrived)
            case _:
                self._deliver(arrived)

    async def _read_until(self, last: int) -> None:
        if last <= self._feed.position:
            return
        async for arrived in self._log.read(self._feed.position + 1, last):
            self._feed.skip_to(arrived.sequence - 1)
            if not isinstance(self._feed.accept(arrived.sequence), Duplicate):
                self._deliver(arrived)
        self._feed.skip_to(last)

    def _deliver(self, arrived: Arrived) -> None:
        assert self._epoch is not None  # noqa: S101 - nothing arrives before the log is known
        try:
            message = read_message(arrived.data)
        except Unreadable as error:
            logger.warning("message left out", sequence=arrived.sequence, error=str(error))
        else:
            self._hub.deliver(Stored(Position(self._epoch, arrived.sequence), message))

    def _check_is_due(self) -> bool:
        """At once after a reconnection, else now and then: a lost message is noticed even if none follows it."""
        late = asyncio.get_running_loop().time() - self._checked_at > CHECK_SECONDS
        return late or self._connections != self._log.connections

    async def _check(self) -> None:
        connections = self._log.connections
        try:
            state = await self._log.state()
        except LogReplaced:
            raise
        except UpstreamUnavailable:
            return  # it is away; what is missed meanwhile is read when it is back
        if state.epoch != self._epoch:
            raise LogReplaced("The log was made anew.")
        await self._read_until(state.last)
        self._checked(connections)

    def _checked(self, connections: int) -> None:
        self._connections = connections
        self._checked_at = asyncio.get_running_loop().time()
