"""What asyncio.Queue and asyncio.Event do for one connection, without the four kilobytes that both take while nothing
happens: there are tens of thousands of connections, and in most of them nothing does.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue without an end, for one reader."""

    __slots__ = ("_came", "_items")

    def __init__(self) -> None:
        self._items: deque[T] | None = None
        self._came: asyncio.Future[None] | None = None

    def put_nowait(self, item: T) -> None:
        if self._items is None:
            self._items = deque()
        self._items.append(item)
        if self._came and not self._came.done():
            self._came.set_result(None)

    async def get(self) -> T:
        """Cancelled, it has taken nothing."""
        while self._items is None:
            self._came = asyncio.get_running_loop().create_future()
            try:
                await self._came
            finally:
                self._came = None
        item = self._items.popleft()
        if not self._items:
            self._items = None
        return item

    def empty(self) -> bool:
        return self._items is None


class Gate:
    """Open at first."""

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        self._opened: asyncio.Future[None] | None = None

    def set(self) -> None:
        if self._opened:
            self._opened.set_result(None)
            self._opened = None

    def clear(self) -> None:
        if self._opened is None:
            self._opened = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        if self._opened:
            await asyncio.shield(self._opened)  # others wait for the same
