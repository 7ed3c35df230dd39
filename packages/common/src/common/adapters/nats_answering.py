"""Answers requests: each request gets an answer or a typed failure, and what is under way is finished on leaving."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Generic, NamedTuple, TypeAlias

import structlog

from common import correlation
from common.adapters.bus_metrics import Tally
from common.adapters.companion import accompanied, cancelled_from_outside_only
from common.adapters.nats_link import Link, deadline_in
from common.adapters.nats_listening import Refusals
from common.adapters.nats_subscriptions import Arrived, Change
from common.core.errors import DeadlineExceeded, ServiceError, UpstreamUnavailable
from common.core.failures import failure_headers, failure_of
from common.core.messages import Done, InvalidMessage, M, Message, decode, encode
from common.task_group import TaskGroup

logger = structlog.get_logger(__name__)

TIMEOUT_HEADER = "X-Timeout-Ms"
"""How long the asking side waits, from when it sent: past that no answer is worth making."""
LONGEST_SECONDS = 60.0
REPLY_SECONDS = 5.0
REPLY_TO = ("_INBOX.", "_R_.")
"""Answers go to inboxes and nowhere else, or a request could make us publish where only we may."""

Handler: TypeAlias = Callable[[M], Awaitable[Message | bytes | None]]
"""From a request to its answer; None is answered with `Done`."""


class Waiting(NamedTuple):
    arrived: Arrived
    deadline: float


class Answer(NamedTuple):
    payload: bytes
    headers: dict[str, str]


class Answering(Generic[M]):
    def __init__(self, link: Link, kind: type[M], handler: Handler[M], *, concurrency: int, waiting: int) -> None:
        self._link = link
        self._kind = kind
        self._handler = handler
        self._concurrency = concurrency
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue(waiting)
        self._refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._refusals = Refusals()
        self._tally = Tally("answer")

    def put(self, arrived: Arrived) -> None:
        try:
            self._waiting.put_nowait(Waiting(arrived, deadline_in(patience(arrived))))
        except asyncio.QueueFull:
            self._tell(arrived, UpstreamUnavailable("Too many requests are waiting here."))

    def changed(self, change: Change) -> None:
        if isinstance(change, ServiceError) and not self._refused.done():
            self._refused.set_exception(change)

    async def until_refused(self) -> None:
        await self._refused

    async def run(self) -> None:
        async with TaskGroup() as workers:
            for _ in range(self._concurrency):
                workers.create_task(self._work())

    async def drained(self, seconds: float) -> None:
        """Finish what has arrived; whoever still waits after that is told."""
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            while not self._waiting.empty():
                self._tell(self._waiting.get_nowait().arrived, stopping())

    async def _work(self) -> None:
        while True:
            waiting = await self._waiting.get()
            try:
                with correlation.incoming(waiting.arrived.headers.values):
                    await self._serve(waiting)
            except asyncio.CancelledError:
                self._tell(waiting.arrived, stopping())
                raise
            except Exception:
                logger.exception("request not answered", subject=waiting.arrived.subject)
            finally:
                self._waiting.task_done()

    async def _serve(self, waiting: Waiting) -> None:
        arrived, deadline = waiting
        if deadline_in(0) >= deadline:
            self._tally.failed(DeadlineExceeded())
            return
        answer = await self._answer(arrived, deadline)
        if not arrived.reply.startswith(REPLY_TO):
            return
        try:
            headers = {**correlation.outgoing(), **answer.headers}
            await self._link.publish(arrived.reply, answer.payload, headers, deadline=deadline_in(REPLY_SECONDS))
        except ServiceError as error:
            logger.warning("answer not delivered", subject=arrived.subject, error=str(error))

    async def _answer(self, arrived: Arrived, deadline: float) -> Answer:
        try:
            message = decode(self._kind, arrived.payload)
        except InvalidMessage as error:
            self._refusals.tell(arrived.subject, error)
            return self._failed(error)
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                answer = await cancelled_from_outside_only(self._handler(message))
            payload = encode(Done() if answer is None else answer)
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                return self._failed(DeadlineExceeded("The answer took longer than the request allows."))
            if not isinstance(error, ServiceError):
                logger.error("handler failed", subject=arrived.subject, exc_info=error)
            return self._failed(error)
        self._tally.done()
        return Answer(payload, {})

    def _failed(self, error: Exception) -> Answer:
        self._tally.failed(error)
        failure = failure_of(error)
        return Answer(encode(failure), failure_headers(failure))

    def _tell(self, arrived: Arrived, error: ServiceError) -> None:
        """At once and without confirmation: the asking side has a deadline of its own."""
        answer = self._failed(error)
        if arrived.reply.startswith(REPLY_TO):
            with suppress(ServiceError):
                self._link.send(arrived.reply, answer.payload, answer.headers)


def stopping() -> ServiceError:
    return UpstreamUnavailable("The answering side is stopping.")


def patience(arrived: Arrived) -> float:
    """Seconds that the asking side still waits, as far as we know."""
    given = arrived.headers.values.get(TIMEOUT_HEADER.lower(), "")
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        return LONGEST_SECONDS
    return min(int(given) / 1000, LONGEST_SECONDS)


@asynccontextmanager
async def answering(
    link: Link, subject: str, answers: Answering[M], *, queue: str, drain_seconds: float
) -> AsyncGenerator[None]:
    async with accompanied(answers.run()), accompanied(answers.until_refused()):
        try:
            async with link.subscribed(subject, answers.put, queue=queue, changed=answers.changed):
                yield
        finally:
            await answers.drained(drain_seconds)
