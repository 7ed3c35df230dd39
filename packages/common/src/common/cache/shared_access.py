"""The shared tier as the cache uses it: a tier that fails is a tier that holds nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import structlog

from common.cache.ports import Fetched, Lease, SharedTier
from common.core.epochs import EVERYTHING, Tags
from common.core.errors import UpstreamUnavailable

T = TypeVar("T")

Debt: TypeAlias = dict[str, object]
"""Tags that the tier has yet to be told of, each with a mark of the bump that it is owed for."""

logger = structlog.get_logger(__name__)

MAX_OWED_TAGS = 4096
FAILURES_TO_STOP = 2
"""So many failures in a row, and no read asks the tier any more until it answers again."""

PROBE_SECONDS = 0.25


class SharedAccess:
    """Calls that do not raise, and the bumps that the tier has yet to be told of.

    While the tier is owed a bump, no entry that bears the tag is read from it or written to it.
    """

    def __init__(self, tier: SharedTier) -> None:
        self._tier = tier
        self._owed: Debt = {}
        self._failures_in_a_row = 0
        self._trouble = asyncio.Event()
        self.failures = 0

    @property
    def is_away(self) -> bool:
        return self._failures_in_a_row >= FAILURES_TO_STOP

    def is_usable(self, tags: Tags) -> bool:
        return not self._owed or (EVERYTHING not in self._owed and self._owed.keys().isdisjoint(tags))

    async def fetch(self, key: str, tags: Tags, lease: Lease | None) -> Fetched | None:
        """None when there is no telling."""
        if not self.is_usable(tags):
            return None
        fetched = await self._ask(lambda: self._tier.fetch(key, tags, lease))
        return fetched if self.is_usable(tags) else None

    async def store(
        self, key: str, tags: Tags, packed: bytes, stamp: bytes, *, life_ms: int, stale_ms: int, lease: Lease | None
    ) -> bool:
        if not self.is_usable(tags):
            return False
        stored = await self._ask(
            lambda: self._tier.store(key, tags, packed, stamp, life_ms=life_ms, stale_ms=stale_ms, lease=lease)
        )
        return bool(stored)

    async def give_back(self, key: str, lease: Lease) -> None:
        await self._ask(lambda: self._tier.give_back(key, lease))

    async def tags_of(self, key: str) -> Tags | None:
        return await self._ask(lambda: self._tier.tags_of(key))

    def note_debt(self, tags: Tags) -> Debt:
        """From now on, until the tier was told of the bump, none of what it kills is read from it."""
        debt = dict.fromkeys(tags, object())
        self._owed.update(debt)
        if len(self._owed) > MAX_OWED_TAGS:
            self._owed = debt = {EVERYTHING: object()}
        return debt

    async def pay(self, debt: Debt) -> bool:
        """Whether the tier was told. What it was not told, it is told later."""
        return await self._pay(debt, self._ask)

    def owe(self, tags: Tags) -> None:
        """Have the tier told of these as soon as it can be."""
        self.note_debt(tags)
        self._trouble.set()

    async def tend(self) -> None:
        """Runs until cancelled: asks a tier that failed whether it is back, and tells it what it is owed."""
        while True:
            await self._trouble.wait()
            self._trouble.clear()
            was_away = self.is_away
            while not await self._pay(dict(self._owed), self._try):
                was_away = True
                await asyncio.sleep(PROBE_SECONDS)
            if was_away:
                logger.info("the shared cache tier was told of all that was bumped")

    async def _pay(
        self, debt: Debt, ask: Callable[[Callable[[], Coroutine[Any, Any, bool]]], Coroutine[Any, Any, T]]
    ) -> bool:
        if not await ask(lambda: self._tell(tuple(debt))):
            self._trouble.set()
            return False
        for tag, owed in debt.items():
            if self._owed.get(tag) is owed:
                del self._owed[tag]
        return True

    async def _tell(self, tags: Tags) -> bool:
        await self._tier.bump(tags)
        return True

    async def _ask(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        return None if self.is_away else await self._try(call)

    async def _try(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        try:
            answer = await call()
        except UpstreamUnavailable as error:
            self.failures += 1
            self._failures_in_a_row += 1
            if self._failures_in_a_row == FAILURES_TO_STOP:
                logger.warning("the shared cache tier is not used until it answers again", error=str(error))
                self._trouble.set()
            return None
        self._failures_in_a_row = 0
        return answer
