"""Tasks that a cache starts and sees to the end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from common.ending import ended

T = TypeVar("T")

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0


class OwnedTasks:
    """Holds a reference to each task while it runs, and lets none outlive `close`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)  # noqa: TID251 - a load outlives the reader that began it, hence any TaskGroup
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A loop that is begun again should it ever end."""
        self.start(again_and_again(loop))

    async def settle(self, seconds: float) -> None:
        """Let what is under way end by itself, for so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def close(self) -> None:
        while self._tasks:
            await ended(self._tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("a task of the cache failed", error=type(error).__name__)  # whoever waits for it is told


async def again_and_again(loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await loop()
        except Exception:
            logger.exception("a loop of the cache failed and is begun again")
        await asyncio.sleep(RETRY_SECONDS)
