"""When sessions were last used, gathered and written in batches."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import structlog

from common.core.errors import UpstreamUnavailable
from gateway.core.sessions.session import Use

logger = structlog.get_logger(__name__)

MAX_PENDING = 20_000
BATCH = 500
FLUSH_SECONDS = 5.0


class UseStore(Protocol):
    async def note(self, uses: Sequence[Use]) -> None:
        """Raises UpstreamUnavailable when the store is away."""
        ...


class Uses:
    """`run` must run beside the server. A use that finds no room is forgotten: it only informs."""

    def __init__(self, store: UseStore) -> None:
        self._store = store
        self._pending: dict[str, Use] = {}

    def note(self, use: Use) -> None:
        if use.session_id in self._pending or len(self._pending) < MAX_PENDING:
            self._pending[use.session_id] = use

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except UpstreamUnavailable:
                logger.info("last uses of sessions could not be written")

    async def flush(self) -> None:
        while batch := list(islice(self._pending.values(), BATCH)):
            for use in batch:
                del self._pending[use.session_id]
            await self._store.note(batch)
