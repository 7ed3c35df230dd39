"""Keeps what this node knows of PostgreSQL's contents equal to it: told by others at once, else found out itself."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import structlog

from chathub.core.bus_messages import Notice
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

INTERVAL_SECONDS = 5.0
RETRY_SECONDS = 0.2

Reading: TypeAlias = Callable[[], Awaitable[None]]
"""Reads one subject anew. Raises UpstreamUnavailable."""


class Heard(Protocol):
    async def next(self) -> Notice | None:
        """The next notice; None where some may have been missed."""
        ...


class Notices(Protocol):
    def heard(self) -> AbstractAsyncContextManager[Heard]: ...


class KeepingCurrent:
    def __init__(self, notices: Notices, readings: Mapping[str, Reading]) -> None:
        self._notices = notices
        self._readings = readings
        self._due = set(readings)
        self._told = asyncio.Event()

    def due(self, about: str | None = None) -> None:
        """Read that anew, or everything."""
        self._due.update(self._readings if about is None else {about} & set(self._readings))
        self._told.set()

    async def listen(self) -> None:
        async with self._notices.heard() as heard:
            while True:
                notice = await heard.next()
                self.due(notice.about if notice else None)

    async def run(self) -> None:
        while True:
            failed = await self._read_due()
            self._told.clear()
            try:
                async with asyncio.timeout(RETRY_SECONDS if failed else INTERVAL_SECONDS):
                    await self._told.wait()
            except TimeoutError:
                self.due(None if not failed else next(iter(failed)))

    async def _read_due(self) -> set[str]:
        """What could not be read; it stays due."""
        failed: set[str] = set()
        while self._due - failed:
            about = next(iter(self._due - failed))
            self._due.discard(about)
            try:
                await self._readings[about]()
            except UpstreamUnavailable as error:
                logger.debug("not read", about=about, error=str(error))
                failed.add(about)
        self._due |= failed
        return failed
