"""Asks the shared counters once per turn of the event loop, and knows whether they are away."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import structlog

from common.core.rate_limit import Answer, Ask
from common.core.rate_limit_key import By
from common.core.rate_limit_lane import Lane
from common.limiter.counting import Counters

logger = structlog.get_logger(__name__)

MAX_BATCH = 256
MAX_SENDING = 4
MAX_WAITING = 16_384
LAST_LOOK_SECONDS = 0.01
FIRST_PROBE_SECONDS = 0.1
LAST_PROBE_SECONDS = 1.0

Waiting: TypeAlias = tuple[Lane, By, Ask, asyncio.Future[Answer | None], float]
"""An ask, whom it is about, who waits for the answer, and until when."""


class Post:
    """Carries asks to the counters: those of one turn of the loop in one call, of several turns while calls are slow.

    An ask that cannot be sent or is not answered in time is answered None. The counters then are away, and nobody else
    is kept waiting, until they answer a probe.
    """

    def __init__(
        self,
        counters: Counters,
        deadline_seconds: float,
        clock: Callable[[], float],
        learned: Callable[[Lane], None],
    ) -> None:
        self._counters = counters
        self._deadline_seconds = deadline_seconds
        self._clock = clock
        self._learned = learned
        self._waiting: list[Waiting] = []
        self._scheduled = False
        self._sending: set[asyncio.Task[None]] = set()
        self._probing: asyncio.Task[None] | None = None
        self.is_away = False

    def submit(self, lane: Lane, by: By, ask: Ask) -> asyncio.Future[Answer | None]:
        """The answer to come; whoever does not wait for it may drop it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer | None] = loop.create_future()
        waiting = (lane, by, ask, future, loop.time() + self._deadline_seconds)
        if self.is_away or len(self._waiting) >= MAX_WAITING:
            self._resolve([waiting], [None], 0)
            return future
        self._waiting.append(waiting)
        if not self._scheduled and len(self._sending) < MAX_SENDING:
            self._scheduled = True
            loop.call_soon(self._flush)
        return future

    async def close(self) -> None:
        """Send what waits, and end."""
        if self._probing:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        self._flush()
        while self._sending:  # each ends by its deadline
            await asyncio.wait(self._sending)

    def _flush(self) -> None:
        self._scheduled = False
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._sending) < MAX_SENDING:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            task = loop.create_task(self._send(batch))  # held below, awaited in close, and it does not raise
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if self._waiting:
            self._flush()

    async def _send(self, batch: Sequence[Waiting]) -> None:
        sent_at = self._clock()
        answers: Sequence[Answer | None] = [None] * len(batch)
        try:
            async with deadline(batch[0][-1]):
                answers = await self._counters.decide([ask for _, _, ask, _, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever keeps them from counting, they are away
            self._lost(error)
        finally:
            self._resolve(batch, answers, sent_at)

    def _resolve(self, batch: Sequence[Waiting], answers: Sequence[Answer | None], sent_at: float) -> None:
        for (lane, by, ask, future, _), answer in zip(batch, answers, strict=True):
            if ask.want or (answer is not None and answer.outcome != "allowed"):
                settling = lane.answered(by, ask, answer, sent_at)
                if settling is not None:
                    self.submit(lane, by, settling)
                self._learned(lane)
            if not future.done():  # its caller may have been cancelled, which is no concern of the others
                future.set_result(answer)

    def _lost(self, error: Exception) -> None:
        if not self.is_away:
            self.is_away = True
            logger.warning("rate limit counters are away", error=type(error).__name__)
            loop = asyncio.get_running_loop()
            self._probing = loop.create_task(self._probe())  # held until it ends, cancelled in close; it does not raise
        waiting, self._waiting = self._waiting, []
        self._resolve(waiting, [None] * len(waiting), 0)

    async def _probe(self) -> None:
        pause = FIRST_PROBE_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(self._deadline_seconds):
                    await self._counters.decide([])
            except Exception:  # noqa: BLE001 - still away, for whatever reason
                pause = min(2 * pause, LAST_PROBE_SECONDS)
            else:
                self.is_away, self._probing = False, None
                logger.info("rate limit counters are back")
                return


@asynccontextmanager
async def deadline(at: float) -> AsyncGenerator[None]:
    """Raises TimeoutError then, in the loop's time. A loop that was busy with other things until then gets a last look
    at what has come in meanwhile."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as last_look:
        timer = loop.call_at(at, lambda: last_look.reschedule(loop.time() + LAST_LOOK_SECONDS))
        try:
            yield
        finally:
            timer.cancel()
