"""What others tell of ended sessions and banned users: forgotten here at once, and carried out in the store."""

import asyncio
from typing import Protocol

import structlog

from common.core.errors import UpstreamUnavailable
from common.core.notices import Notice, SessionRevoked, UserBanned, UserPardoned
from gateway.core.sessions.notices import Hearer
from gateway.sessions.end import Endings

logger = structlog.get_logger(__name__)

CAPACITY = 10_000
RETRY_SECONDS = 0.2


class RevocationStream(Protocol):
    """Notices from and to every process that listens."""

    @property
    def heard_until(self) -> float:
        """Seconds of `time.monotonic`. Before that time, whatever was published more than STALE_SECONDS ago has
        reached the hearers; after it, nothing is known."""
        ...

    async def publish(self, notice: Notice) -> None:
        """Raises UpstreamUnavailable."""
        ...

    async def listen(self, *hearers: Hearer) -> None:
        """For ever, over losses of the connection."""
        ...


STALE_SECONDS = 0.75
"""The oldest news that a stream may not have delivered while it counts as heard."""

BEAT_SECONDS = 0.25
"""How often a stream makes sure that it hears."""


class Obedience:
    """Carries out what other services decided. `run` must run beside the stream.

    Every process does so: what is carried out twice changes nothing.
    """

    def __init__(self, endings: Endings) -> None:
        self._endings = endings
        self._waiting: asyncio.Queue[Notice] = asyncio.Queue(CAPACITY)

    def heard(self, notice: Notice) -> None:
        try:
            self._waiting.put_nowait(notice)
        except asyncio.QueueFull:
            logger.error("a notice was dropped: too many wait", kind=type(notice).__name__)

    def missed(self) -> None:
        """What was missed is in the store already, if anybody heard it."""

    async def run(self) -> None:
        while True:
            await self._carry_out(await self._waiting.get())

    async def _carry_out(self, notice: Notice) -> None:
        """Tried until the store has it: nobody is let in while it is away."""
        while True:
            try:
                await self._tried(notice)
            except UpstreamUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("a notice could not be carried out", kind=type(notice).__name__)
                return
            else:
                return

    async def _tried(self, notice: Notice) -> None:
        match notice:
            case SessionRevoked():
                await self._endings.end(notice.session_id, "revoked elsewhere")
            case UserBanned():
                await self._endings.ban(notice)
            case UserPardoned():
                await self._endings.pardon(notice)
