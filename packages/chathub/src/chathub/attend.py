"""Who is here, told to the other nodes and to whom it concerns here; several times a second, not at each event."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from chathub.core.hub import Hub
from chathub.core.presence import Report
from common.core.errors import ServiceError

logger = structlog.get_logger(__name__)

TICK_SECONDS = 0.25
STATUSES = 250_000
"""Of who came or went, to all sockets together, at a tick: ten thousand who come at once would be a hundred million."""
LEAST_CHANGES = 10
ALIVE_SECONDS = 3.0
WANT_SECONDS = 1.0
"""A node is not asked more often for the whole of its users."""


class Reports(Protocol):
    async def tell(self, report: Report) -> None:
        """Raises UpstreamUnavailable: it may have been heard or not."""
        ...

    def heard(self) -> AbstractAsyncContextManager[AsyncIterator[Report | None]]:
        """What all nodes tell; None while this one may miss some. After a loss another follows once it is over."""
        ...

    def is_deaf(self) -> bool: ...


class Attendance:
    def __init__(self, hub: Hub, reports: Reports) -> None:
        self._hub = hub
        self._roster = hub.roster
        self._reports = reports
        self._whole_due = True
        self._wanted: dict[str, float] = {}
        self._alive_at = 0.0

    async def listen(self) -> None:
        async with self._reports.heard() as heard:
            async for report in heard:
                if report is None:
                    self._whole_due = True
                else:
                    await self._hear(report)

    async def run(self) -> None:
        try:
            while True:
                most = max(LEAST_CHANGES, STATUSES // max(1, len(self._hub)))
                self._hub.announce(self._roster.tick(now(), deaf=self._reports.is_deaf(), most=most))
                await self._tell()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            await self._say_goodbye()

    async def _hear(self, report: Report) -> None:
        if report.wanted:
            self._whole_due = self._whole_due or report.wanted == self._roster.node
            return
        if (
            not self._roster.heard(report, now())
            and now() - self._wanted.get(report.node, -WANT_SECONDS) >= WANT_SECONDS
        ):
            self._wanted = {node: at for node, at in self._wanted.items() if now() - at < WANT_SECONDS}
            self._wanted[report.node] = now()
            await self._say(self._roster.wanting(report.node))

    async def _tell(self) -> None:
        due, self._whole_due = self._whole_due, False
        reports = self._roster.whole() if due else self._roster.changes()
        if not reports and now() >= self._alive_at:
            reports = [self._roster.alive()]
        for report in reports:
            if not await self._say(report):
                self._whole_due = self._whole_due or due or bool(report.joined or report.left)
                return
            self._alive_at = now() + ALIVE_SECONDS

    async def _say(self, report: Report) -> bool:
        try:
            await self._reports.tell(report)
        except ServiceError as error:
            logger.debug("presence not told", error=str(error))
            return False
        return True

    async def _say_goodbye(self) -> None:
        await self._say(self._roster.leaving())


def now() -> float:
    return asyncio.get_running_loop().time()
