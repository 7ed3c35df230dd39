"""The log to PostgreSQL in batches, acknowledged after commit. What cannot be stored is set aside, never retried.

The next batch is fetched while others are stored. Their order does not matter: a message's place is its sequence.
Within a batch that of edits does, and what is handed out again may come behind what is newer: so a batch is sorted.
A batch costs what a transaction costs, however few are in it, so what comes within a moment makes one.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Protocol

import structlog

from chathub.core.bus_messages import Amendment, Position, Stored, Unreadable, amends, read_message
from chathub.observe import DEAD_LETTERS, PERSISTED
from chathub.search import ADMIN
from common.core.errors import ServiceError, UpstreamUnavailable
from common.core.identity import Identity, require_role
from common.task_group import TaskGroup

logger = structlog.get_logger(__name__)

BATCH = 500
FETCH_SECONDS = 2.0
GATHER_SECONDS = 0.1
"""Between batches, unless more waits already."""
RETRY_SECONDS = 0.2
AT_ONCE = 3
"""Batches that are stored at the same time."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that the log holds and has handed out to be stored; with `receipt` it is told that it is."""

    position: Position
    subject: str
    data: bytes
    receipt: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    pending: Pending
    reason: str


class Backlog(Protocol):
    async def fetch(self, limit: int, seconds: float, /) -> Sequence[Pending]:
        """Wait for messages that are not stored yet; empty after a silence. Raises UpstreamUnavailable."""
        ...

    async def done(self, batch: Sequence[Pending]) -> None:
        """Raises UpstreamUnavailable; what is not confirmed is handed out again."""
        ...


class Log(Protocol):
    def backlog(self) -> AbstractAsyncContextManager[Backlog]: ...

    async def erase_superseded(self, epoch: int, amendments: Sequence[Amendment]) -> None:
        """Overwrite in the log what has given way to these or to others of the same messages.

        It does nothing to a log that was made anew. Raises UpstreamUnavailable.
        """
        ...


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


@dataclass(frozen=True, slots=True)
class Unstored:
    """A message that was set aside, as an admin sees it."""

    cache_id: int
    subject: str
    payload: str
    reason: str
    created_at: datetime


class DeadLetters(Protocol):
    async def unstored(self, limit: int, offset: int) -> Sequence[Unstored]: ...


async def unstorable(
    caller: Identity, limit: int, offset: int, letters: DeadLetters
) -> tuple[Sequence[Unstored], bool]:
    """Newest first, and whether there are more. Raises Forbidden."""
    require_role(caller, ADMIN)
    found = await letters.unstored(limit + 1, offset)
    return found[:limit], len(found) > limit


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
        """Until NATS is lost; what it had handed out by then is stored all the same."""
        async with self._log.backlog() as backlog:
            async with TaskGroup() as storing:
                lost = await self._hand_on(backlog, storing)
            raise lost

    async def _hand_on(self, backlog: Backlog, storing: TaskGroup) -> UpstreamUnavailable:
        """Why there is no more."""
        free = asyncio.Semaphore(AT_ONCE)
        while True:
            await free.acquire()
            try:
                batch = await backlog.fetch(BATCH, FETCH_SECONDS)
            except UpstreamUnavailable as error:
                return error
            storing.create_task(self._finish(backlog, batch)).add_done_callback(lambda _: free.release())
            if 0 < len(batch) < BATCH:
                await asyncio.sleep(GATHER_SECONDS)

    async def _finish(self, backlog: Backlog, batch: Sequence[Pending]) -> None:
        if not batch:
            return
        await self._insist(batch)
        try:
            await backlog.done(batch)
        except UpstreamUnavailable as error:
            logger.warning("stored but not confirmed", messages=len(batch), error=str(error))

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
        for pending in sorted(batch, key=attrgetter("position")):
            try:
                readable.append((pending, Stored(pending.position, read_message(pending.data))))
            except Unreadable as error:
                dead.append(DeadLetter(pending, str(error)))
        dead += await self._store(readable)
        PERSISTED.inc(len(batch) - len(dead))
        await self._erase([stored for _, stored in readable])
        if dead:
            await self._archive.bury(dead)
            DEAD_LETTERS.inc(len(dead))
            logger.error("messages set aside", sequences=[letter.pending.position.sequence for letter in dead])

    async def _erase(self, messages: Sequence[Stored]) -> None:
        """What was edited again or deleted is in no copy of the log either; the last word on it stays there."""
        changed = {amends(message): message for _, message in messages if isinstance(message, Amendment)}
        if changed:
            await self._log.erase_superseded(messages[0].position.epoch, list(changed.values()))

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
