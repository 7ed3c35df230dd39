"""Servers that tell everybody the same, each in its way: `python -m bench.chathub.senders WAY`.

Prints the port. Each line of input, `MESSAGES AT_ONCE`, is answered once all is with the kernel: the deliveries, their
bytes on the wire and the seconds of the processor that this process took. Between two tellings there is a pause, so
that each is a write of its own; what is told at once may be one.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from starlette.types import Receive, Scope, Send
from websockets.asyncio.server import ServerConnection, broadcast, serve

from chathub.adapters.websocket import Sockets
from chathub.core.bus_messages import Position, RoomMessage, Stored
from chathub.core.channels import Channel, ChannelBook
from chathub.core.client_frames import message_frame
from chathub.core.hub import Hub, Member
from chathub.core.presence import Roster, User
from chathub.core.recent import Recent
from common.core.event_frames import websocket_text
from common.serving.bounded_http import BoundedHttp
from common.serving.server import ClosingWebSocket

PAUSE_SECONDS = 0.02
OUTBOX_BYTES = 1024 * 1024
CHANNEL = Channel(1, "general", None, 1)


class Way(Protocol):
    async def open(self) -> int:
        """The port."""
        ...

    async def tell(self, numbers: range) -> None:
        """All at once."""
        ...

    def count(self) -> int: ...


def said(number: int) -> Stored:
    message = RoomMessage(
        owner_id="0123456789abcde",
        username="Somebody",
        channel_id=1,
        channel="general",
        message="x" * 140,
        authored_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return Stored(Position(1, 1_000_000 + number), message)


class ByHub:
    """chathub's own: the log's entry encoded and remembered, framed, and told by the fan-out."""

    def __init__(self) -> None:
        self.sockets = Sockets()
        book = ChannelBook()
        book.replace([CHANNEL])
        self.hub = Hub(Recent(), book, Roster("bench", dead_seconds=9, grace_seconds=5), self.sockets)

    async def open(self) -> int:
        return await serve_asgi(self._app)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        peer = self.sockets.peer(outbox_bytes=OUTBOX_BYTES)
        member = Member(User("u", "U"), peer, observer=True)
        self.hub.register(member)
        await peer.accept(scope, receive, send, None)
        self.hub.enter(member, ())
        while (await receive())["type"] != "websocket.disconnect":
            pass
        self.hub.leave(member)

    async def tell(self, numbers: range) -> None:
        for number in numbers:
            self.hub.deliver(said(number))

    def count(self) -> int:
        return len(self.hub.members())


class ByWrite:
    """What cannot be undercut: the finished frame, written to every transport."""

    def __init__(self) -> None:
        self._transports: list[asyncio.Transport] = []

    async def open(self) -> int:
        return await serve_asgi(self._app)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        connection: Any = scope["extensions"]["pocketwire.direct"]["connection"]
        self._transports.append(connection.direct())
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def tell(self, numbers: range) -> None:
        for number in numbers:
            frame = websocket_text(message_frame(said(number)))
            for transport in self._transports:
                transport.write(frame)

    def count(self) -> int:
        return len(self._transports)


class ByBroadcast:
    """`websockets.broadcast`."""

    def __init__(self) -> None:
        self._connections: set[ServerConnection] = set()

    async def open(self) -> int:
        server = await serve(self._handle, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=4096)
        return next(iter(server.sockets)).getsockname()[1]

    async def _handle(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        await connection.wait_closed()

    async def tell(self, numbers: range) -> None:
        for number in numbers:
            broadcast(self._connections, message_frame(said(number)).decode())

    def count(self) -> int:
        return len(self._connections)


class BySendJson:
    """A FastAPI application that does `send_json` for each."""

    def __init__(self) -> None:
        self._websockets: list[WebSocket] = []

    async def open(self) -> int:
        app = FastAPI()
        app.add_api_websocket_route("/ws", self._handle)
        return await serve_asgi(app)

    async def _handle(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self._websockets.append(websocket)
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            return

    async def tell(self, numbers: range) -> None:
        for number in numbers:
            payload = json.loads(message_frame(said(number)))
            for websocket in self._websockets:
                await websocket.send_json(payload)

    def count(self) -> int:
        return len(self._websockets)


WAYS: dict[str, Callable[[], Way]] = {
    "hub": ByHub,
    "write": ByWrite,
    "broadcast": ByBroadcast,
    "send_json": BySendJson,
}


async def serve_asgi(app: Any) -> int:
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        lifespan="off",
        http=BoundedHttp,
        ws=ClosingWebSocket,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        interface="asgi3",
    )
    server = uvicorn.Server(config)
    asyncio.get_running_loop().create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    return server.servers[0].sockets[0].getsockname()[1]


async def answer(way: Way, messages: int, at_once: int) -> dict[str, float]:
    begun, number = time.process_time(), 0
    while number < messages:
        upto = min(number + at_once, messages)
        await way.tell(range(number, upto))
        number = upto
        await asyncio.sleep(PAUSE_SECONDS)
    deliveries = messages * way.count()
    size = len(websocket_text(message_frame(said(0))))
    return {"deliveries": deliveries, "bytes": deliveries * size, "cpu_seconds": time.process_time() - begun}


async def main(name: str) -> None:
    way = WAYS[name]()
    say(str(await way.open()))
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        messages, at_once = line.split()
        say(json.dumps(await answer(way, int(messages), int(at_once))))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
