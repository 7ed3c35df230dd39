"""Runs blocking code in a bounded number of threads beside the server's loop, each call with a deadline.

Python cannot end a thread. One that is overdue is lost: another takes its place at once, and it is told to stop if it
burns the processor. Beyond a bound on those that have not ended nothing more is begun.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock, current_thread
from typing import Any, TypeVar, cast

import structlog

from gateway.isolate.outcome import Crowded, GivenUp, Outcome, Overdue
from gateway.isolate.watched_thread import WatchedThread

logger = structlog.get_logger(__name__)

T = TypeVar("T")

THREADS = 8
MAX_LOST = 32
MAX_WAITING = 1000


@dataclass(slots=True, eq=False)
class Job:
    """Begins and ends in a thread, or is given up by the loop: whichever comes first, under the lock."""

    function: Callable[[], Any]
    context: Context
    loop: asyncio.AbstractEventLoop
    done: Callable[["Job", Outcome[Any]], None]
    future: asyncio.Future[Outcome[Any]]
    lock: Lock = field(default_factory=Lock)
    thread: WatchedThread | None = None
    is_over: bool = False
    timer: asyncio.TimerHandle | None = None

    def begin(self) -> bool:
        with self.lock:
            if not self.is_over:
                self.thread = cast(WatchedThread, current_thread())
            return not self.is_over

    def outcome(self) -> Outcome[Any]:
        try:
            return Outcome(self.context.run(self.function))
        except GivenUp:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's to judge
            return Outcome(error=error)

    def end(self) -> bool:
        """True for whoever comes first. A thread that comes second must end, and is not given another job."""
        with self.lock:
            is_first, self.is_over = not self.is_over, True
            return is_first

    def report(self, outcome: Outcome[Any]) -> None:
        tell(self.loop, self.done, self, outcome)


class Threads:
    def __init__(self, *, count: int = THREADS, max_lost: int = MAX_LOST, max_waiting: int = MAX_WAITING) -> None:
        self._count = count
        self._max_lost = max_lost
        self._max_waiting = max_waiting
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._working: set[WatchedThread] = set()
        self._lost: set[WatchedThread] = set()
        self._unfinished = 0

    @property
    def lost(self) -> int:
        """Threads that were given up and have not ended yet."""
        self._lost = {thread for thread in self._lost if thread.is_alive()}
        return len(self._lost)

    async def run(self, function: Callable[[], T], *, seconds: float) -> Outcome[T]:
        """Raises Overdue, Crowded. A caller that is cancelled leaves the function to its deadline."""
        if self._unfinished >= self._max_waiting or not self._fill():
            raise Crowded
        loop = asyncio.get_running_loop()
        job = Job(function, copy_context(), loop, self._finished, loop.create_future())
        job.timer = loop.call_later(seconds, self._give_up, job)
        self._unfinished += 1
        self._jobs.put(job)
        return cast(Outcome[T], await job.future)

    def close(self) -> None:
        """Threads end after what they are doing; those that were given up and still burn the processor, now."""
        for thread in self._lost:
            thread.interrupt_if_busy()
        for _ in self._working:
            self._jobs.put(None)
        self._working.clear()

    def _fill(self) -> bool:
        """Are there threads to do it?"""
        self._working = {thread for thread in self._working if thread.is_alive()}
        room = self._count + self._max_lost - self.lost
        while len(self._working) < min(self._count, room):
            thread = WatchedThread(self._work, "gateway-rules")
            thread.start()
            self._working.add(thread)
        return bool(self._working)

    def _work(self) -> None:
        try:
            while job := self._jobs.get():
                if job.begin():
                    outcome = job.outcome()
                    if not job.end():
                        return
                    job.report(outcome)
                    del outcome
                del job
        except GivenUp:
            return

    def _finished(self, job: Job, outcome: Outcome[Any]) -> None:
        self._unfinished -= 1
        if job.timer:
            job.timer.cancel()
        if not job.future.done():
            job.future.set_result(outcome)

    def _give_up(self, job: Job) -> None:
        if not job.end():
            return  # it has just ended, and its report is on the way
        self._unfinished -= 1
        if job.thread:
            self._working.discard(job.thread)
            self._lost.add(job.thread)
            job.thread.chase()
            self._fill()
            logger.warning("a rule's thread was given up", lost=self.lost)
        if not job.future.done():
            job.future.set_exception(Overdue(has_begun=job.thread is not None))


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object) -> None:
    """Calls back in another thread's loop, if that one still runs."""
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        logger.debug("nobody waits for this any more")
