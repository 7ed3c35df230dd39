"""At most one load of a key runs in this process, and at most one more waits for it to end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import structlog

from common.cache.owned_tasks import OwnedTasks
from common.core.epochs import Tags
from common.core.errors import UpstreamUnavailable

A = TypeVar("A")

logger = structlog.get_logger(__name__)


def still_true() -> bool:
    return True


class Flight(Generic[A]):
    """One load and those who wait for it.

    It may be joined until it begins; afterwards as long as `holds`, for a read must not be given what was read before
    a bump that preceded it.
    """

    def __init__(self, tags: Tags, *, is_refresh: bool) -> None:
        self.tags = tags
        self.is_refresh = is_refresh
        self.landed: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self.landed.add_done_callback(retrieve)
        self.task: asyncio.Task[None] | None = None
        self.has_begun = False
        self.holds: Callable[[], bool] = still_true
        self.waiting = 0

    def may_be_joined(self, tags: Tags) -> bool:
        return self.tags == tags and not self.landed.done() and (not self.has_begun or self.holds())

    def land(self, answer: A) -> None:
        """Answer all who wait. The flight may go on to put things away."""
        if not self.landed.done():
            self.landed.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.landed.done():
            self.landed.set_exception(error)


Fly = Callable[[Flight[A]], Coroutine[Any, Any, None]]
"""Does the work; sets `holds` before its first await, and lands or raises."""


class Flights(Generic[A]):
    def __init__(self, tasks: OwnedTasks) -> None:
        self._tasks = tasks
        self._current: dict[str, Flight[A]] = {}
        self.refreshing = 0

    def joinable(self, key: str, tags: Tags) -> Flight[A] | None:
        flight = self._current.get(key)
        return flight if flight and flight.may_be_joined(tags) else None

    def start(self, key: str, tags: Tags, fly: Fly[A], *, is_refresh: bool = False) -> Flight[A]:
        """A refresh goes on though nobody waits for it."""
        flight: Flight[A] = Flight(tags, is_refresh=is_refresh)
        before = self._current.get(key)
        self._current[key] = flight
        self.refreshing += is_refresh
        flight.landed.add_done_callback(lambda _: self._forget(key, flight))
        flight.task = self._tasks.start(run(flight, before, fly))
        flight.task.add_done_callback(lambda _: self._count_ended(flight))
        return flight

    async def wait(self, key: str, flight: Flight[A]) -> A:
        """Its answer, or its error. A flight that nobody waits for any more is called off."""
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.landed)
        finally:
            flight.waiting -= 1
            if not (flight.waiting or flight.is_refresh or flight.landed.done()):
                flight.fail(UpstreamUnavailable("Nobody waits for this load any more."))
                self._forget(key, flight)
                if flight.task:
                    flight.task.cancel()

    def _count_ended(self, flight: Flight[A]) -> None:
        self.refreshing -= flight.is_refresh

    def _forget(self, key: str, flight: Flight[A]) -> None:
        if self._current.get(key) is flight:
            del self._current[key]


async def run(flight: Flight[A], before: Flight[A] | None, fly: Fly[A]) -> None:
    try:
        if before and not before.landed.done():
            await asyncio.wait([before.landed])
        flight.has_begun = True
        await fly(flight)
    except asyncio.CancelledError:
        flight.fail(UpstreamUnavailable("The load was called off."))
        raise
    except Exception as error:
        if flight.landed.done():
            logger.exception("an answer could not be put away")
        flight.fail(error)


def retrieve(landed: asyncio.Future[Any]) -> None:
    """An error that nobody waits for is not reported by the loop: a refresh that fails is tried again."""
    if not landed.cancelled():
        landed.exception()
