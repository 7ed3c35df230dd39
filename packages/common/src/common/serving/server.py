"""Runs one service: its public application, and beside it a loopback listener for operators."""

import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from common.serving.background import running

DRAIN_SECONDS = 10
STARTUP_FAILURE = 3
CLOSE_SECONDS = 2
"""What a WebSocket client has to take what was last written to it, its close frame included."""


class ClosingWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which really ends. A peer that never reads would otherwise keep the connection open, and
    the whole server with it at shutdown, since a transport is closed only once its buffer is written."""

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
async def operations(app: FastAPI, port: int) -> AsyncGenerator[None]:
    """Serve `app` on loopback for as long as the block runs. Port 0 serves nothing."""
    if port == 0:
        yield
        return
    server = OperationsServer(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    async with running(server.serve):
        yield


class PublicServer(uvicorn.Server):
    """Tells the application before it waits for open requests: endless ones are to end by themselves."""

    def __init__(self, config: uvicorn.Config, before_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._before_drain = before_drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_drain()
        await super().shutdown(sockets)


def serve(app: Any, *, host: str, port: int, before_drain: Callable[[], None] = lambda: None) -> None:
    """Block until SIGTERM or SIGINT; then stop accepting, finish, and return within the drain time."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        ws=ClosingWebSocket,
        ws_per_message_deflate=False,
        ws_max_size=64 * 1024,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = PublicServer(config, before_drain)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
