"""Loops that live as long as the server; the first to end stops the process."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import structlog

from common.ending import ended

logger = structlog.get_logger(__name__)

Loop: TypeAlias = Callable[[], Coroutine[None, None, None]]

_died: list[str] = []  # of this process, which ends by it


@asynccontextmanager
async def running(*loops: Loop) -> AsyncGenerator[None]:
    """Run loops beside the server; on leaving, cancel them and wait until they are gone."""
    tasks = [asyncio.create_task(loop()) for loop in loops]  # noqa: TID251 - the one place that may
    stop = partial(stop_process, asyncio.current_task())
    for task in tasks:
        task.add_done_callback(stop)
    try:
        yield
    finally:
        for task in tasks:
            task.remove_done_callback(stop)
        await ended(tasks)


def stop_process(host: asyncio.Task[Any] | None, task: asyncio.Task[None]) -> None:
    """Also for a loop that was cancelled by something else than the end of its host, or of everything with it."""
    if task.cancelled() and host and host.cancelling():
        return
    logger.critical("background loop ended", exc_info=None if task.cancelled() else task.exception())
    _died.append(task.get_name())
    os.kill(os.getpid(), signal.SIGTERM)  # uvicorn then shuts down in order


def has_died() -> bool:
    """Whether a loop of this process has ended by itself."""
    return bool(_died)
