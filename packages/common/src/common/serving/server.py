"""Runs one service: its public application, and beside it a loopback listener for operators."""

import asyncio
import faulthandler
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import HANDLED_SIGNALS

from common.serving.background import has_died, running
from common.serving.bounded_http import BoundedHttp
from common.serving.direct_writes import CLOSE_SECONDS, EXTENSION, DirectTransport
from common.serving.logs import WEBSOCKET_LOGGER
from common.serving.mailbox import Gate, Mailbox
from common.serving.request_ids import RequestIds

DRAIN_SECONDS = 10
"""What open requests have to finish once the process is told to stop."""

STOP_SECONDS = 14
"""What the whole process has to end; a supervisor should be patient for longer."""

SIGNAL_SECONDS = 0.1
"""How soon a process that is still starting takes notice of a signal."""

YOUNG_OBJECTS = 10_000
"""After so many the collector looks through them; Python's 700 are there whenever a hundred messages are under way."""

STARTUP_FAILURE = 3
LOOP_FAILURE = 70

MAX_FRAME_BYTES = 64 * 1024
"""Of a WebSocket message, its fragments together."""
PING_SECONDS = 25
PONG_SECONDS = 15
"""What a WebSocket client has to answer a ping; it is not read while the application is busy with what it said."""


class ClosingWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which really ends. A peer that never reads would otherwise keep the connection open, and
    the whole server with it at shutdown, since a transport is closed only once its buffer is written."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = logging.getLogger(WEBSOCKET_LOGGER)
        waiting: Any = self
        waiting.queue, waiting.writable = Mailbox[Any](), Gate()

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            scope = cast(dict[str, Any], self.scope)
            scope["extensions"][EXTENSION] = {"connection": DirectTransport(self.transport)}

    def shutdown(self) -> None:
        super().shutdown()
        self._abort_soon()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._abort_soon()

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self._abort_soon()

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.writable.set()  # a close frame does not wait until the peer has read all the others
        await super().send(message)
        if message["type"] == "websocket.accept":
            released: Any = self
            released.request = released.response = None  # kilobytes, of a connection that may stay for days
        if self.close_sent:
            self.handshake_complete = True  # a refusal is complete too, and no error to be logged

    def _abort_soon(self) -> None:
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)


class OperationsServer(uvicorn.Server):
    """A second listener in the same loop; signals stay with the first."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def operations(app: FastAPI, port: int | socket.socket | Path) -> AsyncGenerator[None]:
    """Serve `app` on loopback for as long as the block runs, or on a socket that listens already, or on one in the file
    system. Port 0 serves nothing."""
    if port == 0:
        yield
        return
    listener = port if isinstance(port, socket.socket) else None
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port if isinstance(port, int) else 0,
        uds=str(port) if isinstance(port, Path) else None,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = OperationsServer(config)
    async with running(partial(server.serve, [listener] if listener else None)):
        yield


async def exit_of(work: Coroutine[Any, Any, None]) -> SystemExit | None:
    """Brought out of the task by hand: the loop would report it as an error that nobody took."""
    try:
        await work
    except SystemExit as left:
        return left
    return None


class PublicServer(uvicorn.Server):
    """Tells the application before it waits for open requests: endless ones are to end by themselves."""

    def __init__(
        self, config: uvicorn.Config, before_drain: Callable[[], None], drain: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._before_drain = before_drain
        self._drain = drain

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """uvicorn's own would raise the signal again at the end, and the process would end by it, not in order."""
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own does not hear a signal while the lifespan waits, which may be for a server that stays away."""
        starting = asyncio.create_task(exit_of(super().startup(sockets)))  # noqa: TID251 - awaited here, or ended here
        while not starting.done():
            await asyncio.wait([starting], timeout=SIGNAL_SECONDS)
            if self.should_exit and not starting.done():
                faulthandler.dump_traceback_later(STOP_SECONDS, exit=True)
                starting.cancel()
                await asyncio.wait([starting])
                return
        if left := await starting:
            raise left
        gc.collect()
        gc.freeze()  # what is there by now stays: the collector need not look through it again and again
        gc.set_threshold(YOUNG_OBJECTS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A blocked loop, a lifespan that does not end, a thread that is waited for: none may keep the process.
        faulthandler.dump_traceback_later(STOP_SECONDS, exit=True)
        self._before_drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._drain()
        await super().shutdown(sockets)


async def nothing() -> None:
    """There is nobody to be sent away."""


def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    listener: socket.socket | None = None,
    before_drain: Callable[[], None] = lambda: None,
    drain: Callable[[], Awaitable[None]] = nothing,
) -> None:
    """Run the process's public application until SIGTERM or SIGINT; then stop accepting, finish, and let it end.

    A `listener` that was inherited counts instead of host and port.

    `drain` runs while the process still listens, so that newcomers can be told; `before_drain` is called before.
    Open requests have DRAIN_SECONDS, the process has STOP_SECONDS; then it is ended with status 1. Returns when it was
    told to stop; exits with STARTUP_FAILURE when it could not start, with LOOP_FAILURE when a background loop died.
    """
    config = uvicorn.Config(
        RequestIds(app),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        http=BoundedHttp,
        ws=ClosingWebSocket,
        ws_per_message_deflate=False,
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = PublicServer(config, before_drain, drain)
    with suppress(KeyboardInterrupt):
        server.run([listener] if listener else None)
    if has_died():
        sys.exit(LOOP_FAILURE)
    if not (server.started or server.should_exit):
        sys.exit(STARTUP_FAILURE)
