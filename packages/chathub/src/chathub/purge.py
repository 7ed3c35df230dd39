"""All that a banned user said, deleted: each message by an entry of the log, as if an admin deleted one after another.

What is left to do stands in PostgreSQL, so a purge goes on whatever dies.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from chathub.core.bus_messages import PURGE, Position, Stored
from chathub.core.resume import LogBounds
from chathub.moderate import Deleting
from common.core.errors import UpstreamUnavailable

logger = structlog.get_logger(__name__)

BATCH = 500
POLL_SECONDS = 0.05
STORED_SECONDS = 30.0
RETRY_SECONDS = 1.0
LOOK_SECONDS = 5.0
LAST_WORDS_SECONDS = 6.0
"""Until then something may yet arrive in the log that the user said before the ban."""


class Log(Protocol):
    """Raises UpstreamUnavailable, all of it."""

    async def state(self) -> LogBounds: ...

    async def stored_to(self) -> int: ...

    async def erase(self, position: Position) -> None: ...


@dataclass(frozen=True, slots=True)
class Purge:
    """Claimed for a while by one node."""

    owner_id: str
    actor_id: str
    age_seconds: float


class Purges(Protocol):
    """Raises UpstreamUnavailable, all of it."""

    async def claim(self) -> Purge | None: ...

    async def messages_of(self, owner_id: str, limit: int) -> Sequence[Stored]:
        """That are stored, or set aside, and not deleted yet."""
        ...

    async def remains_of(self, owner_id: str, limit: int) -> Sequence[Position]:
        """What of the user was set aside and is no message, so that nothing but its place can be said of it."""
        ...

    async def forget(self, places: Sequence[Position]) -> None: ...

    async def keep(self, owner_id: str, purged: int) -> bool:
        """Count what was deleted and stay in charge; false if it is not wanted any more."""
        ...

    async def finish(self, owner_id: str) -> None: ...


class Purging:
    """Whichever node comes first works a purge off; another takes over if it dies."""

    def __init__(self, log: Log, purges: Purges, deleting: Deleting) -> None:
        self._log = log
        self._purges = purges
        self._deleting = deleting
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        while True:
            seconds = LOOK_SECONDS
            self._wanted.clear()
            try:
                while purge := await self._purges.claim():
                    await self._work_off(purge)
            except UpstreamUnavailable as error:
                logger.warning("purge waits", error=str(error))
                seconds = RETRY_SECONDS
            await self._sleep(seconds)

    async def _work_off(self, purge: Purge) -> None:
        until = asyncio.get_running_loop().time() + LAST_WORDS_SECONDS - purge.age_seconds
        while True:
            is_last = asyncio.get_running_loop().time() >= until
            await self._stored((await self._log.state()).last)
            found = await self._purges.messages_of(purge.owner_id, BATCH)
            if found:
                await self._stored(await self._deleting.delete(found, purge.actor_id, mark=PURGE))
            count = len(found) + await self._sweep(purge.owner_id)
            if not await self._purges.keep(purge.owner_id, count):
                return None
            if is_last and not count:
                return await self._purges.finish(purge.owner_id)
            if not count:
                await asyncio.sleep(RETRY_SECONDS)

    async def _sweep(self, owner_id: str) -> int:
        """How many there were. The log is first: what is there and neither stored nor set aside counts as lost."""
        places = await self._purges.remains_of(owner_id, BATCH)
        for place in places:
            await self._log.erase(place)
        if places:
            await self._purges.forget(places)
        return len(places)

    async def _stored(self, sequence: int) -> None:
        try:
            async with asyncio.timeout(STORED_SECONDS):
                while await self._log.stored_to() < sequence:  # noqa: ASYNC110 - NATS tells only when asked
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise UpstreamUnavailable("What is in the log is not stored.") from None

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return
