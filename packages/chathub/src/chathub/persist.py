"""The log to PostgreSQL in batches, acknowledged after commit. What cannot be stored is set aside, never retried."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from chathub.core.bus_messages import Position, Stored, Unreadable, read_message
from common.core.errors import ServiceError, UpstreamUnavailable

logger = structlog.get_logger(__name__)

BATCH = 500
FETCH_SECONDS = 2.0
RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that the log holds and has handed out to be stored."""

    position: Position
    subject: str
    data: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    pending: Pending
    reason: str


class Backlog(Protocol):
    async def fetch(self, limit: int, seconds: float, /) -> Sequence[Pending]:
        """Wait for messages that are not stored yet; empty after a silence. Raises UpstreamUnavailable."""
        ...

    async def done(self, batch: Sequence[Pending]) -> None: ...


class Log(Protocol):
    def backlog(self) -> AbstractAsyncContextManager[Backlog]: ...


class Unstorable(ServiceError):
    """PostgreSQL refuses a value in the batch, and would again."""

    code = "unstorable"


class Archive(Protocol):
    async def store(self, messages: Sequence[Stored]) -> None:
        """All or none; those already there are passed over. Raises Unstorable or UpstreamUnavailable."""
        ...

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Raises UpstreamUnavailable."""
        ...


class Persistence:
    def __init__(self, log: Log, archive: Archive) -> None:
        self._log = log
        self._archive = archive

    async def run(self) -> None:
        told = ""
        while True:
            try:
                await self._drain()
            except UpstreamUnavailable as error:
                if str(error) != told:
                    logger.warning("messages not persisted", error=str(error))
                told = str(error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _drain(self) -> None:
        async with self._log.backlog() as backlog:
            while True:
                batch = await backlog.fetch(BATCH, FETCH_SECONDS)
                await self._insist(batch)
                await backlog.done(batch)

    async def _insist(self, batch: Sequence[Pending]) -> None:
        """Keep the batch while PostgreSQL is away: it is stored the moment it is back."""
        while True:
            try:
                return await self._keep(batch)
            except UpstreamUnavailable as error:
                logger.warning("batch waits", messages=len(batch), error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _keep(self, batch: Sequence[Pending]) -> None:
        readable: list[tuple[Pending, Stored]] = []
        dead: list[DeadLetter] = []
        for pending in batch:
            try:
                readable.append((pending, Stored(pending.position, read_message(pending.data))))
            except Unreadable as error:
                dead.append(DeadLetter(pending, str(error)))
        dead += await self._store(readable)
        if dead:
            await self._archive.bury(dead)
            logger.error("messages set aside", sequences=[letter.pending.position.sequence for letter in dead])

    async def _store(self, messages: Sequence[tuple[Pending, Stored]]) -> list[DeadLetter]:
        """Store all that can be; halving a refused batch finds the one at fault."""
        if not messages:
            return []
        try:
            await self._archive.store([stored for _, stored in messages])
        except Unstorable as error:
            if len(messages) == 1:
                return [DeadLetter(messages[0][0], str(error))]
            half = len(messages) // 2
            return [*await self._store(messages[:half]), *await self._store(messages[half:])]
        return []
