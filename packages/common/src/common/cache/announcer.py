"""Tells the other processes what was bumped, and hears what they say. The rules are in common.core.peers."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import structlog

from common.cache.ports import Invalidations
from common.core.epochs import Tags
from common.core.errors import UpstreamUnavailable
from common.core.messages import InvalidMessage, decode, encode
from common.core.peers import Bumped, Event, Missed, Notice, Peers, SignDue
from common.core.trust import Doubt

logger = structlog.get_logger(__name__)

RETURN_SECONDS = 1.0
"""How long the bus has to bring a bump back to its sender."""

SIGN_PAUSE_SECONDS = 0.001
"""Answers that fall due faster than this go out together."""

JOINING_BEAT_SECONDS = 0.05
RETRY_SECONDS = 1.0

UNSENT = "cache invalidations cannot be sent"
UNHEARD = "cache invalidations cannot be heard"
UNREADABLE = "a cache invalidation cannot be read"
"""What is complained of once."""

News: TypeAlias = Bumped | Missed


class Announcer:
    """`on_news` is called after everything heard, with what must be done to the entries (often nothing), before
    anybody else learns that it was heard."""

    def __init__(
        self,
        bus: Invalidations,
        peers: Peers,
        *,
        clock: Callable[[], float],
        beat_seconds: float,
        patience_seconds: float,
        on_news: Callable[[list[News]], None],
    ) -> None:
        self._bus = bus
        self._peers = peers
        self._clock = clock
        self._beat_seconds = beat_seconds
        self._patience_seconds = patience_seconds
        self._on_news = on_news
        self._publishing = asyncio.Lock()
        self._sign_due = asyncio.Event()
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._complaints: set[str] = set()

    @property
    def trusted_until(self) -> float:
        return self._peers.trusted_until

    def doubt(self, now: float) -> Doubt | None:
        """Calls `on_news` first, for the peers that fell silent in the meantime."""
        self._carry_out(self._peers.drop_for_silent(now))
        return self._peers.doubt(now)

    async def announce(self, tags: Tags, *, owed: bool) -> bool:
        """Whether every process that is alive has said that it heard of the bump.

        Raises UpstreamUnavailable when the bus did not take it.
        """
        await self._call_the_roll()
        async with self._publishing:
            notice = self._peers.bump(tags, self._clock(), owed=owed)
            await self._bus.publish(encode(notice))
        number = notice.number
        if not await self._until(lambda: self._peers.has_returned(number), RETURN_SECONDS):
            raise UpstreamUnavailable("The bus did not take the bump within a second.")
        await self._wait_for_peers(number)
        return self._peers.is_certain(number, self._clock())

    async def joined(self, seconds: float) -> None:
        """Returns once this process hears itself, or after so long."""
        await self._until(lambda: self._peers.doubt(self._clock()) is None, seconds)

    async def listen(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self._bus.listen(self.hear)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
                self._complain(UNHEARD, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def beat(self) -> None:
        """Runs until cancelled."""
        pause_seconds = JOINING_BEAT_SECONDS
        while True:
            self._sign_due.clear()
            await self._say(lambda: self._peers.sign_of_life(self._clock()))
            await asyncio.sleep(SIGN_PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._sign_due.wait()
            joined = self.doubt(self._clock()) is None
            pause_seconds = self._beat_seconds if joined else min(2 * pause_seconds, self._beat_seconds)

    async def say_farewell(self) -> None:
        await self._say(lambda: self._peers.farewell(self._clock()))

    def hear(self, data: bytes) -> None:
        """What cannot be read may have been a bump, by a later version of this very code."""
        try:
            notice = decode(Notice, data)
        except InvalidMessage as error:
            self._complain(UNREADABLE, error)
            self._carry_out([Missed("an invalidation could not be read")])
            return
        self._carry_out(self._peers.hear(notice, self._clock()))
        for future, holds in list(self._waiting.items()):
            if holds() and not future.done():
                future.set_result(None)

    async def _wait_for_peers(self, number: int) -> None:
        """A peer that speaks and yet does not confirm is waited for anew, but not for ever."""
        give_up_at = self._clock() + 2 * self._patience_seconds
        while (left_seconds := min(self._peers.excused_at(number), give_up_at) - self._clock()) > 0:
            await self._until(lambda: self._peers.is_confirmed(number), left_seconds)

    async def _call_the_roll(self) -> None:
        await self.joined(RETURN_SECONDS)
        left_seconds = self._peers.knows_everybody_at - self._clock()
        if 0 < left_seconds < math.inf:
            await asyncio.sleep(left_seconds)

    def _carry_out(self, events: list[Event]) -> None:
        self._on_news([event for event in events if not isinstance(event, SignDue)])
        if any(isinstance(event, SignDue) for event in events):
            self._sign_due.set()

    async def _say(self, notice: Callable[[], Notice]) -> None:
        try:
            async with self._publishing:
                await self._bus.publish(encode(notice()))
        except UpstreamUnavailable as error:
            self._complain(UNSENT, error)
        else:
            self._complaints.discard(UNSENT)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        if holds():
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = holds
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return holds()
        finally:
            del self._waiting[future]
        return True

    def _complain(self, what: str, error: Exception) -> None:
        if what not in self._complaints:
            logger.warning(what, error=f"{type(error).__name__}: {error}")
        self._complaints.add(what)
