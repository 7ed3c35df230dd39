"""Sessions to PostgreSQL, beside the conversations so that none waits for it: as they begin and as they end.

A node says now and then that it lives. One that does not any more is dead, and whoever notices ends its sessions at the
moment when it was last heard of.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from chathub.core.presence import User
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

KEPT = 10_000
"""Records that may wait while PostgreSQL is away; beyond that the oldest are lost."""

BATCH = 500
RETRY_SECONDS = 0.5
LAST_CHANCE_SECONDS = 3.0
BEAT_SECONDS = 2.0
DEAD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Without an end it goes on."""

    id: UUID
    user: User
    client_id: str
    node: str
    start_time: datetime
    end_time: datetime | None = None

    def ended(self, at: datetime) -> "SessionRecord":
        return replace(self, end_time=at)


class Sessions(Protocol):
    """Raises UpstreamUnavailable, all of it."""

    async def record(self, sessions: Sequence[SessionRecord]) -> None:
        """Of each id at most one. An end stays what was recorded last."""
        ...

    async def beat(self, node: str) -> None: ...

    async def end_those_of_the_dead(self, node: str, silent_seconds: float) -> None:
        """Those of other nodes than this one that were silent for so long."""
        ...


class Recorder:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._waiting: dict[UUID, SessionRecord] = {}
        self._arrived = asyncio.Event()

    def add(self, session: SessionRecord) -> None:
        """Its beginning, or its end, which says all."""
        self._waiting.pop(session.id, None)
        if len(self._waiting) == KEPT:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[session.id] = session
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
            batch = [record for record, _ in zip(self._waiting.values(), range(BATCH), strict=False)]
            try:
                await self._sessions.record(batch)
            except UpstreamUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                for record in batch:
                    self._forget(record)

    def _forget(self, record: SessionRecord) -> None:
        if self._waiting.get(record.id) is record:  # else its end came meanwhile
            del self._waiting[record.id]

    async def _last_chance(self) -> None:
        try:
            async with asyncio.timeout(LAST_CHANCE_SECONDS):
                await self._write_all()
        except TimeoutError:
            logger.error("sessions not recorded", sessions=len(self._waiting))


class Alive:
    """Tells that this node lives, and ends the sessions of those that do not."""

    def __init__(self, sessions: Sessions, node: str) -> None:
        self._sessions = sessions
        self._node = node
        self._beating_since: float | None = None

    async def run(self) -> None:
        while True:
            try:
                await self._sessions.beat(self._node)
                await self._reap()
            except UpstreamUnavailable as error:
                logger.debug("not told that this node lives", error=str(error))
                self._beating_since = None
            await asyncio.sleep(BEAT_SECONDS)

    async def _reap(self) -> None:
        """Only who could tell for as long that it lives itself knows that the others could have."""
        now = asyncio.get_running_loop().time()
        if self._beating_since is None:
            self._beating_since = now
        if now - self._beating_since >= DEAD_SECONDS:
            await self._sessions.end_those_of_the_dead(self._node, DEAD_SECONDS)
