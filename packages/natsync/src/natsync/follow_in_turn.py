"""Follows PocketBase without a break in quiet times: it ends every stream after five minutes without an event.

Before that another stream is begun. Once both stand, and neither has said anything for a while, nothing can be on its
way on the one alone, and the first is left. Where something is said meanwhile, the other is given up, and begun later.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from common.adapters.pocketbase import RealtimeEvent, Resubscribed
from common.task_group import TaskGroup

Begin: TypeAlias = Callable[[], AsyncGenerator[RealtimeEvent]]

MOST_WAITING = 64


@dataclass(frozen=True, slots=True)
class TurnTerms:
    """After `quiet_seconds` without an event there is another stream; both have to be silent for `silence_seconds`."""

    quiet_seconds: float = 200.0
    silence_seconds: float = 2.0
    connect_seconds: float = 10.0


class Turns:
    """`tasks` must outlive it. What the streams say waits in one queue, with the number of the stream."""

    def __init__(self, tasks: TaskGroup, begin: Begin, terms: TurnTerms) -> None:
        self._tasks = tasks
        self._begin = begin
        self._terms = terms
        self._said: asyncio.Queue[tuple[int, RealtimeEvent]] = asyncio.Queue(MOST_WAITING)
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._last = 0

    async def events(self) -> AsyncGenerator[RealtimeEvent]:
        """What one stream says, and then the next. Ends only by cancellation; `stop` then ends the streams."""
        current = self._start()
        while True:
            said = await self._next(self._terms.quiet_seconds)
            if said is None:
                heir = self._start()
                said = await self._said_in_overlap(heir)
                self._stop(heir if said else current)
                current = current if said else heir
            if said and said[0] == current:
                yield said[1]

    def stop(self) -> None:
        for number in list(self._streams):
            self._stop(number)

    async def _said_in_overlap(self, heir: int) -> tuple[int, RealtimeEvent] | None:
        """None once the heir stands and all was silent; else what was said, or a Resubscribed of nobody's."""
        begun = await self._next(self._terms.connect_seconds)
        if begun is None:
            return heir, Resubscribed()
        if begun[0] != heir or not isinstance(begun[1], Resubscribed):
            return begun
        return await self._next(self._terms.silence_seconds)

    async def _next(self, seconds: float) -> tuple[int, RealtimeEvent] | None:
        """What is said next by a stream that is not given up; None when nothing is."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    said = await self._said.get()
                    if said[0] in self._streams:
                        return said
        except TimeoutError:
            return None

    def _start(self) -> int:
        self._last += 1
        self._streams[self._last] = self._tasks.create_task(self._follow(self._last))
        return self._last

    def _stop(self, number: int) -> None:
        self._streams.pop(number).cancel()

    async def _follow(self, number: int) -> None:
        async with aclosing(self._begin()) as events:
            async for event in events:
                await self._said.put((number, event))
