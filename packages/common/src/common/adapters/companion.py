"""A loop that lives as long as a block, and whose failure ends the block."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


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

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()):
            failures.append(failure)
            host.cancel()

    beside = asyncio.create_task(loop)  # noqa: TID251 - held here, awaited below, its error raised
    beside.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if failures and host.uncancel() <= before:
            raise failures[0] from None
        raise
    finally:
        beside.remove_done_callback(ended)
        beside.cancel()
        await asyncio.wait([beside])
