"""One request as it comes in: its body as a bounded stream, and the news that the client has left."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive

from gateway.core.refusals import TooLarge

TOO_LARGE = "Request entity too large."


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
            if chunk:
                yield chunk
        self._is_read.set()

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
