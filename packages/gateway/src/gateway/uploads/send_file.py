"""A file, or a range of it, on its way down a WebSocket: asked for as over HTTP, and sent in frames."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.types import Message

from common.core.errors import UpstreamUnavailable
from gateway.bodies.receive import ClientGone, Closing, Incoming
from gateway.core.front_door.headers import first, without_body
from gateway.core.request import Request
from gateway.core.uploads.socket_messages import MAX_CHUNK_BYTES, Chunk, Get
from gateway.forward import Forwarding
from gateway.limit import Limits
from gateway.reply import Reply
from gateway.uploads.collect_answer import Answer
from gateway.uploads.transfer import Visitor

CUT_OFF = "PocketBase's answer was cut off; please retry."
_OF_A_READ = (b"range", b"if-range", b"if-none-match", b"if-modified-since")


class Saying(Protocol):
    def __call__(self, type: str, ref: int, **values: Any) -> Awaitable[None]: ...


class Downloads:
    def __init__(self, forwarding: Forwarding, limits: Limits) -> None:
        self._forwarding = forwarding
        self._limits = limits

    async def send(
        self, wanted: Get, by: Visitor, say: Saying, send_frame: Callable[[bytes], Awaitable[None]]
    ) -> Answer | None:
        """PocketBase's refusal, where it gives no file. Raises a ServiceError."""
        route = wanted.route()
        plain = [
            item
            for item in without_body(by.headers)
            if item[0] not in _OF_A_READ and not item[0].startswith(b"sec-websocket-")
        ]
        headers = [*plain, (b"accept-encoding", b"identity"), *wanted.range()]
        framing = Framing(wanted, say, send_frame)
        closing = asyncio.Event()
        incoming = Incoming(never, closing, has_body=False, max_bytes=0)
        request = Request("GET", route, wanted.query(), by.address, headers)
        collection = await self._forwarding.expected(request, by.principal)
        await self._limits.require("GET", route, collection.name, by.principal, by.address)
        try:
            await self._forwarding.forward(request, by.principal, incoming, Reply(framing.send))
        except (ClientGone, Closing) as error:
            raise UpstreamUnavailable(CUT_OFF) from error
        return await framing.end()


async def never() -> Message:
    """Nothing more comes of a request that was made up here; who gives it up cancels it."""
    await asyncio.Event().wait()
    raise AssertionError


class Framing:
    """An ASGI `send` whose pieces become frames, numbered by their place in the file."""

    def __init__(self, wanted: Get, say: Saying, send_frame: Callable[[bytes], Awaitable[None]]) -> None:
        self._ref = wanted.ref
        self._say = say
        self._send_frame = send_frame
        self._status = 0
        self._offset = 0
        self._error = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._status < 300:
                await self._begin(message["headers"])
            return
        body: bytes = message.get("body", b"")
        if self._status >= 300:
            self._error += body[: MAX_CHUNK_BYTES - len(self._error)]
            return
        for start in range(0, len(body), MAX_CHUNK_BYTES):
            piece = body[start : start + MAX_CHUNK_BYTES]
            await self._send_frame(bytes(Chunk(self._ref, self._offset, piece)))
            self._offset += len(piece)

    async def end(self) -> Answer | None:
        """What PocketBase said where it would not give the file."""
        if self._status >= 300:
            return Answer(self._status, [], bytes(self._error))
        await self._say("end", self._ref, offset=self._offset)
        return None

    async def _begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        length, told = first(headers, b"content-length"), first(headers, b"content-range")
        if told and told.startswith("bytes "):
            self._offset = int(told[6:].partition("-")[0])
        size = told.rpartition("/")[2] if told else length
        await self._say(
            "file",
            self._ref,
            status=self._status,
            offset=self._offset,
            length=int(length) if length else None,
            size=int(size) if size and size.isdigit() else None,
            content_type=first(headers, b"content-type") or "",
        )
