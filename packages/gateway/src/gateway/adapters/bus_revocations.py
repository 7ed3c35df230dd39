"""Notices from and to the other services, on the bus that all of them share."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol, TypeVar

import structlog

from common.core.errors import UpstreamUnavailable
from common.core.messages import Message
from gateway.core.notices import KINDS, Notice, subject_of
from gateway.hear_revocations import BEAT_SECONDS, STALE_SECONDS, Hearer

logger = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)


class Bus(Protocol):
    """What is needed of a bus."""

    @property
    def connections(self) -> int:
        """How often the connection was made. What was said while it did not stand was missed."""
        ...

    async def publish(self, subject: str, message: Message) -> None:
        """Returns once the server has it. Raises UpstreamUnavailable."""
        ...

    def listen(self, subject: str, kind: type[M]) -> AbstractAsyncContextManager[AsyncIterator[M]]:
        """Every readable message while the block runs, over reconnections."""
        ...

    async def answers(self) -> None:
        """Returns once the server has sent all that it had for us before. Raises UpstreamUnavailable."""
        ...


class BusRevocations:
    def __init__(self, bus: Bus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self.heard_until = 0.0

    async def publish(self, notice: Notice) -> None:
        await self._bus.publish(subject_of(notice), notice)

    async def listen(self, *hearers: Hearer) -> None:
        try:
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
                for subject, kind in KINDS.items():
                    notices = await stack.enter_async_context(self._bus.listen(subject, kind))
                    tasks.create_task(hand_on(notices, hearers))
                tasks.create_task(self._keep_hearing(hearers))
        finally:
            self.heard_until = 0.0

    async def _keep_hearing(self, hearers: tuple[Hearer, ...]) -> None:
        heard_on = -1
        while True:
            sent_at, connection = self._clock(), self._bus.connections
            if not await self._is_answered(connection):
                self.heard_until = 0.0
            else:
                if connection != heard_on or not self.heard_until:
                    for hearer in hearers:
                        hearer.missed()
                heard_on, self.heard_until = connection, sent_at + STALE_SECONDS
            await asyncio.sleep(BEAT_SECONDS)

    async def _is_answered(self, connection: int) -> bool:
        try:
            async with asyncio.timeout(STALE_SECONDS):
                await self._bus.answers()
        except (UpstreamUnavailable, TimeoutError):
            return False
        return connection == self._bus.connections


async def hand_on(notices: AsyncIterator[Notice], hearers: tuple[Hearer, ...]) -> None:
    async for notice in notices:
        for hearer in hearers:
            hearer.heard(notice)
