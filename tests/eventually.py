"""Waits for a condition, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool] = bool, *, seconds: float = 30) -> T:
    """Ask until the answer holds and return it; errors count as 'not yet'. Raises AssertionError with the last one."""
    last: object = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    last = answer = await ask()
                    if holds(answer):
                        return answer
                except (OSError, LookupError, AssertionError, RuntimeError) as error:
                    last = error
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s; last seen: {last!r}") from None


async def not_later_than(seconds: float, ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Ask until the answer holds; whatever is asked later than that has to. Raises AssertionError."""
    begun = time.monotonic()
    while True:
        asked_after_seconds = time.monotonic() - begun
        answer = await ask()
        if holds(answer):
            return answer
        if asked_after_seconds >= seconds:
            raise AssertionError(f"asked {asked_after_seconds:.3f} s later: {answer!r}")
        await asyncio.sleep(0.02)
