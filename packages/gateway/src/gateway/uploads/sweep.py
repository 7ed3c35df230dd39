"""Removes parts of uploads that nobody will go on with: abandoned ones after a while, those of an ended session now."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

import structlog

from common.core.notices import Notice, SessionRevoked
from gateway.core.uploads.part_name import digest

logger = structlog.get_logger(__name__)

MOST_SESSIONS = 10_000


class Removing(Protocol):
    async def sweep(self) -> int: ...
    async def remove_session(self, session: str) -> int: ...


class Sweeping:
    """A Hearer. What it does not hear of, nobody can go on with either, and age removes it."""

    def __init__(self, parts: Removing, *, interval_seconds: float) -> None:
        self._parts = parts
        self._interval_seconds = interval_seconds
        self._ended: dict[str, None] = {}
        self._is_told = asyncio.Event()

    def heard(self, notice: Notice) -> None:
        if isinstance(notice, SessionRevoked) and len(self._ended) < MOST_SESSIONS:
            self._ended[notice.session_id] = None
            self._is_told.set()

    def missed(self) -> None:
        pass

    async def run(self) -> None:
        """Must run beside the server."""
        while True:
            await self._remove(self._parts.sweep())
            try:
                async with asyncio.timeout(self._interval_seconds):
                    while True:
                        await self._is_told.wait()
                        self._is_told.clear()
                        await self._remove_ended()
            except TimeoutError:
                continue

    async def _remove_ended(self) -> None:
        while self._ended:
            session_id = next(iter(self._ended))
            del self._ended[session_id]
            await self._remove(self._parts.remove_session(digest(session_id)))

    async def _remove(self, removing: Awaitable[int]) -> None:
        try:
            count = await removing
        except OSError as error:
            logger.error("parts of uploads could not be removed", error=type(error).__name__)
        else:
            if count:
                logger.info("parts of uploads removed", count=count)
