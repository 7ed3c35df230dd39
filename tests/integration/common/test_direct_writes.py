"""Events that go past ASGI to connections that uvicorn really holds."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import websockets
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from common.core.event_frames import LAST_CHUNK, http_chunk, sse_event, websocket_close, websocket_text
from common.serving.bounded_http import BoundedHttp
from common.serving.direct_writes import NoDirectWrites, Outlet, outlet_of, write_to_all
from common.serving.server import ClosingWebSocket
from tests.eventually import eventually

MEBIBYTE = 1024 * 1024


@dataclass(slots=True)
class Site:
    """Every request is answered by a stream that begins with one chunk."""

    port: int = 0
    outlets: list[Outlet] = field(default_factory=list[Outlet])
    left: int = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        self.outlets.append(outlet_of(scope))
        while not (await receive())["type"].endswith("disconnect"):
            pass
        self.left += 1

    async def has(self) -> int:
        return len(self.outlets)

    async def has_left(self) -> int:
        return self.left


@asynccontextmanager
async def served() -> AsyncGenerator[Site]:
    site = Site()
    config = Config(
        site.app,
        log_config=None,
        http=BoundedHttp,
        ws=ClosingWebSocket,
        ws_per_message_deflate=False,
        lifespan="off",
        interface="asgi3",
    )
    config.load()
    state = ServerState()

    def protocol() -> asyncio.Protocol:
        return BoundedHttp(config=config, server_state=state, app_state={})

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for outlet in site.outlets:
            outlet.cut()
        await eventually(site.has_left, lambda left: left == len(site.outlets))


async def opened(site: Site, opened: AsyncExitStack) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)

    async def left() -> None:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

    opened.push_async_callback(left)
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    await reader.readuntil(b"begun\r\n")
    return reader


async def test_one_frame_reaches_all_behind_what_was_sent_before_it() -> None:
    async with served() as site, AsyncExitStack() as stack:
        clients = [await opened(site, stack) for _ in range(20)]
        frame = http_chunk(sse_event(b"posts/*", b"{}"))
        for _ in range(3):
            assert write_to_all(site.outlets, frame, most_waiting_bytes=MEBIBYTE) == []
        for reader in clients:
            assert await reader.readexactly(3 * len(frame)) == 3 * frame
        for outlet in site.outlets:
            outlet.end(LAST_CHUNK)
        for reader in clients:
            assert await reader.read() == LAST_CHUNK
        await eventually(site.has_left, lambda left: left == 20)
        assert not any(outlet.is_open for outlet in site.outlets)
        assert write_to_all(site.outlets, frame, most_waiting_bytes=MEBIBYTE) == [], "nobody is there to be slow"


async def test_who_reads_nothing_is_named_and_keeps_nobody_waiting() -> None:
    async with served() as site, AsyncExitStack() as stack:
        await opened(site, stack)
        reader = await opened(site, stack)
        frame, slow = http_chunk(bytes(MEBIBYTE)), list[Outlet]()
        for _ in range(100):
            slow = write_to_all(site.outlets, frame, most_waiting_bytes=2 * MEBIBYTE)
            if slow:
                break
            await reader.readexactly(len(frame))
        assert slow == site.outlets[:1]
        slow[0].cut()
        await eventually(site.has_left, lambda left: left == 1)
        assert site.outlets[1].is_open


async def test_who_reads_nothing_keeps_no_connection_that_has_ended() -> None:
    async with served() as site, AsyncExitStack() as stack:
        await opened(site, stack)
        (outlet,) = site.outlets
        while not write_to_all(site.outlets, http_chunk(bytes(MEBIBYTE)), most_waiting_bytes=MEBIBYTE):
            pass
        outlet.end(LAST_CHUNK)
        await eventually(site.has_left, lambda left: left == 1)


async def test_a_websocket_reads_the_frames_as_messages() -> None:
    async with served() as site, websockets.connect(f"ws://127.0.0.1:{site.port}/", compression=None) as client:
        await eventually(site.has, lambda count: count == 1)
        write_to_all(site.outlets, websocket_text(b"hello"), most_waiting_bytes=MEBIBYTE)
        assert await client.recv() == "hello"
        site.outlets[0].end(websocket_close(1012))
        with pytest.raises(websockets.ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012


def test_a_server_that_hands_out_nothing_is_no_server_for_this() -> None:
    scope: dict[str, Any] = {"type": "http", "extensions": {}}
    with pytest.raises(NoDirectWrites):
        outlet_of(scope)
