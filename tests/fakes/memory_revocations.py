"""The revocation stream within one process."""

import asyncio
import math

from common.core.errors import UpstreamUnavailable
from common.core.notices import Notice
from gateway.core.sessions.notices import Hearer


class MemoryRevocations:
    def __init__(self) -> None:
        self.heard_until = 0.0
        self._hearers: list[tuple[Hearer, ...]] = []
        self._is_away = False

    async def publish(self, notice: Notice) -> None:
        if self._is_away:
            raise UpstreamUnavailable("Nobody carries notices.")
        for hearer in (hearer for hearers in self._hearers for hearer in hearers):
            hearer.heard(notice)

    async def listen(self, *hearers: Hearer) -> None:
        self._hearers.append(hearers)
        try:
            self.come_back()
            await asyncio.Event().wait()
        finally:
            self._hearers.remove(hearers)
            self.heard_until = 0.0

    def go_away(self) -> None:
        self.heard_until, self._is_away = 0.0, True

    def come_back(self) -> None:
        self._is_away = False
        for hearer in (hearer for hearers in self._hearers for hearer in hearers):
            hearer.missed()
        self.heard_until = math.inf
