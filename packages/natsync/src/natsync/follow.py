"""When a pass is due: at the start, on PocketBase's hints, and on every sweep. One at a time."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import structlog

from common.core.errors import ServiceError, UpstreamUnavailable
from natsync.core.sealing import SealBroken
from natsync.reconcile import Pass, Reconciler

logger = structlog.get_logger(__name__)

SHORTEST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 3.0


@dataclass(slots=True)
class Progress:
    """What the last passes came to. Times are Unix seconds; 0 is never.

    `verified` says, by account, when the servers were last seen to agree with what is wanted of it.
    """

    passes: int = 0
    finished_at: float = 0
    seconds: float = 0
    error: str = "no pass has finished yet"
    done: Pass = field(default_factory=Pass)
    verified: dict[str, float] = field(default_factory=dict[str, float])

    async def finished(self) -> None:
        """Health probe: raises until a pass has gone through, and while they fail.

        One account that NATS refuses is no reason to call the whole platform unready; its row says so.
        """
        if self.error:
            raise UpstreamUnavailable(self.error)


class Follow:
    def __init__(
        self,
        reconciler: Reconciler,
        hints: AsyncIterator[object],
        *,
        debounce_seconds: float,
        sweep_seconds: float,
    ) -> None:
        self.progress = Progress()
        self._reconciler = reconciler
        self._hints = hints
        self._debounce_seconds = debounce_seconds
        self._sweep_seconds = sweep_seconds
        self._due = asyncio.Event()

    async def listen(self) -> None:
        """Loop: every hint makes a pass due; what it says beyond that is not believed."""
        async for _ in self._hints:
            self._due.set()

    def hint(self) -> None:
        """Something may have changed, wherever that was seen."""
        self._due.set()

    async def work(self) -> None:
        """Loop: a pass whenever one is due. A failing one is tried again, ever less often."""
        backoff = SHORTEST_BACKOFF_SECONDS
        while True:
            self._due.clear()
            if await self._pass():
                backoff = SHORTEST_BACKOFF_SECONDS
                await self._wait_until_due()
            else:
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)

    async def _wait_until_due(self) -> None:
        try:
            async with asyncio.timeout(min(self._sweep_seconds, self.progress.done.retry_in_seconds)):
                await self._due.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._debounce_seconds)  # further hints of the same change fall into this pass

    async def _pass(self) -> bool:
        """Says whether it went through; single accounts that NATS refuses are paced by their tickets."""
        progress, started = self.progress, time.monotonic()
        try:
            progress.done = await self._reconciler.run()
            progress.error = ""
        except (ServiceError, SealBroken) as error:
            progress.error = str(error)
            logger.warning("pass failed", error=str(error))
        except Exception as error:
            progress.error = f"internal error: {type(error).__name__}"
            logger.exception("pass failed")
        else:
            now = time.time()
            progress.verified = {
                account.id: progress.verified.get(account.id, 0) if account.id in progress.done.pending else now
                for account in progress.done.accounts
            }
            if progress.done.written:
                logger.info("pass", **counts(progress.done))
        progress.seconds, progress.finished_at = time.monotonic() - started, time.time()
        progress.passes += 1
        return not progress.error


def counts(done: Pass) -> dict[str, int]:
    return {
        "published": done.published,
        "removed": done.removed,
        "issued": done.issued,
        "written": done.written,
        "pending": len(done.pending),
    }
