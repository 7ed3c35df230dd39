"""Notices from and to the other services, on the bus that all of them share."""

import asyncio
import time
from collections.abc import Callable

import structlog

from common.adapters.nats_bus import Bus
from common.adapters.nats_listening import Gap
from common.core.errors import Forbidden, UpstreamUnavailable
from common.core.notices import KINDS, Notice, subject_of
from common.task_group import TaskGroup
from gateway.core.sessions.notices import Hearer
from gateway.sessions.hear_revocations import BEAT_SECONDS, STALE_SECONDS

logger = structlog.get_logger(__name__)

REFUSED_SECONDS = 5.0


class BusRevocations:
    def __init__(self, bus: Bus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self.heard_until = 0.0

    async def publish(self, notice: Notice) -> None:
        await self._bus.publish(subject_of(notice), notice, deadline_seconds=STALE_SECONDS)

    async def listen(self, *hearers: Hearer) -> None:
        while True:
            try:
                await self._listen_once(hearers)
            except* Forbidden as refusals:
                logger.error("notices of other services are not heard", error=str(refusals.exceptions[0]))
            finally:
                self.heard_until = 0.0
            await asyncio.sleep(REFUSED_SECONDS)

    async def _listen_once(self, hearers: tuple[Hearer, ...]) -> None:
        in_place = [asyncio.Event() for _ in KINDS]
        async with TaskGroup() as tasks:
            for (subject, kind), event in zip(KINDS.items(), in_place, strict=True):
                tasks.create_task(self._hear(subject, kind, hearers, event))
            for event in in_place:
                await event.wait()
            for hearer in hearers:
                hearer.missed()
            tasks.create_task(self._keep_hearing())

    async def _hear(
        self, subject: str, kind: type[Notice], hearers: tuple[Hearer, ...], in_place: asyncio.Event
    ) -> None:
        async with self._bus.listening(subject, kind) as told:
            in_place.set()
            async for item in told:
                if isinstance(item, Gap):
                    self.heard_until = 0.0
                for hearer in hearers:
                    hearer.missed() if isinstance(item, Gap) else hearer.heard(item.message)

    async def _keep_hearing(self) -> None:
        """The server answers behind everything that it sent us before; what is on its way in here takes no time."""
        while True:
            sent_at = self._clock()
            try:
                async with asyncio.timeout(STALE_SECONDS):
                    await self._bus.answers()
            except (UpstreamUnavailable, TimeoutError):
                self.heard_until = 0.0
            else:
                self.heard_until = sent_at + STALE_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
