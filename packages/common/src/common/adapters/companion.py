"""A loop that lives as long as a block, and whose failure ends the block."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from common.ending import ended

T = TypeVar("T")


@asynccontextmanager
async def accompanied(loop: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run `loop` beside the body. On leaving it is cancelled and awaited.

    If it fails, the body is cancelled and its error comes out of the block. Unlike a TaskGroup, this leaves the
    errors of the body as they are instead of wrapping them in a group.
    """
    host = asyncio.current_task()
    assert host is not None  # noqa: S101 - a coroutine runs in a task
    before = host.cancelling()
    failures: list[BaseException] = []

    def failed(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()):
            failures.append(failure)
            host.cancel()

    beside = asyncio.create_task(loop)  # noqa: TID251 - held here, awaited below, its error raised
    beside.add_done_callback(failed)
    try:
        yield
    except asyncio.CancelledError:
        if not failures or host.cancelling() > before + 1:  # cancelled from outside, perhaps as well
            raise
    finally:
        beside.remove_done_callback(failed)
        await ended([beside])
        if failures:
            host.uncancel()
    if failures:
        raise failures[0]


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
