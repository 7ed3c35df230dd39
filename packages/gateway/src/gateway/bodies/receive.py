"""One request as it comes in: its body as a bounded stream, and the news that the client has left."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

from starlette.types import Receive

from common.task_group import TaskGroup
from gateway.core.refusals import TooLarge

TOO_LARGE = "Request entity too large."
LINGER_SECONDS = 2.0
UNWATCHED_SECONDS = 0.02
"""Most reads are over by then, and a task costs more than the rest of the watching."""


class ClientGone(Exception):
    """The client closed the connection; nobody waits for an answer."""


class Closing(Exception):
    """The gateway is about to stop; an answer without an end is to end now."""


class Incoming:
    """`watch` must run beside the exchange; where there is a body, something must also read `chunks` to its end."""

    def __init__(self, receive: Receive, closing: asyncio.Event, *, has_body: bool, max_bytes: int) -> None:
        self._receive = receive
        self._closing = closing
        self._max_bytes = max_bytes
        self._is_read = asyncio.Event()
        self._fault: ClientGone | TooLarge | None = None
        if not has_body:
            self._is_read.set()

    @property
    def is_whole(self) -> bool:
        """Is nothing of the request still to come?"""
        return self._is_read.is_set() and self._fault is None

    def bound(self, max_bytes: int) -> None:
        """To be called before anything is read, once it is known what the body is for."""
        self._max_bytes = min(self._max_bytes, max_bytes)

    async def chunks(self) -> AsyncIterator[bytes]:
        size, has_more = 0, True
        while has_more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise self._failed(ClientGone())
            chunk, has_more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > self._max_bytes:
                raise self._failed(TooLarge(TOO_LARGE))
            if not has_more:
                self._is_read.set()
            if chunk:
                yield chunk

    async def pass_over(self) -> None:
        """Read on for a while and keep nothing, so that a client who is still sending gets to hear a refusal; if the
        connection were closed at once, he might not.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await self._receive()).get("more_body", False):
                    pass

    async def watch(self) -> None:
        """Ends only by an error: ClientGone, or what was wrong with the body."""
        await self._is_read.wait()
        if self._fault:
            raise self._fault
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise ClientGone

    async def watch_closing(self) -> None:
        """For answers without an end. Ends only by an error: Closing."""
        await self._closing.wait()
        raise Closing

    def _failed(self, fault: ClientGone | TooLarge) -> ClientGone | TooLarge:
        self._fault = fault
        self._is_read.set()
        return fault


@asynccontextmanager
async def watched(incoming: Incoming, *, is_endless: bool = False) -> AsyncGenerator[None]:
    """Cuts the work in it short by ClientGone once nobody waits for it, by Closing where it has no end of its own."""
    watching: list[asyncio.Task[None]] = []
    try:
        async with TaskGroup() as tasks:

            def watch() -> None:
                watching.append(tasks.create_task(incoming.watch()))

            begins = asyncio.get_running_loop().call_later(UNWATCHED_SECONDS, watch)
            if is_endless:
                watching.append(tasks.create_task(incoming.watch_closing()))
            try:
                yield
            finally:
                begins.cancel()
            for task in watching:
                task.cancel()
    except BaseExceptionGroup as faults:
        raise_cause(faults)


def raise_cause(faults: BaseExceptionGroup[BaseException]) -> NoReturn:
    """What the client did comes before what PocketBase made of it."""
    raise min(faults.exceptions, key=lambda fault: not isinstance(fault, ClientGone | TooLarge))
