"""The log to everybody connected here: gaps found, holes filled, order kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from chathub.core.bus_messages import Message, Position, Stored, Unreadable, read_message
from chathub.core.hub import Hub
from chathub.core.recent import TAIL
from chathub.core.resume import LogBounds
from chathub.core.room_feed import Duplicate, Gap, RoomFeed
from chathub.observe import DELIVERED, GAPS, POSITION
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

SILENCE_SECONDS = 1.0
CHECK_SECONDS = 2.0
RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Arrived:
    sequence: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Messages may have been missed that were published before this moment."""


class Live(Protocol):
    async def next(self, seconds: float) -> Arrived | Interrupted | None:
        """The next message heard, or None after a silence. Messages may be missing or come twice."""
        ...


class Log(Protocol):
    async def ensure(self) -> LogBounds:
        """Make the log, or bring it to its settings. Raises UpstreamUnavailable, as all of these do."""
        ...

    async def state(self) -> LogBounds:
        """Raises LogReplaced when there is none."""
        ...

    def following(self) -> AbstractAsyncContextManager[Live]: ...

    def read(self, first: int, last: int) -> AsyncIterator[Arrived]:
        """What is still there of a stretch of the log, in order."""
        ...


class History(Protocol):
    async def before(self, at: Position) -> Sequence[Stored]:
        """The last public messages before a place in the log, oldest first. Raises UpstreamUnavailable."""
        ...


class Audience(Protocol):
    async def known(self, message: Message) -> None:
        """Return once it is known here who may see it, within a bounded time. Returns at once for nearly all."""
        ...


class LogReplaced(UpstreamUnavailable):
    """The log that was followed is not there any more; there may be a new one."""


class Delivery:
    def __init__(self, log: Log, history: History, hub: Hub, audience: Audience) -> None:
        self._log = log
        self._history = history
        self._audience = audience
        self._hub = hub
        self._feed = RoomFeed(0)
        self._epoch: int | None = None
        self._caught_up = False
        self._check_at = 0.0

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
        async with self._log.following() as live:  # before the past is read, so that nothing falls between
            await self._catch_up(await self._log.ensure())
            self._check_after(CHECK_SECONDS)
            logger.info("following the log", position=self._feed.position)
            while True:
                await self._step(live)

    async def _catch_up(self, state: LogBounds) -> None:
        if state.epoch != self._epoch:
            await self._begin(state)
        await self._read_until(state.last)
        self._caught_up = True

    async def _begin(self, state: LogBounds) -> None:
        first = state.first if self._epoch is not None else max(state.first, state.last + 1 - TAIL)
        at = Position(state.epoch, first)
        if self._epoch is None:
            self._hub.recent.begin(await self._history.before(at), at)
        else:
            self._hub.interrupt(at, "other_log")
        self._feed = RoomFeed(first - 1)
        self._epoch = state.epoch

    async def _step(self, live: Live) -> None:
        match await live.next(SILENCE_SECONDS):
            case Arrived() as arrived:
                await self._accept(arrived)
            case Interrupted():
                self._check_after(0)
            case None:
                pass
        if asyncio.get_running_loop().time() >= self._check_at:
            await self._check()

    async def _accept(self, arrived: Arrived) -> None:
        match self._feed.accept(arrived.sequence):
            case Duplicate():
                return
            case Gap(_, last):
                GAPS.inc()
                await self._read_until(last)
                await self._accept(arrived)
            case _:
                await self._deliver(arrived)

    async def _read_until(self, last: int) -> None:
        if last <= self._feed.position:
            return
        async for arrived in self._log.read(self._feed.position + 1, last):
            await self._pass_over(arrived.sequence - 1)
            if not isinstance(self._feed.accept(arrived.sequence), Duplicate):
                await self._deliver(arrived)
        await self._pass_over(last)

    async def _pass_over(self, last: int) -> None:
        """What is not in the log up to here was deleted one by one, or the log forgot it before it came here."""
        if self._epoch is None or last <= self._feed.position:
            return
        state = await self._log.state()
        if state.epoch == self._epoch and state.first > self._feed.position + 1:
            logger.warning("messages missed for good", position=self._feed.position, first=state.first)
            self._hub.interrupt(Position(self._epoch, state.first), "expired")
            self._feed.skip_to(state.first - 1)
        self._feed.skip_to(last)
        self._hub.recent.passed(Position(self._epoch, last))

    async def _deliver(self, arrived: Arrived) -> None:
        assert self._epoch is not None  # noqa: S101 - nothing arrives before the log is known
        try:
            message = read_message(arrived.data)
        except Unreadable as error:
            logger.warning("message left out", sequence=arrived.sequence, error=str(error))
        else:
            await self._audience.known(message)
            DELIVERED.inc()
            POSITION.set(arrived.sequence)
            self._hub.deliver(Stored(Position(self._epoch, arrived.sequence), message))

    async def _check(self) -> None:
        """At once after an interruption, else now and then: what was lost is noticed even if nothing follows it."""
        try:
            state = await self._log.state()
        except LogReplaced:
            raise
        except UpstreamUnavailable:
            self._check_after(RETRY_SECONDS)  # it is away; what is missed meanwhile is read when it is back
            return
        if state.epoch != self._epoch:
            raise LogReplaced("The log was made anew.")
        await self._read_until(state.last)
        self._check_after(CHECK_SECONDS)

    def _check_after(self, seconds: float) -> None:
        self._check_at = asyncio.get_running_loop().time() + seconds
