"""Ends tasks for certain.

A task that is cancelled may go on as if nothing had been said: `asyncio.wait_for` of Python 3.11, with which redis-py
writes and nats-py asks, loses a cancellation that comes in the step in which it was about to return.

Source: https://github.com/python/cpython/issues/86296
"""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.5
"""How long a task may tidy up before it is taken for one that has not heard."""


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them, as often as it takes. Returns once all are gone."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
