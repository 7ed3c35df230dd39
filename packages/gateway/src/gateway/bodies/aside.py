"""Work that takes the longer the larger a body is."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

DONE_AT_ONCE_BYTES = 64 * 1024

P = ParamSpec("P")
T = TypeVar("T")


async def aside(size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Does what so large a body makes of work: in a thread when it takes long enough for others to notice."""
    if size_bytes <= DONE_AT_ONCE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
