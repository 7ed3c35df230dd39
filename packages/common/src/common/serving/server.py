"""Runs one service: its public application, and beside it a loopback listener for operators."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from common.serving.background import running

DRAIN_SECONDS = 10


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


def serve(app: Any, *, host: str, port: int) -> None:
    """Block until SIGTERM or SIGINT; then stop accepting, finish, and return within the drain time."""
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=64 * 1024,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
