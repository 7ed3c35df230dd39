"""Sees to it that one natsync reconciles, and another within seconds when it is gone.

terms (PocketBase) | who is heard (NATS) -> candidate -> a term of our own -> beats (NATS), fence (PocketBase)
"""

import asyncio
import os
import secrets
import socket

import structlog
from prometheus_client import Gauge

from common.adapters.companion import accompanied
from common.adapters.nats_bus import Bus
from common.adapters.nats_leases import STEADY
from common.adapters.nats_listening import Received
from common.core import subjects
from common.core.errors import ServiceError, StaleLease
from natsync.adapters.pocketbase_terms import PocketBaseTerms, fencing
from natsync.adapters.pocketbase_writing import Request
from natsync.core.collections.leadership import Beat, Candidate, Term, latest

logger = structlog.get_logger(__name__)

LEADS = Gauge("natsync_leads", "1 while this natsync is the one that reconciles.")

BEATS_IN_SILENCE = 6
FRESH_SECONDS = 0.5
"""So long it is believed that the term lasts. It is asked for again before anything is said to servers."""
GIVE_BACK_SECONDS = 2.0


class Lead:
    """`is_urgent`: do not wait for another's term to end, as somebody commands it."""

    def __init__(self, terms: PocketBaseTerms, bus: Bus, *, silence_seconds: float, is_urgent: bool = False) -> None:
        self.is_standby = False
        """Another natsync reconciles, as far as is known."""
        self.error = ""
        """Why it is not known who does."""
        self._terms = terms
        self._bus = bus
        self._holder = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        self._beat_seconds = silence_seconds / BEATS_IN_SILENCE
        self._candidate = Candidate(silence_seconds, STEADY())
        self._is_urgent = is_urgent
        self._term: Term | None = None
        self._confirmed_at = 0.0
        self._stepped = asyncio.Condition()
        self._confirming = asyncio.Lock()

    # What whoever reconciles asks

    @property
    def leads(self) -> bool:
        return self._term is not None

    async def led(self) -> Term:
        """The term of our own, once there is one."""
        async with self._stepped:
            await self._stepped.wait_for(lambda: self._term is not None)
        assert self._term is not None  # noqa: S101 - waited for
        return self._term

    async def stepped(self) -> None:
        """Returns after the next look at who leads."""
        async with self._stepped:
            await self._stepped.wait()

    async def confirm(self) -> None:
        """Raises StaleLease when the term is over, or another ServiceError when that cannot be told."""
        if not self._is_fresh():
            async with self._confirming:  # of many who ask at once one looks
                if not self._is_fresh():
                    await self._look()
        self._own()

    def _is_fresh(self) -> bool:
        return STEADY() - self._confirmed_at <= FRESH_SECONDS

    def request(self) -> Request:
        """A write that fails once the term is over. Raises StaleLease."""
        return fencing(self._own())

    def _own(self) -> Term:
        if self._term is None:
            raise StaleLease("Another natsync reconciles.")
        return self._term

    # Loop

    async def run(self) -> None:
        """Loop: lead when nobody else does."""
        async with accompanied(self._hear()):
            try:
                while True:
                    await self._step()
                    await asyncio.sleep(self._beat_seconds)
            finally:
                await self._give_back()

    async def _step(self) -> None:
        try:
            await self._beat()
            terms = await self._look()
            if self._term is None and self._may_begin(terms, is_connected=await self._hears()):
                await self._begin(terms)
        except ServiceError as error:
            self.error = str(error)
            logger.info("who leads is not known", error=self.error)
        else:
            self.error = ""
        async with self._stepped:
            self._stepped.notify_all()

    def _may_begin(self, terms: list[Term], *, is_connected: bool) -> bool:
        return self._candidate.may_take(latest(terms), STEADY(), is_connected=is_connected) or self._is_urgent

    async def _look(self) -> list[Term]:
        asked_at = STEADY()
        terms = await self._terms.read()
        if self._term is not None and latest(terms).id == self._term.id:
            self._confirmed_at = asked_at
        elif self._term is not None:
            logger.warning("another natsync has taken over", epoch=self._term.epoch)
            self._term = None
            LEADS.set(0)
        self.is_standby = self._term is None and bool(latest(terms).holder)
        return terms

    async def _begin(self, terms: list[Term]) -> None:
        asked_at = STEADY()
        self._term = await self._terms.begin(terms, self._holder)
        if self._term is not None:
            self._confirmed_at, self.is_standby = asked_at, False
            self._candidate.taken()
            LEADS.set(1)
            logger.info("this natsync reconciles", epoch=self._term.epoch)
            await self._beat()

    async def _beat(self) -> None:
        if self._term is None:
            return
        try:
            beat = Beat(holder=self._holder, epoch=self._term.epoch)
            await self._bus.publish(subjects.NATSYNC_LEADER, beat, deadline_seconds=self._beat_seconds)
        except ServiceError as error:
            logger.debug("nobody hears that we lead", error=str(error))

    async def _hear(self) -> None:
        try:
            async with self._bus.listening(subjects.NATSYNC_LEADER, Beat) as beats:
                async for beat in beats:
                    if isinstance(beat, Received) and beat.message.holder != self._holder:
                        self._candidate.heard(beat.message, STEADY())
        except ServiceError as error:
            logger.error("other natsyncs are not heard; run `natsync bootstrap`", error=str(error))
        await asyncio.Event().wait()

    async def _hears(self) -> bool:
        """Whether everything that was said so far has arrived."""
        try:
            await self._bus.answers()
        except ServiceError:
            return False
        return True

    async def _give_back(self) -> None:
        term, self._term = self._term, None
        LEADS.set(0)
        if term is None:
            return
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._terms.give_back(term)
        except (ServiceError, TimeoutError) as error:
            logger.info("term not given back", error=str(error))
