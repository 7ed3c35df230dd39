"""Runs awaiting code in an event loop of its own beside the server's, each call with a deadline.

Code that blocks instead of awaiting stops only that loop. When it does not answer any more, it is told to stop and
another takes its place; what was waiting in it is refused. Code that will not be cancelled is left behind and counted;
a loop with too much of it gets nothing new, and is stopped once what else is in it had time to end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import structlog

from gateway.isolate.outcome import Crowded, Outcome, Overdue
from gateway.isolate.threads import tell
from gateway.isolate.watched_thread import WatchedThread

logger = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_TASKS = 1000
MAX_LOST = 4
MAX_STUBBORN = 50
GRACE_SECONDS = 1.0
DRAIN_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class Job:
    function: Callable[[], Awaitable[Any]]
    context: Context
    server: asyncio.AbstractEventLoop
    future: asyncio.Future[Outcome[Any]]
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[Outcome[Any]] | None = None
    has_ended: bool = False

    async def outcome(self) -> Outcome[Any]:
        try:
            return Outcome(await self.function())
        except BaseException as error:  # noqa: BLE001 - SystemExit too, which would end the loop
            return Outcome(error=error)


class OwnLoop:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(report_stray)
        self.unfinished = 0  # counted in the server's loop, tasks that will not be cancelled among them
        self.stubborn = 0
        self.alarm: asyncio.TimerHandle | None = None  # cancelled as soon as the loop answers
        self._tasks: set[asyncio.Task[Outcome[Any]]] = set()
        self._is_stopping = False
        self.thread = WatchedThread(self._run, "gateway-rules-loop")
        self.thread.start()

    def submit(self, job: Job) -> None:
        self.unfinished += 1
        tell(self.loop, self._start, job)

    def cancel(self, job: Job) -> None:
        tell(self.loop, self._cancel, job)

    def stop(self) -> None:
        self._is_stopping = True
        tell(self.loop, self.loop.stop)
        if self.alarm and not self.alarm.cancelled():
            self.thread.interrupt_if_busy()

    def _start(self, job: Job) -> None:
        job.task = self.loop.create_task(job.outcome(), context=job.context)
        self._tasks.add(job.task)
        job.task.add_done_callback(partial(self._ended, job))

    def _cancel(self, job: Job) -> None:
        if job.task:
            job.task.cancel()

    def _ended(self, job: Job, task: asyncio.Task[Outcome[Any]]) -> None:
        self._tasks.discard(task)
        outcome: Outcome[Any] = Outcome(error=asyncio.CancelledError()) if task.cancelled() else task.result()
        tell(job.server, self._finished, job, outcome)

    def _finished(self, job: Job, outcome: Outcome[Any]) -> None:
        self.unfinished -= 1
        job.has_ended = True
        if job.timer:
            job.timer.cancel()
        if not job.future.done():
            job.future.set_result(outcome)

    def _run(self) -> None:
        while not self._is_stopping:
            with suppress(BaseException):  # a stray task's SystemExit, or our own interruption
                self.loop.run_forever()
        with suppress(BaseException):
            self.loop.run_until_complete(self._cancel_all())
            self.loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)


class Loops:
    def __init__(
        self,
        *,
        max_tasks: int = MAX_TASKS,
        max_lost: int = MAX_LOST,
        max_stubborn: int = MAX_STUBBORN,
        grace_seconds: float = GRACE_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._max_tasks = max_tasks
        self._max_lost = max_lost
        self._max_stubborn = max_stubborn
        self._grace_seconds = grace_seconds
        self._drain_seconds = drain_seconds
        self._own: OwnLoop | None = None
        self._lost: set[WatchedThread] = set()

    @property
    def lost(self) -> int:
        """Loops that were given up and have not ended yet."""
        self._lost = {thread for thread in self._lost if thread.is_alive()}
        return len(self._lost)

    @property
    def unfinished(self) -> int:
        """Calls under way in the loop, those left behind among them."""
        return self._own.unfinished if self._own else 0

    async def run(self, function: Callable[[], Awaitable[T]], *, seconds: float) -> Outcome[T]:
        """Raises Overdue, Crowded. When the caller is cancelled, so is the function."""
        own = self._current()
        server = asyncio.get_running_loop()
        job = Job(function, copy_context(), server, server.create_future())
        job.timer = server.call_later(seconds, self._give_up, own, job)
        own.submit(job)
        try:
            return cast(Outcome[T], await job.future)
        except asyncio.CancelledError:
            own.cancel(job)
            raise

    def close(self) -> None:
        for thread in self._lost:
            thread.interrupt_if_busy()
        if self._own:
            self._own.stop()
            self._own = None

    def _current(self) -> OwnLoop:
        if self._own is None:
            if self.lost >= self._max_lost:
                raise Crowded
            self._own = OwnLoop()
        if self._own.unfinished >= self._max_tasks:
            raise Crowded
        return self._own

    def _give_up(self, own: OwnLoop, job: Job) -> None:
        own.cancel(job)
        server = asyncio.get_running_loop()
        own.alarm = server.call_later(self._grace_seconds, self._replace, own)
        tell(own.loop, tell, server, own.alarm.cancel)
        server.call_later(self._grace_seconds, self._leave_behind, own, job)
        if not job.future.done():
            job.future.set_exception(Overdue(has_begun=job.task is not None))

    def _replace(self, own: OwnLoop) -> None:
        if own is not self._own:
            return
        logger.warning("a loop was given up: something with async blocks it", lost=self.lost + 1)
        self._retire(own)
        own.stop()
        own.thread.chase()

    def _leave_behind(self, own: OwnLoop, job: Job) -> None:
        if job.has_ended or own is not self._own:
            return
        own.stubborn += 1
        if own.stubborn >= self._max_stubborn:
            logger.warning("a loop is given up: much in it will not be cancelled", lost=self.lost + 1)
            self._retire(own)
            asyncio.get_running_loop().call_later(self._drain_seconds, own.stop)

    def _retire(self, own: OwnLoop) -> None:
        self._lost.add(own.thread)
        self._own = None


def report_stray(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a rule has left running in the background, and nobody awaits."""
    error = context.get("exception")
    logger.warning("left behind by a rule", error=type(error).__name__ if error else context.get("message"))
