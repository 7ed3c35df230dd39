"""One answer as it goes out; remembers what was said for the log, and admits every origin."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from starlette.types import Message, Send

from common.core.errors import ServiceError
from common.core.rate_limit_decision import Decision, LimitReached
from common.serving.rate_limit_headers import rate_limit_headers
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.refusal_answer import body_of, headers_of, status_of

CLOSE = (b"connection", b"close")
CACHE_CONTROL = b"cache-control"
RETRY_AFTER = "Retry-After"  # said of every refusal that has one already

Headers = Sequence[tuple[bytes, bytes]]


class Unread(Protocol):
    async def pass_over(self) -> None: ...


class Reply:
    """`also` are headers that any answer gets. `unread` is what is still to come of the request, while it is unread: a
    refusal then ends the connection.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.reason = ""
        self.unread: Unread | None = None
        self.also: Headers = ()

    @property
    def has_begun(self) -> bool:
        return self.status != 0

    async def send(self, message: Message) -> None:
        """An ASGI `send` for the routed application, which says nothing about origins."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), ALLOW_ORIGIN]}
        await self._send(message)

    async def begin(self, status: int, headers: Headers) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self.also]})

    async def whole(self, status: int, headers: Headers, body: bytes = b"") -> None:
        await self.begin(status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self, status: int, headers: Headers, chunks: AsyncIterator[bytes]) -> None:
        await self.begin(status, headers)
        async for chunk in chunks:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self.end()

    async def piece(self, body: bytes) -> None:
        """Of an answer that goes on."""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, error: ServiceError) -> None:
        self.reason = error.code
        body = body_of(error)
        headers = [*headers_of(error, body), ALLOW_ORIGIN]
        if isinstance(error, LimitReached):
            headers += limit_headers(error.decision)
        if self.unread is None:
            await self.whole(status_of(error), headers, body)
            return
        await self.begin(status_of(error), headers if CLOSE in headers else [*headers, CLOSE])
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        await self.unread.pass_over()
        await self.end()


def with_successor(headers: Headers, successor: Headers) -> Headers:
    """Whoever may keep an answer must not keep a token that goes with it."""
    return [*(item for item in headers if item[0] != CACHE_CONTROL), *successor] if successor else headers


def limit_headers(decision: Decision) -> list[tuple[bytes, bytes]]:
    told = rate_limit_headers(decision).items()
    return [(name.lower().encode(), value.encode()) for name, value in told if name != RETRY_AFTER]
