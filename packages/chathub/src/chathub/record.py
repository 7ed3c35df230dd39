"""Finished sessions to PostgreSQL, beside the conversations so that none waits for it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from chathub.core.presence import User
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

KEPT = 10_000
"""Sessions that may wait while PostgreSQL is away; beyond that the oldest are lost."""

BATCH = 500
RETRY_SECONDS = 0.5
LAST_CHANCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class FinishedSession:
    id: UUID
    user: User
    client_id: str
    start_time: datetime
    end_time: datetime


class Sessions(Protocol):
    async def record(self, sessions: Sequence[FinishedSession]) -> None:
        """Those already there are passed over. Raises UpstreamUnavailable."""
        ...


class Recorder:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._waiting: deque[FinishedSession] = deque(maxlen=KEPT)
        self._arrived = asyncio.Event()

    def add(self, session: FinishedSession) -> None:
        self._waiting.append(session)
        self._arrived.set()

    async def run(self) -> None:
        """Ends only by cancellation, after one more try."""
        try:
            while True:
                await self._arrived.wait()
                await self._write_all()
        finally:
            await self._last_chance()

    async def _write_all(self) -> None:
        self._arrived.clear()
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            try:
                await self._sessions.record(batch)
            except UpstreamUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                for session in batch:
                    self._forget(session)

    def _forget(self, session: FinishedSession) -> None:
        if self._waiting and self._waiting[0] is session:  # else it fell out for being too old
            self._waiting.popleft()

    async def _last_chance(self) -> None:
        try:
            async with asyncio.timeout(LAST_CHANCE_SECONDS):
                await self._write_all()
        except TimeoutError:
            logger.error("sessions not recorded", sessions=len(self._waiting))
