"""A loop that lives as long as a block, and whose failure ends the block."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from common.ending import AGAIN_SECONDS, ended

T = TypeVar("T")


@asynccontextmanager
async def accompanied(loop: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run `loop` beside the body. On leaving it is cancelled and awaited.

    If it fails, the body is cancelled, as often as it takes, and its error comes out of the block. Unlike a TaskGroup,
    this leaves the errors of the body as they are instead of wrapping them in a group.
    """
    host = asyncio.current_task()
    assert host is not None  # noqa: S101 - a coroutine runs in a task
    summons = Summons(host)
    beside = asyncio.create_task(loop)  # noqa: TID251 - held here, awaited below, its error raised
    beside.add_done_callback(summons.failed)
    try:
        yield
    except asyncio.CancelledError:
        if summons.failure is None or summons.are_not_all():
            raise
    finally:
        beside.remove_done_callback(summons.failed)
        summons.end()
        await ended([beside])
        summons.take_back()
    if summons.failure:
        raise summons.failure


class Summons:
    """Tells a host to end until it does: the first word may be lost (see `common.ending`)."""

    def __init__(self, host: asyncio.Task[Any]) -> None:
        self.failure: BaseException | None = None
        self._host = host
        self._before = host.cancelling()
        self._count = 0
        self._again: asyncio.TimerHandle | None = None

    def failed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()):
            self.failure = failure
            self._tell()

    def are_not_all(self) -> bool:
        """Whether somebody else wants the host to end, too."""
        return self._host.cancelling() > self._before + self._count

    def end(self) -> None:
        if self._again:
            self._again.cancel()

    def take_back(self) -> None:
        for _ in range(self._count):
            self._host.uncancel()

    def _tell(self) -> None:
        self._count += 1
        self._host.cancel()
        self._again = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._tell)


async def cancelled_from_outside_only(work: Awaitable[T]) -> T:
    """A handler that awaits something which was cancelled has failed; it must not end the task that runs it.

    Raises RuntimeError for that.
    """
    try:
        return await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("What was awaited had been cancelled.") from error
