"""Who counts: the port to the shared counters, and counters of one process."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from common.core.rate_limit import Answer, Ask
from common.core.rate_limit_books import Ledger

MAX_KEYS = 100_000


class Counters(Protocol):
    async def decide(self, asks: Sequence[Ask]) -> Sequence[Answer]:
        """One answer for each ask, in order. Raises while it cannot; no asks is to ask whether it can."""
        ...


class MemoryCounters:
    """Counters of this process alone."""

    def __init__(self, *, max_keys: int = MAX_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = Ledger(max_keys)
        self._clock = clock

    async def decide(self, asks: Sequence[Ask]) -> list[Answer]:
        return [self.decide_now(ask) for ask in asks]

    def decide_now(self, ask: Ask) -> Answer:
        return self._ledger.decide(ask, round(self._clock() * 1e6))
