"""Signing in without a browser of one's own, as an event stream or over a WebSocket; and where browsers land."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import msgspec
import orjson
from fastapi import APIRouter, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.requests import HTTPConnection

from common.core.client_address import TrustedProxies
from common.core.errors import InvalidRequest, ServiceError, UpstreamUnavailable
from common.core.event_frames import sse_comment, sse_event
from common.task_group import TaskGroup
from gateway.core.body_refusals import TooSlow
from gateway.core.front_door.landing_page import FAILURE_PATH, HEADERS, NOT_SIGNED_IN, SIGNED_IN, SUCCESS_PATH
from gateway.core.refusal_answer import body_of
from gateway.core.refusals import TooLarge
from gateway.sign_in_by_provider.sign_in import ERROR, ProviderSignIns, Told, Visitor, Wish

WISH_SECONDS = 10.0
POLICY_VIOLATION = 1008
MAX_WISH_BYTES = 64 * 1024
MALFORMED = "The body is one JSON object with provider and, where they are wanted, target, createData and mfaId."
WITHOUT_NATS = "Signing in without a browser takes NATS, which is not configured."
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

router = APIRouter()
_wishes = msgspec.json.Decoder(Wish)


class Gone(Exception):
    """The client has left."""


@dataclass(frozen=True, slots=True)
class ByProvider:
    """What the routes need; without NATS nobody can be found by whom he waits for."""

    sign_ins: ProviderSignIns | None
    proxies: TrustedProxies

    def visitor(self, connection: HTTPConnection) -> Visitor:
        headers = connection.scope["headers"]
        peer = connection.client.host if connection.client else "127.0.0.1"
        return Visitor(self.proxies.client_address(peer, headers), headers)

    def run(self, collection: str, wish: Wish, visitor: Visitor) -> AsyncGenerator[Told]:
        """Raises UpstreamUnavailable."""
        if self.sign_ins is None:
            raise UpstreamUnavailable(WITHOUT_NATS)
        return self.sign_ins.run(collection, wish, visitor)


def by_provider_of(connection: HTTPConnection) -> ByProvider:
    return cast(ByProvider, connection.state.by_provider)


def wish_of(body: bytes) -> Wish:
    """Raises InvalidRequest."""
    try:
        return _wishes.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidRequest(MALFORMED) from None


@router.get(SUCCESS_PATH)
async def landed() -> HTMLResponse:
    return HTMLResponse(SIGNED_IN, headers=HEADERS)


@router.get(FAILURE_PATH)
async def landed_in_vain() -> HTMLResponse:
    return HTMLResponse(NOT_SIGNED_IN, headers=HEADERS)


@router.post("/auth/oauth2/{collection}")
async def streamed(request: Request, collection: str) -> StreamingResponse:
    by_provider = by_provider_of(request)
    telling = by_provider.run(collection, wish_of(await whole_body(request)), by_provider.visitor(request))
    first = await anext(telling)
    return StreamingResponse(events(first, telling), headers=STREAM_HEADERS, media_type="text/event-stream")


async def whole_body(request: Request) -> bytes:
    """Raises TooLarge, TooSlow."""
    body = bytearray()
    try:
        async with asyncio.timeout(WISH_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_WISH_BYTES:
                    raise TooLarge("Request entity too large.")
    except TimeoutError:
        raise TooSlow(TooSlow.__doc__) from None
    return bytes(body)


async def events(first: Told, telling: AsyncGenerator[Told]) -> AsyncGenerator[bytes]:
    async with aclosing(telling):
        yield framed(first)
        async for told in telling:
            yield framed(told)


def framed(told: Told) -> bytes:
    return sse_event(told[0].encode(), told[1]) if told else sse_comment()


@router.websocket("/auth/oauth2/{collection}/ws")
async def over_socket(socket: WebSocket, collection: str) -> None:
    """The first message is the wish; the socket is closed after the result."""
    await socket.accept()
    try:
        async with asyncio.timeout(WISH_SECONDS):
            said = await socket.receive()
    except TimeoutError:
        await socket.close(POLICY_VIOLATION)
        return
    if said["type"] != "websocket.disconnect":
        await told_while_there(socket, collection, said.get("text") or "")


async def told_while_there(socket: WebSocket, collection: str, text: str) -> None:
    try:
        async with TaskGroup() as tasks:
            leaving = tasks.create_task(until_gone(socket))
            await say_all(socket, collection, text)
            await socket.close()
            leaving.cancel()
    except* (Gone, WebSocketDisconnect):
        pass


async def say_all(socket: WebSocket, collection: str, text: str) -> None:
    by_provider = by_provider_of(socket)
    try:
        wish = wish_of(text.encode()[: MAX_WISH_BYTES + 1])
        async with aclosing(by_provider.run(collection, wish, by_provider.visitor(socket))) as telling:
            async for told in telling:
                if told:
                    await say(socket, *told)
    except ServiceError as error:
        await say(socket, ERROR, body_of(error))


async def say(socket: WebSocket, event: str, data: bytes) -> None:
    await socket.send_text(orjson.dumps({"event": event, "data": orjson.Fragment(data)}).decode())


async def until_gone(socket: WebSocket) -> None:
    """Ends only by an error; what is said meanwhile means nothing. Raises Gone."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    raise Gone
