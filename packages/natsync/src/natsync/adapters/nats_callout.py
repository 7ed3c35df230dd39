"""Where nats-servers ask about logins. Each question goes to one of the natsyncs that listen.

Nobody is kept waiting by a question that nobody waits for any more: those that find no room are dropped, and the
client, which is turned away after a moment, comes again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

import structlog

from common.adapters.nats_connection import Connection
from common.adapters.nats_link import Link
from common.adapters.nats_subscriptions import Arrived, Change
from common.core import subjects
from common.core.errors import Forbidden, ServiceError, UpstreamUnavailable
from common.task_group import TaskGroup
from natsync.core.servers.server_configuration import LOGIN_SECONDS

logger = structlog.get_logger(__name__)

QUEUE = "natsync"
AT_ONCE = 64
WAITING = 2048
REFUSED_SECONDS = 2.0
CURVE_KEY_HEADER = "nats-server-xkey"


class Question(NamedTuple):
    """What a server asks, as it came; `curve_key` is the server's, and empty where nothing is encrypted.

    `asked_at` is in the loop's time.
    """

    payload: bytes
    curve_key: str
    asked_at: float


Answerer: TypeAlias = Callable[[Question], Awaitable[bytes | None]]
"""None leaves it unanswered. Must not raise."""


class NatsCallout:
    def __init__(self, connection: Connection) -> None:
        self.dropped = 0
        self._link = Link(connection, "callout")
        self._waiting: asyncio.Queue[tuple[Arrived, float]] = asyncio.Queue(WAITING)
        self._lost = asyncio.Event()
        self._in_place = False

    async def run(self, answer: Answerer) -> None:
        """Loop: answer what is asked."""
        async with TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._work(answer))
            while True:
                await self._listen()
                await asyncio.sleep(REFUSED_SECONDS)

    async def answers(self) -> None:
        """Health probe: raises UpstreamUnavailable unless servers can ask."""
        if not self._in_place:
            raise UpstreamUnavailable("NATS cannot ask about logins.")

    async def _listen(self) -> None:
        """Until the right to listen is taken away."""
        self._lost.clear()
        try:
            async with self._link.subscribed(subjects.USER_AUTH, self._put, queue=QUEUE, changed=self._changed):
                self._in_place = True
                await self._lost.wait()
        except Forbidden as error:
            logger.error("logins cannot be asked about", error=str(error))
        finally:
            self._in_place = False

    def _changed(self, change: Change) -> None:
        self._in_place = change == "in_place"
        if isinstance(change, ServiceError):
            logger.error("logins can no longer be asked about", error=str(change))
            self._lost.set()

    def _put(self, arrived: Arrived) -> None:
        try:
            self._waiting.put_nowait((arrived, asyncio.get_running_loop().time()))
        except asyncio.QueueFull:
            self.dropped += 1

    async def _work(self, answer: Answerer) -> None:
        loop = asyncio.get_running_loop()
        while True:
            arrived, asked_at = await self._waiting.get()
            if loop.time() - asked_at > LOGIN_SECONDS:
                self.dropped += 1
                continue
            question = Question(arrived.payload, arrived.headers.values.get(CURVE_KEY_HEADER, ""), asked_at)
            payload = await answer(question)
            if payload is None or not arrived.reply:
                continue
            try:
                self._link.send(arrived.reply, payload, {})
            except ServiceError as error:
                logger.warning("login not answered", error=str(error))
