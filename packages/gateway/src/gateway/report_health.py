"""How the platform is, asked of every part at most once a second however often the public asks."""

import asyncio
import time
from collections.abc import Mapping

from common.serving.health import Probe, check

FRESH_SECONDS = 1.0


class HealthReport:
    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes
        self._results: dict[str, str] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def results(self) -> dict[str, str]:
        """`ok`, or why not, by part; the reasons are not for the public."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= FRESH_SECONDS:
                self._results = await check(self._probes)
                self._asked_at = time.monotonic()
            return self._results
